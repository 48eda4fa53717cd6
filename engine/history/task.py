"""A task of a store: its events, where it comes from, and what was known of it at any moment."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from backcast.domain.errors import MomentError
from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import NOW, Moment
from backcast.engine.history.branches import Lineage, lineage_of
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.store import EventStore
from backcast.projections import Projection

When = str | int | datetime | Moment
"A moment as people name it: an event number, a time, or a text such as `commit:3f2a5c1`."


class TaskHandle:
    """One task of a store, and its line of descent."""

    def __init__(self, store: EventStore, id: str) -> None:
        """`UnknownTaskError` where the store does not hold it."""
        store.require(id)
        self.store, self.id = store, id

    def __repr__(self) -> str:
        return f"<task {self.id}>"

    @property
    def version(self) -> int:
        """The number of its last event."""
        return self.store.version(self.id)

    @property
    def lineage(self) -> Lineage:
        """Where it comes from; a task that is no branch is its own root."""
        return lineage_of(self.store, self.id)

    def events(
        self, when: When = "", *, after: int = 0, types: Sequence[str] = ()
    ) -> Iterator[WorkflowEvent]:
        """Read its events up to a moment, in order; only those of `types`, where some are named."""
        moment = self.moment(when)
        return self.store.read(self.id, after=after, moment=moment, types=types)

    def event(self, number: int) -> WorkflowEvent:
        """Return the event with a number. `MomentError` where there is none that can be read."""
        last = self.version
        if 1 <= number <= last:
            for event in self.store.read(self.id, after=number - 1, last=number):
                return event
        raise MomentError(f"task {self.id!r}: needed an event from 1 to {last}, found {number}")

    def moment(self, when: When = "") -> Moment:
        """Return the moment that a name stands for in this task. `MomentError` where it is none."""
        match when:
            case Moment():
                return when
            case datetime():
                return Moment(at=when)
            case int():
                return moment_at(self.store, self.id, str(when))
            case "":
                return NOW
        return moment_at(self.store, self.id, when)

    def state(self, projection: Projection, when: When = "") -> Any:
        """Return what a projection knew of the task at a moment."""
        return state_at(self.store, projection, self.id, self.moment(when))
