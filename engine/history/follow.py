"""Follows a task as its log grows: the states of every projection, each event read once.

The states are those that reading the whole log at that moment gives
(`backcast.engine.history.task_states`), so a prompt built from them can be derived again.
"""

from collections.abc import Iterable
from typing import Any, Self
from weakref import WeakKeyDictionary

from backcast.domain.events import PolicyUsed, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.moment import Moment
from backcast.engine.history.branches import known_by, lineage_of
from backcast.engine.history.facts_known import FactsKnown
from backcast.engine.history.legacies import Legacy, legacies_at
from backcast.engine.history.maps import EDITS, map_known
from backcast.engine.history.task_states import (
    ENDS,
    OWN,
    PROJECTIONS,
    TaskStates,
    contributions_at,
    states_at,
    under_root_name,
)
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph, offline_cache, progress
from backcast.projections.context_map import ContextMap

CONTRIBUTION_TYPES = (*ENDS, *EDITS, "BRANCHED", *(str(f.type) for f in offline_cache.DERIVED))
"Event types that change what finished tasks contribute."
MOVES = ("MODULE_ITERATION", "MODULE_RENAMED", "MODULE_DELETED")
"Event types by which another task that had ended moves on, so that its plan no longer holds."

_GRAPHS: WeakKeyDictionary[EventStore, tuple[str, dependency_graph.State, Graph]] = (
    WeakKeyDictionary()
)
"The last task, state and graph of each store: most of a graph holds at the next moment too."


class TaskFollower:
    """The states of a task, up to the last event of its log that was read."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.store, self.task_id = store, task_id
        self.line = lineage_of(store, task_id)
        self.version, self.position = 0, 0
        "The version up to which the log was read, damaged events included; the last position."
        self.stood_at = 0
        "The version of the last event that could be read."
        self.states = TaskStates._make(
            [*(one.initial for one in PROJECTIONS), ContextMap(), (), None, None]
        )
        self.used: PolicyUsed | None = None
        "The model, profile and policy that the run uses now."
        self._last: WorkflowEvent | None = None
        "The last event that was read."
        self._graph: tuple[dependency_graph.State, Graph] | None = None
        self._edited = False
        "Whether the map may have been edited since `states` was made."
        self._looked = 0
        "The position up to which other tasks were read for `CONTRIBUTION_TYPES`."

    @classmethod
    def since(cls, store: EventStore, task_id: str, version: int) -> Self:
        """Return a follower that has read a task up to a version, with the help of snapshots."""
        follower = cls(store, task_id)
        for event in store.read(task_id, after=version - 1, last=version) if version > 0 else ():
            moment = Moment(position=event.position)
            follower.states = states_at(store, task_id, moment)
            if last := _last(store, task_id):
                same = dependency_graph.sharing(follower.states.graph, last[0])
                follower.states = follower.states._replace(graph=same)
            follower.version, follower.stood_at = version, version
            follower.position = event.position
            follower._looked = known_by(store, follower.line, moment).position or 0
        return follower

    @property
    def stands(self) -> progress.State:
        """The progress of the task."""
        return self.states.progress

    def read_on(self, last: int | None = None) -> progress.State:
        """Read new events, up to version `last` where it is given, and return the progress."""
        states: list[Any] = list(self.states[: len(OWN)])
        last = self.store.version(self.task_id) if last is None else last
        count, telling = 0, list[WorkflowEvent]()
        for event in self.store.read(self.task_id, after=self.version, last=last):
            pairs = zip(OWN, states, strict=True)
            states = [projection.evolve(state, event) for projection, state in pairs]
            self.take(event)
            count += 1
            if event.type in CONTRIBUTION_TYPES:
                telling.append(event)
        self.version = last
        others = self._of_others(count, telling)
        facts = FactsKnown(self.task_id, last, None, self.store)
        known = TaskStates._make((*states, *others, None, facts))
        self.states = under_root_name(known, self.line)
        return self.stands

    def foreseen(self, events: Iterable[WorkflowEvent]) -> TaskStates:
        """Return the states after events that may come; nothing of them is kept."""
        states: list[Any] = list(self.states[: len(OWN)])
        for event in events:
            pairs = zip(OWN, states, strict=True)
            states = [projection.evolve(state, event) for projection, state in pairs]
        others = self.states[len(OWN) :]
        return under_root_name(TaskStates._make((*states, *others)), self.line)

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event of the task tells beside the states, as it is read."""
        self.stood_at, self.position, self._last = event.version, event.position, event
        if isinstance(event.fact, PolicyUsed):
            self.used = event.fact
        self._edited = self._edited or event.type in EDITS

    def _of_others(
        self, count: int, telling: list[WorkflowEvent]
    ) -> tuple[offline_cache.State, ContextMap, tuple[Legacy, ...]]:
        """Return the contributions of finished tasks, the map, and the tasks that left code, as
        the task knows them.

        `count` is the number of the task's events that were read just now; `telling` are those
        among them that may change this.
        """
        moment = Moment(position=self.position)
        known = known_by(self.store, self.line, moment)
        alone = known == moment and self.position - self._looked == count
        if alone:
            new = telling  # no other task has an event between them
        else:
            types = (*CONTRIBUTION_TYPES, *MOVES)
            events = self.store.read(after=self._looked, last=known.position, types=types)
            new = [e for e in events if e.type not in MOVES or e.task_id != self.task_id]
        offline, map, legacies = self.states.offline, self.states.map, self.states.legacies
        ended = (offline.complete, offline.failed)
        if any(e.type in ENDS or any(e.task_id in tasks for tasks in ended) for e in new):
            offline = contributions_at(self.store, known)
        if not alone:
            legacies = legacies_at(self.store, offline, self.line.root, known)
        if self._edited or any(event.type in EDITS for event in new):
            map, self._edited = map_known(self.store, self.line, moment), False
        self._looked = known.position or 0
        return offline, map, legacies

    @property
    def graph(self) -> Graph:
        """The graph of the modules; it shares what is unchanged with the graph before."""
        return self.graph_of(self.states)

    def graph_of(self, states: TaskStates) -> Graph:
        """Return the graph of the task at a moment, as `graph`: cheapest in the order of these."""
        state, before = states.graph, self._graph or _last(self.store, self.task_id)
        if before is None or before[0] is not state:
            graph = dependency_graph.graph_of(state, before[1] if before else None)
            self._graph = state, graph
            _GRAPHS[self.store] = self.task_id, state, graph
            return graph
        return before[1]

    def event(self, version: int) -> WorkflowEvent:
        """Return the event at a version of the task."""
        if self._last is not None and self._last.version == version:
            return self._last
        [event] = self.store.read(self.task_id, after=version - 1, last=version)
        return event

    def files(self) -> dict[str, bytes]:
        """Return the latest text of every module and test, by path."""
        modules = self.states.graph.modules
        sources = {path: modules[path].source for path in sorted(modules)}
        return {path: self.store.get(source) for path, source in sources.items() if source}


def _last(store: EventStore, task_id: str) -> tuple[dependency_graph.State, Graph] | None:
    """Return the last state and graph of a task, unless another task's were made since."""
    task, state, graph = _GRAPHS.get(store) or ("", dependency_graph.initial, None)
    return (state, graph) if graph and task == task_id else None
