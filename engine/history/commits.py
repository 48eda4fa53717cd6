"""The changes of a task: its commits; where there are none, the iterations of its modules."""

import re
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

TRAILER = re.compile(r"[A-Z][a-z]+(?:-[A-Za-z]+)+: |(?:Cc|Bug|Fixes|Closes|Refs): ")
"How lines begin that tell of a commit who and what had to do with it."
SIGNED = re.compile(r"[A-Z][A-Za-z-]+-[Bb]y: .*<.*>\s*")
"Such a line in the midst of a message, where several commits were made one."
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
    "What the commit message asks for; empty for an iteration."
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
        name, words = f"commit {head.fact.sha[:10]}", asked_by(head.fact.message)
    return CodeChange(head.version, end, name, words, tuple(sorted(set(paths))))


def asked_by(message: str) -> str:
    """Return a commit message without its trailers: they name people, not the work.

    >>> asked_by("Round shares\\n\\nTo cents.\\n\\nCo-authored-by: A <a@b.c>\\nFixes: 7\\n")
    'Round shares\\n\\nTo cents.'
    """
    lines = [line for line in message.rstrip().split("\n") if not SIGNED.fullmatch(line)] or [""]
    while len(lines) > 1 and (not lines[-1].strip() or TRAILER.match(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def is_of_commit(store: EventStore, event: WorkflowEvent) -> bool:
    """Tell whether an event is a commit, or what one changed."""
    causes = (next(store.read(event.task_id, after=n - 1, last=n), None) for n in event.because)
    return any(cause and isinstance(cause.fact, Committed) for cause in (event, *causes))
