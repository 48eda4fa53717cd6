"""Replay many recorded runs under several policies, reading each run once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.policy import Policy
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.log.remote import shown
from backcast.engine.log.store import EventStore
from backcast.engine.log.workers import pool_of
from backcast.engine.replay.changes import begun, requests
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import Measured, measured
from backcast.engine.replay.steps import ReplayStep, asked, steps

WINDOW = 25
"Changes of a history that make one run."
MOST = 32
"Runs handed to a process at once: more of them read less twice, fewer move a progress bar more."


class ReplayRun(NamedTuple):
    """A task with prompts, or some consecutive changes of a task without prompts."""

    log: str
    task: str
    prompts: int
    "Recorded prompts; 0 where changes count as requests."
    first: int = 0
    "Index of its first change."
    length: int = 0
    "Number of its changes."

    @property
    def name(self) -> str:
        """Name of the run in a report."""
        log = shown(self.log)
        if self.prompts:
            return f"{log}: {self.task}"
        return f"{log}: {self.task}, changes {self.first + 1} to {self.first + self.length}"

    def of(self, changes: Sequence[CodeChange]) -> Sequence[CodeChange]:
        """Return the run's own changes out of all changes of its task."""
        return changes[self.first : self.first + self.length]


class Setting(NamedTuple):
    """A named policy under which prompts are built."""

    name: str
    policy: Policy | None
    "None for the policy by which each prompt was recorded."


class Tried(NamedTuple):
    """A run, measured under every policy."""

    run: ReplayRun
    steps: tuple[Measured, ...]


def runs_in(log: Log, window: int = WINDOW) -> Iterator[ReplayRun]:
    """Yield the runs of an open log: tasks with prompts, else windows of a task's changes."""
    for task in log.tasks:
        prompts = sum(prompt.fact.stood_at is not None for prompt in asked(log.store, task))
        if prompts:
            yield ReplayRun(log.name, task, prompts)
            continue
        count = len(changed(log.store, task))
        for first in range(0, count, window):
            yield ReplayRun(log.name, task, 0, first, min(window, count - first))


def tried(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    profile: ModelProfile | None = None,
    processes: int = 1,
    stores: Mapping[str, EventStore] = {},
) -> Iterator[Tried]:
    """Yield each run measured under every setting, in the order of the runs.

    `stores` are logs that are open already, by name; with them all work stays in this process.
    """
    if processes == 1 or len(runs) == 1 or stores:
        with ExitStack() as stack, rarely_collecting():
            worker = _Worker(stack, stores)
            yield from (_measured(worker, run, settings, profile) for run in runs)
        return
    work = partial(_measure_batch, settings=tuple(settings), profile=profile)
    with pool_of(min(processes, len(runs))) as pool:
        for results in pool.map(work, batches(runs, processes)):
            yield from results


def batches(runs: Sequence[ReplayRun], processes: int) -> Iterator[tuple[ReplayRun, ...]]:
    """Yield the runs in batches of one log each, so that what a worker keeps serves the next run.

    Batches get shorter, so that all processes end at about the same time.
    """
    begin = 0
    while begin < len(runs):
        most = max(1, min(MOST, (len(runs) - begin) // (2 * processes)))
        _, first = next(groupby(runs[begin : begin + most], lambda run: run.log))
        yield (batch := tuple(first))
        begin += len(batch)


class _Worker:
    """The log that is open, and what is kept of it for the next run."""

    def __init__(self, stack: ExitStack, stores: Mapping[str, EventStore] = {}) -> None:
        self._stack, self._stores = stack, stores
        self._open: tuple[str, BuilderPool] | None = None
        self._running: TaskFollower | None = None
        "The task that was read last: the next run mostly begins where it stopped."
        self._changed: tuple[str, list[CodeChange]] | None = None
        "A task and its changes."

    def pool(self, run: ReplayRun) -> BuilderPool:
        """Return the builders for a run's log; open it and close the log before it."""
        if self._open is None or self._open[0] != run.log:
            self._stack.close()
            store = self._stores.get(run.log)
            store = store or self._stack.enter_context(opened(run.log)).store
            self._open = run.log, BuilderPool(store)
            self._running = self._changed = None
        return self._open[1]

    def steps(self, run: ReplayRun) -> Iterator[ReplayStep]:
        """Return the steps of a run with their outcomes."""
        store = self.pool(run).store
        if run.prompts:
            return steps_of(store, run)
        if self._changed is None or self._changed[0] != run.task:
            self._changed = run.task, changed(store, run.task)
        own = run.of(self._changed[1])
        self._running = begun(store, run.task, own, self._running)
        return requests(store, run.task, own, self._running)


_WORKER = _Worker(ExitStack())
"The worker of a process of the pool, which takes one batch after another."


def _measure_batch(
    runs: tuple[ReplayRun, ...], settings: tuple[Setting, ...], profile: ModelProfile | None
) -> list[Tried]:
    with rarely_collecting():
        return [_measured(_WORKER, run, settings, profile) for run in runs]


def _measured(
    worker: _Worker, run: ReplayRun, settings: Sequence[Setting], profile: ModelProfile | None
) -> Tried:
    pool = worker.pool(run)
    replays = [PolicyReplay(pool, profile, setting.policy) for setting in settings]
    return Tried(run, tuple(measured(worker.steps(run), replays)))


def steps_of(store: EventStore, run: ReplayRun) -> Iterator[ReplayStep]:
    """Return the steps of a run with their outcomes."""
    if run.prompts:
        every = steps(store, run.task, outcomes=True)
        return (step for step in every if step.built and step.built.stood_at is not None)
    return requests(store, run.task, run.of(changed(store, run.task)))
