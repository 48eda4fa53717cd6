"""A repository that holds the newest tree of another several times, as one commit."""

import os
import subprocess
from pathlib import Path

from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from scripts.benches.context_trees import Repository
from scripts.benches.workload import open_store

WRITER = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "bench"), ("EMAIL", "bench"), ("DATE", "2026-01-01T00:00:00Z"))
}


def copied(repository: Repository, times: int, folder: Path) -> tuple[Repository, EventStore]:
    """The tree so many times over, the others in folders `copy1/` and on; and its log."""
    into = folder / f"{repository.name}-{repository.head()[:12]}-x{times}"
    if not (into / "refs" / "heads" / "main").exists():
        _make(repository, times, into)
    store = open_store(folder / f"{into.name}.db")
    if not store.tasks():
        run(store, "git", into, repository.name, processes=os.cpu_count() or 1)
    return Repository(into), store


def _make(repository: Repository, times: int, into: Path) -> None:
    _git(into.parent, "init", "-q", "--bare", "-b", "main", str(into))
    objects = repository.git("rev-parse", "--git-path", "objects").strip()
    there = (repository.folder / objects).resolve()
    (into / "objects" / "info" / "alternates").write_text(f"{there}\n")
    listed = repository.git("ls-tree", "-r", "-z", "HEAD").split("\0")
    python = [line.partition("\t") for line in listed if line.endswith(".py")]
    lines = [
        f"{head}\t{f'copy{n}/' if n else ''}{path}\0"
        for n in range(times)
        for head, _, path in python
    ]
    _git(into, "update-index", "-z", "--index-info", told="".join(lines))
    tree = _git(into, "write-tree")
    commit = _git(into, "commit-tree", tree, "-m", f"{times} times {repository.name}")
    _git(into, "update-ref", "refs/heads/main", commit)


def _git(folder: Path, *arguments: str, told: str = "") -> str:
    command = ["git", "-C", str(folder), *arguments]
    environment = {**os.environ, **WRITER}
    done = subprocess.run(
        command, input=told, capture_output=True, check=True, text=True, env=environment
    )
    return done.stdout.strip()
