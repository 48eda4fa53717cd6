"""Which modules change together, and which have changed of late?

All changes with one cause count as one: the files of a commit, or the consequences of one event.
The state keeps the last `CHANGES` of each module, so that its size only grows with the number of
modules.
"""

from collections import Counter
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)

NAME = "changes"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"
CHANGES = 24
"Changes that are kept of each module."


class ChangesState(NamedTuple):
    """The last changes of each existing module."""

    modules: Map[str, tuple[int, ...]] = Map()
    "Per path, the versions of the events that caused them, newest first."


State = ChangesState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    modules, fact = state.modules, event.fact
    change = event.because[0] if event.because else event.version
    match fact:
        case ModuleIteration(module_name=name):
            return State(_changed(modules, name, modules.get(name, ()), change))
        case ModuleRenamed(module_name=name, previous_name=previous):
            before = modules.get(previous, ())
            modules = modules.delete(previous) if previous in modules else modules
            return State(_changed(modules, name, before, change))
        case ModuleDeleted(module_name=name) if name in modules:
            return State(modules.delete(name))
    return state


def together(state: State, path: str) -> dict[str, float]:
    """Return how often other modules changed together with one, by path.

    A change of n modules counts 1/(n - 1) for each pair, so that a sweep over all of them counts
    for little; the sum over all others is the number of shared changes, at most `CHANGES`.
    """
    own = set(state.modules.get(path, ()))
    if not own:
        return {}
    # Most modules never changed together with it, so they are passed over by the fastest test.
    others = sorted(one for one, changes in state.modules.items() if not own.isdisjoint(changes))
    shared = {
        other: [change for change in state.modules[other] if change in own] for other in others
    }
    sizes = Counter(change for changes in shared.values() for change in changes)
    return {
        other: sum(1 / (sizes[change] - 1) for change in changes)
        for other, changes in shared.items()
        if other != path
    }


def lately(state: State) -> dict[str, int]:
    """Return the version of each module's latest change, by path."""
    return {path: state.modules[path][0] for path in sorted(state.modules)}


def _changed(
    modules: Map[str, tuple[int, ...]], name: str, before: tuple[int, ...], change: int
) -> Map[str, tuple[int, ...]]:
    earlier = (one for one in before if one != change)
    return modules.set(name, (change, *earlier)[:CHANGES])
