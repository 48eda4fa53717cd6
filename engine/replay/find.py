"""A prompt of a log by its address, and what was known at any moment of it."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

from backcast.domain.errors import InputError, MomentError
from backcast.domain.moment import Moment
from backcast.engine.history.commits import CodeChange, changed, is_of_commit
from backcast.engine.history.moments import (
    COMMIT,
    FIRST,
    LAST,
    moment_at,
    near_numbers,
    position_of,
)
from backcast.engine.history.task_states import states_at
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import requests
from backcast.engine.replay.steps import KnownState, RecordedPrompt, ReplayStep, asked
from backcast.projections import dependency_graph

T = TypeVar("T")
NEAR = 25
"Changes to either side among which one of a function is looked for."


def known_at(store: EventStore, task_id: str, moment: Moment) -> KnownState:
    """Return the knowledge of a task at a moment."""
    states = states_at(store, task_id, moment)
    return KnownState(states, dependency_graph.graph_of(states.graph))


def prompt_at(store: EventStore, task_id: str, when: str = LAST) -> RecordedPrompt:
    """Return the prompt that was recorded at a moment: as that event, or last by that time.

    `first` and `last` are the first and last prompt. `MomentError` names the nearest where an event
    is no prompt; `InputError` where the task has none.
    """
    prompts = asked(store, task_id)
    if not prompts:
        raise InputError(
            f"task {task_id!r}: needed recorded prompts, found none: 'backcast context {task_id}"
            " --for NODE' builds one"
        )
    versions = [prompt.version for prompt in prompts]
    if not when.isdecimal():
        return last_by(store, task_id, when, prompts, versions)
    position_of(store, task_id, int(when))  # there is such an event
    if int(when) in versions:
        return prompts[versions.index(int(when))]
    near = " and ".join(f"{task_id}@{version}" for version in near_numbers(int(when), versions, 2))
    [event] = store.read(task_id, after=int(when) - 1, last=int(when))
    raise MomentError(
        f"{task_id}@{when}: needed the event of a prompt, found {event.type}: the nearest prompts"
        f" are {near}"
    )


def step_at(store: EventStore, task_id: str, when: str = LAST) -> ReplayStep:
    """Return the prompt at a moment with the knowledge that it stood on.

    Where a task has no prompts, or a commit is named or an event of one, the change at the moment
    is taken as a request; where no event or commit is named, the last change up to there that asks
    for one.
    """
    if not asked(store, task_id) or names_change(store, task_id, when):
        return _change_at(store, task_id, when)
    found = prompt_at(store, task_id, when)
    stood_at = found.stood_at
    position = position_of(store, task_id, stood_at) if stood_at > 0 else 0
    known = known_at(store, task_id, Moment(position=position)).asked(found.at)
    return ReplayStep(
        task_id,
        found.version,
        found.name,
        found.request,
        found.fact,
        known,
        known,
        found.opened,
    )


def names_change(store: EventStore, task_id: str, when: str) -> bool:
    """Tell whether a moment is named by a commit, or an event of one, and not by a prompt.

    A history may hold questions, too, which are prompts.
    """
    if COMMIT in when:
        return bool(changed(store, task_id))
    if not when.isdecimal():
        return False
    found = store.read(task_id, after=int(when) - 1, last=int(when))
    return any(is_of_commit(store, event) for event in found)


def change_at(store: EventStore, task_id: str, when: str) -> CodeChange:
    """Return the change at a moment of a task without prompts; `InputError` if it has none."""
    changes = changed(store, task_id)
    if not changes:
        raise InputError(f"task {task_id!r}: needed prompts, or changes of modules, found none")
    return last_by(store, task_id, when, changes, [change.first for change in changes])


def _change_at(store: EventStore, task_id: str, when: str) -> ReplayStep:
    change = change_at(store, task_id, when)
    for step in requests(store, task_id, [change]):
        return step
    around = list(_near_changes(store, task_id, change))
    earlier = [step for step in around if step.version < change.first]
    if earlier and not (when == FIRST or when.isdecimal() or COMMIT in when):
        return earlier[-1]
    near = [f"{task_id}@{step.version}" for step in around]
    others = f"the nearest that does is {' or '.join(near)}; " if near else ""
    raise InputError(
        f"{task_id}@{change.first}: needed a recorded prompt, or a change of a function, which asks"
        f" for one: {change.name} changes none; {others}name another"
        " moment, or say what is asked for:"
        f" 'backcast context {task_id}@{change.first} --for NODE'"
    )


def _near_changes(store: EventStore, task_id: str, change: CodeChange) -> list[ReplayStep]:
    """Return the last change of a function before a change, and the first one after it."""
    changes = changed(store, task_id)
    place = changes.index(change)
    before = requests(store, task_id, changes[max(0, place - NEAR) : place])
    after = requests(store, task_id, changes[place + 1 : place + 1 + NEAR])
    return [*deque(before, 1), *islice(after, 1)]


def last_by(
    store: EventStore, task_id: str, when: str, items: Sequence[T], versions: Sequence[int]
) -> T:
    """Return the last of some items, each with the version of its event, that a moment holds."""
    if when in ("", LAST):
        return items[-1]
    if when == FIRST:
        return items[0]
    moment = moment_at(store, task_id, when)
    last = store.version_at(task_id, moment)
    held = [
        place for place, version in enumerate(versions)
        if version <= last and _happened(store, task_id, version, moment)
    ]  # fmt: skip
    if not held:
        raise MomentError(
            f"{task_id}@{when}: needed a moment with a prompt or change before it, found that the"
            f" first is {task_id}@{versions[0]}"
        )
    return items[held[-1]]


def _happened(store: EventStore, task_id: str, version: int, moment: Moment) -> bool:
    if moment.at is None:
        return True
    return any(store.read(task_id, after=version - 1, last=version, moment=moment))
