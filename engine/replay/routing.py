"""The tasks of recorded dispatches, as policies of routing are tried on them."""

from collections.abc import Iterator

from backcast.domain.dispatch_events import (
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
)
from backcast.domain.routing import labels
from backcast.domain.routing_trial import Episode, Try
from backcast.domain.spending import Amounts, amounts_of
from backcast.engine.log.store import EventStore

_KINDS = ("DISPATCH_STARTED", "DISPATCH_ENDED", "ITEM_DECIDED")


def episodes_in(store: EventStore, task: str) -> Iterator[Episode]:
    """Yield each task of a list from where it was begun until it was done, halted, or no more."""
    open_ones = dict[str, _BegunTask]()
    items = dict[int, str]()
    for event in store.read(task, types=_KINDS):
        match event.fact:
            case DispatchStarted(item=str(item)) as fact:
                items[event.version] = item
                if fact.role != "reviewer" or item in open_ones:
                    open_ones.setdefault(item, _BegunTask(task, item)).started(event.version, fact)
            case DispatchEnded() as fact if items.get(fact.dispatch, "") in open_ones:
                open_ones[items[fact.dispatch]].ended(fact)
            case ItemDecided(item=str(item), action="done" | "halt") as fact if item in open_ones:
                if fact.pauses:
                    continue
                yield open_ones.pop(item).episode(f"{fact.action}")
    for item in sorted(open_ones):
        yield open_ones[item].episode("")


class _BegunTask:
    """A task that was begun."""

    def __init__(self, run: str, item: str) -> None:
        self.run, self.item = run, item
        self._first = dict[int, DispatchStarted]()
        self._attempts = dict[int, int]()
        self._costs = dict[int, Amounts]()

    def started(self, version: int, fact: DispatchStarted) -> None:
        attempt = fact.attempt or 1
        self._first.setdefault(attempt, fact)
        self._attempts[version] = attempt

    def ended(self, fact: DispatchEnded) -> None:
        attempt = self._attempts[fact.dispatch]
        calls = 1 if fact.calls is None else max(0, fact.calls)
        cost = amounts_of(fact.cost)._replace(calls=calls)
        self._costs[attempt] = self._costs.get(attempt, Amounts()).plus(cost)

    def episode(self, action: str) -> Episode:
        tries = tuple(
            Try(labels(fact.agent, fact.model, fact.routed, fact.command),
                f"{fact.prompt or f'{self.run} {self.item}'} {fact.commit}",
                self._costs.get(attempt, Amounts()))
            for attempt, fact in sorted(self._first.items())
        )  # fmt: skip
        first = self._first[min(self._first)]
        routed = first.routed
        return Episode(
            self.run, self.item, first.title or "",
            routed.traits if routed else None, tries,
            done=action == "done", halted=action == "halt",
            start=(routed and routed.start) or "",
            propensity=routed.propensity if routed else None,
            drawn_of=routed.agents if routed else (),
        )  # fmt: skip
