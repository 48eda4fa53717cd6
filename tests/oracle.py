"""Does the log say what git says? The modules at a commit, by name, mode and content."""

import hashlib
import random
import subprocess
from pathlib import Path

from backcast.domain.events import Committed
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.importers.git import PLAIN, SUBMODULE
from backcast.engine.log.store import EventStore
from backcast.projections import versions

Tree = dict[str, tuple[str, str | None]]
"Path to mode and git's name of the content, which is None where there is none to be had."


def log_says(store: EventStore, state: versions.State, format: str = "sha1") -> Tree:
    """The modules in a state; their contents are read from the store and named as git does."""
    return {
        name: (head.mode or PLAIN, head.source and _git_name(store.get(head.source), format))
        for name, head in versions.latest(state).items()
    }


def git_says(repository: Path, sha: str) -> Tree:
    """What `git ls-tree` lists at a commit; objects that the repository lacks have no content."""
    tree: Tree = {}
    for line in _git(repository, "ls-tree", "-r", "-z", sha).split(b"\0")[:-1]:
        about, path = line.split(b"\t", 1)
        mode, _, oid = about.decode().split()
        tree[path.decode(errors="backslashreplace")] = (mode, None if mode == SUBMODULE else oid)
    oids = "".join(f"{oid}\n" for _, oid in tree.values() if oid).encode()
    answers = _git(repository, "cat-file", "--batch-check", stdin=oids).splitlines()
    missing = {line.split()[0].decode() for line in answers if line.endswith(b"missing")}
    return {path: (mode, None if oid in missing else oid) for path, (mode, oid) in tree.items()}


def differences(store: EventStore, repository: Path, task_id: str, commits: int) -> list[str]:
    """The commits, of a random choice, at which the log does not say what git says."""
    shas = [e.fact.sha for e in store.read(task_id) if isinstance(e.fact, Committed)]
    chosen = random.Random(0).sample(shas, min(commits, len(shas)))
    differing = []
    for sha in chosen:
        state = state_at(store, versions, task_id, moment_at(store, task_id, f"commit:{sha}"))
        if log_says(store, state) != git_says(repository, sha):
            differing.append(sha)
    return differing


def _git_name(body: bytes, format: str) -> str:
    return hashlib.new(format, b"blob %d\0" % len(body) + body).hexdigest()


def _git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout
