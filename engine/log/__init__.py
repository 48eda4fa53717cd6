"""The log: facts in, events out, and the large bodies that facts point at.

>>> from backcast.domain.events import TaskStarted
>>> from backcast.engine.log import EventStore
>>> store = EventStore.open("sqlite://")          # in memory; a file is sqlite:///backcast.db
>>> [event] = store.append("task-abc", [TaskStarted(goal="validate e-mail")], after=0)
>>> event.position, event.version, next(store.read("task-abc")).fact.goal
(1, 1, 'validate e-mail')
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore

__all__ = ["EventStore"]


def __getattr__(name: str) -> Any:
    """Import the store when it is first asked for: a worker watches its parent before that."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from backcast.engine.log.store import EventStore

    return EventStore
