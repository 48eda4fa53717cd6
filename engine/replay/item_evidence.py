"""Behind a chance: what each kind of evidence on a function or class adds to it, by a policy."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.moment import Moment
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.candidates import Candidates
from backcast.engine.context.request import Request
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.history.late_outlines import with_late_outlines
from backcast.engine.history.task_states import states_at
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import KnownState, ReplayStep
from backcast.projections import dependency_graph

TABLES = ("weights", "likeness")
ALWAYS = "always"
"The weight that each function has."


class WeighedEvidence(NamedTuple):
    """What one kind of evidence adds to the logistic sum of a chance."""

    table: str
    "The table of the policy: `weights` (it is needed) or `likeness` (its body is like), within \
`lookup` where that chose."
    name: str
    value: float
    weight: float


class ItemEvidence(NamedTuple):
    """What is behind the worth of a function or class."""

    needed: float
    "The chance that it is needed, of its own evidence alone, from 0 to 1."
    alike: float
    "The chance that its body is like what will be written; 0 where likeness does not count."
    evidence: tuple[WeighedEvidence, ...]


def offering_of(builder: ContextBuilder, step: ReplayStep) -> Candidates:
    """Return what could be shown at a step."""
    known = step.known.states
    symbols = builder.cache.symbols(known.graph, step.known.graph)
    return Candidates(known, symbols, step.request, builder.settings)


def step_asked(store: EventStore, task_id: str, moment: Moment, request: Request) -> ReplayStep:
    """Return a request at a moment as a step, with all outlines of its texts."""
    states = with_late_outlines(store, task_id, moment, states_at(store, task_id, moment))
    known = KnownState(states, dependency_graph.graph_of(states.graph))
    version = store.version_at(task_id, moment) + 1
    return ReplayStep(task_id, version, "", request, None, known, known)


def item_evidence(
    builder: ContextBuilder, step: ReplayStep, nodes: Iterable[str]
) -> Mapping[str, ItemEvidence]:
    """Return what is behind the worth of those of some nodes that are functions or classes."""
    offering = offering_of(builder, step)
    needed, alike = offering.functions.chances()
    places = offering.scope.symbols.places
    return {
        node: ItemEvidence(
            float(needed[places[node]]), float(alike[places[node]]),
            tuple(evidence_on(offering, node)),
        )
        for node in nodes if node in places
    }  # fmt: skip


def evidence_on(offering: Candidates, node: str) -> Iterator[WeighedEvidence]:
    """Yield the evidence on a function or class that counts, the strongest first."""
    scope = offering.scope
    row = scope.symbols.places.get(node)
    if row is None:
        return
    values, choice, meaning = scope.evidence(), scope.choice, offering.functions.meaning()
    for table in TABLES if choice.pattern else TABLES[:1]:  # else likeness does not count
        weights: Mapping[str, float] = getattr(choice, table)
        values.gather(name for name, weight in weights.items() if weight)
        known = values if meaning is None else {**values, "meaning": meaning}
        name_of_table = table_prefix(scope) + table
        some = [
            WeighedEvidence(name_of_table, name, round(float(known[name][row]), 4), weights[name])
            for name in sorted(weights)
            if weights[name] and name in known and known[name][row]
        ]
        yield from sorted(some, key=lambda kind: -abs(kind.value * kind.weight))
        yield WeighedEvidence(name_of_table, ALWAYS, 1.0, weights.get(ALWAYS, 0.0))


def table_prefix(scope: RequestScope) -> str:
    """Return what stands before the settings by which functions were chosen."""
    return "" if scope.choice is scope.policy else "lookup."
