"""Contributions of finished tasks that bear on a request: what they knew of it, and fixes.

A look-up asks what is in hand first, then what was left: by name, along the graph, and by the words
that a finished task's goal shares with the request. A fix is offered where the very message, or the
very check, failed before: likeness cannot tell "enable" from "disable".
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.cache import CacheHit, Held, LookUpPolicy, look_up
from backcast.domain.context import Candidate
from backcast.domain.graph import Graph
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.engine.context.recall.fixes import fixes, matched
from backcast.engine.context.recall.modules import missing_module
from backcast.engine.context.recall.solutions import Solutions
from backcast.engine.context.recall.tasks import goals_alike, similar_tasks
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.context.search.words import words
from backcast.projections import offline_cache, online_cache

SECTION = "historical patterns"
WORK = ("task", "module", "refinement")
"Of what is in hand what the task works on, whatever a model was shown."
SCORES = {"name": 0.5, "graph": 0.2, "meaning": 0.1}
"How likely what was left is needed, by how it was found; a goal's shared words add their share."


class Recalled(NamedTuple):
    """What earlier work bears on a request."""

    candidates: Sequence[Candidate]
    gone: Sequence[str]
    "The nodes of functions and classes whose text cannot be read any more."


def recalled(scope: RequestScope) -> Recalled:
    """Return what earlier work bears on a request: fixes, tasks like it, functions and classes."""
    if not scope.policy.recalled:
        return Recalled(list(references(scope)), ())
    goals = goals_alike(scope)
    modules = list(missing_module(scope, goals))
    solutions = Solutions(scope, goals, within=[module.node for module in modules])
    candidates = [*modules, *solutions.all(), *fixes(scope), *similar_tasks(scope, goals)]
    return Recalled(candidates, solutions.gone)


def references(scope: RequestScope) -> Iterator[Candidate]:
    """Yield fixes and other contributions of finished tasks by name alone, as many of each as the
    policy says."""
    states, graph, policy, details = scope.states, scope.symbols.graph, scope.policy, scope.details
    online, offline, target, levels = states.online, states.offline, scope.target, scope.levels
    if not offline.complete:
        return
    goal, query = states.progress.goal or "", scope.request.query
    asked = f"{goal} {query} {scope.path} {scope.name}"
    task_id, priority = graph.task_id, policy.priority(SECTION)
    for number, (fix, _) in enumerate(
        matched(task_id, online, offline, values=False)[: details.patterns]
    ):
        head = f"Seen before: {fix.check or fix.message}"
        mended = f"mended by iteration {fix.iteration} of {fix.module}, task {fix.task}"
        texts = [("full", f"{head}: {fix.message}\n{mended}"), ("signature", f"{head}: {mended}")]
        score = round(0.5 / (1 + number), 6)
        node = f"fix:{fix.task}@{fix.position}"
        yield Candidate(
            node, SECTION, priority, levels(texts, score), score, (), number, task=fix.task
        )
    alike = _alike(task_id, offline, asked)
    hits = _hits(graph, online, offline, target, list(alike))
    solutions = {one.task: one for one in offline_cache.historical_solutions(offline)}
    for number, hit in enumerate(hits[: details.patterns]):
        texts = _texts(hit, solutions[hit.task])
        score = round(SCORES[hit.by] + alike.get(hit.node, 0.0) / 2, 6)
        # Its own name, since a node of the running task may have the same id.
        node = hit.node if kind_of(hit.node) == "task" else f"left:{hit.task}/{hit.node}"
        place = details.patterns + number
        yield Candidate(
            node, SECTION, priority, levels(texts, score), score, (), place, task=hit.task
        )


def _hits(
    graph: Graph,
    online: online_cache.State,
    offline: offline_cache.State,
    target: str,
    similar: list[str],
) -> list[CacheHit]:
    """Return the contributions of other tasks that match the target, are near it, or similar.

    In hand are what the task works on, and the target where its own code has it.
    """
    contributions = [one for one in offline_cache.held(offline) if one.task != graph.task_id]
    names = [target, node_id("module", path_of(target))] if target else []
    near = LookUpPolicy(enough=len(names) + 1)
    # Not what was only shown: the next prompt knows nothing of the one before.
    work = [one.id for one in online_cache.working_set(online) if one.kind in WORK]
    hand = [Held(node) for node in (*work, *names) if node in work or node in graph.into]
    result = look_up(
        names, hand, contributions, near,
        lambda node: [one for one in graph.neighbours(node) if one != node], similar,
    )  # fmt: skip
    return [hit for hit in result.hits if hit.found == "offline"]


def _texts(hit: CacheHit, of: offline_cache.Solution) -> list[tuple[str, str]]:
    """Return a contribution at two levels: with what is known of it, and by name."""
    if kind_of(hit.node) == "task":
        head = f"Earlier task {of.task}: {of.problem}"
        rest = [of.summary, f"Code: {', '.join(of.references)}"]
    else:
        name = name_of(hit.node)
        where = Reference(hit.task, path_of(hit.node), name=name or None)
        head = f"{name or path_of(hit.node)} in earlier task {of.task}: {where}"
        rest = [of.problem]
    return [("full", "\n".join(filter(None, [head, *rest]))), ("signature", head)]


def _alike(task_id: str, offline: offline_cache.State, asked: str) -> dict[str, float]:
    """Return other finished tasks by the share of words that their goals have in common with a
    request, the most first; tasks without any are left out."""
    own, found = frozenset(words(asked)), {}
    for solution in offline_cache.historical_solutions(offline):
        theirs = frozenset(words(solution.problem))
        if solution.task != task_id and (both := own & theirs):
            found[node_id("task", solution.task)] = round(len(both) / len(own | theirs), 6)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
