"""Changes taken as requests, for logs that hold no prompts: git histories, other agents' runs.

Each commit that adds or changes a function is a request for one of its functions, in the words of
its message, as things stood before it; where there are no commits, each iteration of a module is
one. Of several functions it is the largest new one that uses something of the project's own, else
the largest changed one that does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from backcast.domain.node import node_id
from backcast.domain.outline import Facets, names_in
from backcast.engine.context.request import Request
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import KnownState, ReplayStep
from backcast.engine.replay.used import needs_of, there
from backcast.projections import dependency_graph

NEAR = 250
"Events that are sooner read than the states after them are found."
LOOKED_AT = 3
"Functions of a change that are looked at until one uses something of the project's own."


def begun(
    store: EventStore, task_id: str, some: Sequence[CodeChange], before: TaskFollower | None = None
) -> TaskFollower:
    """A task, read up to some changes that follow each other: one that was read goes on."""
    start = some[0].first - 1 if some else 0
    ahead = start - before.version if before and before.task_id == task_id else -1
    if before and 0 <= ahead <= NEAR:
        return before
    return TaskFollower.since(store, task_id, start)


def requests(
    store: EventStore,
    task_id: str,
    some: Sequence[CodeChange] | None = None,
    before: TaskFollower | None = None,
) -> Iterator[ReplayStep]:
    """The steps that changes are taken as: all of a task's, or some that follow each other.

    `before` is the task where it was read up to them, and is read on.
    """
    some = changed(store, task_id) if some is None else some
    running = before or begun(store, task_id, some)
    for change in some:
        running.read_on(change.first - 1)
        known = KnownState(running.states, running.graph)
        running.read_on(change.last)
        after = KnownState(running.states, running.graph)
        target = _target(known, after, change.paths)
        if target:
            request = Request(target, change.words)
            yield ReplayStep(task_id, change.first, change.name, request, None, known, after)


def _target(known: KnownState, after: KnownState, paths: Iterable[str]) -> str:
    """The function that a change is taken to be about; empty where it touches none."""
    old, new = (dependency_graph.present(one.states.graph) for one in (known, after))
    found = []
    for path in paths:
        if path not in new or "error" in new[path]:
            continue
        lines = dependency_graph.lines_of(after.states.graph, path)
        for name in names_in(new[path]):
            kind = "".join(new[path][f"sig:{name}"][:1])
            if kind in ("function", "method") and _differs(old.get(path), new[path], name):
                first, last = lines.get(name, (0, 0))
                was_there = path in old and f"sig:{name}" in old[path]
                found.append((was_there, first - last, path, name, kind))
    targets = [node_id(kind, path, name) for _, _, path, name, kind in sorted(found)[:LOOKED_AT]]
    for target in targets:
        if any(there(old, node) for node in needs_of(after.graph, target)):
            return target
    return targets[0] if targets else ""


def _differs(old: Facets | None, new: Mapping[str, tuple[str, ...]], name: str) -> bool:
    if old is None:
        return True
    keys = (f"sig:{name}", f"body:{name}")
    return any(old.get(key) != new.get(key) for key in keys)
