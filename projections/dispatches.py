"""Which agents were asked to do which tasks, what did each claim, and what did we find?

Of each dispatch: whether it ended, what it left, what it claims, and how our check went; of each
task of the list: what was decided last.
"""

from typing import Any, Literal, NamedTuple

from immutables import Map

from backcast.domain.dispatch_events import (
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ReadTask,
    ResultClaimed,
    TasksRead,
)
from backcast.domain.events import WorkflowEvent

NAME = "dispatches"
VERSION = 2
SCOPE: Literal["task", "store"] = "task"


class DispatchState(NamedTuple):
    """One dispatch, as far as it has come."""

    started: DispatchStarted
    ended: DispatchEnded | None = None
    claimed: ResultClaimed | None = None
    claim: int = 0
    "The version of its RESULT_CLAIMED."
    checked: ClaimChecked | None = None
    check: int = 0
    "The version of its CLAIM_CHECKED."


class DispatchesState(NamedTuple):
    """The dispatches of a run over a list of tasks."""

    tasks: tuple[ReadTask, ...] = ()
    path: str | None = None
    dispatches: Map[int, DispatchState] = Map()
    "By the version of the DISPATCH_STARTED."
    decided: Map[str, ItemDecided] = Map()
    "The latest decision, by task of the list."
    at: Map[str, int] = Map()
    "Its version."
    closed: Map[str, int] = Map()
    """The version of the latest decision, by task of the list, that ended the work on it: done, or
    a halt about the work itself. What was done before counts no more where it is begun anew."""
    doing: Map[str, int] = Map()
    "The version of the event by which each task was marked as doing, the latest."
    commit: str | None = None
    "The latest commit of the run's own branch."


State = DispatchesState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case TasksRead() as fact:
            doing = state.doing
            for item in sorted(fact.marked):
                if fact.marked[item] == "doing":
                    doing = doing.set(item, event.version)
            return state._replace(tasks=fact.tasks, path=fact.path or state.path, doing=doing)
        case DispatchStarted() as fact:
            started = state.dispatches.set(event.version, DispatchState(fact))
            return state._replace(dispatches=started)
        case DispatchEnded() as fact:
            return _with(state, fact.dispatch, ended=fact)
        case ResultClaimed() as fact:
            return _with(state, fact.dispatch, claimed=fact, claim=event.version)
        case ClaimChecked() as fact:
            return _with(state, fact.dispatch, checked=fact, check=event.version)
        case ItemDecided(item=str(item)) as fact:
            ends = fact.action == "done" or (fact.action == "halt" and not fact.pauses)
            return state._replace(
                decided=state.decided.set(item, fact), at=state.at.set(item, event.version),
                closed=state.closed.set(item, event.version) if ends else state.closed,
                commit=fact.commit or state.commit,
            )  # fmt: skip
    return state


def _with(state: State, version: int, **found: Any) -> State:
    """Return the state with something found of a dispatch; unchanged where there is none such."""
    known = state.dispatches.get(version)
    if known is None:
        return state
    return state._replace(dispatches=state.dispatches.set(version, known._replace(**found)))


def of_item(state: State, item: str) -> list[tuple[int, DispatchState]]:
    """Return the dispatches of a task of the list, in order, with their versions."""
    return [
        (version, state.dispatches[version])
        for version in sorted(state.dispatches)
        if state.dispatches[version].started.item == item
    ]


def goes_on(state: State, item: str) -> bool:
    """Return whether a task is worked on again since its latest decision."""
    return state.doing.get(item, 0) > state.at.get(item, 0)


def under_way(state: State) -> list[tuple[int, DispatchState]]:
    """Return the dispatches that have not ended, in order, with their versions."""
    return [
        (version, state.dispatches[version])
        for version in sorted(state.dispatches)
        if state.dispatches[version].ended is None
    ]
