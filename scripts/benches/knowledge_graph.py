"""Graph, versions and staleness along a real history: one more iteration, and any past moment.

The control of one more iteration is a rebuild from nothing: folding the whole log, linking every
module, and asking every entry. The control of a past moment is the full fold up to it.
"""

import gc
import os
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from immutables import Map

from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import Moment
from backcast.domain.staleness import Modules, readers, touched
from backcast.engine.history.snapshots import RecentStates, state_at
from backcast.engine.history.staleness import extracted
from backcast.engine.log.importers.git import task_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.projections import dependency_graph, fold, versions
from scripts.benches.figures import Bench, Bound, Figure, in_turns, percentile, seconds
from scripts.benches.workload import open_store

ASKED = 40
"Random moments, and last iterations that are gone through."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> Iterator[Figure]:
    task_id = task_of(repository)
    path = bench.folder / f"graph-{task_id.replace('/', '-')}.db"
    with open_store(path, "normal") as store:
        bench.say(f"import of {repository} with outlines")
        run(store, "git", repository, processes=os.cpu_count() or 1)
        events = list(store.read(task_id))
        modules = fold(dependency_graph, events).modules
        group = f"{task_id}: {len(events):,} events, {len(modules)} modules ever"
        bench.say("one more iteration, beside a rebuild")
        yield from _iterations(group, events)
        bench.say("random past moments")
        yield from _moments(group, store, task_id, events)
        bench.say("memory of all states")
        yield _memory(group, events)


def _iterations(group: str, events: Sequence[WorkflowEvent]) -> Iterator[Figure]:
    """The last iterations, one after the other: fold, link, and ask what they can touch."""
    ends = _ends(events)[-ASKED:]
    place = ends[0]
    graph_state, version_state = (fold(p, events[:place]) for p in (dependency_graph, versions))
    graph = dependency_graph.graph_of(graph_state)
    entries = {entry.node: entry.built_from for entry in extracted(graph_state)}
    by_module = readers(entries)
    taken, asked = [], []
    for end in ends[1:]:
        new = events[place:end]

        def step(new: Sequence[WorkflowEvent] = new) -> None:
            nonlocal graph_state, version_state, graph
            before = graph_state
            graph_state = fold(dependency_graph, new, graph_state)
            version_state = fold(versions, new, version_state)
            graph = dependency_graph.graph_of(graph_state, graph)
            moved = _moved(before, graph_state, new)
            now = Modules(dependency_graph.present(graph_state))
            asked.append(len({entry for path in moved for entry in by_module.get(path, ())}))
            touched(entries, by_module, now, moved)

        taken.append(seconds(step))
        place = end
    rebuild = partial(_rebuild, events[:place], entries)
    [whole] = in_turns(3, rebuild)
    each, all_of_it = median(taken), median(whole)
    yield Figure(
        group,
        "one more iteration: graph, versions, staleness, of a rebuild",
        [100 * one / all_of_it for one in taken],
        "%",
        ours=f"{each * 1000:.2f} ms, {median(asked):.0f} of {len(entries)} entries asked",
        control=f"from nothing {all_of_it * 1000:,.0f} ms",
        must=Bound("<=", 1),
    )


def _rebuild(
    events: Sequence[WorkflowEvent], entries: dict[str, dict[str, dict[str, str]]]
) -> None:
    state = fold(dependency_graph, events)
    fold(versions, events)
    dependency_graph.graph_of(state)
    now = Modules(dependency_graph.present(state))
    for built_from in entries.values():
        now.holds(built_from)


def _ends(events: Sequence[WorkflowEvent]) -> list[int]:
    """Where single iterations of a module with an outline end: the outline's place, exclusive."""
    return [n for n, event in enumerate(events, 1) if event.fact.type == "MODULE_OUTLINED"]


def _moved(
    before: dependency_graph.State, after: dependency_graph.State, new: Sequence[WorkflowEvent]
) -> list[str]:
    names = (getattr(event.fact, "module_name", None) for event in new)
    paths = sorted({name for name in names if name})
    return [path for path in paths if before.modules.get(path) is not after.modules.get(path)]


def _moments(
    group: str, store: EventStore, task_id: str, events: Sequence[WorkflowEvent]
) -> Iterator[Figure]:
    """Graph and versions at random positions, warm, and whether they equal the full fold."""
    random = Random(1)
    places = [random.randrange(1, len(events)) for _ in range(3 * ASKED)]
    recent, cold = RecentStates(4 * ASKED), []
    taken, linking, folding, different, nodes = [], [], [], 0, []
    graph = None
    for place in places:
        at = Moment(position=events[place - 1].position)
        found: list[object] = []

        def ask(at: Moment = at, found: list[object] = found) -> None:
            both = (dependency_graph, versions)
            found[:] = [state_at(store, p, task_id, at, recent) for p in both]

        taken.append(1000 * seconds(ask))
        if len(taken) <= 2 * ASKED:  # not warm yet
            continue
        cold.append(1000 * seconds(partial(state_at, store, dependency_graph, task_id, at)))
        full = [fold(p, events[:place]) for p in (dependency_graph, versions)]
        folding.append(1000 * seconds(partial(fold, dependency_graph, events[:place])))
        different += found != full
        state = full[0]
        linking.append(1000 * seconds(lambda state=state: dependency_graph.graph_of(state)))
        graph = dependency_graph.graph_of(state, graph)
        nodes.append(len(graph.nodes))
    yield Figure(
        group,
        "graph and versions at a random past moment: states that differ from the full fold",
        [different],
        "",
        ours=f"{ASKED} moments asked",
        must=Bound("<=", 0),
    )
    yield Figure(
        group,
        f"graph and versions at a random past moment, p50, {2 * ASKED} others asked before",
        [percentile(taken[2 * ASKED :], 50)],
        "ms",
        ours=f"p99 {percentile(taken[2 * ASKED :], 99):.1f} ms",
        control=f"full fold of the graph {median(folding):.0f} ms",
        aim=Bound("<=", 20),
    )
    yield Figure(
        group,
        "the graph's state from a kept one, and all links made from nothing, a node",
        [1000 * (a + b) / max(1, n) for a, b, n in zip(cold, linking, nodes, strict=True)],
        "us",
        ours=f"{median(cold):.1f} + {median(linking):.1f} ms for {median(nodes):.0f} nodes",
        aim=Bound("<=", 10),
    )


def _memory(group: str, events: Sequence[WorkflowEvent]) -> Figure:
    """What the states of all steps take together, and what a plain copy a step would take."""
    gc.collect()
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    state, kept = dependency_graph.initial, []
    for event in events:
        state = dependency_graph.evolve(state, event)
        kept.append(state)
    taken = tracemalloc.get_traced_memory()[0] - begin
    tracemalloc.stop()
    plain = sum(_plain_bytes(one) for one in kept[:: max(1, len(kept) // 50)]) * max(
        1, len(kept) // 50
    )
    return Figure(
        group,
        "memory of the graph's states after every event",
        [taken / 1e6],
        "MB",
        ours=f"{len(kept):,} states",
        control=f"a plain copy of each one's maps about {plain / 1e6:,.0f} MB, texts shared",
    )


def _plain_bytes(state: dependency_graph.State) -> int:
    """The bytes of the dictionaries that a state's maps would be, their keys and values shared."""
    total = 0
    maps: list[Map[str, object]] = [state.modules, *(m.facets for m in state.modules.values())]  # type: ignore[list-item]
    for one in maps:
        total += sys.getsizeof(dict.fromkeys(one))
    return total
