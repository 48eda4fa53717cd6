"""Tasks that a file tells otherwise than the store does: nothing more of them is taken from it.

Its later events follow from the refused one, and would stand behind a past that was never theirs.
"""

from typing import TYPE_CHECKING

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import refs_in

if TYPE_CHECKING:
    from backcast.engine.log.importers import Batch


class ContradictionError(InputError):
    """Another event stands at the version that a file states."""


class RefusedTasks:
    """The refused tasks of one file, and the bodies that came with their events."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._events: dict[str, int] = {}
        "Events that are not taken, by task."
        self._bodies: dict[str, Blob] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._reasons

    def refuse(self, batch: "Batch", error: ContradictionError) -> None:
        """Refuse a batch, and all that follows of its task."""
        self._reasons[batch.task_id] = f"{batch.name}: {error}" if batch.name else str(error)
        self.leave_out(batch)

    def leave_out(self, batch: "Batch") -> None:
        """Count a batch of a refused task."""
        self._events[batch.task_id] = self._events.get(batch.task_id, 0) + len(batch.facts)
        self._bodies |= {blob.ref: blob for blob in batch.blobs}

    def with_bodies(self, batch: "Batch") -> "Batch":
        """Return a batch of another task with the bodies that only refused events came with."""
        if not self._bodies:
            return batch
        held = {blob.ref for blob in batch.blobs}
        refs = (ref for foreign in batch.facts for ref in refs_in(to_json(foreign.fact.data)))
        found = [self._bodies[ref] for ref in refs if ref in self._bodies and ref not in held]
        return batch._replace(blobs=[*found, *batch.blobs])

    def lines(self) -> list[str]:
        """Return a line for each refused task: why, how much of it, and what to do."""
        return [
            f"{reason}, so the file tells of another run: {_events(self._events[task])} not taken;"
            " to keep both, import it as another task, with --as NAME"
            for task, reason in self._reasons.items()
        ]


def _events(count: int) -> str:
    return f"from there on {count:,} events are" if count != 1 else "1 event is"
