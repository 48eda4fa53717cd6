"""Keeps the map of a task as its runs end: each commit of a history is a run, else the whole task.

Runs are read once, in their order. What follows from each is a fact, with the time of the run, so
that the past can see it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from domain.errors import InputError
from domain.events import Claim, MapEdited, WorkflowEvent
from domain.moment import NOW
from domain.paths import is_code
from domain.policy import MAP
from engine.context.tokenizers import tokenizer_of
from engine.log.store import EventStore
from engine.memory.mapping import Run
from engine.memory.mapping.updating import Keeping
from engine.replay.commits import changed
from engine.replay.maps import EDITS, context_of, map_known
from engine.workflow.running import Running
from engine.workflow.served import Served
from projections import dependency_graph
from projections.context_map import ContextMap, edited

WRITER = "map"
TOGETHER = 25
"Updates that are appended at once."
BEGIN = "start"
"The run after which a map holds what the code itself tells."
ENDED = ("complete", "failed")


class Ended(NamedTuple):
    """A run that has ended, and where it stands in its task."""

    name: str
    first: int
    last: int
    "The versions of its first event and of its last."


def ended(store: EventStore, task_id: str) -> list[Ended]:
    """The runs of a task that have ended, in order; `InputError` where none has."""
    if next(store.read(task_id, types=["COMMITTED"]), None):
        return [Ended(one.name, one.first, one.last) for one in changed(store, task_id)]
    running = Running(store, task_id)
    status = running.read_on().status
    last = next((e.version for e in store.read(task_id, types=EDITS)), running.version + 1) - 1
    if status not in ENDED:
        raise InputError(f"task {task_id!r}: needed a task that has ended, found it {status}")
    return [Ended("", 1, last)]


def unread(store: EventStore, task_id: str, last: int | None = None) -> list[Ended]:
    """The runs that no map was made of yet; with `last`, only so many, the newest."""
    read = 0
    for event in store.read(task_id, types=EDITS):
        if isinstance(event.fact, MapEdited):
            read = max(read, event.fact.built_at or 0)
    found = [one for one in ended(store, task_id) if one.first > read]
    return found if last is None else found[len(found) - min(last, len(found)) :]


def keep_map(
    store: EventStore, task_id: str, runs: Sequence[Ended], policy: Keeping
) -> Iterator[ContextMap]:
    """Update the map of what a task works on after each of some runs; gives it as it is then.

    What is given is stored after every `TOGETHER` runs, and at the end; `ConflictError` where
    something else was written to the task in between.
    """
    waiting, stood = list[Claim](), store.version(task_id)
    for fact, event, map in _updates(store, task_id, runs, policy):
        if fact is not None:
            waiting.append(Claim(fact, event.timestamp, WRITER, (event.version,)))
        if len(waiting) >= TOGETHER:
            stood = _append(store, task_id, waiting, stood)
        yield map
    _append(store, task_id, waiting, stood)


def keep_after(running: Running, served: Served) -> None:
    """Update the map once a run has ended, where the policy wants that inline."""
    policy, profile = served.policy, served.profile
    if not policy.map.inline or running.stands.status not in ENDED:
        return
    count = tokenizer_of(profile.tokenizer).count
    keeping = Keeping.of(policy.map, profile.rows.get(MAP, 0), count)
    store, task_id = running.store, running.task_id
    for _ in keep_map(store, task_id, unread(store, task_id), keeping):
        running.read_on()
    running.read_on()


def _append(store: EventStore, task_id: str, waiting: list[Claim], stood: int) -> int:
    """Append what waits after a version, and give the version after that."""
    if waiting:
        stood = store.append(task_id, waiting, after=stood)[-1].version
        waiting.clear()
    return stood


def _updates(
    store: EventStore, task_id: str, runs: Sequence[Ended], policy: Keeping
) -> Iterator[tuple[MapEdited | None, WorkflowEvent, ContextMap]]:
    """What each run does to the map, the run's last event, and the map then."""
    if not runs:
        return
    running, stood = Running.since(store, task_id, runs[0].first - 1), store.version(task_id)
    map = map_known(store, running.line, NOW)
    map = map._replace(context=map.context or context_of(store, running.line))
    for ended in runs:
        run = read_run(running, ended)
        # What came behind a commit, a context or a branch, does not tell when that was.
        event = running.event(ended.first if ended.name else ended.last)
        if not map.updates and run.before.modules:
            graph = dependency_graph.graph_of(run.before)
            begin = Run(BEGIN, run.before, run.before, graph)
            before = running.event(ended.first - 1)
            fact, map = _update(policy, map, begin, before, stood + 1)
            stood += fact is not None
            yield fact, before, map
        fact, map = _update(policy, map, run, event, stood + 1)
        stood += fact is not None
        yield fact, event, map


def _update(
    policy: Keeping, map: ContextMap, run: Run, event: WorkflowEvent, version: int
) -> tuple[MapEdited | None, ContextMap]:
    """What a run does to a map, and the map once that stands at a version."""
    fact = policy.update(map, run)
    if fact is None:
        return None, map
    fact = fact.model_copy(update={"built_at": event.version})
    return fact, edited(map, fact, event.task_id, version)


def read_run(running: Running, ended: Ended) -> Run:
    """A run as its log tells of it; the task is read on to its end."""
    running.read_on(ended.first - 1)
    before = running.states.graph
    running.read_on(ended.last)
    if ended.name:
        _require_outlines(running, ended)
    events = running.store.read(running.task_id, after=ended.first - 1, last=ended.last)
    return Run(ended.name, before, running.states.graph, running.graph, list(events))


def _require_outlines(running: Running, ended: Ended) -> None:
    """`InputError` where most of what a commit left was outlined only behind later ones, so that
    nobody knew its inside by then. What can never be outlined, a huge file, is let pass."""
    modules = running.states.graph.modules
    there = [path for path in sorted(modules) if is_code(path) and not modules[path].deleted]
    waiting = [path for path in dependency_graph.behind(running.states.graph) if is_code(path)]
    if 2 * len(waiting) > len(there):
        raise InputError(
            f"task {running.task_id!r}, {ended.name}: needed outlines that stand with their"
            f" commits, found {len(waiting)} of {len(there)} modules outlined later or never:"
            " import the history into another store, with its outlines"
        )
