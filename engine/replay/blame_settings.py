"""Behind a chance and a choice: the evidence on a function, and settings that would show it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backcast.domain.errors import BackcastError
from backcast.domain.policy import Policy
from backcast.engine.context.candidates import Candidates
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.pairs import context_of
from backcast.engine.replay.steps import ReplayStep

TABLES = ("weights", "likeness")
ALWAYS = "always"
"The weight that each function has."
RAISED = 2
"Kinds of evidence of each table whose weight is raised, the strongest first."
BY = 2.0
"By how much."


class WeighedEvidence(NamedTuple):
    """What one kind of evidence adds to the logistic sum of a chance."""

    table: str
    "The table of the policy: `weights` (it is needed) or `likeness` (its body is like), within \
`lookup` where that chose."
    name: str
    value: float
    weight: float


class ShownBySetting(NamedTuple):
    """A setting under which a prompt shows a node."""

    setting: str
    "As a policy file has it."
    level: str
    tokens: int


class ChoiceBehind(NamedTuple):
    """What is behind the choice not to show a node."""

    evidence: tuple[WeighedEvidence, ...]
    worth: float | None
    "What it is worth per token at its best level; None where nobody asked."
    least: float | None
    "The least such worth of what is shown and need not be."
    tried: int
    "Settings that were tried, one at a time."
    shown_by: tuple[ShownBySetting, ...]


def choice_behind(pool: BuilderPool, step: ReplayStep, node: str) -> ChoiceBehind:
    """Return the evidence on a node, and which of some settings alone would show it."""
    builder = PolicyReplay(pool).builder(step)
    context = context_of(builder, step)
    known = step.known.states
    symbols = builder.cache.symbols(known.graph, step.known.graph)
    offering = Candidates(known, symbols, step.request, builder.settings)
    found = tuple(_evidence(offering.scope, node))
    worths = [item.worth for item in context.items if item.worth is not None]
    worth = next((out.worth for out in context.omissions if out.node == node), None)
    shown_by, tried = list[ShownBySetting](), 0
    for name, policy in _variants(offering.scope, found):
        tried += 1
        try:
            other = context_of(pool.builder(builder.profile, policy), step)
        except BackcastError:
            continue
        shown_by += (
            ShownBySetting(name, item.level, item.tokens)
            for item in other.items
            if item.node == node
        )
    return ChoiceBehind(found, worth, min(worths, default=None), tried, tuple(shown_by))


def _evidence(scope: RequestScope, node: str) -> Iterator[WeighedEvidence]:
    """Yield the evidence on a function or class that counts, the strongest first."""
    row = scope.symbols.places.get(node)
    if row is None:
        return
    values, choice = scope.evidence(), scope.choice
    for table in TABLES if choice.pattern else TABLES[:1]:  # else likeness does not count
        weights: Mapping[str, float] = getattr(choice, table)
        values.gather(name for name, weight in weights.items() if weight)
        name_of_table = _prefix(scope) + table
        some = [
            WeighedEvidence(name_of_table, name, round(float(values[name][row]), 4), weights[name])
            for name in sorted(weights)
            if weights[name] and name in values and values[name][row]
        ]
        yield from sorted(some, key=lambda kind: -abs(kind.value * kind.weight))
        yield WeighedEvidence(name_of_table, ALWAYS, 1.0, weights.get(ALWAYS, 0.0))


def _prefix(scope: RequestScope) -> str:
    """Return what stands before the settings by which functions were chosen."""
    return "" if scope.choice is scope.policy else "lookup."


def _variants(
    scope: RequestScope, found: tuple[WeighedEvidence, ...]
) -> Iterator[tuple[str, Policy]]:
    """Yield policies that differ by one setting, each under that setting as a file has it."""
    policy, choice, before = scope.policy, scope.choice, _prefix(scope)
    if policy.keep:
        yield "keep = false", policy.model_copy(update={"keep": False})
    plain: dict[str, float] = {}
    if choice.pattern:
        plain |= {name: 0.0 for name in ("fading", "longer") if getattr(choice, name)}
        plain["pattern"] = round(choice.pattern / 10, 6)
    for name, value in plain.items():
        yield f"{before}{name} = {value}", _with(scope, {name: value})
    offered = 4 * policy.offered
    yield f"offered = {offered}", policy.model_copy(update={"offered": offered})
    signature = round(5 * policy.worth.get("signature", 0.2), 6)
    worth = {**policy.worth, "signature": signature}
    yield f"[worth] signature = {signature:g}", policy.model_copy(update={"worth": worth})
    for table in TABLES:
        strongest = [kind for kind in found if kind.table == before + table and kind.name != ALWAYS]
        for kind in strongest[:RAISED]:
            key = kind.name if kind.name.isidentifier() else f'"{kind.name}"'
            value = round(kind.weight + BY, 6)
            more = {table: {**getattr(choice, table), kind.name: value}}
            yield f"[{before}{table}] {key} = {value:g}", _with(scope, more)


def _with(scope: RequestScope, settings: Mapping[str, object]) -> Policy:
    """Return the policy with other settings where functions are chosen."""
    if scope.choice is scope.policy:
        return scope.policy.model_copy(update=settings)
    lookup = scope.choice.model_copy(update=settings)
    return scope.policy.model_copy(update={"lookup": lookup})
