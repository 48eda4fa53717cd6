"""Keeps the map of a task as its runs end: each commit of a history is a run, else the whole task.

Runs are read once, in their order. What follows from each is a fact, with the time of the run, so
that the past can see it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import DamagedError, InputError, ModelError
from backcast.domain.events import BlobRef, Claim, MapEdited, WorkflowEvent
from backcast.domain.moment import NOW
from backcast.domain.paths import is_code
from backcast.domain.policy import MAP, Policy
from backcast.engine.context.search.embedders import sentence_embedder
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.commits import changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.maps import EDITS, context_of, map_known
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.updating import MapUpdater, Update
from backcast.engine.models import Model
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap, edited

log = logging.getLogger("backcast")

WRITER = "map"
TOGETHER = 25
"Updates that are appended at once."
MOST = 4_096
"Bytes of a body that are read of a run."
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
    running = TaskFollower(store, task_id)
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
            read = max(0 if event.fact.anew else read, event.fact.built_at or 0)
    found = [one for one in ended(store, task_id) if one.first > read]
    return found if last is None else found[len(found) - min(last, len(found)) :]


def begin_anew(store: EventStore, task_id: str, last: int | None = None) -> list[Ended]:
    """Empty the map of what a task works on, with the time of what stands before the runs that are
    read next: all that have ended, or the newest of them."""
    found = ended(store, task_id)
    runs = found[len(found) - min(last or len(found), len(found)) :]
    if not runs:
        return []
    [event] = store.read(task_id, after=max(runs[0].first - 2, 0), last=max(runs[0].first - 1, 1))
    fact = MapEdited(context=context_of(store, lineage_of(store, task_id)), run="", anew=True)
    claim = Claim(fact, event.timestamp, WRITER, (event.version,))
    store.append(task_id, [claim], after=store.version(task_id))
    return runs


def keep_map(
    store: EventStore, task_id: str, runs: Sequence[Ended], policy: MapUpdater
) -> Iterator[ContextMap]:
    """Update the map of what a task works on after each of some runs; gives it as it is then.

    What is given is stored after every `TOGETHER` runs, and at the end; `ConflictError` where
    something else was written to the task in between.
    """
    waiting, stood = _Waiting(store, task_id), store.version(task_id)
    # What a model answered cost too much to be lost with those that come after it.
    together = 1 if policy.asks else TOGETHER
    for update, event, map in _updates(store, task_id, runs, policy):
        if update is not None:
            fact, blobs = update
            waiting.claims.append(Claim(fact, event.timestamp, WRITER, (event.version,)))
            waiting.blobs += blobs
        if len(waiting.claims) >= together:
            stood = waiting.append(stood)
        yield map
    waiting.append(stood)


def keep_after(
    running: TaskFollower, policy: Policy, profile: ModelProfile, model: Model
) -> list[WorkflowEvent]:
    """Update the map once a run has ended, where the policy wants that inline; gives what was
    appended.

    The run is whole without it: where a model gives no answer that is told, and it can be done
    later.
    """
    if not policy.map.inline or running.stands.status not in ENDED:
        return []
    count = tokenizer_of(profile.tokenizer).count
    store, task_id, stood = running.store, running.task_id, running.version
    try:
        embedder = sentence_embedder(policy.embedder or None) if policy.map.merge else None
        rows = profile.rows.get(MAP, 0)
        keeping = MapUpdater.of(policy.map, rows, count, model, embedder)
        for _ in keep_map(store, task_id, unread(store, task_id), keeping):
            running.read_on()
    except (ModelError, InputError) as error:
        log.warning(
            "task %s has ended, and its map is not updated: %s; 'backcast map update --model'"
            " does it",
            task_id, error,
        )  # fmt: skip
    running.read_on()
    return list(store.read(task_id, after=stood))


@dataclass
class _Waiting:
    """What is to be appended to a task at once."""

    store: EventStore
    task_id: str
    claims: list[Claim] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)

    def append(self, stood: int) -> int:
        """Append what waits after a version, and give the version after that."""
        if self.claims:
            made = self.store.append(self.task_id, self.claims, after=stood, blobs=self.blobs)
            stood = made[-1].version
            self.claims, self.blobs = [], []
        return stood


def _updates(
    store: EventStore, task_id: str, runs: Sequence[Ended], policy: MapUpdater
) -> Iterator[tuple[Update | None, WorkflowEvent, ContextMap]]:
    """What each run does to the map, the run's last event, and the map then."""
    if not runs:
        return
    running, stood = TaskFollower.since(store, task_id, runs[0].first - 1), store.version(task_id)
    map = map_known(store, running.line, NOW)
    map = map._replace(context=map.context or context_of(store, running.line))
    for ended in runs:
        run = read_run(running, ended)
        # What came behind a commit, a context or a branch, does not tell when that was.
        event = running.event(ended.first if ended.name else ended.last)
        if not map.updates and run.before.modules:
            graph = dependency_graph.graph_of(run.before)
            begin = FinishedRun(BEGIN, run.before, run.before, graph)
            before = running.event(ended.first - 1)
            update, map = _update(policy, map, begin, before, stood + 1)
            stood += update is not None
            yield update, before, map
        update, map = _update(policy, map, run, event, stood + 1)
        stood += update is not None
        yield update, event, map


def _update(
    policy: MapUpdater, map: ContextMap, run: FinishedRun, event: WorkflowEvent, version: int
) -> tuple[Update | None, ContextMap]:
    """What a run does to a map, and the map once that stands at a version."""
    update = policy.update(map, run)
    if update is None:
        return None, map
    fact = update.fact.model_copy(update={"built_at": event.version})
    return update._replace(fact=fact), edited(map, fact, event.task_id, version)


def read_run(running: TaskFollower, ended: Ended) -> FinishedRun:
    """A run as its log tells of it; the task is read on to its end."""
    running.read_on(ended.first - 1)
    before = running.states.graph
    running.read_on(ended.last)
    if ended.name:
        _require_outlines(running, ended)
    events = running.store.read(running.task_id, after=ended.first - 1, last=ended.last)
    graph, text = running.graph, texts_of(running.store)
    return FinishedRun(ended.name, before, running.states.graph, graph, list(events), text)


def texts_of(store: EventStore) -> Callable[[BlobRef], str]:
    """The beginnings of bodies as text."""

    def text(ref: BlobRef) -> str:
        try:
            return store.get(ref)[:MOST].decode(errors="replace")
        except DamagedError:
            return ""

    return text


def _require_outlines(running: TaskFollower, ended: Ended) -> None:
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
