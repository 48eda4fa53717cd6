"""Audit the life of one node in a log: a module, a function, a failure or a task.

Each event is read once, and only what concerns the node is kept. A log may record late what an
earlier event changed, so the occurrences are sorted at the end. Where the node has written
summaries, the changes of modules are read once more, to prove when a summary went stale.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.events import ModuleOutlined, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.domain.node import SYMBOLS, kind_of, node_id, path_of
from backcast.domain.staleness import Modules
from backcast.engine.history.moments import asked_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.staleness import KINDS, turns
from backcast.engine.log.store import EventStore
from backcast.engine.replay.audit.checks import NodeChecks
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Life, Occurrence, Standing
from backcast.engine.replay.audit.others import Other, other_of
from backcast.engine.replay.audit.prompts import NodePrompts
from backcast.engine.replay.audit.summaries import Summaries
from backcast.engine.replay.audit.texts import COUNTED, Stage, Texts, occurrences
from backcast.projections import dependency_graph

IN_MODULES = ("module", *SYMBOLS, "attribute")


class NodeRecord(NamedTuple):
    """The facts of a log about one node, by their source."""

    texts: Texts
    itself: Other
    checks: NodeChecks
    summaries: Summaries
    prompts: NodePrompts


def gathered(events: Iterable[WorkflowEvent], node: str) -> NodeRecord:
    """Gather what some events of a task say about a node."""
    record = NodeRecord(
        Texts(path_of(node)), other_of(node), NodeChecks(node), Summaries(node), NodePrompts(node)
    )
    takes = [part.take for part in record]
    for event in events:
        for take in takes:
            take(event)
    return record


def life_of(
    store: EventStore,
    task_id: str,
    node: str,
    moment: Moment,
    advance: Callable[[int], None] = lambda step: None,
) -> Life:
    """Return the life of a node up to a moment; without occurrences if the log has none.

    `advance` is called with 1 for each event read.
    """

    def events() -> Iterable[WorkflowEvent]:
        for event in store.read(task_id, moment=moment):
            advance(1)
            yield event

    def time_of(version: int) -> datetime | None:
        read = store.read(task_id, after=version - 1, last=version)
        return next((event.timestamp for event in read), None)

    record = gathered(events(), node)
    if record.summaries.lives:
        _prove(store, task_id, moment, record.summaries)
    at = asked_at(store, moment, record.summaries.last_at)
    return assembled(record, node, at, time_of)


def assembled(
    record: NodeRecord,
    node: str,
    at: datetime | None,
    time_of: Callable[[int], datetime | None],
) -> Life:
    """Assemble a node's occurrences in log order, and its standing at a time."""
    stages = record.texts.stages(node) if kind_of(node) in IN_MODULES else []
    occurred = [
        *occurrences(stages),
        *record.itself.occurrences,
        *record.checks.occurrences(stages),
        *record.summaries.occurrences(time_of),
        *record.prompts.occurrences(stages),
    ]
    occurred.sort(key=lambda occurrence: occurrence.event)
    return Life(tuple(occurred), _standing(record, node, at, occurred, stages))


def named(events: Iterable[WorkflowEvent], path: str, name: str) -> list[str]:
    """Return the nodes that ever had a name in a module's outlines, sorted."""
    owner, _, last = name.rpartition(".")
    found: set[str] = set()
    for event in events:
        match event.fact:
            case ModuleOutlined(module_name=module, set=facets) if module == path:
                found |= {node_id(kind, path, name) for kind in facets.get(f"sig:{name}", ())[:1]}
                values = facets.get(f"name:{name}", ())[:1] == ("value",)
                pairs = facets.get(f"attributes:{owner}", ())
                attributes = (pair.partition("=")[0] for pair in pairs)
                if values or (owner and last in attributes):
                    found.add(node_id("attribute", path, name))
    return sorted(found)


def _prove(store: EventStore, task_id: str, moment: Moment, written: Summaries) -> None:
    """Find when each summary of a node went stale, by which event and along which path."""
    state = state_at(store, dependency_graph, task_id, moment)
    events = store.read(task_id, moment=moment, types=KINDS)
    modules = Modules(dependency_graph.present(state))
    proofs = turns(events, written.entries(), dependency_graph.graph_of(state))
    written.turned(proofs, lambda entry: modules.holds(entry.built_from))


def _standing(
    record: NodeRecord,
    node: str,
    at: datetime | None,
    occurred: Sequence[Occurrence],
    stages: Sequence[Stage],
) -> Standing:
    holding = record.summaries.holding(at)
    state = record.itself.state or "unknown"
    if any(stage.exists for stage in stages):
        state = "there" if stages[-1].exists else "deleted"
    if state == "there" and record.summaries.lives and not holding:
        state = "stale"
    counts = Counter(occurrence.what for occurrence in occurred)
    shown, within, omitted = (counts[what] for what in (IN, WITHIN, OUT))
    return Standing(
        node=node, state=state, versions=sum(counts[what] for what in COUNTED),
        summaries=len(record.summaries.lives), holding=holding,
        shown=shown, within=within, omitted=omitted,
        not_offered=record.prompts.count - shown - within - omitted,
    )  # fmt: skip
