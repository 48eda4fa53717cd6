"""Other tasks like the one that runs: by the words of their goals and of what they left."""

from collections.abc import Iterator, Mapping
from textwrap import shorten

from backcast.domain.context import Candidate
from backcast.domain.gathered import TaskLegacy
from backcast.domain.node import Reference, node_id
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.context.search.words import words
from backcast.projections import offline_cache

SECTION = "historical patterns"
BY_NAMES = 0.5
"What a word of the request counts that only the names of what was left hold."
LEAST, LETTERS = 0.1, 3
"What names must count to count at all; the letters of a word that tells something."
NEAR = 0.6
"How near in meaning goals must be to count."
GOAL = 120
"Characters of its goal by which a task is told."
NAMES = 12
"Functions and classes that are named of each module that a task left."


def goals_alike(scope: RequestScope) -> dict[str, float]:
    """Return how alike the goal of each other task is to that of the running one, or to what is
    asked; between 0 and 1, those without any likeness left out."""
    if not scope.states.legacies:
        return {}
    goal, query = scope.states.progress.goal or "", scope.request.query
    wanted = [frozenset(words(goal)), frozenset(words(f"{goal} {query} {scope.path} {scope.name}"))]
    legacies = [legacy for legacy in scope.states.legacies if legacy.goal.strip()]
    found = dict[str, float]()
    for legacy in legacies:
        theirs = frozenset(words(legacy.goal))
        shares = [len(theirs & own) / len(theirs | own) for own in wanted if theirs & own]
        if shares:
            found[legacy.task] = round(max(shares), 6)
    if scope.nearness and scope.policy.weights.get("meaning") and legacies:
        asked = scope.evidence().asked.text or scope.path or "?"
        near = scope.nearness.of([legacy.goal for legacy in legacies], asked)
        for legacy, value in zip(legacies, near.tolist(), strict=True):
            if value >= NEAR:
                found[legacy.task] = max(found.get(legacy.task, 0.0), value)
    return found


def similar_tasks(scope: RequestScope, goals: Mapping[str, float]) -> Iterator[Candidate]:
    """Yield finished tasks like what is asked for, with what they left by name."""
    if not scope.states.offline.complete:
        return
    own = _telling(f"{scope.request.query} {scope.path} {scope.name}")
    alike, named, complete = dict[str, float](), dict[str, float](), scope.states.offline.complete
    for task in sorted(complete):
        names = _telling(" ".join(_names(complete[task])))
        by_names = BY_NAMES * len(own & names) / max(1, len(own))
        value = max(goals.get(task, 0.0), round(by_names, 6) if by_names >= LEAST else 0.0)
        if value and task != scope.symbols.graph.task_id:
            alike[task], named[task] = value, by_names

    def rank(task: str) -> tuple[float, float, int, str]:
        return -alike[task], -named[task], -complete[task].position, task

    order = sorted(alike, key=rank)
    solutions = {one.task: one for one in offline_cache.historical_solutions(scope.states.offline)}
    for number, task in enumerate(order[: scope.details.patterns]):
        solution = solutions[task]
        head = f"Earlier task {task}: {shorten(solution.problem, GOAL, placeholder=' ...')}"
        brief = "\n".join(filter(None, [head, solution.summary]))
        listed = "\n".join([brief, *_lines(task, complete[task], own)])
        texts = [("full", listed), ("summary", brief), ("signature", head)]
        score = round(alike[task] / 2, 6)
        place = scope.details.patterns + number
        yield Candidate(
            node_id("task", task), SECTION, scope.policy.priority(SECTION),
            scope.levels(texts, score), score, (), place, task=task,
        )  # fmt: skip


def _telling(text: str) -> frozenset[str]:
    """Return the words of a text that tell something of what it is about."""
    return frozenset(word for word in words(text) if len(word) >= LETTERS)


def _names(legacy: TaskLegacy) -> list[str]:
    """Return the names of the modules of a task, and of what is in them."""
    found = list[str]()
    for path in sorted(legacy.modules):
        found += [path, *sorted(legacy.modules[path].symbols)]
    return found


def _lines(task: str, legacy: TaskLegacy, asked: frozenset[str]) -> Iterator[str]:
    """Yield a line for each module that a task left: where it is, and what it holds that shares
    words with what is asked."""
    for path in sorted(legacy.modules):
        names = [
            name for name in sorted(legacy.modules[path].symbols)
            if "." not in name and _telling(name) & asked
        ]  # fmt: skip
        more = ", ..." if len(names) > NAMES else ""
        holds = f": {', '.join(names[:NAMES])}{more}" if names else ""
        yield f"Code: {Reference(task, path)}{holds}"
