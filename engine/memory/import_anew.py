"""Imports a log anew, beside the task that an older importer filled, and tells what differs.

The old task stays as it is. The new one is the first of TASK~2, TASK~3, ... that is free; where one
of them came by the importer as it is now, the import goes on in that one, so that it can be cut
off, and repeated, as any import.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    SourceRead,
    WorkflowEvent,
)
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.importers import Batch, Report, git, import_batches
from backcast.engine.log.importers.git_beginning import WHOLE, Beginning
from backcast.engine.log.importers.versions import (
    MODULES,
    OWN,
    copies,
    importer_of,
    version_of,
    versions_in,
)
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import (
    Progress,
    batches_of,
    counted,
    finishing,
    keep_all_states,
)
from backcast.engine.memory.outlined_batches import outlined
from backcast.projections import progress as how_far

NOT_OF_THE_LOG = frozenset((
    "IMPORTED", "REFS_READ", "MODULE_OUTLINED", "SUMMARY_WRITTEN", "MAP_EDITED", "PLAN_LEARNED",
    "BRANCHED", "SCORED", "NODES_RATED",
))  # fmt: skip
"Kinds that tell of the import, or were derived in the store: a log read anew may lack them."


class KindChange(NamedTuple):
    """The events of one kind that differ."""

    kind: str
    gone: int
    "Events that only the old task holds."
    new: int
    "Events that only the new task holds."
    moved: int
    "Events that say the same in both, with another time or other causes."


class ModuleChange(NamedTuple):
    """A module that stands otherwise at the end of a task."""

    path: str
    what: str
    "gone, new, other text, other time."


class AnewTask(NamedTuple):
    """A task, the one that holds its log anew, and what differs from the one to the other."""

    task: str
    anew: str
    added: int
    "Events that this import has added."
    kinds: tuple[KindChange, ...]
    modules: tuple[ModuleChange, ...]
    goals: tuple[str | None, str | None]
    replies: tuple[int, int]

    @property
    def differs(self) -> bool:
        """Whether anything differs."""
        return bool(
            self.kinds
            or self.modules
            or self.goals[0] != self.goals[1]
            or self.replies[0] != self.replies[1]
        )


def run_anew(
    store: EventStore,
    format: str,
    path: Path,
    task_id: str | None = None,
    *,
    outlines: bool = True,
    processes: int = 1,
    progress: Progress = lambda what, total: nullcontext(lambda step: None),
    begin: Beginning = WHOLE,
) -> tuple[Report, list[AnewTask]]:
    """Import a log anew beside the tasks that it was imported as, and compare them. A git history
    begins where `begin` says.

    `InputError` where the store holds no such task.
    """
    if format == OWN or format not in MODULES:
        raise InputError(f"--anew: needed a foreign format, found {format}: its events are as told")
    report, copied = Report(), _Copies(store, format)
    with progress(f"importing {path.name} anew", counted(format, path, begin)) as advance:
        if format == "git":
            name = copied.of(task_id or git.task_of(path))
            batches = git.read(path, name, store, report, begin=begin)
            batches = outlined(store, name, batches, processes) if outlines else batches
        else:
            batches = copied.renamed(batches_of(store, format, path, task_id, report), report)
        import_batches(
            store, format, batches, report, advance, importer_of(format, copied.origins),
            finishing(store, format) if outlines else None,
        )  # fmt: skip
    keep_all_states(store, report)
    return report, [
        compared(store, task, anew, report.tasks.get(anew, 0))
        for task, anew in sorted(copied.known.items())
    ]


class _Copies:
    """The tasks that are written anew."""

    def __init__(self, store: EventStore, format: str) -> None:
        self.store, self.format = store, format
        self.origins: dict[str, str] = {}
        "The old task of each new one."
        self.known: dict[str, str] = {}
        "The new task of each old one."

    def of(self, task_id: str) -> str:
        """Return the name of a task's new copy; `InputError` where the store lacks the task."""
        if task_id not in self.known:
            if not self.store.version(task_id):
                raise InputError(
                    f"task {task_id!r}: needed one that was imported before, found none of this"
                    f" name: import it without --anew, or name it with --as"
                )
            self.known[task_id] = name = self._copy(task_id) or self._free(task_id)
            self.origins[name] = task_id
        return self.known[task_id]

    def renamed(self, batches: Iterator[Batch], report: Report) -> Iterator[Batch]:
        """Yield batches under their new names; what was parted from a task has its own."""
        for batch in batches:
            if batch.task_id in report.parted:
                yield batch
            else:
                yield batch._replace(task_id=self.of(batch.task_id))

    def _copy(self, task_id: str) -> str | None:
        """Return the latest copy, if the importer as it is now has written it."""
        now = [version_of(self.format)]
        latest = copies(self.store, task_id, self.format)[-1:]
        current = [c for c in latest if versions_in(self.store, c).get(self.format) == now]
        return current[0] if current else None

    def _free(self, task_id: str) -> str:
        number = 2
        while self.store.version(f"{task_id}~{number}"):
            number += 1
        return f"{task_id}~{number}"


