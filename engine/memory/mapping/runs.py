"""Keeps a task's map as its runs end: each commit of a history is a run, else the whole task.

Runs are read once, in order. Each update is a fact with the time of its run, so that the past can
see it. Of a task that has not ended, what has happened so far is a run, and what follows another.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BackcastError, DamagedError, InputError
from backcast.domain.events import BlobRef, Claim, WorkflowEvent
from backcast.domain.memory_events import MapEdited
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
from backcast.projections import dependency_graph, progress
from backcast.projections.context_map import ContextMap, edited

log = logging.getLogger("backcast")

WRITER = "map"
TOGETHER = 25
"Updates that are appended together."
MOST = 4_096
"Bytes of a run's body that are read."
BEGIN = "start"
"The name of the run before the first one, after which a map holds the roadmap of the code."
WORK = (
    "MODULE_ITERATION", "MODULE_DELETED", "MODULE_RENAMED", "SOURCE_READ", "CHECKS_RAN",
    "TOOL_RETURNED",
)  # fmt: skip
"Events without which there is nothing to be read."


class Ended(NamedTuple):
    """The place of a finished run in its task."""

    name: str
    first: int
    "The version of its first event."
    last: int
    "The version of its last event."


def ended(store: EventStore, task_id: str) -> list[Ended]:
    """Return the runs of a task, in order: its commits, or what each update read and the rest."""
    if next(store.read(task_id, types=["COMMITTED"]), None):
        return [Ended(c.name, c.first, c.last) for c in changed(store, task_id)]
    edits = list(store.read(task_id, types=EDITS))
    facts = [event.fact for event in edits if isinstance(event.fact, MapEdited)]
    marks = sorted({fact.built_at for fact in facts if fact.built_at} | {0})
    runs = [Ended("", begin + 1, end) for begin, end in pairwise(marks)]
    last, own = store.version(task_id), {event.version for event in edits}
    while last in own:
        last -= 1
    rest = Ended("", marks[-1] + 1, last)
    worked = next(store.read(task_id, after=marks[-1], last=last, types=WORK), None)
    return [*runs, rest] if worked else runs


def unread(store: EventStore, task_id: str, last: int | None = None) -> list[Ended]:
    """Return the runs that no update has read yet; with `last`, only the newest ones."""
    read = 0
    for event in store.read(task_id, types=EDITS):
        if isinstance(event.fact, MapEdited):
            read = max(0 if event.fact.anew else read, event.fact.built_at or 0)
    runs = [run for run in ended(store, task_id) if run.first > read]
    return runs if last is None else runs[len(runs) - min(last, len(runs)) :]


def begin_anew(store: EventStore, task_id: str, last: int | None = None) -> list[Ended]:
    """Empty a task's map as of the event before the runs to read next, and return these runs: all
    finished ones, or the `last` newest."""
    runs = ended(store, task_id)
    runs = runs[len(runs) - min(last or len(runs), len(runs)) :]
    if not runs:
        return []
    [event] = store.read(task_id, after=max(runs[0].first - 2, 0), last=max(runs[0].first - 1, 1))
    fact = MapEdited(context=context_of(store, lineage_of(store, task_id)), run="", anew=True)
    claim = Claim(fact, event.timestamp, WRITER, (event.version,))
    store.append(task_id, [claim], after=store.version(task_id))
    return runs


def keep_map(
    store: EventStore, task_id: str, runs: Sequence[Ended], updater: MapUpdater
) -> Generator[ContextMap]:
    """Update a task's map after each run, and yield the map each time.

    Updates are stored after every `TOGETHER` runs, and at the end, whatever ends it;
    `ConflictError` where another process has written to the task in between.
    """
    waiting, stood = _Waiting(store, task_id), store.version(task_id)
    # A model's answer costs too much to be lost with a later failure.
    together = 1 if updater.asks else TOGETHER
    try:
        for update, event, map in _updates(store, task_id, runs, updater):
            if update is not None:
                fact, blobs = update
                claim = Claim(fact, event.timestamp, WRITER, (event.version,))
                waiting.claims.append(claim)
                waiting.blobs += blobs
            if len(waiting.claims) >= together:
                stood = waiting.append(stood)
            yield map
    finally:  # what Ctrl-C broke off goes on from here
        waiting.append(stood)


def keep_after(
    follower: TaskFollower, policy: Policy, profile: ModelProfile, model: Model
) -> list[WorkflowEvent]:
    """Update the map after a run where the policy wants that inline; return the new events.

    The run is complete without it, so a failure is only a warning: the update can be made later.
    """
    rows = profile.rows.get(MAP, 0)
    if not (policy.map.inline and rows > 0) or follower.stands.status not in progress.ENDED:
        return []
    count = tokenizer_of(profile.tokenizer).count
    store, task_id, stood = follower.store, follower.task_id, follower.version
    try:
        embedder = sentence_embedder(policy.embedder or None) if policy.map.merge else None
        updater = MapUpdater.of(policy.map, rows, count, model, embedder)
        for _ in keep_map(store, task_id, unread(store, task_id), updater):
            follower.read_on()
    except BackcastError as error:
        log.warning(
            "task %s has ended, and its map is not updated: %s; 'backcast map update --model'"
            " does it",
            task_id, error,
        )  # fmt: skip
    follower.read_on()
    return list(store.read(task_id, after=stood))


@dataclass
class _Waiting:
    """Claims and bodies that wait to be appended together."""

    store: EventStore
    task_id: str
    claims: list[Claim] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)

    def append(self, stood: int) -> int:
        """Append all that waits after version `stood`, and return the new version."""
        if self.claims:
            made = self.store.append(self.task_id, self.claims, after=stood, blobs=self.blobs)
            stood = made[-1].version
            self.claims, self.blobs = [], []
        return stood


def _updates(
    store: EventStore, task_id: str, runs: Sequence[Ended], updater: MapUpdater
) -> Iterator[tuple[Update | None, WorkflowEvent, ContextMap]]:
    """Yield each run's update, the event that dates it, and the map after it."""
    if not runs:
        return
    follower, stood = TaskFollower.since(store, task_id, runs[0].first - 1), store.version(task_id)
    map = map_known(store, follower.line, NOW)
    map = map._replace(context=map.context or context_of(store, follower.line))
    for place in runs:
        run = read_run(follower, place)
        # Later events behind a commit, of contexts or branches, would give a false time.
        event = follower.event(place.first if place.name else place.last)
        if not map.updates and run.before.modules:
            graph = dependency_graph.graph_of(run.before)
            begin = FinishedRun(BEGIN, run.before, run.before, graph)
            before = follower.event(place.first - 1)
            update, map = _update(updater, map, begin, before, stood + 1)
            stood += update is not None
            yield update, before, map
        update, map = _update(updater, map, run, event, stood + 1)
        stood += update is not None
        yield update, event, map


