"""Windows of the histories of large repositories, taken as runs; each history is imported once.

A window counts where the repository had 1,000 functions or more when it began: functions, methods
and tests, as its outlines tell them.
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
"Of a window; of about 23 of them a function is asked for."
FUNCTIONS = 1_000
KINDS = ("function", "method", "test")


def windows(bench: Bench, many: int) -> list[ReplayRun]:
    """So many runs, or as many as there are: the newest of each repository, as many of each.

    They are sorted by repository, the oldest first, so that what is kept of a log is used again.
    """
    each = [_newest(bench, folder, many) for folder in bench.repositories]
    taken = [one for one in chain.from_iterable(zip_longest(*each)) if one][:many]
    return sorted(taken, key=lambda one: (one.log, one.first))


def _newest(bench: Bench, folder: Path, many: int) -> list[ReplayRun]:
    url, task = stored(bench, folder)
    with opened(url) as log:
        changes, found = changed(log.store, task), list[ReplayRun]()
        for end in range(len(changes), CHANGES - 1, -CHANGES):
            first = end - CHANGES
            if len(found) == many or _functions(log.store, task, changes[first]) < FUNCTIONS:
                break
            found.append(ReplayRun(url, task, 0, first, CHANGES))
    bench.say(f"{task}: {len(found)} windows of {CHANGES} changes")
    return found


def _functions(store: EventStore, task: str, change: CodeChange) -> int:
    """How many functions there were before a change."""
    events = list(store.read(task, after=change.first - 2, last=change.first - 1))
    if not events:
        return 0
    moment = Moment(position=events[-1].position)
    state: dependency_graph.State = state_at(store, dependency_graph, task, moment)
    return sum(1 for _ in _named(state))


def _named(state: dependency_graph.State) -> Iterator[str]:
    for facets in dependency_graph.present(state).values():
        for name in names_in(facets):
            if facets[f"sig:{name}"][:1] and facets[f"sig:{name}"][0] in KINDS:
                yield name


def stored(bench: Bench, folder: Path) -> tuple[str, str]:
    """The URL of a repository's log, and its task there; imported if that was not done yet."""
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
