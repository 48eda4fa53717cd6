"""The changes of a task: its commits; where there are none, the iterations of its modules."""

from typing import NamedTuple

from backcast.domain.events import (
    Committed,
    Imported,
    ModuleIteration,
    ModuleRenamed,
    RefsRead,
    WorkflowEvent,
)
from backcast.engine.history.branches import lineage_of
from backcast.engine.log.store import EventStore

KINDS = ("COMMITTED", "MODULE_ITERATION", "MODULE_RENAMED", "MODULE_DELETED")


def lacks_before(store: EventStore, task_id: str) -> str:
    """Return, in words, with which commit a history begins that was not imported from its first
    one on; empty for others."""
    first = next(store.read(task_id, types=["COMMITTED"]), None)
    if first is None or not isinstance(first.fact, Committed) or not first.fact.begins_after:
        return ""
    return f"begins with commit {first.fact.sha[:10]} of {first.timestamp:%Y-%m-%d}"


def is_broken_off(store: EventStore, task_id: str) -> bool:
    """Return whether a history's import ended before its end, where it records the names."""
    named, imported = 0, False
    for event in store.read(task_id, types=["REFS_READ", "IMPORTED"]):
        if isinstance(event.fact, RefsRead):
            named = event.version
        elif isinstance(event.fact, Imported):
            imported = imported or event.fact.format == "git"
    after = store.read(task_id, after=named, types=["COMMITTED"]) if imported else iter(())
    return any(True for _ in after) and not lineage_of(store, task_id).copied


class CodeChange(NamedTuple):
    """A commit or iteration, and its events in the task."""

    first: int
    last: int
    "The versions of its first event, and of the last event before the next change."
    name: str
    words: str
    "The commit message; empty for an iteration."
    paths: tuple[str, ...]


def changed(store: EventStore, task_id: str) -> list[CodeChange]:
    """Return the changes of a task that touch Python modules, in order."""
    groups: list[list[WorkflowEvent]] = []
    commits = False
    for event in store.read(task_id, types=KINDS):
        commit = isinstance(event.fact, Committed)
        if commit and not commits:
            commits, groups = True, []
        if commit or not (commits and groups):
            groups.append([])
        groups[-1].append(event)
    ends = [group[0].version - 1 for group in groups[1:]] + [store.version(task_id)] * bool(groups)
    changes = (_change(group, end) for group, end in zip(groups, ends, strict=True))
    return [change for change in changes if change.paths]


def _change(group: list[WorkflowEvent], end: int) -> CodeChange:
    head, paths, name = group[0], [], ""
    for event in group:
        if isinstance(event.fact, ModuleIteration | ModuleRenamed):
            name = name or f"{event.fact.module_name} #{event.fact.iteration}"
            if event.fact.module_name.endswith(".py"):
                paths.append(event.fact.module_name)
    words = ""
    if isinstance(head.fact, Committed):
        name, words = f"commit {head.fact.sha[:10]}", head.fact.message
    return CodeChange(head.version, end, name, words, tuple(sorted(set(paths))))


def is_of_commit(store: EventStore, event: WorkflowEvent) -> bool:
    """Tell whether an event is a commit, or what one changed."""
    causes = (next(store.read(event.task_id, after=n - 1, last=n), None) for n in event.because)
    return any(cause and isinstance(cause.fact, Committed) for cause in (event, *causes))
