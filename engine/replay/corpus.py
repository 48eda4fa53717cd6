"""Cut logs into runs, which are replayed under several policies."""

from collections.abc import Iterator, Sequence
from itertools import count, groupby
from typing import NamedTuple

from backcast.domain.policy import Policy
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.log.open_logs import Log
from backcast.engine.log.remote import shown
from backcast.engine.log.stamps import stamps_of
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import requests
from backcast.engine.replay.measure import Measured
from backcast.engine.replay.steps import ReplayStep, asked, steps

WINDOW = 25
"Changes of a history that make one run."
MOST = 16
"Runs handed to a process at once: more of them read less twice, fewer move a progress bar more."
NOTHING = "needed recorded prompts, or changes of functions, to try, found none"


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
    stamp: str = ""
    "Of its task, see `stamps_of`; empty where nobody will ask for it."

    @property
    def name(self) -> str:
        """Name of the run in a report."""
        log = shown(self.log)
        if self.prompts:
            return f"{log}: {self.task}"
        return f"{log}: {self.task}, changes {self.first + 1} to {self.first + self.length}"

    def address(self, version: int) -> str:
        """Return the address of one of its prompts, or of the change that asks for one."""
        log = shown(self.log)
        return f"{log}#{self.task}@{version}" if ".jsonl" in log else f"{self.task}@{version}"

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


def runs_in(log: Log, window: int = WINDOW, last: int | None = None) -> Iterator[ReplayRun]:
    """Yield the runs of an open log: tasks with prompts, else windows of a task's changes, of which
    `last` are taken.

    A task of commits has both, where its prompts were recorded by hand and no step waited for them.
    """
    stamps = stamps_of(log.store)
    for task in log.tasks:
        prompts = [prompt for prompt in asked(log.store, task) if prompt.fact.stood_at is not None]
        if prompts:
            yield ReplayRun(log.name, task, len(prompts), stamp=stamps[task])
            by_steps = any(prompt.begun.kind for prompt in prompts)
            if by_steps or not any(True for _ in log.store.read(task, types=["COMMITTED"])):
                continue
        count = len(changed(log.store, task))
        begin = 0 if last is None else max(0, count - last)
        for first in range(begin, count, window):
            length = min(window, count - first)
            yield ReplayRun(log.name, task, 0, first, length, stamps[task])


def batches(runs: Sequence[ReplayRun], processes: int) -> Iterator[tuple[ReplayRun, ...]]:
    """Yield the runs in batches of one log each, so that what a worker keeps serves the next run.

    Consecutive runs cost less in one process than in two, each of which would follow all changes
    between its own. So the first batch of each process is most of its work; the others get shorter,
    so that all processes end at about the same time.
    """
    begin, most = 0, 1
    for number in count():
        if begin >= len(runs):
            return
        if number % processes == 0:
            most = max(1, min(MOST, 3 * (len(runs) - begin) // (4 * processes)))
        _, first = next(groupby(runs[begin : begin + most], lambda run: run.log))
        yield (batch := tuple(first))
        begin += len(batch)


def steps_of(store: EventStore, run: ReplayRun) -> Iterator[ReplayStep]:
    """Return the steps of a run with their outcomes."""
    if run.prompts:
        every = steps(store, run.task, outcomes=True)
        return (step for step in every if step.built and step.built.stood_at is not None)
    return requests(store, run.task, run.of(changed(store, run.task)))
