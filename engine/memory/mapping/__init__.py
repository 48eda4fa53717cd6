"""Keeps context maps: distils finished runs, edits the map, and evicts items that do not fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from backcast.domain.context_map import Distilled, MapAnswered, MapItem
from backcast.domain.events import BlobRef, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.memory_events import MapEdit
from backcast.domain.outline import Facets
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: a task, or one commit of a history."""

    name: str
    "`commit 3f2a…`; empty for the whole task."
    before: dependency_graph.State
    "The modules before the run."
    state: dependency_graph.State
    "The modules after the run."
    graph: Graph
    "The graph of the modules after the run."
    events: Sequence[WorkflowEvent] = ()
    text: Callable[[BlobRef], str] = lambda ref: ""
    "Returns the text of a body that an event names; empty where it cannot be read."

    @cached_property
    def after(self) -> Mapping[str, Facets]:
        """The outlines of the modules after the run, by path."""
        return dependency_graph.present(self.state)

    @cached_property
    def modules(self) -> Modules:
        """The modules after the run, which tell what still holds."""
        return Modules(self.after)

    def moved(self, item: MapItem) -> bool:
        """Return whether the run shows that an item no longer holds.

        It shows nothing about files of other tasks, which it has never had.
        """
        made_of = {p: keys for p, keys in item.made_of.items() if p in self.state.modules}
        return not self.modules.holds(made_of)


class Proposal(NamedTuple):
    """The edits that a Cartographer proposes."""

    edits: Sequence[MapEdit]
    answers: tuple[MapAnswered, ...] = ()
    "Answers of a model, where one was asked."
    by: str = ""
    "Name and version of the Cartographer."
    problem: str = ""
    "The reason why no answer could be used, so that rules made the edits."


class Distiller(Protocol):
    """A reader of runs for knowledge that will help later ones."""

    def distil(self, run: FinishedRun, map: ContextMap) -> Distilled:
        """Return the lessons of a run, and the use of each item of the map to it."""


class Cartographer(Protocol):
    """A writer of edits from a distilled run."""

    def propose(self, run: FinishedRun, distilled: Distilled, map: ContextMap) -> Proposal:
        """Return edits of a map that already has the tags of the distilled run."""


class Evictor(Protocol):
    """A keeper of a map's token limit."""

    def evict(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Return deletions of the items that do not fit, the least worth first."""


__all__ = ["Cartographer", "Distiller", "Evictor", "FinishedRun", "Proposal"]
