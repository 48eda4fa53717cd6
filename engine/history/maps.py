"""The context maps of a store at any moment, from one reading of its edits.

The states after each edit share their parts, so all of them are held: a moment costs a look-up.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from backcast.domain.context_map import MapItem
from backcast.domain.events import TaskStarted, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.memory_events import MapEdited
from backcast.domain.moment import NOW, Moment, upto
from backcast.engine.history.branches import Lineage, branches, known_by, lineage_of
from backcast.engine.history.moments import COMMIT, moment_at
from backcast.engine.history.staleness import KINDS, DerivedEntry, turns
from backcast.engine.log.store import EventStore
from backcast.projections import context_map, fold

EDITS = ("MAP_EDITED",)
FAR = 100
"Commits that a map has not read from which on it is far behind."


class Maps:
    """All maps of a store, at all moments up to when they were read, without edits in branches."""

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
        "None where they do not rise: then the edits up to a time are no prefix."

    def at(self, moment: Moment = NOW) -> context_map.State:
        """Return the maps at a moment."""
        if moment.at is not None and self._times is None:
            state: context_map.State = fold(context_map, upto(moment, self._events))
            return state
        count = len(self._events)
        if moment.position is not None:
            count = bisect_right(self._positions, moment.position)
        if moment.at is not None and self._times is not None:
            count = min(count, bisect_right(self._times, moment.at))
        return self._states[count]


def map_known(store: EventStore, line: Lineage, moment: Moment) -> context_map.ContextMap:
    """Return the map of a task's context, as the task knew it at a moment."""
    if next(store.read(types=EDITS), None) is None:
        return context_map.ContextMap()
    others = store.read(moment=known_by(store, line, moment), types=EDITS)
    strange = set(branches(store)) - {line.task_id, line.origin}
    events = [event for event in others if event.task_id not in strange]
    if line.origin:
        events += store.read(line.task_id, after=line.shared, moment=moment, types=EDITS)
    context = context_of(store, line, moment)
    return context_map.map_of(fold(context_map, events), context)


def map_at_commit(store: EventStore, task_id: str, when: str) -> context_map.ContextMap | None:
    """Return the map of a task's runs up to the commit that `when` names; None where it names no
    commit."""
    if COMMIT not in when:
        return None
    return map_of_runs(store, lineage_of(store, task_id), moment_at(store, task_id, when))


def map_of_runs(store: EventStore, line: Lineage, moment: Moment) -> context_map.ContextMap:
    """Return the map of a task's runs up to an event, though its edits were recorded later.

    Only a question about the past may see it so: a prompt that was built then did not. Of other
    tasks' edits it holds those that were known then.
    """
    if next(store.read(types=EDITS), None) is None:
        return context_map.ContextMap()
    last = store.version_at(line.task_id, moment)
    read = {line.task_id: last, **({line.origin: min(last, line.shared)} if line.origin else {})}
    strange, known = set(branches(store)) - read.keys(), known_by(store, line, moment)

    def holds(event: WorkflowEvent) -> bool:
        if event.task_id not in read:
            return event.task_id not in strange and known.holds(event)
        # What a branch was copied with, its origin holds too.
        copied = line.origin and event.task_id == line.task_id and event.version <= line.shared
        behind = _read_last(event) <= read[event.task_id]
        return behind and not copied and moment.happened(event.timestamp)

    events = filter(holds, store.read(types=EDITS))
    return context_map.map_of(fold(context_map, events), context_of(store, line, moment))


def _read_last(event: WorkflowEvent) -> int:
    """Return the version of the last event that an edit was made of."""
    if isinstance(event.fact, MapEdited) and event.fact.built_at is not None:
        return event.fact.built_at
    return event.because[0] if event.because else event.version


def commits_behind(store: EventStore, task_id: str, version: int, moment: Moment) -> int:
    """Return the number of commits up to a moment that a map has not read which event `version` of
    the task edited last; 0 where that event edits no map, and of a task without commits."""
    for event in store.read(task_id, after=version - 1, last=version, types=EDITS):
        last = store.version_at(task_id, moment)
        read = _read_last(event)
        return sum(1 for _ in store.read(task_id, after=read, last=last, types=["COMMITTED"]))
    return 0


def first_edit(store: EventStore, context: str) -> datetime | None:
    """Return the time of the first edit of a context's map; None where there is none."""
    for event in store.read(types=EDITS):
        if isinstance(event.fact, MapEdited) and context in (event.fact.context, event.task_id):
            return event.timestamp
    return None


def context_of(store: EventStore, line: Lineage, moment: Moment = NOW) -> str:
    """Return the repository or corpus that a task's start names; without one the root task."""
    for event in store.read(line.task_id, moment=moment, types=["TASK_STARTED"]):
        if isinstance(event.fact, TaskStarted) and event.fact.context:
            return event.fact.context
    return line.root


def stale_since(
    store: EventStore, line: Lineage, items: Iterable[MapItem], moment: Moment
) -> dict[str, int]:
    """Return, by id, the version of the event since which an item does not hold.

    Items that hold, that another task wrote, or whose changes are not in the log are left out.
    """
    entries = [
        DerivedEntry(item.id, "", (), _read_up_to(store, item), item.made_of)
        for item in items
        if item.version and item.task in (line.task_id, line.origin)
    ]
    if not entries:
        return {}
    changes = store.read(line.task_id, moment=moment, types=KINDS)
    # An empty graph will do: the path of a change is not asked for.
    found = turns(changes, entries, Graph.of(line.task_id, {}, {}))
    last = {entry.node: pairs[-1] for entry, pairs in zip(entries, found, strict=True) if pairs}
    return {id: last[id][0] for id in sorted(last) if last[id][1]}


def _read_up_to(store: EventStore, item: MapItem) -> int:
    """Return the version of the last event that an item was made of."""
    for event in store.read(item.task, after=item.version - 1, last=item.version, types=EDITS):
        if isinstance(event.fact, MapEdited) and event.fact.built_at is not None:
            return event.fact.built_at
    return item.version
