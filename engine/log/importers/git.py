"""A git history as a task: each commit a batch, each changed file a fact about a module.

The history is read along first parents, merges as their difference to the first one: any other
order of branches folds to trees that never existed. Objects come from `git cat-file --batch`;
nothing is checked out, and nothing that the repository configures is run.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Committed,
    Fact,
    Imported,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    RefsRead,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers import BEFORE, EPOCH, Batch, ForeignFact, Report, digest
from backcast.engine.log.store import EventStore

FORMAT = "git"
MAX_OBJECT = 128 * 2**20
"Bytes of the largest file that is imported."
PLAIN, SUBMODULE = "100644", "160000"

LOG = (
    "log", "--first-parent", "-m", "--reverse", "--root", "--raw", "-z", "--no-abbrev", "-l2000",
    "--no-color", "--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-notes",
    "--no-relative", "--ignore-submodules=none", "-O/dev/null",
    "--format=%x01%H%x00%P%x00%an%x00%at%x00%aI%x00%cI%x00%B%x00",
)  # fmt: skip


class FileChange(NamedTuple):
    """A line of `git log --raw`."""

    mode: str
    oid: str
    status: str
    path: str
    previous: str | None


class Commit(NamedTuple):
    """A commit and its changes against its first parent."""

    sha: str
    parents: Sequence[str]
    author: str
    authored: int
    "Seconds since 1970."
    authored_at: str
    committed_at: str
    message: str
    changes: Sequence[FileChange]


def task_of(repository: Path) -> str:
    """Return the task name for a repository: the name of its folder."""
    folder = repository.resolve()
    return (folder.parent if folder.name == ".git" else folder).name.removesuffix(".git")


def count(repository: Path) -> int:
    """Return how many commits there are along first parents; `InputError` for none."""
    if not repository.is_dir():
        raise InputError(f"{repository}: needed a git repository, found no such folder")
    lines = _git(repository, "rev-list", "--count", "--first-parent", "HEAD", "--")
    return int(lines)


def read(repository: Path, task_id: str, store: EventStore, report: Report) -> Iterator[Batch]:
    """Yield the commits that the task does not hold yet, oldest first, a batch each."""
    if _git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        report.notes.append("a shallow clone: history begins at its oldest commit")
    head = _git(repository, "rev-parse", "--verify", "HEAD").strip()
    tree = _Tree(store, task_id)
    last = tree.last_commit
    if last is not None and not _is_ancestor(repository, last, head):
        raise InputError(
            f"{repository}: commit {last[:12]}, imported before, is not in this history along"
            f" first parents (was it rewritten?): import it with --as NAME"
        )
    with _objects(repository) as objects:
        for commit in _commits(repository, last, report):
            yield tree.batch(commit, objects, report)
    names = _names(repository, head)
    if names != tree.names:
        yield tree.names_batch(names)


class _Tree:
    """The modules after the last commit that was read, so that each knows its own past."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.task_id = task_id
        self.modules: dict[str, tuple[int, str | None]] = {}
        "Iteration and source of every path ever seen."
        self.refs: dict[str, str] = {}
        self.last_commit: str | None = None
        self.last_time = EPOCH
        self.names: dict[str, str] = {}
        "The names of commits as last recorded."
        self.named = 0
        "How often names were recorded."
        self.before = BEFORE
        "The distance back to the last event about code."
        for event in store.read(task_id):
            if isinstance(event.fact, Imported):
                continue
            self.before = self.before - 1 if isinstance(event.fact, RefsRead) else BEFORE
            self.last_time = max(self.last_time, event.timestamp)
            match event.fact:
                case Committed(sha=sha):
                    self.last_commit = sha
                case RefsRead(refs=refs):
                    self.names, self.named = refs, self.named + 1
                case ModuleIteration() | ModuleRenamed() as fact:
                    self.modules[fact.module_name] = (fact.iteration, fact.source)

    def batch(self, commit: Commit, objects: "Objects", report: Report) -> Batch:
        """Return the facts of a commit, and its new sources."""
        self.last_time = max(_time(commit.authored), self.last_time)
        stated = {"parents": list(commit.parents)} if len(commit.parents) > 1 else {}
        committed = Committed(
            sha=commit.sha,
            message=commit.message,
            authored_at=commit.authored_at,
            committed_at=commit.committed_at,
            **stated,
        )
        facts = [self._foreign(committed, commit, commit.sha, (self.before,))]
        self.before = BEFORE
        blobs: list[Blob] = []
        bodies = objects.read([c.oid for c in commit.changes if _has_body(c, self.refs)])
        targets = {change.path for change in commit.changes if change.status != "D"}
        for change in commit.changes:
            fact = self._fact(change, targets, bodies, blobs, report, commit.sha)
            facts.append(self._foreign(fact, commit, None, (commit.sha,)))
        self.last_commit = commit.sha
        return Batch(self.task_id, facts, blobs)

    def names_batch(self, names: dict[str, str]) -> Batch:
        """Return the names of commits as a fact, so that `commit:TAG` finds them."""
        fact = ForeignFact(RefsRead(refs=names), self.last_time, FORMAT, f"names {self.named + 1}")
        return Batch(self.task_id, [fact])

    def _foreign(
        self, fact: Fact, commit: Commit, id: str | None, because: tuple[str | int, ...]
    ) -> ForeignFact:
        known = digest(commit.sha.encode())
        return ForeignFact(fact, self.last_time, commit.author, id, because, known)

    def _fact(
        self,
        change: FileChange,
        targets: set[str],
        bodies: dict[str, bytes | None],
        blobs: list[Blob],
        report: Report,
        sha: str,
    ) -> Fact:
        path, previous = change.path, change.previous
        if change.status == "D":
            return ModuleDeleted(module_name=path)
        iteration, base = self.modules.get(previous or path, (0, None))
        stated: dict[str, str] = {} if change.mode == PLAIN else {"mode": change.mode}
        source = self._source(change, base, bodies, blobs)
        if source is not None:
            stated["source"] = source
        elif change.mode == SUBMODULE:
            stated["submodule"] = change.oid
        else:
            stated["missing"] = change.oid
            report.skipped.append(f"{path} at {sha[:12]}: the repository lacks object {change.oid}")
        self.modules[path] = (iteration + 1, source)
        # In a swap another file takes the old name at once: it was not renamed away.
        if previous is not None and previous not in targets:
            return ModuleRenamed(
                module_name=path, previous_name=previous, iteration=iteration + 1, **stated
            )
        return ModuleIteration(module_name=path, iteration=iteration + 1, **stated)

    def _source(
        self,
        change: FileChange,
        base: str | None,
        bodies: dict[str, bytes | None],
        blobs: list[Blob],
    ) -> str | None:
        if change.mode == SUBMODULE:
            return None
        if change.oid not in self.refs:
            body = bodies.get(change.oid)
            if body is None:
                return None
            blobs.append(Blob(body, base))
            self.refs[change.oid] = blobs[-1].ref
        return self.refs[change.oid]


