"""The facts of a task at a moment, folded only when somebody asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from backcast.domain.moment import Moment
from backcast.domain.node import node_id
from backcast.domain.timed_facts import TimedFact, holding
from backcast.engine.log.store import EventStore
from backcast.projections import Projection, facts, fold, ratings

_LATEST: WeakKeyDictionary[EventStore, dict[str, tuple[str, int, Any]]] = WeakKeyDictionary()
"""The last task, version and state of each store, by projection: the next moment reads on from
there."""


@dataclass(frozen=True)
class FactsKnown:
    """What would be folded: the events of a task up to a version, and up to a time if given."""

    task: str
    version: int
    at: datetime | None
    store: EventStore = field(compare=False, repr=False)
    named: str = ""
    "The name under which the task is spoken of; empty for its own. A branch has its root's."

    def holding(self) -> list[TimedFact]:
        """Return the facts that hold."""
        own, root = (node_id("task", name) for name in (self.task, self.named or self.task))
        known: facts.State = self._state(facts)
        found = holding(known.slots)
        return [fact._replace(subject=root) if fact.subject == own else fact for fact in found]

    def rated(self) -> ratings.State:
        """Return the newest ratings of functions."""
        known: ratings.State = self._state(ratings, ratings.TYPES)
        return known

    def _state(self, projection: Projection, types: Sequence[str] = ()) -> Any:
        begin, state, latest = 0, projection.initial, _LATEST.setdefault(self.store, {})
        kept = latest.get(projection.NAME)
        if kept and self.at is None and kept[0] == self.task and kept[1] <= self.version:
            _, begin, state = kept
        events = self.store.read(
            self.task, after=begin, last=self.version, moment=Moment(at=self.at), types=types
        )
        known = fold(projection, events, state)
        if self.at is None:
            latest[projection.NAME] = self.task, self.version, known
        return known
