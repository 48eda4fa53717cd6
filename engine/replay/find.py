"""Find one prompt of a log by the name people give it, and what was known at a moment."""

from collections.abc import Sequence
from typing import TypeVar

from backcast.domain.errors import InputError
from backcast.domain.moment import Moment
from backcast.engine.context.builder import Request
from backcast.engine.context.recorded import states_at
from backcast.engine.history.commits import changed
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import requests
from backcast.engine.replay.steps import KnownState, ReplayStep, asked
from backcast.projections import dependency_graph

LAST, FIRST = "last", "first"
T = TypeVar("T")


def known_at(store: EventStore, task_id: str, moment: Moment) -> KnownState:
    """Return what was known of a task at a moment."""
    states = states_at(store, task_id, moment)
    return KnownState(states, dependency_graph.graph_of(states.graph))


def step_at(store: EventStore, task_id: str, at: str) -> ReplayStep:
    """Return the step of a prompt, named by an event's version, `first` or `last`.

    An event between two prompts names the earlier prompt. In a task without prompts it names the
    change that it belongs to. `InputError` where there is neither.
    """
    prompts = asked(store, task_id)
    if not prompts:
        return _change(store, task_id, at)
    task = task_id, store.version(task_id)
    prompt = _pick(prompts, at, [one.version for one in prompts], task)
    moment = Moment(position=_position(store, task_id, prompt.stood_at))
    known = known_at(store, task_id, moment)
    return ReplayStep(
        task_id, prompt.version, prompt.name, prompt.request, prompt.fact, known, known,
        prompt.opened,
    )  # fmt: skip


def _change(store: EventStore, task_id: str, at: str) -> ReplayStep:
    changes = changed(store, task_id)
    if not changes:
        raise InputError(f"task {task_id!r}: needed prompts, or changes of modules, found none")
    task = task_id, store.version(task_id)
    change = _pick(changes, at, [one.first for one in changes], task)
    for step in requests(store, task_id, [change]):
        return step
    raise InputError(f"{task_id}@{change.first}: {change.name} changes no function")


def _pick(things: Sequence[T], at: str, versions: Sequence[int], task: tuple[str, int]) -> T:
    """Return the thing that `at` names; `task` is the task's name and last version."""
    if at in (FIRST, LAST):
        return things[0 if at == FIRST else -1]
    if not at.isascii() or not at.isdigit():
        raise InputError(f"needed the number of an event, {FIRST} or {LAST}, found {at!r}")
    (task_id, last), version = task, int(at)
    if not 1 <= version <= last:
        raise InputError(
            f"task {task_id!r}: needed an event from 1 to {last}, {FIRST} or {LAST}, found {at}"
        )
    # What begins a step stands right before its prompt.
    before = [n for n, start in enumerate(versions) if start <= version + 1]
    if not before:
        raise InputError(f"{task_id}@{version}: the first prompt is {task_id}@{versions[0]}")
    exact = [n for n in before if versions[n] == version]
    return things[exact[0] if exact else before[-1]]


def _position(store: EventStore, task_id: str, version: int) -> int:
    events = list(store.read(task_id, after=version - 1, last=version)) if version > 0 else []
    return events[0].position if events else 0


def request_at(store: EventStore, task_id: str, version: int) -> Request | None:
    """Return the request of the last prompt up to a version; None where there is none."""
    earlier = [prompt for prompt in asked(store, task_id) if prompt.version <= version]
    return earlier[-1].request if earlier else None
