"""Choose the steps of a log that a model reads: all of them, those of each history's last changes,
or those of the runs that are tried."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.log.open_logs import Log
from backcast.engine.replay.actions import actions, replies
from backcast.engine.replay.changes import requests
from backcast.engine.replay.corpus import ReplayRun
from backcast.engine.replay.steps import ReplayStep, asked, steps


class StepChoice(NamedTuple):
    """What is chosen of each log."""

    last: int | None = None
    "Changes of each history, the last ones; None for all."
    runs: tuple[ReplayRun, ...] | None = None
    "Nothing but the steps of these; None for all steps."

    def steps(self, log: Log, versions: Collection[int] | None = None) -> Iterator[ReplayStep]:
        """Yield the chosen steps of a log; with `versions` those at these, and no other is looked
        at."""
        for task in log.tasks:
            prompts = prompt_versions(log, task)
            if versions is not None:
                found = _at(log, task, prompts, versions)
            elif self.runs is not None:
                runs = [run for run in self.runs if (run.log, run.task) == (log.name, task)]
                found = _of_runs(log, task, runs)
            elif prompts:
                found = _recorded(log, task)
            else:
                found = self._unrecorded(log, task)
            yield from found

    def _unrecorded(self, log: Log, task: str) -> Iterator[ReplayStep]:
        yield from requests(log.store, task, last_changes(log, task, self.last))
        yield from actions(log.store, task)


EVERY_STEP = StepChoice()


def prompt_versions(log: Log, task: str) -> list[int]:
    """Return the versions of the prompts of a task that can be built again."""
    prompts = asked(log.store, task)
    return [prompt.version for prompt in prompts if prompt.fact.stood_at is not None]


def last_changes(log: Log, task: str, last: int | None) -> Sequence[CodeChange]:
    """Return so many changes of a task, the last ones, or all."""
    changes = changed(log.store, task)
    return changes if last is None else changes[-last:]


def _recorded(log: Log, task: str) -> Iterator[ReplayStep]:
    every = steps(log.store, task, outcomes=True)
    return (step for step in every if step.built and step.built.stood_at is not None)


def _of_runs(log: Log, task: str, runs: Sequence[ReplayRun]) -> Iterator[ReplayStep]:
    """Yield the steps of runs of one task: its prompts, and changes, each once."""
    if any(run.prompts for run in runs):
        yield from _recorded(log, task)
    every = changed(log.store, task)
    changes = {change.first: change for run in runs for change in run.of(every)}
    yield from requests(log.store, task, [changes[first] for first in sorted(changes)])


def _at(
    log: Log, task: str, prompts: Sequence[int], versions: Collection[int]
) -> Iterator[ReplayStep]:
    """Yield the steps of a task at some versions, as they are found in whichever choice."""
    found = _recorded(log, task) if any(version in versions for version in prompts) else iter(())
    yield from (step for step in found if step.version in versions)
    changes = [change for change in changed(log.store, task) if change.first in versions]
    yield from requests(log.store, task, changes)
    if not prompts:
        yield from (step for step in actions(log.store, task) if step.version in versions)


def history_versions(log: Log, task: str, last: int) -> list[int]:
    """Return the versions of the steps among the last changes of a history; none of a recorded run,
    or of an agent's."""
    if asked(log.store, task) or any(True for _ in replies(log.store, task)):
        return []
    return [step.version for step in requests(log.store, task, last_changes(log, task, last))]
