"""How was each function rated last, by each measure?

A rating holds until the next one of the same function by the same name, whatever becomes of the
code. It is of what stands at a path under a name: whether that is a function or a method is not
asked.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.events import EventType, WorkflowEvent
from backcast.domain.node import name_of, path_of
from backcast.domain.rating_events import NodesRated

NAME = "ratings"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"
TYPES = (EventType.NODES_RATED,)
"The types of event that it takes notice of."


class RatingsState(NamedTuple):
    """The newest ratings."""

    names: Map[str, Map[str, float]] = Map()
    "By the name of the measure, then by `PATH::NAME`."


State = RatingsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case NodesRated(name=name, ratings=found):
            newest = {f"{path_of(node)}::{name_of(node)}": value for node, value in found.items()}
            known = state.names.get(name, Map()).update(newest)
            return State(state.names.set(name, known))
    return state