def _update(
    updater: MapUpdater, map: ContextMap, run: FinishedRun, event: WorkflowEvent, version: int
) -> tuple[Update | None, ContextMap]:
    """Return a run's update of a map, and the map after it, with the update at `version`."""
    update = updater.update(map, run)
    if update is None:
        return None, map
    fact = update.fact.model_copy(update={"built_at": event.version})
    return update._replace(fact=fact), edited(map, fact, event.task_id, version)


def read_run(follower: TaskFollower, place: Ended) -> FinishedRun:
    """Return a run from its log; the follower reads on to the run's end."""
    follower.read_on(place.first - 1)
    before = follower.states.graph
    follower.read_on(place.last)
    if place.name:
        _require_outlines(follower, place)
    events = follower.store.read(follower.task_id, after=place.first - 1, last=place.last)
    graph, text = follower.graph, texts_of(follower.store)
    return FinishedRun(place.name, before, follower.states.graph, graph, list(events), text)


def texts_of(store: EventStore) -> Callable[[BlobRef], str]:
    """Return a function from a body's name to the beginning of its text."""

    def text(ref: BlobRef) -> str:
        try:
            return store.get(ref)[:MOST].decode(errors="replace")
        except DamagedError:
            return ""

    return text


def _require_outlines(follower: TaskFollower, place: Ended) -> None:
    """Raise `InputError` where most modules of a commit were outlined only behind later commits, so
    that its map would know nothing of them. A few that can never be outlined do no harm."""
    modules = follower.states.graph.modules
    present = [path for path in sorted(modules) if is_code(path) and not modules[path].deleted]
    waiting = [path for path in dependency_graph.behind(follower.states.graph) if is_code(path)]
    if 2 * len(waiting) > len(present):
        raise InputError(
            f"task {follower.task_id!r}, {place.name}: needed outlines that stand with their"
            f" commits, found {len(waiting)} of {len(present)} modules outlined later or never:"
            " import the history into another store, with its outlines"
        )
