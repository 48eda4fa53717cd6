"""The maps of a store at any moment, once its edits have been read.

The states after all edits share their parts, so all of them are kept: a moment costs a look-up.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from backcast.domain.context_map import MapItem
from backcast.domain.events import MapEdited, TaskStarted, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.moment import NOW, Moment, upto
from backcast.engine.history.branches import Lineage, branches, known_by
from backcast.engine.history.staleness import KINDS, DerivedEntry, turns
from backcast.engine.log.store import EventStore
from backcast.projections import context_map, fold

EDITS = ("MAP_EDITED",)


class Maps:
    """All maps of a store, at all moments up to when they were read; what branches tried is no
    part of them."""

    def __init__(self, store: EventStore) -> None:
        read = list(store.read(types=EDITS))
        aside = frozenset(branches(store)) if read else frozenset[str]()
        self._events: list[WorkflowEvent] = [one for one in read if one.task_id not in aside]
        self._states = [context_map.initial]
        for event in self._events:
            self._states.append(context_map.evolve(self._states[-1], event))
        self._positions = [event.position for event in self._events]
        times = [event.timestamp for event in self._events]
        rising = all(one <= other for one, other in pairwise(times))
        self._times: list[datetime] | None = times if rising else None
        "Where they rise, what had happened by a time is a prefix too."

    def at(self, moment: Moment = NOW) -> context_map.State:
        """The maps at a moment."""
        if moment.at is not None and self._times is None:
            state: context_map.State = fold(context_map, upto(moment, self._events))
            return state
        many = len(self._events)
        if moment.position is not None:
            many = bisect_right(self._positions, moment.position)
        if moment.at is not None and self._times is not None:
            many = min(many, bisect_right(self._times, moment.at))
        return self._states[many]


def map_known(store: EventStore, line: Lineage, moment: Moment) -> context_map.ContextMap:
    """The map of what a task works on, as it was known there."""
    if next(store.read(types=EDITS), None) is None:
        return context_map.ContextMap()
    others = store.read(moment=known_by(store, line, moment), types=EDITS)
    strange = set(branches(store)) - {line.task_id, line.origin}
    events = [event for event in others if event.task_id not in strange]
    if line.origin:
        events += store.read(line.task_id, after=line.shared, moment=moment, types=EDITS)
    context = context_of(store, line, moment)
    return context_map.map_of(fold(context_map, events), context)


def first_edit(store: EventStore, context: str) -> datetime | None:
    """The time of the first edit of a context's map; None where there is none."""
    for event in store.read(types=EDITS):
        if isinstance(event.fact, MapEdited) and context in (event.fact.context, event.task_id):
            return event.timestamp
    return None


def context_of(store: EventStore, line: Lineage, moment: Moment = NOW) -> str:
    """The repository or corpus that a task works on: what its start names, else itself."""
    for event in store.read(line.task_id, moment=moment, types=["TASK_STARTED"]):
        if isinstance(event.fact, TaskStarted) and event.fact.context:
            return event.fact.context
    return line.root


def stale_since(
    store: EventStore, line: Lineage, items: Iterable[MapItem], moment: Moment
) -> dict[str, int]:
    """The version, in a task, of the event since which each of some items does not hold, by id.

    Without those that hold, that another task wrote, or of which the log does not tell any more.
    """
    asked = [one for one in items if one.task in (line.task_id, line.origin)]
    entries = [
        DerivedEntry(one.id, "", (), _read_up_to(store, one), one.made_of)
        for one in asked
        if one.version
    ]
    if not entries:
        return {}
    changes = store.read(line.task_id, moment=moment, types=KINDS)
    # By which imports a change got there is not asked.
    found = turns(changes, entries, Graph.of(line.task_id, {}, {}))
    last = {entry.node: way[-1] for entry, way in zip(entries, found, strict=True) if way}
    return {item: last[item][0] for item in sorted(last) if last[item][1]}


def _read_up_to(store: EventStore, item: MapItem) -> int:
    """The version of the last event that an item was made of."""
    for event in store.read(item.task, after=item.version - 1, last=item.version, types=EDITS):
        if isinstance(event.fact, MapEdited) and event.fact.built_at is not None:
            return event.fact.built_at
    return item.version
