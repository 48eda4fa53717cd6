"""What event sourcing is: a state is what is left when events are folded, first to last.

A projection is a module that answers one question about the log. It has a `State`, an `initial`
one, and `evolve`, which takes a state and an event to the next state, touches nothing, and
returns for every event there is. Below them stand plain functions asked of a state.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal, Protocol

from backcast.domain.events import WorkflowEvent
from backcast.projections import (
    changes,
    context_map,
    dependency_graph,
    offline_cache,
    online_cache,
    progress,
    prompts,
    summaries,
    versions,
)


class Projection(Protocol):
    """A pure fold that answers one question. Any module or object with these names is one."""

    @property
    def NAME(self) -> str: ...
    @property
    def VERSION(self) -> int:
        """Grows when `evolve` or `State` changes; kept states of an older version are ignored."""

    @property
    def SCOPE(self) -> Literal["task", "store"]:
        """Whether it folds the events of one task or of the whole store."""

    @property
    def State(self) -> Any: ...
    @property
    def initial(self) -> Any: ...
    def evolve(self, state: Any, event: WorkflowEvent, /) -> Any:
        """The state after one more event."""


ALL: Sequence[Projection] = (
    progress,
    versions,
    dependency_graph,
    summaries,
    online_cache,
    offline_cache,
    changes,
    prompts,
    context_map,
)
BY_NAME: Mapping[str, Projection] = {projection.NAME: projection for projection in ALL}


def fold(projection: Projection, events: Iterable[WorkflowEvent], state: Any = None) -> Any:
    """The state after the events, begun from `initial` or from a state that was kept."""
    return reduce(projection.evolve, events, projection.initial if state is None else state)
