"""Staleness on real histories: how much is truly stale, thrown away, or served falsely.

An entry is a function. After each commit it is truly stale when its extractive text, rendered from
scratch, differs from the text at its last writing. Three other rules are judged beside ours, which
is by digests: the clock that an entry without digests names, with the iteration of each module that
it was built from; the clock of its own module alone; and the seeds' `is_stale` as written, by which
a module that is missing from the entry's clock counts as version 0. Entries that a rule throws away
are written anew; so are the truly stale.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from backcast.domain.events import Committed
from backcast.domain.node import node_id, path_of
from backcast.domain.outline import EXISTS, names_in
from backcast.domain.staleness import Modules
from backcast.domain.summary import NodeSummary, summary_of
from backcast.engine.log.importers.git import task_of
from backcast.engine.memory.import_log import run
from backcast.projections import dependency_graph
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.workload import open_store

LATEST, SOME = 400, 40
"Commits of each repository that are judged, in a full bench and by default."
RULES = ("by digest, ours", "by clock", "own module", "seeds' is_stale")


class Tally(NamedTuple):
    """Sums over all commits, in entries."""

    entries: int = 0
    stale: int = 0
    thrown: tuple[int, ...] = (0,) * len(RULES)
    false_fresh: tuple[int, ...] = (0,) * len(RULES)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> Iterator[Figure]:
    bench.say(f"staleness in {repository}")
    name = "/".join(repository.resolve().parts[-2:])
    commits, tally = _judge(bench, repository)
    group = f"staleness in {name}, {commits} commits, {tally.entries:,} entries in all"
    if not tally.stale:
        yield Figure(group, "truly stale", why="no commit changed the text of any function")
        return
    share = 100 * tally.stale / tally.entries
    yield Figure(group, "truly stale, of all entries a commit", [share], "%")
    for number, rule in enumerate(RULES):
        ours = number == 0
        thrown, fresh = tally.thrown[number], tally.false_fresh[number]
        yield Figure(
            group,
            f"{rule}: thrown away, to truly stale",
            [thrown / tally.stale],
            ours=f"{100 * thrown / tally.entries:.2f} % of all entries",
            aim=Bound("<=", 2) if ours else None,
        )
        yield Figure(
            group,
            f"{rule}: served though stale, of truly stale",
            [100 * fresh / tally.stale],
            "%",
            ours=f"{fresh} of {tally.stale}",
            must=Bound("<=", 0) if ours else None,
        )


def _judge(bench: Bench, repository: Path) -> tuple[int, Tally]:
    """Judge every rule after each of the latest commits of a repository."""
    tally, entries, count = Tally(), dict[str, NodeSummary](), 0
    for before, state in pairwise(list(_steps(bench, repository))):
        if not entries:
            entries = _texts(before)
        texts = _texts(state)
        moved = _moved(before, state)
        tally = _judged(tally, entries, texts, state, moved)
        entries, count = texts, count + 1
    return count, tally


def _judged(
    tally: Tally,
    entries: Mapping[str, NodeSummary],
    texts: Mapping[str, NodeSummary],
    state: dependency_graph.State,
    moved: set[str],
) -> Tally:
    """Return the tally after one more commit."""
    modules = Modules(dependency_graph.present(state))
    stale, thrown, fresh = 0, [0] * len(RULES), [0] * len(RULES)
    for node, entry in entries.items():
        truly = node not in texts or texts[node].text != entry.text
        stale += truly
        verdicts = (
            not modules.holds(entry.built_from),
            not moved.isdisjoint(_clock_paths(node, entry)),
            path_of(node) in moved,
            bool(moved),
        )
        for number, verdict in enumerate(verdicts):
            thrown[number] += verdict
            fresh[number] += truly and not verdict
    return Tally(
        tally.entries + len(entries),
        tally.stale + stale,
        tuple(a + b for a, b in zip(tally.thrown, thrown, strict=True)),
        tuple(a + b for a, b in zip(tally.false_fresh, fresh, strict=True)),
    )


def _steps(bench: Bench, repository: Path) -> Iterator[dependency_graph.State]:
    """Yield the state before each of the latest commits, and the last one."""
    task_id = task_of(repository)
    path = bench.folder / f"stale-{task_id.replace('/', '-')}.db"
    with open_store(path, "normal") as store:
        run(store, "git", repository, processes=os.cpu_count() or 1)
        commits = [event.version for event in store.read(task_id, types=["COMMITTED"])]
        count = LATEST if bench.full else SOME
        first = commits[-count] if len(commits) >= count else commits[min(1, len(commits) - 1)]
        state = dependency_graph.initial
        for event in store.read(task_id):
            if event.version >= first and isinstance(event.fact, Committed):
                yield state
            state = dependency_graph.evolve(state, event)
    yield state


def _texts(state: dependency_graph.State) -> dict[str, NodeSummary]:
    """Return the extractive summary of every function and method of a state, by node."""
    modules = dependency_graph.present(state)
    texts: dict[str, NodeSummary] = {}
    for path, facets in modules.items():
        for name in names_in(facets):
            kind = facets[f"sig:{name}"][0]
            if kind in ("function", "method", "test"):
                node = node_id(kind, path, name)
                if summary := summary_of(modules, node):
                    texts[node] = summary
    return texts


def _clock_paths(node: str, entry: NodeSummary) -> list[str]:
    """Return the modules that an entry's clock names: those that it read, its own among them."""
    read = [path for path, keys in entry.built_from.items() if any(key != EXISTS for key in keys)]
    return [path_of(node), *read]


def _moved(before: dependency_graph.State, after: dependency_graph.State) -> set[str]:
    """Return the modules that a commit changed or removed."""
    paths = {*before.modules, *after.modules}
    old, new = before.modules, after.modules
    return {path for path in paths if path not in old or new[path].version != old[path].version}
