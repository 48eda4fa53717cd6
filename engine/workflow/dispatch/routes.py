"""Which agent is asked next where a policy of routing chooses, and what it knows of a task."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from immutables import Map

from backcast.domain.dispatch_events import RoutedTo, TaskTraits
from backcast.domain.graph import Graph
from backcast.domain.outline import Facets, surface_of
from backcast.domain.paths import is_test
from backcast.domain.routing import RoutingPolicy, alike, choice, held_of, named_paths
from backcast.domain.task_list import ListedTask
from backcast.engine.memory.outliner import outliner_of
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.next_step import UNFINISHED
from backcast.engine.workflow.dispatch.work_tree import git
from backcast.projections import dispatches


def chosen(run: DispatchRun, item: ListedTask, attempt: int, repairs: int | None) -> RoutedTo:
    """Return which agent makes an attempt at a task, and why."""
    routes = run.settings.routes
    assert routes is not None
    policy = routes.policy
    before = [
        found.started for _, found in dispatches.of_item(run.state, item.id)
        if found.started.role != "reviewer" and found.started.routed is not None
    ]  # fmt: skip
    begun = [made for made in before if made.routed and made.routed.traits is not None]
    unfinished = begun and before[-1] is begun[-1] and _unfinished(run, item.id)
    if begun and (attempt > 1 or repairs or unfinished):
        last = begun[-1].routed
        assert last is not None
        start = last.start if last.start in policy.agents else policy.agents[0]
        agent = policy.after(start or policy.agents[0], attempt)
        tries = "1 attempt" if attempt == 2 else f"{attempt - 1} attempts"
        same = f"{start} began, {tries} before did not hold"
        again = attempt == 1
        return last if again and last.agent in routes.forms else RoutedTo(
            agent=agent, start=start, why=(same,), policy=policy.digest)  # fmt: skip
    traits = traits_of(run, item, policy)
    found = choice(policy, traits, f"{run.task}\0{item.id}\0{len(begun)}")
    drew = {name: value for name, value in (("draw", found.draw), ("propensity", found.propensity))
            if value is not None}  # fmt: skip
    agent = policy.after(found.agent, attempt)
    return RoutedTo(agent=agent, start=found.agent, why=found.why, policy=policy.digest,
                    agents=policy.agents, traits=traits, **drew)  # fmt: skip


def _unfinished(run: DispatchRun, item: str) -> bool:
    _, last = dispatches.of_item(run.state, item)[-1]
    return last.ended is not None and last.ended.outcome in UNFINISHED


# What is known before


def traits_of(run: DispatchRun, item: ListedTask, policy: RoutingPolicy) -> TaskTraits:
    """Return what is known of a task before anybody is asked about it."""
    place = {"GIT_DIR": str(run.source.repository.git_dir)}
    listed = git(run.source.top, place, "ls-tree", "-r", "-z", "--name-only", run.base())
    paths = [path for path in listed.decode(errors="replace").split("\0") if path]
    modules = named_paths(f"{item.title}\n{item.details}", paths)
    found = {"modules": modules, "alike": _alike(run, item, modules)}
    if policy.looks_around and modules:
        found |= _around(_graph(run, place, paths), modules)
    return TaskTraits(**found)


def _alike(
    run: DispatchRun, item: ListedTask, modules: tuple[str, ...]
) -> dict[str, tuple[int, int]]:
    known = {
        made.started.item: made.started.routed.traits.modules
        for _, made in sorted(run.state.dispatches.items())
        if made.started.routed and made.started.routed.traits
    }
    rows = list[tuple[str, bool]]()
    for _, made in sorted(run.state.dispatches.items()):
        started = made.started
        if made.checked is None or started.item == item.id or not started.routed:
            continue
        if alike(item.title, modules, started.title or "", known.get(started.item, ())):
            rows.append((started.routed.agent or "", bool(made.checked.accepted)))
    return dict(held_of(rows))


class _Module(NamedTuple):
    """A module as the graph reads it."""

    facets: Facets
    surface: str
    since: Mapping[str, int] = {}


def _graph(run: DispatchRun, place: dict[str, str], paths: list[str]) -> Graph:
    """Return the graph of the modules of the commit that the next agent begins with."""
    wanted = [path for path in paths if path.endswith(".py")]
    asked = "".join(f"{run.base()}:{path}\n" for path in wanted if "\n" not in path).encode()
    answer = git(run.source.top, place, "cat-file", "--batch", asked=asked)
    modules = dict[str, _Module]()
    at = 0
    for path in wanted:
        end = answer.index(b"\n", at)
        length = int(answer[at:end].split()[2])
        source = answer[end + 1 : end + 1 + length]
        at = end + length + 2
        outliner = outliner_of(path)
        assert outliner is not None
        facets = Map(outliner.outline(path, source).facets)
        modules[path] = _Module(facets, surface_of(facets))
    return Graph.of(run.task, modules, {})


def _around(graph: Graph, modules: tuple[str, ...]) -> dict[str, Any]:
    """Return how many modules need some, and whether one of those is a test."""
    needed = dict[str, set[str]]()
    for path, needs in _imports(graph):
        needed.setdefault(needs, set()).add(path)
    reached, queue = set(modules), list(modules)
    for path in queue:
        fresh = sorted(needed.get(path, set()) - reached)
        reached.update(fresh)
        queue += fresh
    others = [path for path in sorted(reached - set(modules)) if not is_test(path)]
    return {"blast": len(others), "tested": any(map(is_test, sorted(reached)))}


def _imports(graph: Graph) -> Iterator[tuple[str, str]]:
    for path in graph.links:
        for edge in graph.links[path].edges:
            if edge.kind == "imports" and edge.target.startswith("module:"):
                yield path, edge.target.removeprefix("module:")
