"""The index of the few events that all tasks of a store are asked for: how tasks ended, which are
branches, and the edits of maps.

A store gets it when it is made, or else with the first events that this version of the code appends
to it. Without it the answers are the same, and take a look at every event.
"""

from collections.abc import Collection

from backcast.domain.events import EventType
from backcast.engine.log.recorder.database import Cursor, Database, like

ACROSS = (
    EventType.TASK_COMPLETE,
    EventType.TASK_FAILED,
    EventType.BRANCHED,
    EventType.MAP_EDITED,
)
"Event types that are read across tasks."
_LETTERS = 8
_BEGINNINGS = ", ".join(f"'{kind[:_LETTERS]}'" for kind in ACROSS)
IS_ACROSS = f"substr(topic, 1, {_LETTERS}) IN ({_BEGINNINGS})"
"The condition of the index; a query that repeats it to the letter may use the index."
MAKE_ACROSS = (
    f"CREATE INDEX IF NOT EXISTS events_across ON events (position, topic) WHERE {IS_ACROSS}"
)
_PATTERNS = frozenset(f"{like(kind)}:%" for kind in ACROSS)


def are_across(patterns: Collection[str]) -> bool:
    """Return whether the index holds all events whose topics match one of some patterns."""
    return bool(patterns) and _PATTERNS.issuperset(patterns)


class AcrossTasks(Database):
    """The index of one store."""

    lacks_across: str
    "The query that gives a row if the index is missing, and may be made."
    _looked = False

    def index_across(self, cursor: Cursor) -> None:
        """Make the index where it is missing; a process looks once."""
        if not self._looked:
            self._looked = True
            cursor.execute(self.lacks_across)
            if cursor.fetchone() is not None:
                cursor.execute(MAKE_ACROSS)
