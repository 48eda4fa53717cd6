"""A task's folded states at a moment: all that a context is built from."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from heapq import merge
from typing import NamedTuple

from backcast.domain.events import Branched
from backcast.domain.moment import Moment
from backcast.engine.history.branches import Lineage, known_by, lineage_of
from backcast.engine.history.facts_known import FactsKnown
from backcast.engine.history.legacies import Legacy, legacies_at
from backcast.engine.history.maps import map_known
from backcast.engine.history.snapshots import RecentStates, states_of
from backcast.engine.log.store import EventStore
from backcast.projections import (
    Projection,
    changes,
    checks,
    context_map,
    dependency_graph,
    fold,
    offline_cache,
    online_cache,
    progress,
    prompts,
    questions,
    summaries,
)

PROJECTIONS: tuple[Projection, ...] = (
    progress, dependency_graph, summaries, online_cache, prompts, changes, checks, questions,
    offline_cache,
)  # fmt: skip
"The projections of the first fields of `TaskStates`, in their order."
OWN = tuple(projection for projection in PROJECTIONS if projection is not offline_cache)
"Those of them that a task's own events change, the first of all."
ENDS = ("TASK_COMPLETE", "TASK_FAILED")
"Event types that end a task."


class TaskStates(NamedTuple):
    """A task's folded states at a moment, and what finished tasks contribute to it."""

    progress: progress.State
    graph: dependency_graph.State
    summaries: summaries.State
    online: online_cache.State
    prompts: prompts.State
    changes: changes.State
    checks: checks.State
    questions: questions.State
    offline: offline_cache.State
    map: context_map.ContextMap = context_map.ContextMap()
    "The map of the repository or corpus that the task works on."
    legacies: tuple[Legacy, ...] = ()
    "Other tasks that left code."
    at: datetime | None = None
    "The time that is asked about, from which times to live count; None for the last event's."
    facts: FactsKnown | None = None
    "What holds, folded where a policy shows it."

    @property
    def asked_at(self) -> datetime | None:
        """The time from which times to live count; None for an empty log."""
        return self.at or self.summaries.last_at


def states_at(
    store: EventStore, task_id: str, moment: Moment, recent: RecentStates | None = None
) -> TaskStates:
    """Return a task's states at a moment, and what finished tasks contribute to it by then."""
    line = lineage_of(store, task_id)
    known = known_by(store, line, moment)
    of_others = contributions_at(store, known)
    folded = states_of(store, OWN, task_id, moment, recent)
    others = map_known(store, line, moment), legacies_at(store, of_others, line.root, known)
    facts = FactsKnown(task_id, store.version_at(task_id, moment), moment.at, store)
    states = TaskStates._make([*folded, of_others, *others, None, facts])
    return under_root_name(states, line)


def under_root_name(states: TaskStates, line: Lineage) -> TaskStates:
    """Return a task's states under its root task's name, so that a branch's prompts match its
    origin's, and the origin's contributions do not count as another task's."""
    if states.graph.task_id not in ("", line.root):
        states = states._replace(graph=states.graph._replace(task_id=line.root))
    if states.online.task not in ("", line.root):
        states = states._replace(online=states.online._replace(task=line.root))
    if states.facts and states.facts.task != line.root:
        states = states._replace(facts=replace(states.facts, named=line.root))
    return states


def contributions_at(
    store: EventStore, moment: Moment, apart: Collection[str] = ()
) -> offline_cache.State:
    """Return what finished tasks contribute at a moment: only tasks that ended, no branches, and
    none that is to stay `apart`."""
    events = list(store.read(moment=moment, types=(*ENDS, "BRANCHED")))
    branches = {event.task_id for event in events if isinstance(event.fact, Branched)}
    ended = sorted({event.task_id for event in events if event.type in ENDS} - branches - {*apart})
    logs = (store.read(task, moment=moment) for task in ended)
    merged = merge(*logs, key=lambda event: event.position)
    state: offline_cache.State = fold(offline_cache, merged)
    return state
