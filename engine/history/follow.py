"""Follows a task as its log grows: the states of every projection, each event read once.

The states are those that reading the whole log at that moment gives
(`backcast.engine.history.task_states`), so a prompt built from them can be derived again.
"""

from typing import Any, Self
from weakref import WeakKeyDictionary

from backcast.domain.events import PolicyUsed, WorkflowEvent
from backcast.domain.graph import Graph
from backcast.domain.moment import Moment
from backcast.engine.history.branches import known_by, lineage_of
from backcast.engine.history.maps import EDITS, map_known
from backcast.engine.history.task_states import (
    ENDS,
    PROJECTIONS,
    TaskStates,
    contributions_at,
    states_at,
    under_root_name,
)
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph, offline_cache, progress
from backcast.projections.context_map import ContextMap

LEAVING = (*ENDS, *EDITS, "BRANCHED", *(str(fact.type) for fact in offline_cache.DERIVED))
"By what tasks that have ended leave something, add to what they left, or leave nothing."

_GRAPHS: WeakKeyDictionary[EventStore, tuple[str, dependency_graph.State, Graph]] = (
    WeakKeyDictionary()
)
"The task, state and graph that were last in each store: of another moment most still stands."


class TaskFollower:
    """A task that runs, as far as its log has been read."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.store, self.task_id = store, task_id
        self.line = lineage_of(store, task_id)
        self.version, self.position = 0, 0
        "Up to where its log was read; a row at its end that is damaged is passed over."
        self.stood_at = 0
        "The version of the last event that could be read."
        self.states = TaskStates._make([*(one.initial for one in PROJECTIONS), ContextMap()])
        self.used: PolicyUsed | None = None
        "With what the run was gone on with last."
        self._graph: tuple[dependency_graph.State, Graph] | None = None
        self._edited = False
        "Whether the map may have been edited since it was read."
        self._looked = 0
        "The position up to which it was looked for events by which a task ended."

    @classmethod
    def since(cls, store: EventStore, task_id: str, version: int) -> Self:
        """One that has read a task up to a version, from the states that are kept before it."""
        running = cls(store, task_id)
        for event in store.read(task_id, after=version - 1, last=version) if version > 0 else ():
            moment = Moment(position=event.position)
            running.states = states_at(store, task_id, moment)
            if last := _last(store, task_id):
                same = dependency_graph.sharing(running.states.graph, last[0])
                running.states = running.states._replace(graph=same)
            running.version, running.stood_at = version, version
            running.position = event.position
            running._looked = known_by(store, running.line, moment).position or 0
        return running

    @property
    def stands(self) -> progress.State:
        """How far the task has come."""
        return self.states.progress

    def read_on(self, last: int | None = None) -> progress.State:
        """Take in what the log has brought since, up to a version where one is given; gives how far
        the task has come."""
        own = [one for one in PROJECTIONS if one is not offline_cache]
        states: list[Any] = list(self.states[: len(own)])
        last = self.store.version(self.task_id) if last is None else last
        for event in self.store.read(self.task_id, after=self.version, last=last):
            states = [one.evolve(state, event) for one, state in zip(own, states, strict=True)]
            self.stood_at, self.position = event.version, event.position
            if isinstance(event.fact, PolicyUsed):
                self.used = event.fact
            self._edited = self._edited or event.type in EDITS
        self.version = last
        self.states = under_root_name(TaskStates._make((*states, *self._of_others())), self.line)
        return self.stands

    def _of_others(self) -> tuple[offline_cache.State, ContextMap]:
        """What finished tasks have left by the last event that was read, and the map, as the task
        knows them."""
        moment = Moment(position=self.position)
        then = known_by(self.store, self.line, moment)
        new = list(self.store.read(after=self._looked, last=then.position, types=LEAVING))
        before, map = self.states.offline, self.states.map
        if any(
            event.type in ENDS or event.task_id in before.complete or event.task_id in before.failed
            for event in new
        ):
            before = contributions_at(self.store, then)
        if self._edited or any(event.type in EDITS for event in new):
            map, self._edited = map_known(self.store, self.line, moment), False
        self._looked = then.position or 0
        return before, map

    @property
    def graph(self) -> Graph:
        """The graph of the modules, made of the one before where that still stands."""
        state, before = self.states.graph, self._graph or _last(self.store, self.task_id)
        if before is None or before[0] is not state:
            graph = dependency_graph.graph_of(state, before[1] if before else None)
            self._graph = state, graph
            _GRAPHS[self.store] = self.task_id, state, graph
            return graph
        return before[1]

    def event(self, version: int) -> WorkflowEvent:
        """The event at a version of the task."""
        [event] = self.store.read(self.task_id, after=version - 1, last=version)
        return event

    def files(self) -> dict[str, bytes]:
        """The latest text of every module and test, by path."""
        modules = self.states.graph.modules
        there = {path: modules[path].source for path in sorted(modules)}
        return {path: self.store.get(source) for path, source in there.items() if source}


def _last(store: EventStore, task_id: str) -> tuple[dependency_graph.State, Graph] | None:
    """The state and the graph of a task that were made last, if no other task's were since."""
    task, state, graph = _GRAPHS.get(store) or ("", dependency_graph.initial, None)
    return (state, graph) if graph and task == task_id else None
