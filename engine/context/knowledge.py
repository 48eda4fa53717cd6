"""Rows of a prompt on how the project writes its code, on the libraries of the target's module, and
on the facts that answer the request.

All are off by default: see `Policy.habits`, `Policy.libraries` and `Policy.facts`.
"""

from collections.abc import Iterator

from backcast.domain.context import Candidate
from backcast.engine.context.fact_rows import retrieved, row_text
from backcast.engine.context.request_scope import RequestScope
from backcast.projections import dependency_graph

SECTION = "historical patterns"
USUAL, LIKELY = 0.3, 0.5
"How likely it is that what is usual in the project, or used of a library, is needed."
FIRST = 1_000_000
"Places behind those of all contributions of finished tasks."


def knowledge(scope: RequestScope) -> Iterator[Candidate]:
    """Yield the row on the project, and one for each library, as many as the policy says."""
    policy, known, states = scope.policy, scope.cache.knowledge, scope.states
    count = scope.counting.count
    if policy.habits:
        text = known.habits_within(states.graph, policy.habits, count)
        latest = dependency_graph.built_at(states.graph)
        yield _row(scope, "habits:", text, "LOW", USUAL, FIRST, (latest,))
    if policy.facts and states.facts:
        query = f"{scope.request.query} {scope.path} {scope.name}"
        chosen = retrieved(states.facts.holding(), query, policy.facts, count)
        events = tuple(sorted({fact.event for fact in chosen}))
        text = row_text(chosen)
        yield _row(scope, "facts:", text, "MEDIUM", LIKELY, FIRST, events)
    if policy.libraries and scope.path in scope.facets:
        names = known.libraries(states, scope.symbols.graph, scope.path)
        for number, name in enumerate(names[: policy.libraries]):
            text = known.library_within(
                states, scope.symbols.graph, name, policy.library_tokens, count
            )
            place, because = FIRST + 1 + number, scope.source(scope.path)["because"]
            yield _row(scope, f"library:{name}", text, "MEDIUM", LIKELY, place, because)


def _row(
    scope: RequestScope, node: str, text: str, priority: str, score: float, place: int,
    because: tuple[int, ...],
) -> Candidate:  # fmt: skip
    levels = scope.levels([("full", text)] if text else [], score)
    return Candidate(node, SECTION, priority, levels, score, because, place)
