"""Writes the summaries that are missing or stale at a moment, as new facts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.events import Claim
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import Reference, kind_of, name_of, path_of
from backcast.domain.outline import SOURCE, Facet, names_in
from backcast.domain.reader import Reader
from backcast.domain.staleness import Modules
from backcast.domain.summary import LIMITS, BuiltFrom, built_from, rate_of, summary_of, task_summary
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_in
from backcast.engine.history.staleness import clock_of
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.summariser import Made, NodeFacts, Summariser
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import dependency_graph, progress, summaries
from backcast.projections.summaries import success_rate

ABSENT = "there is no such node at this moment"


class Resummarised(NamedTuple):
    """The counts of a run over nodes."""

    written: int
    kept: int
    "Nodes whose summary by this summariser still holds."
    failed: Sequence[tuple[str, str]]
    "Nodes without a new summary, with the reasons."


def resummarise(
    store: EventStore,
    task_id: str,
    summariser: Summariser,
    nodes: Iterable[str],
    moment: Moment,
    tokenizer: Tokenizer,
    limits: Mapping[str, int] = LIMITS,
    progress_of: Callable[[int], None] = lambda done: None,
    refused: Callable[[str, str], None] = lambda node, reason: None,
) -> Resummarised:
    """Record a summary of each node that has none by this summariser, or only a stale one.

    A fact takes the time of the latest event among its sources, so that the past can see it.
    Derived summaries hold at any moment, and are not recorded. `refused` is called with each field
    that was left out since the code contradicts it.
    """
    inputs = SummaryInputs(store, task_id, moment)
    written, kept, failed = 0, 0, []
    for node in nodes:
        progress_of(1)
        if inputs.holds(node, summariser.id):
            kept += 1
            continue
        asked = inputs.node_facts(node)
        made = summariser.summarise(asked, limits, tokenizer) if asked else ABSENT
        if isinstance(made, str):
            failed.append((node, made))
        elif summariser.derived:
            kept += 1
        else:
            inputs.record(node, made, summariser.id)
            written += 1
            for reason in made.refused:
                refused(node, reason)
    return Resummarised(written, kept, failed)


class SummaryInputs:
    """A task at one moment, as summarisers see it.

    States that are not given are read from the store.
    """

    def __init__(
        self,
        store: EventStore,
        task_id: str,
        moment: Moment = NOW,
        *,
        graph: dependency_graph.State | None = None,
        known: summaries.State | None = None,
        stands: progress.State | None = None,
    ) -> None:
        self.store, self.task_id, self.moment = store, task_id, moment
        self.state = graph or state_at(store, dependency_graph, task_id, moment)
        self.facets = dependency_graph.present(self.state)
        self.modules = Modules(self.facets)
        self.known = known or state_at(store, summaries, task_id, moment)
        self.stands = stands
        self.built = dependency_graph.built_at(self.state)

    def holds(self, node: str, summariser: str) -> bool:
        """Return whether a node has a summary by a summariser that still holds."""
        known = self.known.nodes.get(node, ())
        return any(s.summariser == summariser and self.modules.holds(s.made_of) for s in known)

    def node_facts(self, node: str) -> NodeFacts | None:
        """Return the input of a summariser for a node; None where there is no such node."""
        if kind_of(node) == "task":
            return self._task()
        outlined = summary_of(self.facets, node)
        if outlined is None:
            return None
        path, name = path_of(node), name_of(node)
        history = f"iteration {self.state.modules[path].iteration}"
        if checks := self.known.checks.get(path):
            history += f", {rate_of(checks[0], checks[1])}"
        reader = Reader(self.facets)
        reader.facet(path, f"body:{name}" if name else SOURCE)
        return NodeFacts(
            outlined, self._source(path, name), history, built_from(reader), self._raised
        )

    @cached_property
    def _raised(self) -> frozenset[str]:
        """Every exception that a function of the task raises, by its own name."""
        raised = (
            name.rpartition(".")[2]
            for facets in self.facets.values()
            for symbol in names_in(facets)
            for name in facets.get(f"raises:{symbol}", ())
        )
        return frozenset(raised)

    def _task(self) -> NodeFacts:
        stands = self.stands or state_at(self.store, progress, self.task_id, self.moment)
        rate, paths = success_rate(self.known), list(self.facets)
        summary = task_summary(self.task_id, stands.goal, stands.status, paths, rate)
        return NodeFacts(summary, read=_texts(self.facets))

    def _source(self, path: str, name: str) -> str:
        reference = Reference(self.task_id, path, name=name or None)
        try:
            return text_in(self.store, self.state, reference).decode(errors="replace")
        except DamagedError:
            return ""

    def record(self, node: str, made: Made, summariser: str) -> None:
        """Append a summary, caused by its sources, with the model's answer as its blob."""
        version = self.store.version(self.task_id)
        claim, blobs = self.claim(node, made, summariser, version)
        self.store.append(self.task_id, [claim], after=version, blobs=blobs)

    def claim(
        self, node: str, made: Made, summariser: str, version: int
    ) -> tuple[Claim, list[Blob]]:
        """Return a summary as the claim to append after a version, and the model's answer."""
        # JSON can write halves of surrogate pairs, which UTF-8 cannot encode.
        answers = [made.answer.encode(errors="surrogatepass")] if made.answer is not None else []
        blobs = [Blob(answer) for answer in answers]
        fact = SummaryWritten(
            node=node,
            text=made.text,
            fields=dict(made.fields),
            tokens=made.tokens,
            summariser=summariser,
            answer=blobs[0].ref if blobs else None,
            built_from={path: dict(keys) for path, keys in made.built_from.items()},
            built_at=self.built,
            clock=dict(clock_of(self.state, node, made.built_from)),
        )
        because = tuple(sorted({self.built, version} - {0}))
        return Claim(fact, self._built_time(), summariser, because), blobs

    def _built_time(self) -> datetime | None:
        if not self.built:
            return None
        [source] = self.store.read(self.task_id, after=self.built - 1, last=self.built)
        return source.timestamp


def _texts(facets: Mapping[str, Mapping[str, Facet]]) -> BuiltFrom:
    """Return the sources of a task's summary: the text of each of its modules."""
    reader = Reader(facets)
    for path in facets:
        reader.facet(path, SOURCE)
    return built_from(reader)
