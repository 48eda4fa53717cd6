"""Behind a chance and a choice: the evidence on a function, and settings that would show it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backcast.domain.errors import BackcastError
from backcast.domain.policy import Policy
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.item_evidence import (
    ALWAYS,
    TABLES,
    WeighedEvidence,
    evidence_on,
    offering_of,
    table_prefix,
)
from backcast.engine.replay.pairs import context_of
from backcast.engine.replay.steps import ReplayStep

RAISED = 2
"Kinds of evidence of each table whose weight is raised, the strongest first."
BY = 2.0
"By how much."


class ShownBySetting(NamedTuple):
    """A setting under which a prompt shows a node."""

    setting: str
    "As a policy file has it."
    level: str
    tokens: int


class ChoiceBehind(NamedTuple):
    """What is behind the choice to show a node, or not to."""

    evidence: tuple[WeighedEvidence, ...]
    worth: float | None
    "What it is worth per token at its best level; None where nobody asked."
    least: float | None
    "The least such worth of what is shown and need not be."
    tried: int
    "Settings that were tried, one at a time; none for what is in."
    shown_by: tuple[ShownBySetting, ...]


def choice_behind(
    pool: BuilderPool, step: ReplayStep, node: str, policy: Policy | None = None
) -> ChoiceBehind:
    """Return the evidence on a node, and which of some settings alone would show one that is out;
    by the policy of the recorded prompt where no other is given."""
    builder = PolicyReplay(pool, None, policy).builder(step)
    context = context_of(builder, step)
    offering = offering_of(builder, step)
    found = tuple(evidence_on(offering, node))
    worths = [item.worth for item in context.items if item.worth is not None]
    least = min(worths, default=None)
    for item in context.items:
        if item.node == node:
            return ChoiceBehind(found, item.worth, least, 0, ())
    worth = next((out.worth for out in context.omissions if out.node == node), None)
    shown_by, tried = list[ShownBySetting](), 0
    for name, other_policy in _variants(offering.scope, found):
        tried += 1
        try:
            other = context_of(pool.builder(builder.profile, other_policy), step)
        except BackcastError:
            continue
        shown_by += (
            ShownBySetting(name, item.level, item.tokens)
            for item in other.items
            if item.node == node
        )
    return ChoiceBehind(found, worth, least, tried, tuple(shown_by))


def _variants(
    scope: RequestScope, found: tuple[WeighedEvidence, ...]
) -> Iterator[tuple[str, Policy]]:
    """Yield policies that differ by one setting, each under that setting as a file has it."""
    policy, choice, before = scope.policy, scope.choice, table_prefix(scope)
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
