"""The engine's time in a step of a run, without the model and the checks.

A step is everything between two calls of the model. The model is a double that answers at once,
and the double's checks read the text and run nothing.
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
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.run_parts import PARTS, Parts
from scripts.benches.run_workload import Project, answer

LONG, SHORT = Project(50, 20), Project(10, 10)
"Of a full bench, and by default."
LOGS = (Project(10, 6), Project(10, 25), Project(10, 100))
"The same project, with a log 1, 4 and 16 times as long."
SIZES = (Project(10, 4), Project(40, 4), Project(160, 4))
"The project once, 4 and 16 times as large."
LAST = 30
"Steps at the end of a run by which runs are compared."


class Step(NamedTuple):
    """The seconds of the engine in one step, in all and by part."""

    seconds: float
    parts: Mapping[str, float]


class Outside:
    """A double of the model and the checks, whose time does not count."""

    id = "double"

    def __init__(self, parts: Parts, checks: Checks) -> None:
        self.steps: list[Step] = []
        self.asked: list[Message] = []
        "The first prompt."
        self._parts, self._checks = parts, checks
        self._took, self._before = 0.0, dict.fromkeys(PARTS, 0.0)
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
        """Note the engine's seconds until now, and return the next text of a module."""
        seconds = self._took + time.perf_counter() - self._back
        total = dict(self._parts.seconds)
        spent = {name: total[name] - self._before[name] for name in PARTS}
        self.steps.append(Step(seconds, spent))
        self._took, self._before = 0.0, total
        text = answer(call.module, call.iteration)
        self.asked = self.asked or list(messages)
        self._back = time.perf_counter()
        return Completion(text)

    def checks(
        self, files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits
    ) -> Outcome:
        """Return the outcome of the tests, off the engine's clock."""
        begin = time.perf_counter()
        self._took += begin - self._back
        outcome = self._checks(files, tests, limits)
        self._back = time.perf_counter()
        return outcome


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    return [*_steps(bench), *_growth(bench)]


def ran(folder: Path, project: Project) -> list[Step]:
    """Return the steps of a whole run of a project, with each append forced to the disk."""
    return outside(folder, project).steps


def outside(folder: Path, project: Project) -> Outside:
    """Return the double of a whole run's model, with the steps that it saw."""
    path = folder / f"run-{project.modules}-{project.iterations}.db"
    parts = Parts()
    with EventStore.open(f"sqlite:///{path}") as store:
        start(store, project.spec())
        double = Outside(parts, project.checks)
        with parts.watched():
            used = Runtime(double, "double", MISTRAL_7B_8K)
            state = work(store, "project", used, checks=double.checks)
    if state.status != "complete" or len(double.steps) != project.steps:
        raise AssertionError(f"the run ended as {state.status}: {state.reason}")
    return double


def _steps(bench: Bench) -> Iterator[Figure]:
    """Yield the time of a long run's steps, its growth, and its parts."""
    project = LONG if bench.full else SHORT
    bench.say(f"{project.steps:,} steps")
    steps = ran(bench.folder, project)[1:]
    times = [1000 * step.seconds for step in steps]
    group = f"a step without model and checks, {project.steps:,} steps, {project.modules} modules"
    high = f"p95 {percentile(times, 95):.0f} ms, p99 {percentile(times, 99):.0f} ms"
    yield Figure(group, "all of a step", [median(times)], "ms", high, aim=Bound("<=", 60))
    early, late = (median(part) for part in (times[: len(times) // 10], times[-len(times) // 10 :]))
    control = f"the first tenth {early:.1f} ms"
    yield Figure(group, "the last tenth of the steps", [late], "ms", control=control)
    for name in (*PARTS, "the rest"):
        spent = median(_of(step, name) for step in steps)
        yield Figure(group, f"of it {name}", [1000 * spent], "ms")


def _of(step: Step, name: str) -> float:
    """Return the seconds of a part of a step."""
    return step.parts.get(name, step.seconds - sum(step.parts.values()))


def _growth(bench: Bench) -> Iterator[Figure]:
    """Yield runs with longer logs, and runs of larger projects."""
    for what, sizes in (("its iterations", LOGS), ("its modules", SIZES)):
        projects = sizes if bench.full else sizes[:2]
        group, first = f"a step where {what} are 4 and 16 times as many", 0.0
        for project in projects:
            bench.say(f"{project.modules} modules, {project.iterations} iterations of each")
            steps = ran(bench.folder, project)[-LAST:]
            middle = median(1000 * step.seconds for step in steps)
            first = first or middle
            name = f"{project.modules} modules, the last {LAST} of {project.steps:,} steps"
            context = f"context {1000 * median(_of(step, PARTS[2]) for step in steps):.0f} ms"
            control = "" if first == middle else f"{middle / first:.2f} x of the first"
            yield Figure(group, name, [middle], "ms", context, control)
