"""Which other tasks left code that a task can look back to, and what that code was.

A task that completed left its modules. So did an imported history of commits, which is done work at
each of them, and an imported run whose log says no outcome, which is over. What a task of ours
still works on, what failed and what a branch tries is nobody's to take up.
"""

from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary

from backcast.domain.events import TaskStarted
from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import RecentStates, states_of
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph, offline_cache

LEGACIES = 64
"Tasks whose code is looked through, those that ended last first."
OUTCOMES = ("complete", "history", "imported")
_BEGUN: WeakKeyDictionary[EventStore, dict[str, "_Begun"]] = WeakKeyDictionary()
"What tasks without an end tell of themselves, by store."


class Legacy(NamedTuple):
    """A task that left code, as far as another one knows it."""

    task: str
    version: int
    "The version up to which it is known."
    outcome: str
    "One of `OUTCOMES`."
    goal: str = ""
    at: datetime | None = None
    "The time up to which it is known; None where only the version counts."


def legacies_at(
    store: EventStore, offline: offline_cache.State, root: str, moment: Moment
) -> tuple[Legacy, ...]:
    """Return the tasks that left code by a moment, as far as a task knows them; `root` is that
    task, or the origin of its branch."""
    ends = {task: legacy.position for task, legacy in offline.complete.items()}
    ended = [(task, "complete") for task in sorted(ends, key=lambda task: (-ends[task], task))]
    apart = {root, *ends, *offline.failed, *offline.branches}
    others = ((task, "") for task in store.tasks() if task not in apart)
    found = list[Legacy]()
    for task, kind in (*ended, *others):
        version = store.version_at(task, moment) if task != root else 0
        kind = kind or _begun(store, task).kind(version)
        if kind == "complete" and task != root and task in offline.running:
            version = offline.complete[task].version  # what it does since is not done
        if kind and version and len(found) < LEGACIES:
            goal = offline.complete[task].goal if task in ends else _begun(store, task).goal
            found.append(Legacy(task, version, kind, goal or "", moment.at))
    return tuple(found)


class _Begun:
    """What a task without an end tells of itself, as far as it was read."""

    def __init__(self, store: EventStore, task: str) -> None:
        first = next(store.read(task, last=1), None)
        self.first = first.type if first else ""
        self.goal = first.fact.goal if first and isinstance(first.fact, TaskStarted) else None
        self.read = 0
        self.imported: int | None = None
        self.worked: int | None = None
        "The versions of the first IMPORTED, and of the first step of a run of ours."

    def kind(self, version: int) -> str:
        """Return what it left code as at a version; empty where it may still run."""
        if self.first == "COMMITTED":
            return "history"
        if self.imported is None or self.imported > version:
            return ""
        return "" if self.worked is not None and self.worked <= version else "imported"


def _begun(store: EventStore, task: str) -> _Begun:
    known = _BEGUN.setdefault(store, {})
    begun = known.get(task)
    if begun is None:
        begun = known[task] = _Begun(store, task)
    last = store.version(task)
    if begun.first != "COMMITTED" and begun.worked is None and begun.read < last:
        for event in store.read(task, after=begun.read, types=("IMPORTED", "STEP_STARTED")):
            if event.type == "IMPORTED":
                begun.imported = begun.imported or event.version
            else:
                begun.worked = event.version
                break
        begun.read = last
    return begun


class LegacyReader:
    """The code that other tasks left, from moment to moment."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self._recent = RecentStates(LEGACIES)
        self._states: OrderedDict[Legacy, dependency_graph.State] = OrderedDict()

    def state(self, legacy: Legacy) -> dependency_graph.State:
        """Return the modules of a task as far as it is known."""
        state = self._states.get(legacy)
        if state is None:
            state = self._states[legacy] = self._read(legacy)
            if len(self._states) > LEGACIES:
                self._states.popitem(last=False)
        self._states.move_to_end(legacy)
        return state

    def _read(self, legacy: Legacy) -> dependency_graph.State:
        rows = self.store.recorder.rows(legacy.task, legacy.version - 1, legacy.version)
        moment = Moment(at=legacy.at, position=rows[0][0] if rows else None)
        recent = self._recent if legacy.at is None else None
        [state] = states_of(self.store, [dependency_graph], legacy.task, moment, recent)
        assert isinstance(state, dependency_graph.State)
        return state
