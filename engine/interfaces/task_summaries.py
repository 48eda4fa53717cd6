"""What a task is, in a line: its status, its format, its answers, what failed in it, its goal."""

from datetime import datetime
from typing import NamedTuple

from backcast.domain.events import Imported, ToolReturned
from backcast.domain.message_parts import cut_inside
from backcast.engine.history.commits import is_broken_off, lacks_before
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.views import UNTIMED
from backcast.engine.log.store import EventStore
from backcast.projections import progress

REASON = 40
"Characters of a failure's reason in the line."


class TaskSummary(NamedTuple):
    """What a list tells of a task."""

    status: str
    goal: str
    format: str
    "That of the log it was imported from; empty for one of our own."
    answers: int
    failed: int
    "Results of tools that failed."
    reason: str = ""
    "Why the task failed, if it did and the log tells."
    lacks: str = ""
    "What a git history is known to lack, at its beginning or its end."
    until: str = ""
    "The day of the last event of a run whose log tells no end."

    @property
    def words(self) -> str:
        """All of it in a line, what is not known left out."""
        counted = (
            self.ended, self.format, self.lacks,
            f"{self.answers:,} answer{'s' * (self.answers > 1)}" if self.answers else "",
            f"{self.failed:,} failed" if self.failed else "",
        )  # fmt: skip
        return ": ".join(filter(None, (", ".join(filter(None, counted)), self.goal)))

    @property
    def ended(self) -> str:
        """How it ended, or the day of its last event where an imported log tells no end."""
        status = "" if self.status == "unknown" else self.status
        if self.until:
            return f"until {self.until}"
        return f"{status} ({cut_inside(self.reason, REASON)})" if self.reason else status


def summary_of(store: EventStore, task: str) -> TaskSummary:
    """Return what a list tells of a task."""
    state, format, failed = state_at(store, progress, task), "", 0
    for event in store.read(task, types=["IMPORTED", "TOOL_RETURNED"]):
        match event.fact:
            case Imported(format=str(name)):
                format = name
            case ToolReturned(failed=True):
                failed += 1
    goal = " ".join((state.goal or "").split())
    reason = " ".join((state.reason or "").split())
    lacks = [lacks_before(store, task)] if format == "git" else []
    if format == "git" and is_broken_off(store, task):
        lacks.append("the import was broken off: 'backcast import git' goes on")
    said = ", ".join(filter(None, lacks))
    ends = state.status in (*progress.ENDED, progress.HISTORY) or not format
    return TaskSummary(
        state.status,
        goal,
        format,
        state.replies,
        failed,
        reason,
        said,
        "" if ends else _day(state.last_at),
    )


def _day(last: datetime | None) -> str:
    return "the end of its log" if last is None or last.year == UNTIMED else f"{last:%Y-%m-%d}"