def _has_body(change: FileChange, known: dict[str, str]) -> bool:
    return change.status != "D" and change.mode != SUBMODULE and change.oid not in known


class Objects:
    """A running `git cat-file --batch`."""

    def __init__(self, asking: IO[bytes], answers: IO[bytes]) -> None:
        self.asking, self.answers = asking, answers

    def read(self, oids: Sequence[str]) -> dict[str, bytes | None]:
        """Return the objects' bytes; None for missing or too large ones."""
        bodies: dict[str, bytes | None] = {}
        wanted = list(dict.fromkeys(oids))
        for start in range(0, len(wanted), 500):  # more would fill both pipes, and block
            some = wanted[start : start + 500]
            self.asking.write("".join(f"{oid}\n" for oid in some).encode())
            self.asking.flush()
            bodies |= {oid: self._answer() for oid in some}
        return bodies

    def _answer(self) -> bytes | None:
        head = self.answers.readline().split()
        if len(head) != 3:
            return None
        size = int(head[2])
        body = self.answers.read(size) if size <= MAX_OBJECT else None
        if body is None:
            self._pass_over(size)
        self.answers.read(1)
        return body

    def _pass_over(self, size: int) -> None:
        while size:
            size -= len(self.answers.read(min(size, 2**20)))


@contextmanager
def _objects(repository: Path) -> Iterator[Objects]:
    process = subprocess.Popen(
        _command(repository, "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Objects(process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _commits(repository: Path, last: str | None, report: Report) -> Iterator[Commit]:
    """Yield the commits after one, oldest first. If objects are missing that git needs to find
    similar files, it continues with exact renames only."""
    for renames in ("--find-renames", "--find-renames=100%"):
        span = f"{last}..HEAD" if last else "HEAD"
        command = _command(repository, *LOG, renames, span, "--")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for commit in _parse(_tokens(process.stdout)):
                last = commit.sha
                yield commit
            reason = process.stderr.read().decode(errors="replace").strip()
        if process.returncode == 0:
            return
        report.notes.append("objects are missing: only renames with equal content are recognised")
    raise InputError(f"{repository}: git log failed: {reason.splitlines()[-1] if reason else '?'}")


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the texts between NUL bytes."""
    rest = b""
    while chunk := stream.read(2**16):
        *tokens, rest = (rest + chunk).split(b"\0")
        yield from tokens


def _parse(tokens: Iterator[bytes]) -> Iterator[Commit]:
    head: list[str] = []
    changes: list[FileChange] = []
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(b"\x01"):
            if head:
                yield _commit(head, changes)
            head = [token[1:].decode(), *(_text(next(tokens)) for _ in range(6))]
            changes = []
        elif token.startswith(b":"):
            _, mode, _, oid, status = token.decode().split(" ")
            first = _text(next(tokens))
            moved = status[0] in "RC"
            path = _text(next(tokens)) if moved else first
            previous = first if status[0] == "R" else None
            changes.append(FileChange(mode, oid, status[0], path, previous))
    if head:
        yield _commit(head, changes)


def _commit(head: Sequence[str], changes: Sequence[FileChange]) -> Commit:
    sha, parents, author, authored, authored_at, committed_at, message = head
    seconds = int(authored) if authored.lstrip("-").isdigit() else 0
    return Commit(
        sha, parents.split(), author, seconds, authored_at, committed_at, message.strip(), changes
    )


def _text(raw: bytes) -> str:
    """Return text in which bytes that are not UTF-8 are escaped, since JSON holds none."""
    return raw.decode(errors="backslashreplace")


def _time(seconds: int) -> datetime:
    """Return a commit's own time; the epoch for a year that Python does not know."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return EPOCH


def _names(repository: Path, head: str) -> dict[str, str]:
    """Return the SHAs of HEAD, branches and tags; a tag goes before a branch of its name."""
    form = "--format=%(refname)%00%(objectname)%00%(*objectname)"
    listed = _git(repository, "for-each-ref", form, "refs/heads", "refs/remotes", "refs/tags")
    names = {"HEAD": head}
    for line in listed.splitlines():
        ref, sha, peeled = line.split("\0")
        names[ref.split("/", 2)[2]] = peeled or sha
    return {name: names[name] for name in sorted(names)}


def _is_ancestor(repository: Path, sha: str, head: str) -> bool:
    listed = _git(repository, "rev-list", "--first-parent", head, "--")
    return sha in listed.split()


def _command(repository: Path, *arguments: str) -> list[str]:
    settings = (
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "diff.external=",
        "core.pager=cat",
    )
    flags = [part for setting in settings for part in ("-c", setting)]
    return ["git", "--no-replace-objects", "-C", str(repository), *flags, *arguments]


def _environment() -> dict[str, str]:
    """Return an environment without settings of the user that would change the output."""
    ours = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return {**os.environ, **ours, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def _git(repository: Path, *arguments: str) -> str:
    result = subprocess.run(
        _command(repository, *arguments), capture_output=True, env=_environment(), check=False
    )
    if result.returncode:
        reason = result.stderr.decode(errors="replace").strip().splitlines()
        hint = "no commits yet" if reason and "bad revision 'HEAD'" in reason[0] else ""
        raise InputError(f"{repository}: {hint or (reason[0] if reason else 'git failed')}")
    return result.stdout.decode(errors="backslashreplace")
