"""Times that foreign logs state, and those among them that are not believed.

A clock that was wrong once must not date all that follows. Whether a time is believed is told from
the times before it alone, from a commit's own two dates, and from the moment of the import, so
that a log imported in two parts gets the same times as one imported at once:

- A time more than a day after the moment of the import is wild: it cannot have been. (A machine
  whose clock stands before 2010 has a wild clock itself, and nothing is held against it.)
- A jump of more than ten years is wild until the next time stands near it. So a history that slept
  longer has one event dated too early, and a wrong clock moves later times by ten years at most.
- In a log of an agent a time before 2010 is wild: there were no such agents.
- A commit whose author date is more than a day after its committer date takes the committer date,
  unless that one lies before the commit's parent. An author date of 1 January 1970 is missing.

In place of a wild time an event takes that of the event before it. A first commit that is dated too
late, but not after the import, is believed: nothing before it speaks against it.

>>> now = datetime(2026, 1, 1, tzinfo=UTC)
>>> timeline = Timeline(now)
>>> for year in (2020, 2120, 2021):
...     date = datetime(year, 5, 1, tzinfo=UTC)
...     believed = timeline.commit(date, date)
...     print(timeline.last.year, believed)
2020 True
2020 False
2021 True
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
JUMP = timedelta(days=3660)
"The longest time between two records in a row that is believed at once."
NEAR = timedelta(days=366)
"The longest time between two records in a row of which the second confirms the first's jump."
SINCE = datetime(2010, 1, 1, tzinfo=UTC)
"The earliest time that is believed in a log of an agent, or of the clock of this machine."
RESET = datetime(1981, 1, 1, tzinfo=UTC)
"Earlier times come from clocks that nobody set: no jump is measured from them."
SHOWN = 5
"The most wild times that a note shows."


class Timeline:
    """The times of a log's records so far, by which the next one is judged."""

    def __init__(self, now: datetime) -> None:
        self.latest = now + DAY if now >= SINCE else None
        "The latest time that can be true."
        self.last: datetime | None = None
        "The time of the last record."
        self.doubted: datetime | None = None
        "The time that the last record stated, if that was a jump that was not believed."

    def commit(self, authored: datetime | None, committed: datetime | None) -> bool:
        """Move on to a commit, and return whether its author date is believed.

        `last` is its time then, and never falls.
        """
        time, before = self._own(authored, committed), self.last or EPOCH
        if time is None:
            self.last, self.doubted = before, None
            return False
        if self.last is not None and time <= before:
            # An old patch keeps its author's date; but it was committed after its parent.
            self.doubted = None
            return time == authored and max(time, committed or time) > before - JUMP
        believed = self._believes(time)
        self.last = time if believed else before
        return believed and time == authored

    def restore(
        self, authored: datetime | None, committed: datetime | None, stored: datetime
    ) -> None:
        """Move on to a commit that was judged in an earlier import, by the time that it got."""
        time = self._own(authored, committed)
        self.doubted = time if time is not None and time > stored and self._jumps(time) else None
        self.last = stored

    def record(self, stated: datetime) -> bool:
        """Move on to a record of an agent's log, and return whether its time is believed."""
        if stated < SINCE or not self._believes(stated):
            return False
        self.last = stated
        return True

    def _believes(self, time: datetime) -> bool:
        near = self.doubted is not None and abs(time - self.doubted) <= NEAR
        jumps = self._jumps(time)
        believed = (self.latest is None or time <= self.latest) and (near or not jumps)
        self.doubted = time if jumps and not believed else None
        return believed

    def _jumps(self, time: datetime) -> bool:
        return self.last is not None and self.last > RESET and abs(time - self.last) > JUMP

    def _own(self, authored: datetime | None, committed: datetime | None) -> datetime | None:
        """Return the date of a commit's two that counts."""
        if authored is None or committed is None:
            return authored or committed
        if abs(authored - EPOCH) < DAY:
            return committed
        if authored <= committed + DAY or (self.last and committed < self.last - DAY):
            return authored
        return committed


def wild_note(wild: Sequence[str], of_commits: bool) -> str:
    """Return the note for commits, or records of another log, whose times are not believed.

    >>> wild_note(["4 (2120-01-01T00:00:00Z)"], of_commits=False)
    'wild times: 1 record takes the time of the one before it: 4 (2120-01-01T00:00:00Z)'
    """
    noun = "commit" if of_commits else "record"
    count = f"1 {noun} takes" if len(wild) == 1 else f"{len(wild):,} {noun}s take"
    instead = f"{'its committer date or ' * of_commits}the time of the one before it"
    more = f" and {len(wild) - SHOWN:,} more" if len(wild) > SHOWN else ""
    return f"wild times: {count} {instead}: {', '.join(wild[:SHOWN])}{more}"
