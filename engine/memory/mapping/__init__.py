"""Keeps context maps: what a finished run tells, which edits follow, and what no longer fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from backcast.domain.context_map import Distilled, MapAnswered, MapItem
from backcast.domain.events import BlobRef, MapEdit, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.outline import Facets
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, as its log tells of it: a task, or a commit of one."""

    name: str
    "`commit 3f2a…`; empty for the whole task."
    before: dependency_graph.State
    state: dependency_graph.State
    "What there was before it, and after."
    graph: Graph
    "Of what there was after it."
    events: Sequence[WorkflowEvent] = ()
    text: Callable[[BlobRef], str] = lambda ref: ""
    "The text of a body that one of them names; empty where it cannot be read."

    @cached_property
    def after(self) -> Mapping[str, Facets]:
        """The outlines of the modules after it, by path."""
        return dependency_graph.present(self.state)

    @cached_property
    def modules(self) -> Modules:
        """The same, by which is told what still holds."""
        return Modules(self.after)

    def moved(self, item: MapItem) -> bool:
        """Whether the run shows that an item does not hold any more: of files that it has never
        had, another task's, it shows nothing."""
        made_of = {p: keys for p, keys in item.made_of.items() if p in self.state.modules}
        return not self.modules.holds(made_of)


class Proposal(NamedTuple):
    """What a Cartographer drew."""

    edits: Sequence[MapEdit]
    answers: tuple[MapAnswered, ...] = ()
    "Of a model, where one was asked."
    by: str = ""
    "Whose work this is: a name and a version."
    problem: str = ""
    "Why nothing of that could be used, so that the edits are made without it."


class Distiller(Protocol):
    """Reads a run for what will help later ones."""

    def distil(self, run: FinishedRun, map: ContextMap) -> Distilled:
        """What a run tells, and of what use each item of the map was to it."""


class Cartographer(Protocol):
    """Turns what a run told into edits."""

    def drawn(self, run: FinishedRun, told: Distilled, map: ContextMap) -> Proposal:
        """Edits of a map, on which what was told of its items stands already."""


class Evictor(Protocol):
    """Keeps a map within its tokens."""

    def evicted(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Edits that take away what has no room, the least worth first."""


__all__ = ["Cartographer", "Distiller", "Evictor", "FinishedRun", "Proposal"]
