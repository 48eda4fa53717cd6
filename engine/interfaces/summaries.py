"""Render summaries, derived or written, with the details that belong beside them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from backcast.domain.levels import Field, cut, first_sentence, fitted
from backcast.domain.moment import Moment
from backcast.domain.name_list import first_names
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, names_in
from backcast.domain.staleness import Modules
from backcast.domain.summary import (
    EXTRACTIVE,
    LIMITS,
    NodeSummary,
    summary_of,
    task_summary,
)
from backcast.domain.summary_fields import HEADINGS, fields_of
from backcast.domain.tree import tree_of
from backcast.domain.written_fields import TEXT, filled, holding
from backcast.engine.context.search import Document
from backcast.engine.context.search.node_texts import node_texts
from backcast.engine.history.moments import asked_at
from backcast.engine.history.node_histories import NodeHistories, histories
from backcast.engine.history.snapshots import RecentStates, state_at, states_of
from backcast.engine.history.text_origin import UNTOLD
from backcast.engine.interfaces.level_fields import NEXT, LevelFields
from backcast.engine.interfaces.terminal import escaped, escaped_lines
from backcast.engine.log.store import EventStore
from backcast.engine.memory.summariser import Extractive, Summariser, limit_of
from backcast.engine.models.tokenizers import Tokenizer, UpperBound
from backcast.projections import dependency_graph, progress, summaries
from backcast.projections.summaries import Written, named, success_rate

BOUND, BOUND_NAME = UpperBound(), "upper-bound"


class NodeSummaries(NamedTuple):
    """One summary of a node at a moment."""

    node: str
    text: str
    "The summary, cut to whole lines that fit the level's limit."
    summariser: str
    stale_by: str
    "What it is stale by: digest, clock, time or summariser; empty where it holds, as derived do."
    left_out: Sequence[str]
    "Lines that the level's limit has no room for, however short."
    shortened: Sequence[str]
    "Lines of which there is more than the limit has room for."
    tokens: int
    "Tokens of the text, by the tokenizer that was asked."
    limit: int | None
    "The most tokens of its level; None where there is none."
    beside: Sequence[tuple[str, str]]
    "Labelled details that change with each iteration: tests, refinements, references."

    def __str__(self) -> str:
        mark = f", STALE by {self.stale_by}: see 'backcast stale'" if self.stale_by else ""
        head = escaped(f"{self.node}  (by {self.summariser or 'an unnamed writer'}{mark})")
        lines = escaped_lines(self.text).splitlines()
        cuts = [("shortened", self.shortened), ("no room for", self.left_out)]
        if cut := "; ".join(f"{what}: {', '.join(labels)}" for what, labels in cuts if labels):
            lines.append(escaped(f"({self.tokens} of {self.limit} tokens; {cut}; see --whole)"))
        lines += (escaped(f"{label}: {text}") for label, text in self.beside)
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def plain(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        return self._asdict() | {"beside": dict(self.beside), "holds": not self.stale_by}


def node_summaries(
    store: EventStore,
    task_id: str,
    moment: Moment,
    node: str | None,
    limits: Mapping[str, int] | None = LIMITS,
    tokenizer: Tokenizer = BOUND,
    *,
    opened_by: str = "",
) -> Iterator[NodeSummaries]:
    """Yield the summaries of one node, or of a task with its modules and functions.

    They are cut to what fits the limit of their level, by a tokenizer's counts, where there are
    limits. `opened_by` is what `backcast cat` needs behind a reference to see the text of this
    moment.
    """
    view = summary_view(store, task_id, moment, limits, tokenizer, opened_by)
    if node is None or node == node_id("task", task_id):
        yield from view.task(state_at(store, progress, task_id, moment))
    asked = [node] if node and kind_of(node) != "task" else []
    for each in view.nodes() if node is None else asked:
        yield from view.summaries_of(each)


def summary_view(
    store: EventStore, task_id: str, moment: Moment, limits: Mapping[str, int] | None,
    tokenizer: Tokenizer, opened_by: str = "", recent: RecentStates | None = None,
) -> "SummaryView":  # fmt: skip
    """Return what gives the summaries of a task at a moment; with `recent` states are held."""
    both = [dependency_graph, summaries]
    graph_state, written = states_of(store, both, task_id, moment, recent)
    at = asked_at(store, moment, written.last_at)
    view = SummaryView(task_id, graph_state, written, limits, tokenizer, opened_by, at)
    view.level = LevelFields(graph_state, written, histories(store, task_id, moment))
    return view


def documents(
    store: EventStore, task_id: str, moment: Moment, recent: RecentStates | None = None
) -> list[Document]:
    """Return each node's text at a moment: the derived one, and what was written and holds."""
    written = state_at(store, summaries, task_id, moment, recent)

    @cache
    def state() -> dependency_graph.State:
        found: dependency_graph.State = state_at(store, dependency_graph, task_id, moment, recent)
        return found

    derived = node_texts(store, task_id, moment, state)
    if not written.nodes:
        return derived
    view = SummaryView(task_id, state(), written, at=asked_at(store, moment, written.last_at))
    found = []
    for document in derived:
        said = view.told_of(document.id) if document.id in written.nodes else {}
        texts = dict.fromkeys([said.pop(TEXT, ""), document.text, *said.values()])
        found.append(document._replace(text="\n".join(filter(None, texts))))
    return found


