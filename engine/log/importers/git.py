"""A git history as a task: each commit a batch, each changed file a fact about a module.

The history is read along first parents, merges as their difference to the first one: any other
order of branches folds to trees that never existed. Objects come from `git cat-file --batch`;
nothing is checked out, and nothing that the repository configures is run. A commit gets the later
one of its author date and its parent's time, unless the date is wild (see `times`).
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
from backcast.engine.log.importers import BEFORE, Batch, ForeignFact, Report, digest
from backcast.engine.log.importers.git_beginning import (
    WHOLE,
    Beginning,
    beginning_notes,
    cut_off,
    elsewhere,
    line_of,
    parent_of,
)
from backcast.engine.log.importers.git_history import Commit, FileChange, commits, time_of_date
from backcast.engine.log.importers.git_objects import Absent, Objects, reading
from backcast.engine.log.importers.git_repository import GitRepository, opened
from backcast.engine.log.importers.times import EPOCH, Timeline
from backcast.engine.log.store import EventStore

FORMAT = "git"
VERSION = 2
FAULTS: Mapping[int, str] = {
    1: "a commit with a wild date (2120) dated all later ones; log.diffMerges of a configuration"
    " hid what merges changed; GIT_DIR led to another repository; grafts were followed; dates that"
    " git cannot read came as '%aI', or as 1970"
}
"What was wrong with the events of each version of this importer and those before it."
NAMES = ("refs/heads/", "refs/remotes/", "refs/tags/")
OF_HISTORY = (Committed, ModuleIteration, ModuleRenamed, ModuleDeleted, RefsRead)
PLAIN, SUBMODULE = "100644", "160000"
Bodies = Mapping[str, bytes | Absent]


def task_of(repository: Path) -> str:
    """Return the task name for a repository: the name of its folder."""
    folder = repository.resolve()
    name = (folder.parent if folder.name == ".git" else folder).name.removesuffix(".git")
    return os.fsencode(name).decode(errors="backslashreplace")


class StoredLine(NamedTuple):
    """What a task holds of a history already."""

    commits: int = 0
    last: str | None = None
    "The SHA of the last of them."


def stored_line(store: EventStore, task_id: str) -> StoredLine:
    """Return how many commits a task holds, and the last of them."""
    found = StoredLine()
    for event in store.read(task_id, types=["COMMITTED"]):
        if isinstance(event.fact, Committed):
            found = StoredLine(found.commits + 1, event.fact.sha)
    return found


def count(repository: Path, begin: Beginning = WHOLE, last: str | None = None) -> int:
    """Return how many commits there are to import, from a beginning on or behind the last one that
    is stored; `InputError` for none."""
    names = line_of(opened(repository), WHOLE if last else begin).taken
    return len(names) - (names.index(last) + 1 if last in names else 0)


def read(
    path: Path, task_id: str, store: EventStore, report: Report, now: datetime | None = None,
    begin: Beginning = WHOLE,
) -> Iterator[Batch]:  # fmt: skip
    """Yield the commits that the task does not hold yet, oldest first, a batch each.

    A new task begins where `begin` says.
    """
    tree = _Tree(store, task_id, Timeline(now or datetime.now(UTC)))
    last, report.known = tree.last_commit, tree.known
    repository = opened(path)
    line = line_of(repository, WHOLE if last else begin)
    if last is not None and last not in line.taken:
        raise InputError(f"{path}: {elsewhere(task_id, tree.first_commit or last, last, line)}")
    with cut_off(repository, line) as seen, reading(seen) as objects:
        refs = repository.refs()
        report.notes.extend(repository.notes(refs))
        report.notes.extend(beginning_notes(task_id, line, begin, last, tree.begins_after))
        for commit in commits(seen, last, objects, report):
            yield tree.batch(commit, objects, report)
        names = _names(repository, refs)
        if names != tree.names:
            yield tree.names_batch(names)


class _Tree:
    """The modules after the last commit that was read, so that each knows its own past."""

    def __init__(self, store: EventStore, task_id: str, timeline: Timeline) -> None:
        self.task_id, self.timeline = task_id, timeline
        self.modules: dict[str, tuple[int, str | None]] = {}
        "Iteration and source of every path ever seen."
        self.refs: dict[str, str] = {}
        self.first_commit: str | None = None
        self.last_commit: str | None = None
        self.names: dict[str, str] = {}
        "The names of commits as last recorded."
        self.named = 0
        "How often names were recorded."
        self.known = 0
        "Events of the history that the task holds."
        self.begins_after: str | None = None
        self.before = BEFORE
        "The distance back to the last event about code."
        for event in store.read(task_id):
            if isinstance(event.fact, Imported):
                continue
            self.before = self.before - 1 if isinstance(event.fact, RefsRead) else BEFORE
            self.known += isinstance(event.fact, OF_HISTORY)
            match event.fact:
                case Committed() as fact:
                    self.first_commit = self.first_commit or fact.sha
                    self.last_commit = fact.sha
                    self.begins_after = self.begins_after or fact.begins_after
                    self.timeline.restore(*_dates(fact), event.timestamp)
                case RefsRead(refs=refs):
                    self.names, self.named = refs, self.named + 1
                case ModuleIteration() | ModuleRenamed() as fact:
                    self.modules[fact.module_name] = (fact.iteration, fact.source)

    def batch(self, commit: Commit, objects: Objects, report: Report) -> Batch:
        """Return the facts of a commit, and its new sources."""
        stated: dict[str, Any] = {}
        if len(commit.parents) > 1:
            stated["parents"] = list(commit.parents)
        if self.last_commit is None and not commit.parents:
            raw = objects.read([commit.sha], b"commit")[commit.sha]
            if isinstance(raw, bytes) and (parent := parent_of(raw)):
                stated["begins_after"] = parent
        committed = Committed(
            sha=commit.sha,
            message=commit.message,
            authored_at=commit.authored_at,
            committed_at=commit.committed_at,
            **stated,
        )
        if not self.timeline.commit(*_dates(committed)):
            report.wild.append(f"{commit.sha[:7]} ({commit.authored_at or 'no date'})")
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
        fact = ForeignFact(RefsRead(refs=names), self._time, FORMAT, f"names {self.named + 1}")
        return Batch(self.task_id, [fact])

    @property
    def _time(self) -> datetime:
        return self.timeline.last or EPOCH

    def _foreign(
        self, fact: Fact, commit: Commit, id: str | None, because: tuple[str | int, ...]
    ) -> ForeignFact:
        known = digest(commit.sha.encode())
        return ForeignFact(fact, self._time, commit.author, id, because, known)

    def _fact(
        self,
        change: FileChange,
        targets: set[str],
        bodies: Bodies,
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
            body = bodies.get(change.oid)
            reason = body.reason if isinstance(body, Absent) else "the repository lacks it"
            report.skipped.append(f"{path} at {sha[:12]}: object {change.oid}: {reason}")
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
        bodies: Bodies,
        blobs: list[Blob],
    ) -> str | None:
        if change.mode == SUBMODULE:
            return None
        if change.oid not in self.refs:
            body = bodies.get(change.oid)
            if not isinstance(body, bytes):
                return None
            blobs.append(Blob(body, base))
            self.refs[change.oid] = blobs[-1].ref
        return self.refs[change.oid]


def _has_body(change: FileChange, known: dict[str, str]) -> bool:
    return change.status != "D" and change.mode != SUBMODULE and change.oid not in known


def _dates(commit: Committed) -> tuple[datetime | None, datetime | None]:
    return time_of_date(commit.authored_at), time_of_date(commit.committed_at)


def _names(repository: GitRepository, refs: Mapping[str, str]) -> dict[str, str]:
    """Return the SHAs of HEAD, branches and tags; a tag goes before a branch of its name."""
    named = {name: refs[name] for name in sorted(refs) if name.startswith(NAMES)}
    peeled = repository.peeled(list(dict.fromkeys(named.values())))
    names = {name.split("/", 2)[2]: peeled[sha] for name, sha in named.items()}
    names["HEAD"] = repository.head
    return {name: names[name] for name in sorted(names)}
