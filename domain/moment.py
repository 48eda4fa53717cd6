"""Moments: which part of the log a question may see.

A log has two time axes. Its order is the order of recording, so "known by then" is a prefix and is
named by a position. "Happened by then" is a filter within that prefix: an event recorded late still
belongs to the past that it tells of.

>>> from datetime import UTC, datetime
>>> Moment(position=7).known(7), Moment(position=7).known(8)
(True, False)
>>> Moment(at=datetime(2026, 1, 1, tzinfo=UTC)).happened(datetime(2026, 1, 2, tzinfo=UTC))
False
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from backcast.domain.events import WorkflowEvent


class Moment(NamedTuple):
    """A prefix of the log, optionally only with events that had happened by `at`.

    The default is now: all known events, whenever they happened.
    """

    position: int | None = None
    "The last known position; None for all of them."
    at: datetime | None = None
    "Only events whose timestamp is not later than this, with a zone; None for all of them."

    def known(self, position: int) -> bool:
        """Return whether the event at a position had been recorded."""
        return self.position is None or position <= self.position

    def happened(self, timestamp: datetime) -> bool:
        """Return whether an event with this timestamp had happened."""
        return self.at is None or timestamp <= self.at

    def holds(self, event: WorkflowEvent) -> bool:
        """Return whether an event had been recorded and had happened."""
        return self.known(event.position) and self.happened(event.timestamp)


NOW = Moment()


def upto(moment: Moment, events: Iterable[WorkflowEvent]) -> Iterator[WorkflowEvent]:
    """Yield the events that a moment holds, in log order: causes stay before effects."""
    return (event for event in events if moment.holds(event))