class ForeignTold(NamedTuple):
    """What a task tells of a foreign log."""

    events: Counter[tuple[str, bytes]]
    "By kind and content."
    placed: Counter[tuple[str, bytes]]
    "The same, with times and causes."
    modules: dict[str, tuple[str | None, datetime]]
    "The last text of each module, and its time."


def compared(store: EventStore, task: str, anew: str, added: int = 0) -> AnewTask:
    """Return what differs from a task to the one that holds its log anew."""
    old, new = _told(store, task), _told(store, anew)
    gone, more = old.events - new.events, new.events - old.events
    # An event that differs as a whole differs in its place too.
    moved = new.placed - old.placed
    totals = [_by_kind(counts) for counts in (gone, more, moved)]
    kinds = (
        KindChange(kind, totals[0][kind], totals[1][kind], totals[2][kind] - totals[1][kind])
        for kind in sorted(set().union(*totals))
    )
    states = [state_at(store, how_far, name) for name in (task, anew)]
    return AnewTask(
        task, anew, added, tuple(change for change in kinds if any(change[1:])),
        tuple(_modules(old.modules, new.modules)), (states[0].goal, states[1].goal),
        (states[0].replies, states[1].replies),
    )  # fmt: skip


def _by_kind(counts: Counter[tuple[str, bytes]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (kind, _), number in counts.items():
        found[kind] += number
    return found


def _modules(
    old: Mapping[str, tuple[str | None, datetime]], new: Mapping[str, tuple[str | None, datetime]]
) -> Iterator[ModuleChange]:
    for path in sorted({*old, *new}):
        if path not in new or path not in old:
            yield ModuleChange(path, "new" if path in new else "gone")
        elif old[path] != new[path]:
            text = old[path][0] != new[path][0]
            yield ModuleChange(path, "other text" if text else "other time")


def _told(store: EventStore, task_id: str) -> ForeignTold:
    task = ForeignTold(Counter(), Counter(), {})
    contents: dict[int, bytes] = {}
    for event in store.read(task_id):
        if event.type in NOT_OF_THE_LOG:
            continue
        content = _hash(event.type, event.fact.data, event.writer)
        # Versions shift by what the store derived: a cause is known by what it says.
        causes = sorted(contents[cause].hex() for cause in event.because if cause in contents)
        contents[event.version] = content
        task.events[event.type, content] += 1
        task.placed[event.type, _hash(content.hex(), event.timestamp, causes)] += 1
        _note_module(task.modules, event)
    return task


def _note_module(modules: dict[str, tuple[str | None, datetime]], event: WorkflowEvent) -> None:
    match event.fact:
        case ModuleDeleted(module_name=path):
            modules.pop(path, None)
        case ModuleRenamed(module_name=path, previous_name=previous, source=source):
            modules.pop(previous, None)
            modules[path] = source, event.timestamp
        case ModuleIteration(module_name=path, source=source):
            modules[path] = source, event.timestamp
        case SourceRead(path=path, source=source):
            modules[path] = source, event.timestamp


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(to_json(parts)).digest()[:16]
