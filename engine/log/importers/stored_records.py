"""Records of a foreign log in a task that came as Backcast's own lines.

An export brings events without the ids of the foreign log. Where that log is imported again, its
records are known by what they say and when.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from backcast.domain.events import Imported
from backcast.engine.log.store import EventStore

if TYPE_CHECKING:
    from backcast.engine.log.importers import ForeignFact

ALL_NEW = ("git",)
"Formats of which only new records are read."
Said = tuple[datetime, str, bytes]
"When an event was, its type and its body."


class StoredRecords:
    """The events of tasks that hold a format's records, and none of their ids."""

    def __init__(self, store: EventStore, format: str) -> None:
        self.store, self.format = store, format
        self._tasks: dict[str, dict[Said, list[int]]] = {}
        "The versions of the events that no record was found for yet, by what they say."
        self._found: dict[tuple[str, str], tuple[bytes, int]] = {}

    def look_up(self, task_id: str, id: str) -> tuple[bytes, int] | None:
        """Return the digest and version of a record that was taken, by its id."""
        return self._found.get((task_id, id))

    def take(self, task_id: str, foreign: "ForeignFact") -> bool:
        """Return whether a task holds a record without its id, which it then is known by."""
        if task_id not in self._tasks:
            self._tasks[task_id] = self._read(task_id)
        waiting = self._tasks[task_id]
        if not waiting or foreign.id is None:
            return False
        versions = waiting.get((foreign.timestamp, *self.store.codec.encode(foreign.fact)))
        if not versions:
            return False
        self._found[task_id, foreign.id] = foreign.digest[:8], versions.pop(0)
        return True

    def _read(self, task_id: str) -> dict[Said, list[int]]:
        found: dict[Said, list[int]] = {}
        if self.format in ALL_NEW:
            return found
        if self.store.found_like(f"{self.format}:{task_id}", ""):
            return found
        marks = self.store.read(task_id, types=["IMPORTED"])
        if any(isinstance(m.fact, Imported) and m.fact.format == self.format for m in marks):
            for event in self.store.read(task_id):
                said = (event.timestamp, *self.store.codec.encode(event.fact))
                found.setdefault(said, []).append(event.version)
        return found
