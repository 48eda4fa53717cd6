"""Replay steps made from code changes, for logs without prompts: git histories, other agents.

Each commit that adds or changes a function counts as a request for that function: its message is
the query, and the state before it is what was known. Without commits, each iteration of a module
counts. Of several functions the step takes the largest new one that uses the project's own code,
else the largest changed one that does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from backcast.domain.node import name_of, node_id, path_of
from backcast.domain.outline import Facets, names_in
from backcast.engine.context.evidence import TOP
from backcast.engine.context.request import Request
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import TaskStates
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import KnownState, ReplayStep
from backcast.engine.replay.used import is_known, needs_of
from backcast.projections import dependency_graph

NEAR = 250
"Events that are read faster than a state after them is looked up."
LOOKED_AT = 3
"Functions of a change that are examined for use of the project's own code."


def begun(
    store: EventStore,
    task_id: str,
    changes: Sequence[CodeChange],
    before: TaskFollower | None = None,
) -> TaskFollower:
    """Return a task read up to the first of some changes; reuse `before` where it is near."""
    start = changes[0].first - 1 if changes else 0
    ahead = start - before.version if before and before.task_id == task_id else -1
    if before and 0 <= ahead <= NEAR:
        return before
    return TaskFollower.since(store, task_id, start)


def requests(
    store: EventStore,
    task_id: str,
    changes: Sequence[CodeChange] | None = None,
    before: TaskFollower | None = None,
) -> Iterator[ReplayStep]:
    """Yield a step for each change: all changes of a task, or the consecutive ones given.

    `before` is the task already read up to the first of them; it is read on.
    """
    changes = changed(store, task_id) if changes is None else changes
    running = before or begun(store, task_id, changes)
    for change in changes:
        running.read_on(change.first - 1)
        states = running.states
        running.read_on(change.last)
        if targets := _targets(states, running.states, change.paths):
            known = KnownState(states, running.graph_of(states))
            after = KnownState(running.states, running.graph)
            target = _target(known, after, targets)
            behind = _behind(known, after, target)
            request = Request(target, change.words, behind=behind)
            yield ReplayStep(task_id, change.first, change.name, request, None, known, after)


def _targets(known: TaskStates, after: TaskStates, paths: Iterable[str]) -> list[str]:
    """Return the first functions that a change may be about; none where it touches none."""
    old, new = (dependency_graph.present(states.graph) for states in (known, after))
    touched = []
    for path in paths:
        if path not in new or "error" in new[path]:
            continue
        lines = dependency_graph.lines_of(after.graph, path)
        for name in names_in(new[path]):
            kind = "".join(new[path][f"sig:{name}"][:1])
            if kind in ("function", "method") and differs(old.get(path), new[path], name):
                first, last = lines.get(name, (0, 0))
                was_there = path in old and f"sig:{name}" in old[path]
                touched.append((was_there, first - last, path, name, kind))
    return [node_id(kind, path, name) for _, _, path, name, kind in sorted(touched)[:LOOKED_AT]]


def _target(known: KnownState, after: KnownState, targets: Sequence[str]) -> str:
    """Return the first of some functions that uses the project's own code, else the first."""
    old = dependency_graph.present(known.states.graph)
    for target in targets:
        if any(is_known(old, node) for node in needs_of(after.graph, target)):
            return target
    return targets[0]


def _behind(known: KnownState, after: KnownState, target: str) -> str:
    """Return the function or class right before a new target that was there before it."""
    path, name = path_of(target), name_of(target)
    old, new = (dependency_graph.lines_of(state.states.graph, path) for state in (known, after))
    if name in old or name not in new:
        return ""
    before = [(last, other) for other, (_, last) in new.items()
              if last < new[name][0] and other in old]  # fmt: skip
    return max(before, default=(0, TOP if old else ""))[1]


def differs(old: Facets | None, new: Mapping[str, tuple[str, ...]], name: str) -> bool:
    """Tell whether a change touched a function of a module; `old` is None for a new module."""
    if old is None:
        return True
    keys = (f"sig:{name}", f"body:{name}")
    return any(old.get(key) != new.get(key) for key in keys)
