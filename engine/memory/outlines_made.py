"""Up to which event does every text of a task have its outline? Kept, so that it is asked once."""

import json

from backcast.domain.events import (
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
)
from backcast.engine.history.kept import SPREAD, code_of, keep, kept
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outliner import ALL, outliner_name, outliner_of
from backcast.engine.memory.outlines import KINDS, is_link, source_version

NAME = "outlines"
FILES = ("engine/memory/outlines.py", "engine/memory/outlines_made.py")


def all_made(store: EventStore, task_id: str) -> bool:
    """Return whether every text of a task is known to have an outline by today's outliners.

    False tells nothing: the log has to be read then.
    """
    last = store.version(task_id)
    found = kept(store, NAME, code_of(*FILES), task_id, last, json.loads)
    if found is None or found[1] != _outliners():
        return False
    waiting = set[int]()
    for event in store.read(task_id, after=found[0], last=last, types=KINDS):
        match event.fact:
            case ModuleOutlined(module_name=path, outliner=outliner):
                if outliner != outliner_name(path):
                    return False
                waiting.discard(source_version(event))
            case (
                ModuleIteration(module_name=path, source=str())
                | ModuleRenamed(module_name=path, source=str())
                | SourceRead(path=path)
            ) if outliner_of(path) or is_link(event.fact):
                waiting.add(event.version)
    if not waiting and last - found[0] > SPREAD:
        note_all_made(store, task_id, last)
    return not waiting


def note_all_made(store: EventStore, task_id: str, version: int) -> None:
    """Keep that every text up to a version of a task has its outline."""
    keep(store, NAME, code_of(*FILES), task_id, version, json.dumps(_outliners()).encode())


def _outliners() -> list[str]:
    return [f"{outliner.NAME} {outliner.VERSION}" for outliner in ALL]
