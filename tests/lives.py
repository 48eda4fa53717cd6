"""Lives as tests read them."""

from pathlib import Path
from typing import Any

from backcast.domain.context_events import ContextBuilt, ContextItem, ContextOmission
from backcast.domain.moment import NOW, Moment
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.audit import life_of
from backcast.engine.replay.audit.occurrences import Life, Occurrence
from tests.sources import Task

CART = """
    LIMIT = 3

    class Cart:
        size: int = 0

        def total(self):
            return self.size

    def clean(text):
        return text.strip()
    """
CLEAN = "function:cart.py::clean"
LOGS = Path(__file__).parents[1] / "fixtures/logs"


def imported(name: str) -> EventStore:
    """A store in memory that holds one of the fixtures."""
    store = EventStore.open("sqlite://")
    run(store, "events", LOGS / f"{name}.jsonl")
    return store


def life(store: EventStore, node: str, moment: Moment = NOW) -> Life:
    """The life of a node of the only task."""
    [task] = store.tasks()
    return life_of(store, task, node, moment)


def told(store: EventStore, node: str) -> list[tuple[int, str]]:
    """Event and what happened, prompts apart."""
    some = life(store, node).occurrences
    return [(one.event, one.what) for one in some if one.what not in ("shown", "within", "omitted")]


def at(life: Life, event: int, what: str) -> Occurrence:
    """The only occurrence of a kind at an event."""
    [found] = [one for one in life.occurrences if (one.event, one.what) == (event, what)]
    return found


def shown(task: Task, *items: ContextItem, left: tuple[str, str] | None = None, **more: Any) -> int:
    """Record a prompt, and what it left out and why."""
    out = [ContextOmission(node=left[0], section="related", reason=left[1])] if left else []
    return task.happened(ContextBuilt(items=items, omissions=tuple(out), **more))