def nodes_of(store: EventStore, task_id: str, moment: Moment) -> Iterator[str]:
    """Yield the task, its modules, and their functions and classes."""
    graph_state = state_at(store, dependency_graph, task_id, moment)
    yield node_id("task", task_id)
    yield from SummaryView(task_id, graph_state, summaries.initial).nodes()


def summariser_of(text: str, profile: str | None = None) -> tuple[Summariser, str]:
    """Return the summariser that an option names, and the name of the tokenizer that it counts
    by."""
    if text == "extractive":
        return Extractive(), BOUND_NAME
    from backcast.engine.interfaces.asked import runtime_asked
    from backcast.engine.memory.model_summariser import ModelSummariser

    runtime = runtime_asked("--model extractive,", text, profile)
    return ModelSummariser(runtime.model), runtime.profile.tokenizer


class SummaryView:
    """The nodes and summaries of one task at one moment."""

    def __init__(
        self,
        task_id: str,
        state: dependency_graph.State,
        written: summaries.State,
        limits: Mapping[str, int] | None = None,
        tokenizer: Tokenizer = BOUND,
        opened_by: str = "",
        at: datetime | None = None,
    ) -> None:
        """`at` is the time from which times to live count."""
        self.task_id, self.state, self.written = task_id, state, written
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(state)
        self.modules = Modules(self.facets)
        self.tree = tree_of(self.facets)
        self.limits, self.tokenizer, self.opened_by, self.at = limits, tokenizer, opened_by, at
        self.level = LevelFields(state, written, NodeHistories())

    def nodes(self) -> Iterator[str]:
        for path in self.facets:
            yield node_id("module", path)
            for name in names_in(self.facets[path]):
                sig = self.facets[path][f"sig:{name}"]
                yield node_id(sig[0] if sig else "function", path, name)

    def task(self, state: progress.State) -> Iterator[NodeSummaries]:
        summary = task_summary(
            self.task_id, state.goal, state.status, list(self.facets), success_rate(self.written)
        )
        modules = [node_id("module", path) for path in self.facets]
        beside = [("Next", first_names(modules, NEXT))] if modules else []
        yield from self._written(summary.node, beside)
        yield self._derived(summary.node, fields_of(summary), beside)

    def _derived(
        self, node: str, fields: Sequence[Field], beside: Sequence[tuple[str, str]]
    ) -> NodeSummaries:
        limit = None if self.limits is None else limit_of(self.limits, node)
        filled_in = filled(node, fields, self.told_of(node))
        found = fitted(filled_in, limit, self.tokenizer.count)
        writers = [] if filled_in == fields else self._writers(node)
        by = f"{EXTRACTIVE}, filled in by {', '.join(writers)}" if writers else EXTRACTIVE
        return NodeSummaries(
            node, found.text, by, "",
            # The line above the summary names the node.
            [label for label in found.left_out if label not in HEADINGS], found.shortened,
            self.tokenizer.count(found.text), limit, beside,
        )  # fmt: skip

    def summaries_of(self, node: str) -> Iterator[NodeSummaries]:
        beside = tuple(self._beside(node))
        yield from self._written(node, beside)
        if summary := summary_of(self.facets, node, self.tree):
            if not name_of(node):
                summary = self._with_purposes(summary)
            fields = [*fields_of(summary), *self.level.of(node)]
            yield self._derived(node, fields, beside)

    def _written(self, node: str, beside: Sequence[tuple[str, str]]) -> Iterator[NodeSummaries]:
        limit = None if self.limits is None else limit_of(self.limits, node)
        for text, summariser, stale_by in self.written_of(node):
            if _is_derived(summariser):
                continue  # a copy of what is derived below
            shown = cut(text, limit, self.tokenizer.count)
            yield NodeSummaries(
                node, shown, summariser, stale_by, (), ("its text",) if shown != text else (),
                self.tokenizer.count(shown), limit, beside,
            )  # fmt: skip

    def told_of(self, node: str) -> dict[str, str]:
        """Return what was written of a node, by field: of each the latest that holds."""
        found: dict[str, str] = {}
        for written in reversed(self.written.nodes.get(node, ())):
            found = self._told(written, node) | found
        return found

    def _writers(self, node: str) -> list[str]:
        """Return who wrote of a node what is shown of it."""
        written = self.written.nodes.get(node, ())
        return [one.summariser for one in written if self._told(one, node)]

    def _told(self, written: Written, node: str) -> dict[str, str]:
        """Return the fields of a written summary that hold."""
        late = summaries.outlived(written, self.at)
        if late or _is_derived(written.summariser) or summaries.superseded(self.written, written):
            return {}
        fields = {**dict(written.fields), TEXT: written.text}
        return holding(node, fields, written.made_of, self.modules.holds)

    def _with_purposes(self, summary: NodeSummary) -> NodeSummary:
        """Return a module's summary with written purposes of functions that have no docstring."""
        facets = self.facets[path_of(summary.node)] if self.written.nodes else {}
        purposes = {
            place: written.get("purpose") or written.get(TEXT, "")
            for place, node in enumerate(self.level.top(path_of(summary.node)) if facets else ())
            if not facets.get(f"doc:{name_of(node)}") and (written := self.told_of(node))
        }
        entries = [
            part._replace(entries=tuple(
                f"{entry}: {first_sentence(purposes[place])}" if purposes.get(place) else entry
                for place, entry in enumerate(part.entries)
            )) if part.label == "Holds" else part
            for part in summary.entries
        ]  # fmt: skip
        return summary._replace(entries=tuple(entries)) if purposes else summary

    def written_of(self, node: str) -> Iterator[tuple[str, str, str]]:
        """Yield text and summariser of each written summary of a node, and what it is stale by."""
        for written in self.written.nodes.get(node, ()):
            stale_by = summaries.stale_by(self.written, written, self.modules, self.at)
            yield written.text, written.summariser, stale_by

    def _beside(self, node: str) -> Iterator[tuple[str, str]]:
        path, name = path_of(node), name_of(node)
        module = self.state.modules.get(path)
        if module is None or module.deleted:
            return
        if users := self.level.users(node):
            yield "Needed by", first_names(users, NEXT)
        if not name and (below := self.level.below(path)):
            yield "Next", first_names(below, NEXT)
        if module.source is None:
            yield "Full code", f"unknown text: {UNTOLD}"
            return
        lines = dependency_graph.lines_of(self.state, path).get(name) if name else None
        behind = f" {self.opened_by}" if self.opened_by else ""
        yield "Full code", f"{Reference(self.task_id, path, lines)}{behind}"


def _is_derived(summariser: str) -> bool:
    return named(summariser)[0] == named(EXTRACTIVE)[0]
