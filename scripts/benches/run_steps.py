"""What the engine takes for a step of a run, beside the model and the checks.

A step is a call of the model: all that is done between two of them. The model is a double that
answers at once, and the checks are told from the text, but where they are what is measured.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.engine.log.store import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.workflow.answers import Checks
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.run_parts import PARTS, Parts
from scripts.benches.run_workload import Project, answer

LONG = Project(50, 20)
STRETCHES = {"1 to 100": (0, 100), "450 to 550": (449, 550), "901 to 1,000": (900, 1000)}
LOGS = (Project(10, 6), Project(10, 25), Project(10, 100))
"The same project, its log once, 4 and 16 times as long."
SIZES = (Project(10, 4), Project(40, 4), Project(160, 4))
"The project once, 4 and 16 times as large."
LAST = 30
"Steps at the end of a run by which runs are compared."
CHECKED = Project(4, 5)


class Step(NamedTuple):
    """What was measured of one step."""

    seconds: float
    "Of the engine alone."
    rows: int
    "Events that were read from the store."
    version: int
    "Of the task, when the model was asked."
    parts: Mapping[str, float]


class Outside:
    """A model and checks that take no time, or whose time is not the engine's."""

    id = "double"

    def __init__(self, store: EventStore, parts: Parts, checks: Checks) -> None:
        self.steps: list[Step] = []
        self.checked: list[float] = []
        self._store, self._parts, self._checks, self._rows = store, parts, checks, 0
        self._took, self._before = 0.0, dict.fromkeys(PARTS, 0.0)
        rows = store.recorder.rows

        def counted(*arguments: Any, **named: Any) -> Any:
            found = rows(*arguments, **named)
            self._rows += len(found)
            return found

        store.recorder.rows = counted  # type: ignore[method-assign]
        self._back = time.perf_counter()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """The next text of a module, after what the engine took until now was taken down."""
        seconds = self._took + time.perf_counter() - self._back
        now = dict(self._parts.seconds)
        spent = {name: now[name] - self._before[name] for name in PARTS}
        version = self._store.version(call.task)
        self.steps.append(Step(seconds, self._rows, version, spent))
        self._took, self._rows, self._before = 0.0, 0, now
        text = answer(call.module, call.iteration)
        self._back = time.perf_counter()
        return Completion(text)

    def checks(
        self, files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits
    ) -> Outcome:
        """What the tests come to; how long that takes is none of the engine's time."""
        begin = time.perf_counter()
        self._took += begin - self._back
        outcome = self._checks(files, tests, limits)
        self._back = time.perf_counter()
        self.checked.append(self._back - begin)
        return outcome


def measure(bench: Bench, steps: int) -> list[Figure]:
    """The rows of the table."""
    return [*_long(bench), *_growth(bench), *_checks(bench)]


def ran(folder: Path, project: Project, checks: Checks | None = None) -> Outside:
    """A whole run of a project, on disk, each append forced to it."""
    path = folder / f"run-{project.modules}-{project.iterations}.db"
    parts = Parts()
    with EventStore.open(f"sqlite:///{path}") as store:
        start(store, project.spec())
        outside = Outside(store, parts, checks or project.checks)
        with parts.watched():
            used = Runtime(outside, "double", MISTRAL_7B_8K)
            state = work(store, "project", used, checks=outside.checks)
    if state.status != "complete" or len(outside.steps) != project.steps:
        raise AssertionError(f"the run ended as {state.status}: {state.reason}")
    return outside


def _long(bench: Bench) -> Iterator[Figure]:
    """The run of 1,000 steps: how long they take, whether that grows, and where it goes."""
    bench.say(f"{LONG.steps:,} steps")
    steps = ran(bench.folder, LONG).steps
    times = [1000 * one.seconds for one in steps[1:]]
    group = f"a step without model and checks, {LONG.steps:,} steps, {LONG.modules} modules"
    told = f"p95 {percentile(times, 95):.0f} ms, p99 {percentile(times, 99):.0f} ms"
    yield Figure(group, "all of a step", [median(times)], "ms", told, aim=Bound("<=", 60))
    first = 0.0
    for name, (begin, end) in STRETCHES.items():
        taken = median(1000 * one.seconds for one in steps[max(1, begin) : end])
        first = first or taken
        control = "" if taken == first else f"{taken / first:.2f} x of the first"
        yield Figure(group, f"steps {name}", [taken], "ms", control=control)
    for name in (*PARTS, "the rest"):
        spent = median(_of(one, name) for one in steps[1:])
        yield Figure(group, f"of it {name}", [1000 * spent], "ms")
    yield from _rows(group, steps)


def _of(step: Step, name: str) -> float:
    """The seconds that a part of a step took."""
    return step.parts.get(name, step.seconds - sum(step.parts.values()))


def _rows(group: str, steps: Sequence[Step]) -> Iterator[Figure]:
    """Events read from the store, beside those that were appended."""
    read = sum(one.rows for one in steps[1:])
    written = steps[-1].version - steps[0].version
    told = f"{read:,} read, {written:,} appended"
    yield Figure(group, "events read for each appended", [read / written], "x", told)
    early, late = (
        [one.rows for one in steps[begin:end]]
        for begin, end in ((1, 100), STRETCHES["901 to 1,000"])
    )
    told = f"steps 901 to 1,000; at most {max(late)} in a step"
    control = f"steps 1 to 100: {median(early):g}, at most {max(early)}"
    yield Figure(group, "events read in a step", [median(late)], "", told, control)


def _growth(bench: Bench) -> Iterator[Figure]:
    """Runs with longer logs, and runs of larger projects."""
    for what, projects in (("its iterations", LOGS), ("its modules", SIZES)):
        group, first = f"a step where {what} are 1, 4 and 16 times as many", 0.0
        for project in projects:
            bench.say(f"{project.modules} modules, {project.iterations} iterations of each")
            steps = ran(bench.folder, project).steps[-LAST:]
            taken = [1000 * one.seconds for one in steps]
            middle = median(taken)
            first = first or middle
            name = f"{project.modules} modules, the last {LAST} of {project.steps:,} steps"
            told = f"context {1000 * median(_of(one, PARTS[2]) for one in steps):.0f} ms"
            control = "" if first == middle else f"{middle / first:.2f} x of the first"
            yield Figure(group, name, [middle], "ms", told, control)


def _checks(bench: Bench) -> Iterator[Figure]:
    """What the checks take: they run foreign code in a sandbox."""
    bench.say(f"{CHECKED.steps} steps with checks that are run")
    outside = ran(bench.folder, CHECKED, run_checks)
    taken = [1000 * one for one in outside.checked]
    told = f"{len(taken)} runs, the last of all {CHECKED.modules} test files"
    yield Figure("checks in the sandbox", "a run of a module's tests", taken, "ms", told)
