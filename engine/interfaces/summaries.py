"""Render summaries, derived or written, with the details that belong beside them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

from backcast.domain.graph import Graph
from backcast.domain.moment import Moment
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, names_in
from backcast.domain.staleness import Modules
from backcast.domain.summary import (
    EXTRACTIVE,
    LIMITS,
    NodeSummary,
    rate_of,
    summary_of,
    task_summary,
)
from backcast.domain.tree import tree_of
from backcast.engine.context.search import Document
from backcast.engine.context.search.node_texts import node_texts
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.text_origin import UNTOLD
from backcast.engine.interfaces.terminal import escaped, escaped_lines
from backcast.engine.log.store import EventStore
from backcast.engine.memory.summariser import Extractive, NodeFacts, Summariser
from backcast.engine.models.tokenizers import UpperBound
from backcast.projections import dependency_graph, progress, summaries


class NodeSummaries(NamedTuple):
    """One summary of a node at a moment."""

    node: str
    text: str
    "The summary, cut to whole lines that fit the level's limit."
    summariser: str
    holds: bool
    "Whether it still holds; derived ones always do."
    left_out: Sequence[str]
    "Lines that the level's limit has no room for."
    beside: Sequence[tuple[str, str]]
    "Labelled details that change with each iteration: tests, refinements, references."

    def __str__(self) -> str:
        mark = "" if self.holds else ", STALE: see 'backcast stale'"
        head = escaped(f"{self.node}  (by {self.summariser}{mark})")
        lines = escaped_lines(self.text).splitlines()
        if self.left_out:
            lines.append(escaped(f"(no room for: {', '.join(self.left_out)}; see --whole)"))
        lines += (escaped(f"{label}: {text}") for label, text in self.beside)
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def plain(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        return self._asdict() | {"beside": dict(self.beside)}


def node_summaries(
    store: EventStore,
    task_id: str,
    moment: Moment,
    node: str | None,
    limits: Mapping[str, int] | None = LIMITS,
) -> Iterator[NodeSummaries]:
    """Yield the summaries of one node, or of a task with its modules and functions.

    Derived ones are cut to whole lines within the limit of their level, where there are limits;
    an upper bound counts their tokens.
    """
    graph_state = state_at(store, dependency_graph, task_id, moment)
    written = state_at(store, summaries, task_id, moment)
    view = _View(task_id, graph_state, written, limits)
    if node is None or node == node_id("task", task_id):
        yield view.task(state_at(store, progress, task_id, moment))
    for each in view.nodes() if node is None else [node]:
        yield from view.summaries_of(each, moment)


def documents(store: EventStore, task_id: str, moment: Moment) -> list[Document]:
    """Return each node's text at a moment: the latest written one that holds, else derived."""
    written = state_at(store, summaries, task_id, moment)

    @cache
    def state() -> dependency_graph.State:
        found: dependency_graph.State = state_at(store, dependency_graph, task_id, moment)
        return found

    derived = node_texts(store, task_id, moment, state)
    if not written.nodes:
        return derived
    view = _View(task_id, state(), written)
    found = []
    for document in derived:
        holding = [text for text, _, holds in view.written_of(document.id, moment) if holds]
        found.append(document._replace(text=holding[-1]) if holding else document)
    return found


def nodes_of(store: EventStore, task_id: str, moment: Moment) -> Iterator[str]:
    """Yield the task, its modules, and their functions and classes."""
    graph_state = state_at(store, dependency_graph, task_id, moment)
    yield node_id("task", task_id)
    yield from _View(task_id, graph_state, summaries.initial).nodes()


def summariser_of(text: str) -> Summariser:
    """Return the summariser that an option names."""
    if text == "extractive":
        return Extractive()
    from backcast.engine.interfaces.asked import model_asked
    from backcast.engine.memory.model_summariser import ModelSummariser

    return ModelSummariser(model_asked("--summariser extractive,", text))


class _View:
    """The nodes and summaries of one task at one moment."""

    def __init__(
        self,
        task_id: str,
        state: dependency_graph.State,
        written: summaries.State,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.task_id, self.state, self.written = task_id, state, written
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(state)
        self.modules = Modules(self.facets)
        self.tree = tree_of(self.facets)
        self.limits = limits

    @cached_property
    def graph(self) -> Graph:
        """What needs what."""
        return dependency_graph.graph_of(self.state)

    def nodes(self) -> Iterator[str]:
        for path in self.facets:
            yield node_id("module", path)
            for name in names_in(self.facets[path]):
                sig = self.facets[path][f"sig:{name}"]
                yield node_id(sig[0] if sig else "function", path, name)

    def task(self, state: progress.State) -> NodeSummaries:
        checks = self.written.checks.get("")
        rate = (checks[0], checks[1]) if checks else None
        return self._derived(
            task_summary(self.task_id, state.goal, state.status, list(self.facets), rate), ()
        )

    def _derived(self, summary: NodeSummary, beside: Sequence[tuple[str, str]]) -> NodeSummaries:
        if self.limits is None:
            return NodeSummaries(summary.node, summary.text, EXTRACTIVE, True, (), beside)
        made = Extractive().summarise(NodeFacts(summary), self.limits, UpperBound())
        return NodeSummaries(summary.node, made.text, Extractive.id, True, made.left_out, beside)

    def summaries_of(self, node: str, moment: Moment) -> Iterator[NodeSummaries]:
        beside = tuple(self._beside(node))
        for text, summariser, holds in self.written_of(node, moment):
            yield NodeSummaries(node, text, summariser, holds, (), beside)
        if summary := summary_of(self.facets, node, self.tree):
            yield self._derived(summary, beside)

    def written_of(self, node: str, moment: Moment) -> Iterator[tuple[str, str, bool]]:
        """Yield text and summariser of each written summary of a node, and whether it holds."""
        for written in self.written.nodes.get(node, ()):
            late = summaries.outlived(written, moment.at or self.written.last_at)
            moved_on = late or summaries.superseded(self.written, written)
            holds = not moved_on and self.modules.holds(written.made_of)
            yield written.text, written.summariser, holds

    def _beside(self, node: str) -> Iterator[tuple[str, str]]:
        path, name = path_of(node), name_of(node)
        module = self.state.modules.get(path)
        if module is None or module.deleted:
            return
        if checks := self.written.checks.get(path):
            yield "Tests", rate_of(checks[0], checks[1])
        body = module.facets.get(f"body:{name}", ())
        if name and len(body) > 1:
            yield "Refined", f"in {body[1]} versions" if body[1] != "1" else "in 1 version"
        elif not name and module.iteration:
            yield "Iteration", str(module.iteration)
        into = self.graph.into.get(node, ())
        for label, kinds in (("Tested by", ("tests",)), ("Needed by", ("imports", "calls"))):
            users = [edge.source for edge in into if edge.kind in kinds]
            if label == "Needed by":
                users = [user for user in users if kind_of(user) != "test"]
            if users := sorted(dict.fromkeys(users)):
                more = f" and {len(users) - 6} more" if len(users) > 6 else ""
                yield label, ", ".join(users[:6]) + more
        if module.source is None:
            yield "Full code", f"unknown text: {UNTOLD}"
            return
        lines = dependency_graph.lines_of(self.state, path).get(name) if name else None
        yield "Full code", str(Reference(self.task_id, path, lines))
