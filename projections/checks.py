"""What did the last runs of checks say of each module's tests, and what was tried between them?

Each run keeps its counts, the names of what failed, and what was written since the run before. A
test that no run names has no verdict of its own here: whoever shows one must know that all that
failed is listed, and which tests were run.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import failures_of, module_of, youngest
from backcast.domain.events import (
    ChecksRan,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)

NAME = "checks"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"

RUNS = 8
"Runs that are remembered of each module, and of the whole task; the latest ones."
MODULES = 64
"Modules whose runs are remembered, the latest checked ones."
WRITTEN = 8
"Modules that are remembered as written between two runs, the latest ones."
WHOLE = ""
"The key of the runs that are about the whole task, or do not say what they are about."


class FailedCheck(NamedTuple):
    """A check that failed in a run."""

    name: str
    "As the run names it; empty if unknown."
    message: str
    "The first line of its message."


class WrittenModule(NamedTuple):
    """A text of a module that was written before a run."""

    path: str
    iteration: int
    source: str | None
    "The blob of its text."
    before: str | None = None
    "The blob of the text that stood at the run before, where this log holds it."


class TestedRun(NamedTuple):
    """One run of checks."""

    version: int
    passed: int
    unmet: int
    "Checks that failed, or could not run."
    skipped: int = 0
    failed: tuple[FailedCheck, ...] = ()
    listed: bool = False
    "Whether all that failed is named, and nothing stopped the run before its end."
    wrote: tuple[WrittenModule, ...] = ()
    "The modules that were written since the run before, newest first."


class ChecksState(NamedTuple):
    """The last runs of checks of a task."""

    runs: Map[str, tuple[TestedRun, ...]] = Map()
    "By module, newest first; under `WHOLE` those of the whole task."
    wrote: tuple[WrittenModule, ...] = ()
    "The modules that were written since the last run, newest first."


State = ChecksState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case ModuleIteration(module_name=name, iteration=number, source=source):
            return _written(state, name, number, source)
        case ModuleRenamed(module_name=name, previous_name=previous) as fact:
            runs = state.runs
            if previous in runs and name != previous:
                runs = runs.set(name, runs[previous]).delete(previous)
            wrote = tuple(one for one in state.wrote if one.path != previous)
            return _written(State(runs, wrote), name, fact.iteration, fact.source)
        case ModuleDeleted(module_name=name):
            runs = state.runs.delete(name) if name in state.runs else state.runs
            return State(runs, tuple(one for one in state.wrote if one.path != name))
        case ChecksRan() as fact if fact.passed > 0 or fact.unmet > 0:
            return _ran(state, event, fact)
    return state


def last_run(state: State, path: str) -> tuple[str, TestedRun] | None:
    """Return the last run that was about a module or the whole task, and which of them."""
    known = [(key, state.runs[key][0]) for key in (path, WHOLE) if state.runs.get(key)]
    return max(known, key=lambda pair: pair[1].version, default=None)


def tries(state: State, path: str) -> list[tuple[str, TestedRun]]:
    """Return the runs about a module or the whole task, oldest first, and which of them."""
    known = [(key, run) for key in dict.fromkeys((path, WHOLE)) for run in state.runs.get(key, ())]
    return sorted(known, key=lambda pair: pair[1].version)


def every(state: State) -> list[tuple[str, TestedRun]]:
    """Return all remembered runs and what each was about, oldest first."""
    known = [(key, run) for key in sorted(state.runs) for run in state.runs[key]]
    return sorted(known, key=lambda pair: pair[1].version)


def _written(state: State, path: str, iteration: int, source: str | None) -> State:
    others, before = state.wrote, None
    if state.runs:
        earlier = next((one for one in others if one.path == path), None)
        before = earlier.before if earlier else _source_at_last_run(state, path)
    others = tuple([one for one in others if one.path != path][: WRITTEN - 1])
    return State(state.runs, (WrittenModule(path, iteration, source, before), *others))


def _source_at_last_run(state: State, path: str) -> str | None:
    """Return the text of a module that the last run that remembers one was about."""
    for _, run in reversed(tries(state, path)):
        for written in run.wrote:
            if written.path == path:
                return written.source
    return None


def _ran(state: State, event: WorkflowEvent, fact: ChecksRan) -> State:
    failures = failures_of(event)
    failed = tuple(FailedCheck(one.name, one.message.partition("\n")[0]) for one in failures)
    named = len(failed) == fact.unmet and all(one.name for one in failed)
    run = TestedRun(
        event.version, fact.passed, fact.unmet, fact.skipped, failed,
        named and not fact.contained, state.wrote,
    )  # fmt: skip
    key = module_of(fact)
    runs = state.runs.set(key, (run, *state.runs.get(key, ()))[:RUNS])
    return State(youngest(runs, MODULES, lambda own: own[0].version))
