"""Branches: tasks that begin as a copy of another task's first events, and go on by themselves.

A branch is a what-if. Its copied events are rows of its own with the versions, times, writers and
causes of its origin's; bodies are shared. So a question about one task has the same answer as
there. What the branch knows of other tasks stays what its origin knew at the fork, so that only the
trial itself differs; and other tasks learn nothing from a branch.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ConflictError, DamagedError, InputError, MomentError
from backcast.domain.events import Branched, Claim, ModelReplied, StepStarted
from backcast.domain.moment import Moment
from backcast.engine.log.codec import from_microseconds
from backcast.engine.log.packing import plain
from backcast.engine.log.recorder import NewRow, Row, checksum_of
from backcast.engine.log.store import EventStore

WRITER = "fork"


class Branch(NamedTuple):
    """A task that began as a copy."""

    task_id: str
    origin: str
    version: int
    "The version of the last event that was copied."
    root: str
    "The first task of the line, which is no branch."


class Lineage(NamedTuple):
    """A task's descent; a task that is no branch is its own root."""

    task_id: str
    root: str
    "The task by whose name prompts speak of it."
    copied: int = 0
    "The version of the last event that was copied; 0 where it is no branch."
    origin: str = ""
    "The task of this store whose knowledge of other tasks it shares; empty where it is no branch."
    shared: int = 0
    "The version up to which it and `origin` are the same."


def fork(
    store: EventStore, origin: str, version: int, task_id: str | None = None, *, runner: str = ""
) -> Branch:
    """Begin a task as a copy of another task's events up to a version, from 1 on.

    Without a name it is the first of ORIGIN~1, ORIGIN~2, ... that is free. `runner` identifies the
    process, so that two that fork at once get a branch each. `InputError` where the named task
    exists already, `DamagedError` where an event is not what was written.
    """
    if task_id is not None:
        if store.version(task_id):
            raise InputError(
                f"task {task_id!r} is in this store already: --as gives the branch another name"
            )
        return _forked(store, origin, version, task_id, runner)
    while True:
        name = _free_name(store, origin)
        try:
            return _forked(store, origin, version, name, runner)
        except ConflictError:
            if not store.version(name):
                raise


def _forked(store: EventStore, origin: str, version: int, task_id: str, runner: str) -> Branch:
    """Store a branch, all or nothing, since half of it would pass for a task; return it."""
    rows = list(_copies(store, origin, version, task_id))
    root = lineage_of(store, origin).root
    fact = Branched(origin=origin, version=version, root=root, runner=runner)
    # Its time is that of its last event: a look at the past must see that it is a branch.
    claim = Claim(fact, from_microseconds(rows[-1][3] or 0), WRITER)
    store.write_rows([*rows, store.row(task_id, version + 1, claim)])
    return Branch(task_id, origin, version, root)


def _free_name(store: EventStore, task_id: str) -> str:
    number = 1
    while store.version(f"{task_id}~{number}"):
        number += 1
    return f"{task_id}~{number}"


def _copies(store: EventStore, origin: str, last: int, task_id: str) -> Iterator[NewRow]:
    """Yield the rows of a task's first events as rows of another task, byte for byte."""
    copied = 0
    while rows := store.recorder.rows(origin, copied, last):
        for row in rows:
            _, _, version, topic, time_us, _, writer, because, check, body = row
            if version != copied + 1 or check != checksum_of(row):
                raise _damaged(origin, last, copied + 1)
            yield task_id, version, topic, time_us, writer, because, body
            copied = version
    if copied < last:
        raise _damaged(origin, last, copied + 1)


def _damaged(origin: str, last: int, version: int) -> DamagedError:
    return DamagedError(
        f"task {origin!r}: needed events 1 to {last} as they were written, found event {version}"
        f" damaged or missing: fork at an earlier one; 'backcast fsck' names what is damaged"
    )


def cut_at(store: EventStore, task_id: str, version: int | None) -> int:
    """Return the last version that a branch forked at an event holds; None is the last event.

    For an event that begins a step it is the version that the step stood on, so that its prompt is
    built anew; so does an answer where the log has no prompts, since that one's names its prompt.
    `MomentError` where the task has no such event, or no event before it.
    """
    last = store.require(task_id)
    at = last if version is None else version
    if not 1 <= at <= last:
        raise MomentError(
            f"task {task_id!r}: needed an event from 1 to {last}, or last, found {at}:"
            f" 'backcast log {task_id}' numbers them"
        )
    held = at
    for event in store.read(task_id, after=at - 1, last=at):
        match event.fact:
            case ContextBuilt(stood_at=int(stood_at)):
                held = min(stood_at, at - 1)
            case StepStarted(wave=int(wave)):
                held = min(wave, at - 1)
            case ContextBuilt() | StepStarted():
                held = at - 1
            case ModelReplied() if not any(store.read(task_id, types=["CONTEXT_BUILT"])):
                held = at - 1
    if held < 1:
        raise MomentError(f"task {task_id!r}: needed an event before {at}, found none")
    return held


def branches(store: EventStore, task_id: str | None = None) -> dict[str, Branch]:
    """Return the branches in the store by task, or only `task_id` where it is a branch."""
    by_task = {}
    # The last event counts: a branch of a branch holds a copy of its origin's.
    for event in store.read(task_id, types=["BRANCHED"]):
        if isinstance(event.fact, Branched):
            task, origin = event.task_id, event.fact.origin or ""
            root = event.fact.root or origin or task
            by_task[task] = Branch(task, origin, event.version - 1, root)
    return by_task


def lineage_of(store: EventStore, task_id: str) -> Lineage:
    """Return a task's descent, as far as it is in this store."""
    own = branches(store, task_id).get(task_id)
    if own is None:
        return Lineage(task_id, task_id)
    branch, ancestor, shared, passed = own, task_id, own.version, {task_id}
    while branch.origin not in passed and _same(store, branch):
        shared, ancestor = min(shared, branch.version), branch.origin
        passed.add(ancestor)
        above = branches(store, ancestor).get(ancestor)
        if above is None:
            break
        branch = above
    return Lineage(task_id, own.root, own.version, "" if ancestor == task_id else ancestor, shared)


def _same(store: EventStore, branch: Branch) -> bool:
    """Tell whether a branch was forked from the task that has its origin's name here.

    A branch may be imported without its origin, before it, or beside another task of that name.
    """
    own, other = (_row(store, task, branch.version) for task in (branch.task_id, branch.origin))
    if own is None or other is None or own[0] < other[0]:
        return False
    with suppress(ValueError):  # a damaged row is not the same
        return _content(own) == _content(other)
    return False


def _row(store: EventStore, task_id: str, version: int) -> Row | None:
    rows = store.recorder.rows(task_id, version - 1, version)
    return rows[0] if rows else None


def _content(row: Row) -> tuple[object, ...]:
    """Return what a row says, wherever it stands. Versions of zstd may pack it to other bytes."""
    return row[3], row[4], row[6], row[7], plain(row[9])


def known_by(store: EventStore, line: Lineage, moment: Moment) -> Moment:
    """Return the moment up to which a task knew of other tasks; for a branch its origin's."""
    if not line.origin:
        return moment
    version = min(store.version_at(line.task_id, moment), line.shared)
    row = _row(store, line.origin, version)
    return moment._replace(position=row[0] if row else 0)
