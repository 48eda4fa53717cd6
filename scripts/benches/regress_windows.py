"""Windows of the histories of large repositories, taken as runs; each history is imported once.

A window counts where the repository had 1,000 functions, methods and tests or more at its start.
"""

import os
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

from backcast.domain.moment import Moment
from backcast.domain.outline import names_in
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run as imported
from backcast.engine.replay.corpus import ReplayRun
from backcast.projections import dependency_graph
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench
from scripts.benches.workload import checkpoint, open_store

CHANGES = 30
"Changes of a window; about 23 of them ask for a function."
FUNCTIONS = 1_000
KINDS = ("function", "method", "test")


def windows(bench: Bench, count: int) -> list[ReplayRun]:
    """Return at most `count` runs: the newest of each repository, as many of each.

    They are sorted by repository, the oldest first, so that the caches of a log serve its next run.
    """
    each = [_newest(bench, folder, count) for folder in bench.repositories]
    taken = [run for run in chain.from_iterable(zip_longest(*each)) if run][:count]
    return sorted(taken, key=lambda run: (run.log, run.first))


def _newest(bench: Bench, folder: Path, count: int) -> list[ReplayRun]:
    url, task = stored(bench, folder)
    with opened(url) as log:
        changes, runs = changed(log.store, task), list[ReplayRun]()
        for end in range(len(changes), CHANGES - 1, -CHANGES):
            first = end - CHANGES
            if len(runs) == count or _functions(log.store, task, changes[first]) < FUNCTIONS:
                break
            runs.append(ReplayRun(url, task, 0, first, CHANGES))
    bench.say(f"{task}: {len(runs)} windows of {CHANGES} changes")
    return runs


def _functions(store: EventStore, task: str, change: CodeChange) -> int:
    """Count the functions before a change."""
    events = list(store.read(task, after=change.first - 2, last=change.first - 1))
    if not events:
        return 0
    moment = Moment(position=events[-1].position)
    state: dependency_graph.State = state_at(store, dependency_graph, task, moment)
    return sum(1 for _ in functions_in(state))


def functions_in(state: dependency_graph.State) -> Iterator[tuple[str, str]]:
    """Yield the module and name of each function, method and test."""
    for module, facets in dependency_graph.present(state).items():
        for name in names_in(facets):
            if facets[f"sig:{name}"][:1] and facets[f"sig:{name}"][0] in KINDS:
                yield module, name


def stored(bench: Bench, folder: Path) -> tuple[str, str]:
    """Return the URL of a repository's log and its task there, after an import where needed."""
    repository = Repository(folder)
    path = bench.folder / f"log-{repository.name}-{repository.head()[:12]}.db"
    if not path.exists():
        bench.say(f"{repository.name}: importing its history")
        part = path.with_suffix(".part.db")
        # An import that was stopped goes on where it was.
        with open_store(part) as store:
            imported(store, "git", folder, repository.name, processes=os.cpu_count() or 1)
        checkpoint(part)
        part.rename(path)
    return f"sqlite:///{path}", repository.name
