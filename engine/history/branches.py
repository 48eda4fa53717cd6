"""Branches: tasks that begin as the copy of another one's first events, and go on by themselves.

A branch is a what-if. Its events have the versions, times, writers and causes that they have in
its origin, as rows of its own; bodies are shared. So all that is asked of one task is answered as
there. Of other tasks it knows for ever what its origin knew where it was forked, so that only what
is tried in it differs; and it teaches them nothing.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from backcast.domain.errors import ConflictError, DamagedError, InputError, MomentError
from backcast.domain.events import Branched, Claim, ContextBuilt, StepStarted
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
    "That of the last event that was copied."
    root: str
    "The first of the line, which is no branch."


class Lineage(NamedTuple):
    """Where a task comes from; a task that is no branch is a line of its own."""

    task_id: str
    root: str
    "By whose name prompts speak of the task."
    copied: int = 0
    "The version of the last event that was copied; 0 where it is no branch."
    origin: str = ""
    "The task of this store that knew of others what it knows; empty where it is the task itself."
    shared: int = 0
    "The version up to which both are the same."


def fork(
    store: EventStore, origin: str, version: int, task_id: str | None = None, *, runner: str = ""
) -> Branch:
    """Begin a task as the copy of another one's events up to a version, from 1 on.

    Without a name it is the first of ORIGIN~1, ORIGIN~2, ... that is free; `runner` tells whoever
    forks from all others, so that two who do so at once get a branch each. `InputError` where the
    named task is there already, `DamagedError` where an event is not what was written.
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
    """The branch, once it is stored: all or nothing, since half of it would pass for a task."""
    rows = list(_copies(store, origin, version, task_id))
    root = lineage_of(store, origin).root
    fact = Branched(origin=origin, version=version, root=root, runner=runner)
    # What is asked as of a time before today must see that it is one.
    claim = Claim(fact, from_microseconds(rows[-1][3] or 0), WRITER)
    store.write_rows([*rows, store.row(task_id, version + 1, claim)])
    return Branch(task_id, origin, version, root)


def _free_name(store: EventStore, task_id: str) -> str:
    number = 1
    while store.version(f"{task_id}~{number}"):
        number += 1
    return f"{task_id}~{number}"


def _copies(store: EventStore, origin: str, last: int, task_id: str) -> Iterator[NewRow]:
    """The rows of a task's first events as those of another one, byte for byte."""
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
    """The last version that a branch forked at an event holds; None for the task's last event.

    At what begins a step it is what the step stood on, so that its prompt is built anew; else it
    is the event itself. `MomentError` where the task has no such event, or nothing stands before.
    """
    last = store.require(task_id)
    at = last if version is None else version
    if not 1 <= at <= last:
        raise MomentError(
            f"task {task_id!r}: needed an event from 1 to {last}, or last, found {at}:"
            f" 'backcast log --task {task_id}' numbers them"
        )
    held = at
    for event in store.read(task_id, after=at - 1, last=at):
        match event.fact:
            case ContextBuilt(stood_at=int(stood_at)):
                held = min(stood_at, at - 1)
            case ContextBuilt() | StepStarted():
                held = at - 1
    if held < 1:
        raise MomentError(f"task {task_id!r}: needed an event before {at}, found none")
    return held


def branches(store: EventStore, task_id: str | None = None) -> dict[str, Branch]:
    """The branches in the store, by task; or that task, where it is one."""
    found = {}
    # The last one counts: a branch of a branch is copied with what that says of itself.
    for event in store.read(task_id, types=["BRANCHED"]):
        if isinstance(event.fact, Branched):
            task, origin = event.task_id, event.fact.origin or ""
            root = event.fact.root or origin or task
            found[task] = Branch(task, origin, event.version - 1, root)
    return found


def lineage_of(store: EventStore, task_id: str) -> Lineage:
    """Where a task comes from, as far as that is in this store."""
    own = branches(store, task_id).get(task_id)
    if own is None:
        return Lineage(task_id, task_id)
    branch, here, shared, passed = own, task_id, own.version, {task_id}
    while branch.origin not in passed and _same(store, branch):
        shared, here = min(shared, branch.version), branch.origin
        passed.add(here)
        more = branches(store, here).get(here)
        if more is None:
            break
        branch = more
    return Lineage(task_id, own.root, own.version, "" if here == task_id else here, shared)


def _same(store: EventStore, branch: Branch) -> bool:
    """Whether a branch was forked from the task that has its origin's name here.

    An imported branch may have come without it, before it, or beside another one of that name.
    """
    own, other = (_row(store, task, branch.version) for task in (branch.task_id, branch.origin))
    if own is None or other is None or own[0] < other[0]:
        return False
    with suppress(ValueError):  # a damaged one is not the same
        return _told(own) == _told(other)
    return False


def _row(store: EventStore, task_id: str, version: int) -> Row | None:
    rows = store.recorder.rows(task_id, version - 1, version)
    return rows[0] if rows else None


def _told(row: Row) -> tuple[object, ...]:
    """What a row tells, wherever it stands. Another version of zstd may pack it to other bytes."""
    return row[3], row[4], row[6], row[7], plain(row[9])


def known_by(store: EventStore, line: Lineage, moment: Moment) -> Moment:
    """The moment up to which a task knew of other tasks; that of its origin, for a branch."""
    if not line.origin:
        return moment
    version = min(store.version_at(line.task_id, moment), line.shared)
    row = _row(store, line.origin, version)
    return moment._replace(position=row[0] if row else 0)
