"""The facts of a task at a moment, folded only when somebody asks for them."""

from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakKeyDictionary

from backcast.domain.moment import Moment
from backcast.domain.node import node_id
from backcast.domain.timed_facts import TimedFact, holding
from backcast.engine.log.store import EventStore
from backcast.projections import facts, fold

_LATEST: WeakKeyDictionary[EventStore, tuple[str, int, facts.State]] = WeakKeyDictionary()
"The last task, version and state of each store: the next moment reads on from there."


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
        found = holding(self._state().slots)
        return [fact._replace(subject=root) if fact.subject == own else fact for fact in found]

    def _state(self) -> facts.State:
        begin, state = 0, facts.initial
        known: facts.State
        kept = _LATEST.get(self.store)
        if kept and self.at is None and kept[0] == self.task and kept[1] <= self.version:
            _, begin, state = kept
        events = self.store.read(
            self.task, after=begin, last=self.version, moment=Moment(at=self.at)
        )
        known = fold(facts, events, state)
        if self.at is None:
            _LATEST[self.store] = self.task, self.version, known
        return known
