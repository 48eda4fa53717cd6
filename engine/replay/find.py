"""One prompt of a log, as people name it, and what was known at any moment of it."""

from collections.abc import Sequence
from typing import TypeVar

from backcast.domain.errors import InputError
from backcast.domain.moment import Moment
from backcast.engine.context.request import Request
from backcast.engine.history.commits import changed
from backcast.engine.history.task_states import states_at
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import requests
from backcast.engine.replay.steps import KnownState, ReplayStep, asked
from backcast.projections import dependency_graph

LAST, FIRST = "last", "first"
T = TypeVar("T")


def known_at(store: EventStore, task_id: str, moment: Moment) -> KnownState:
    """What was known of a task at a moment."""
    states = states_at(store, task_id, moment)
    return KnownState(states, dependency_graph.graph_of(states.graph))


def step_at(store: EventStore, task_id: str, at: str) -> ReplayStep:
    """The prompt that an event of a task tells of: its version, `first` or `last`.

    An event between two prompts names the one before it. Where a task has no prompts it is the
    change that the event belongs to. `InputError` where there is none.
    """
    there = asked(store, task_id)
    if not there:
        return _change(store, task_id, at)
    found = _named(there, at, [one.version for one in there], (task_id, store.version(task_id)))
    moment = Moment(position=_position(store, task_id, found.stood_at))
    known = known_at(store, task_id, moment)
    return ReplayStep(
        task_id, found.version, found.name, found.request, found.fact, known, known, found.opened
    )


def _change(store: EventStore, task_id: str, at: str) -> ReplayStep:
    there = changed(store, task_id)
    if not there:
        raise InputError(f"task {task_id!r}: needed prompts, or changes of modules, found none")
    one = _named(there, at, [one.first for one in there], (task_id, store.version(task_id)))
    for step in requests(store, task_id, [one]):
        return step
    raise InputError(f"{task_id}@{one.first}: {one.name} changes no function")


def _named(there: Sequence[T], at: str, versions: Sequence[int], task: tuple[str, int]) -> T:
    """What is meant among some things with versions; `task` is a name and the last version."""
    if at in (FIRST, LAST):
        return there[0 if at == FIRST else -1]
    if not at.isascii() or not at.isdigit():
        raise InputError(f"needed the number of an event, {FIRST} or {LAST}, found {at!r}")
    (task_id, last), version = task, int(at)
    if not 1 <= version <= last:
        raise InputError(
            f"task {task_id!r}: needed an event from 1 to {last}, {FIRST} or {LAST}, found {at}"
        )
    # What begins a step stands right before its prompt.
    before = [n for n, one in enumerate(versions) if one <= version + 1]
    if not before:
        raise InputError(f"{task_id}@{version}: the first prompt is {task_id}@{versions[0]}")
    exact = [n for n in before if versions[n] == version]
    return there[exact[0] if exact else before[-1]]


def _position(store: EventStore, task_id: str, version: int) -> int:
    events = list(store.read(task_id, after=version - 1, last=version)) if version > 0 else []
    return events[0].position if events else 0


def request_at(store: EventStore, task_id: str, version: int) -> Request | None:
    """What the last prompt up to a version was asked for; None where there was none."""
    there = [one for one in asked(store, task_id) if one.version <= version]
    return there[-1].request if there else None
