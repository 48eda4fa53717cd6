"""What became of a node: a module, a function, a failure, a task, as a log tells it?

Each event is read once, and only what is about the node is kept. A log may tell late what an
earlier event changed, so what is told is put in order at the end. Where somebody summed the node
up, the changes of modules are read once more, for the proofs of what went stale.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.events import ModuleOutlined, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.domain.node import SYMBOLS, kind_of, node_id, path_of
from backcast.domain.staleness import Modules
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
    """What a log says of a node, by what says it."""

    texts: Texts
    itself: Other
    checks: NodeChecks
    summaries: Summaries
    prompts: NodePrompts


def gathered(events: Iterable[WorkflowEvent], node: str) -> NodeRecord:
    """What some events of a task say of a node."""
    found = NodeRecord(
        Texts(path_of(node)), other_of(node), NodeChecks(node), Summaries(node), NodePrompts(node)
    )
    takes = [one.take for one in found]
    for event in events:
        for take in takes:
            take(event)
    return found


def life_of(
    store: EventStore,
    task_id: str,
    node: str,
    moment: Moment,
    advance: Callable[[int], None] = lambda step: None,
) -> Life:
    """The life of a node up to a moment; of no occurrence where the log tells nothing of it.

    `advance` is told of each event that is read.
    """

    def told() -> Iterable[WorkflowEvent]:
        for event in store.read(task_id, moment=moment):
            advance(1)
            yield event

    def time_of(version: int) -> datetime | None:
        found = store.read(task_id, after=version - 1, last=version)
        return next((event.timestamp for event in found), None)

    found = gathered(told(), node)
    if found.summaries.said:
        _prove(store, task_id, moment, found.summaries)
    return told_in_order(found, node, moment, time_of)


def told_in_order(
    found: NodeRecord,
    node: str,
    moment: Moment,
    time_of: Callable[[int], datetime | None],
) -> Life:
    """What was gathered, in log order, and what it came to."""
    stages = found.texts.stages(node) if kind_of(node) in IN_MODULES else []
    told = [
        *occurrences(stages),
        *found.itself.told,
        *found.checks.occurrences(stages),
        *found.summaries.occurrences(time_of),
        *found.prompts.occurrences(stages),
    ]
    told.sort(key=lambda one: one.event)
    return Life(tuple(told), _standing(found, node, moment, told, stages))


def named(events: Iterable[WorkflowEvent], path: str, name: str) -> list[str]:
    """The nodes that ever had a name in a module, as its outlines tell; sorted."""
    owner, _, last = name.rpartition(".")
    found: set[str] = set()
    for event in events:
        match event.fact:
            case ModuleOutlined(module_name=module, set=facets) if module == path:
                found |= {node_id(kind, path, name) for kind in facets.get(f"sig:{name}", ())[:1]}
                values = facets.get(f"name:{name}", ())[:1] == ("value",)
                told = (one.partition("=")[0] for one in facets.get(f"attributes:{owner}", ()))
                if values or (owner and last in told):
                    found.add(node_id("attribute", path, name))
    return sorted(found)


def _prove(store: EventStore, task_id: str, moment: Moment, found: Summaries) -> None:
    """Tell when the summaries of a node went stale, by which event and along which path."""
    state = state_at(store, dependency_graph, task_id, moment)
    events = store.read(task_id, moment=moment, types=KINDS)
    modules = Modules(dependency_graph.present(state))
    told = turns(events, found.entries(), dependency_graph.graph_of(state))
    found.turned(told, lambda entry: modules.holds(entry.built_from))


def _standing(
    found: NodeRecord,
    node: str,
    moment: Moment,
    told: Sequence[Occurrence],
    stages: Sequence[Stage],
) -> Standing:
    holding = found.summaries.holding(moment.at)
    state = found.itself.state or "unknown"
    if any(stage.there for stage in stages):
        state = "there" if stages[-1].there else "deleted"
    if state == "there" and found.summaries.said and not holding:
        state = "stale"
    shown, within, omitted = (sum(one.what == what for one in told) for what in (IN, WITHIN, OUT))
    return Standing(
        node, state, sum(one.what in COUNTED for one in told), len(found.summaries.said), holding,
        shown, within, omitted, found.prompts.count - shown - within - omitted,
    )  # fmt: skip
