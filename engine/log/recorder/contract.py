"""The `eventsourcing` library's own contract on our tables, so that its tests and tools work.

It is the library's view of the same rows: `originator_id` is a task, `originator_version` its
version, `state` the body, and a notification id is a position.
"""

from collections.abc import Sequence
from time import time_ns
from typing import Any

from eventsourcing.persistence import (
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    StoredEvent,
    Subscription,
)

from backcast.domain.errors import ConflictError
from backcast.engine.log.recorder.database import like
from backcast.engine.log.recorder.tables import NewRow, Recorder

POLLING = 0.05
"Seconds between two queries of a subscription."


class LibraryContract(Recorder):
    """The library's recorder methods, on top of ours."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the library's events; `IntegrityError` if their versions are taken."""
        rows: list[NewRow] = [
            (str(e.originator_id), e.originator_version, e.topic, None, "", "", e.state)
            for e in stored_events
        ]
        if not rows:
            return []
        try:
            stored = self.append(rows, lambda: time_ns() // 1000, strict=False)
        except ConflictError as error:
            raise IntegrityError(error) from error
        return [row[0] for row in stored]

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of a task."""
        rows = self.rows(str(originator_id), -1 if gt is None else gt, lte, limit=2**31)
        events = [StoredEvent(row[1], row[2], row[3], row[9]) for row in rows]
        return (events[::-1] if desc else events)[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return the events of the store by position."""
        after = 0 if start is None else start - inclusive_of_start
        rows = self.rows(None, after, stop, like=[like(topic) for topic in topics], limit=limit)
        return [Notification(row[1], row[2], row[3], row[9], row[0]) for row in rows]

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:
        """Return a subscription to the store's events by position, from any process."""
        return _Polling(self, gt, topics)

    def max_notification_id(self) -> int | None:
        """Return the last position, or None in an empty store."""
        row = self.one("SELECT max(position) FROM events")
        position: int | None = row[0]
        return position


class _Polling(ListenNotifySubscription[Any]):
    """A subscription that polls: SQLite notifies nobody."""

    def _loop_on_pull(self) -> None:
        try:
            while not self._has_been_stopped:
                self._pull()
                self._has_been_notified.wait(POLLING)
        except BaseException as error:
            self._thread_error = self._thread_error or error
            self.stop()
