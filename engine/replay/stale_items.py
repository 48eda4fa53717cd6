"""Find the items of a prompt that show a written summary which no longer held at its moment.

The check needs only the items and the state of that moment, not the builder's own judgement.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from backcast.domain.name_list import first_names
from backcast.domain.outline import Facet
from backcast.domain.staleness import Modules
from backcast.domain.summary import summary_of
from backcast.engine.context.moment_texts import HEADS
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph, summaries

NAMED = 3
"Number of changed facets that are named one by one."


class Shows(Protocol):
    """A shown item, such as `domain.context.Item` or `rendering.Shown`."""

    @property
    def node(self) -> str:
        """Node that the item is about."""

    @property
    def level(self) -> str:
        """Level of detail: full, summary, signature or name."""

    @property
    def text(self) -> str:
        """Text that is shown."""


class StaleItem(NamedTuple):
    """An item that shows a summary which no longer holds."""

    node: str
    version: int
    "Version of the event that wrote the summary."
    why: str

    def __str__(self) -> str:
        return f"{self.node} shows the summary of event {self.version}: {self.why}"


def stale_items(items: Iterable[Shows], states: TaskStates) -> list[StaleItem]:
    """Return the items that show a written summary which does not hold, in their order.

    Lines that another source confirms are not stale: the summary derived from the outline, or a
    written one that holds.
    """
    check = _StaleCheck(states)
    return [stale for item in items for stale in check.of(item)]


class _StaleCheck:
    """The summaries and outlines of one moment."""

    def __init__(self, states: TaskStates) -> None:
        self.written, self.at = states.summaries, states.asked_at
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(states.graph)
        self.modules = Modules(self.facets)

    def of(self, item: Shows) -> Iterator[StaleItem]:
        written = self.written.nodes.get(item.node, ())
        shown = [summary for summary in written if _shows(item, summary.text)]
        for summary in shown:
            why = self._why(summary)
            if why and not set(_lines(summary.text)) <= self._true(item.node, written):
                yield StaleItem(item.node, summary.version, why)

    def _why(self, summary: summaries.Written) -> str:
        """Return why a summary does not hold; empty where it does."""
        if summaries.outlived(summary, self.at):
            return f"it held for {summary.lives:g} s"
        if summaries.superseded(self.written, summary):
            name, number = summaries.named(summary.summariser)
            return f"{name} moved on from {number} to {self.written.summarisers[name]}"
        if self.modules.holds(summary.made_of):
            return ""
        moved = [f"{key} of {path}" for path, key in self.modules.changed(summary.made_of)]
        return f"since then {first_names(moved, NAMED)} changed"

    def _true(self, node: str, written: Iterable[summaries.Written]) -> set[str]:
        """Return the lines that hold for a node."""
        derived = summary_of(self.facets, node)
        texts = [one.text for one in written if not self._why(one)]
        texts += [derived.text, *(text for _, text in derived.parts)] if derived else []
        return {line for text in texts for line in _lines(text)}


def _shows(item: Shows, text: str) -> bool:
    """Whether an item shows a summary's text; code shown in full must equal it.

    The head lines of a function's summary are ignored, since its signature gives them too.
    """
    shown, lines = _lines(item.text), _lines(text)
    if item.level == "full":
        return shown == lines != []
    lines = [line for line in lines if not line.startswith(HEADS)] or lines
    return bool(lines) and set(lines) <= set(shown)


def _lines(text: str) -> list[str]:
    """Return the lines that are not blank, without comment marks."""
    lines = (line.strip().removeprefix("#").strip() for line in text.split("\n"))
    return [line for line in lines if line]
