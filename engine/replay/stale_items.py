"""Which items of a prompt show a written summary that no longer holds at its moment?

Asked of what is shown and of what was known then, whatever the builder took for fresh.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from backcast.domain.outline import Facet
from backcast.domain.staleness import Modules
from backcast.domain.summary import summary_of
from backcast.engine.context.candidates import HEADS
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph, summaries

NAMED = 3
"Changed facets that are named one by one."


class Shows(Protocol):
    """What is asked of an item; `domain.context.Item` and `rendering.Shown` have it."""

    @property
    def node(self) -> str:
        """What it is about."""

    @property
    def level(self) -> str:
        """full, summary, signature or name."""

    @property
    def text(self) -> str:
        """What is shown."""


class StaleItem(NamedTuple):
    """An item that shows a summary which no longer holds."""

    node: str
    version: int
    "Of the event that wrote the summary."
    why: str

    def __str__(self) -> str:
        return f"{self.node} shows the summary of event {self.version}: {self.why}"


def stale_items(items: Iterable[Shows], states: TaskStates) -> list[StaleItem]:
    """The items that show a written summary of their node which does not hold, in their order.

    What is still true by another source is not stale: by the summary that is derived of the
    outline, or by a written one that holds.
    """
    asked = _Asked(states)
    return [stale for item in items for stale in asked.of(item)]


class _Asked:
    """What was known at one moment."""

    def __init__(self, states: TaskStates) -> None:
        self.written = states.summaries
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(states.graph)
        self.modules = Modules(self.facets)

    def of(self, item: Shows) -> Iterator[StaleItem]:
        written = self.written.nodes.get(item.node, ())
        shown = [one for one in written if _shows(item, one.text)]
        for one in shown:
            why = self._why(one)
            if why and not set(_lines(one.text)) <= self._true(item.node, written):
                yield StaleItem(item.node, one.version, why)

    def _why(self, one: summaries.Written) -> str:
        """Why a summary does not hold; empty where it does."""
        if summaries.outlived(one, self.written.last_at):
            return f"it held for {one.lives:g} s"
        if summaries.superseded(self.written, one):
            name, number = summaries.named(one.summariser)
            return f"{name} moved on from {number} to {self.written.summarisers[name]}"
        if self.modules.holds(one.made_of):
            return ""
        moved = [f"{key} of {path}" for path, key in self.modules.changed(one.made_of)]
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        return f"since then {', '.join(moved[:NAMED])}{more} changed"

    def _true(self, node: str, written: Iterable[summaries.Written]) -> set[str]:
        """The lines that hold of a node."""
        derived = summary_of(self.facets, node)
        told = [one.text for one in written if not self._why(one)]
        told += [derived.text, *(text for _, text in derived.parts)] if derived else []
        return {line for text in told for line in _lines(text)}


def _shows(item: Shows, text: str) -> bool:
    """Whether an item is a summary's text, or holds it; code that is shown in full only the first.

    Of a function's summary the lines that its signature tells are not looked for.
    """
    shown, told = _lines(item.text), _lines(text)
    if item.level == "full":
        return shown == told != []
    told = [line for line in told if not line.startswith(HEADS)] or told
    return bool(told) and set(told) <= set(shown)


def _lines(text: str) -> list[str]:
    """The lines that say something, as they are with or without a comment mark."""
    lines = (line.strip().removeprefix("#").strip() for line in text.split("\n"))
    return [line for line in lines if line]
