"""Many runs under several policies: each run is read once, whatever the number of policies."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.policy import Policy
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import begun, requests
from backcast.engine.replay.collecting import rarely_collecting
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import Measured, measured
from backcast.engine.replay.steps import ReplayStep, asked, steps

WINDOW = 25
"Changes of a history that are taken as one run."
MOST = 32
"Runs that are handed to a process at once: the more, the less is read twice; so often a progress \
bar moves."


class ReplayRun(NamedTuple):
    """A task of a log, or a stretch of one that holds no prompts but changes."""

    log: str
    task: str
    prompts: int
    "Recorded prompts; 0 where changes are taken as requests."
    first: int = 0
    "Among the changes, the place of the first that belongs to it."
    many: int = 0

    @property
    def name(self) -> str:
        """What it is called in a report."""
        if self.prompts:
            return f"{self.log}: {self.task}"
        return f"{self.log}: {self.task}, changes {self.first + 1} to {self.first + self.many}"

    def of(self, changes: Sequence[CodeChange]) -> Sequence[CodeChange]:
        """Its own, of all changes of its task."""
        return changes[self.first : self.first + self.many]


class Setting(NamedTuple):
    """A policy under which prompts are built, and what it is called."""

    name: str
    policy: Policy | None
    "None for that by which each prompt was recorded."


class Tried(NamedTuple):
    """A run under every policy."""

    run: ReplayRun
    steps: tuple[Measured, ...]


def runs_in(log: Log, window: int = WINDOW) -> Iterator[ReplayRun]:
    """The runs of an open log: its tasks; of one without prompts, its changes by the window."""
    for task in log.tasks:
        prompts = sum(one.fact.stood_at is not None for one in asked(log.store, task))
        if prompts:
            yield ReplayRun(log.name, task, prompts)
            continue
        there = len(changed(log.store, task))
        for first in range(0, there, window):
            yield ReplayRun(log.name, task, 0, first, min(window, there - first))


def tried(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    profile: ModelProfile | None = None,
    processes: int = 1,
) -> Iterator[Tried]:
    """The runs under every setting, in their order."""
    if processes == 1 or len(runs) == 1:
        with ExitStack() as stack, rarely_collecting():
            hall = _Worker(stack)
            yield from (_measured(hall, run, settings, profile) for run in runs)
        return
    work = partial(_tried, settings=tuple(settings), profile=profile)
    # A fork would copy the threads and the database handles of whoever calls.
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        for some in pool.map(work, stretches(runs, processes)):
            yield from some


def stretches(runs: Sequence[ReplayRun], processes: int) -> Iterator[tuple[ReplayRun, ...]]:
    """The runs, cut where another log begins, so that what is kept of a log serves the next run.

    They get shorter, so that all processes end at about the same time.
    """
    begin = 0
    while begin < len(runs):
        most = max(1, min(MOST, (len(runs) - begin) // (2 * processes)))
        _, first = next(groupby(runs[begin : begin + most], lambda run: run.log))
        yield (some := tuple(first))
        begin += len(some)


class _Worker:
    """The logs that are open, and what is kept of each."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: tuple[str, BuilderPool] | None = None
        self._running: TaskFollower | None = None
        "The task that was read last, as far as it was: mostly the next run begins there."
        self._changed: tuple[str, list[CodeChange]] | None = None
        "A task, and its changes."

    def workshop(self, run: ReplayRun) -> BuilderPool:
        """That of a run's log; the log before it is closed."""
        if self._open is None or self._open[0] != run.log:
            self._stack.close()
            log = self._stack.enter_context(opened(run.log))
            self._open = run.log, BuilderPool(log.store)
            self._running = self._changed = None
        return self._open[1]

    def steps(self, run: ReplayRun) -> Iterator[ReplayStep]:
        """The steps of a run, with what came of each."""
        store = self.workshop(run).store
        if run.prompts:
            return steps_of(store, run)
        if self._changed is None or self._changed[0] != run.task:
            self._changed = run.task, changed(store, run.task)
        some = run.of(self._changed[1])
        self._running = begun(store, run.task, some, self._running)
        return requests(store, run.task, some, self._running)


_HALL = _Worker(ExitStack())
"Of a process that takes one run after another."


def _tried(
    runs: tuple[ReplayRun, ...], settings: tuple[Setting, ...], profile: ModelProfile | None
) -> list[Tried]:
    with rarely_collecting():
        return [_measured(_HALL, run, settings, profile) for run in runs]


def _measured(
    hall: _Worker, run: ReplayRun, settings: Sequence[Setting], profile: ModelProfile | None
) -> Tried:
    workshop = hall.workshop(run)
    lines = [PolicyReplay(workshop, profile, setting.policy) for setting in settings]
    return Tried(run, tuple(measured(hall.steps(run), lines)))


def steps_of(store: EventStore, run: ReplayRun) -> Iterator[ReplayStep]:
    """The steps of a run, with what came of each."""
    if run.prompts:
        found = steps(store, run.task, outcomes=True)
        return (one for one in found if one.built and one.built.stood_at is not None)
    return requests(store, run.task, run.of(changed(store, run.task)))
