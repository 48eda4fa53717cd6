"""Which runs of checks a node failed in, and which mended it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.cache import Failure, failures_of, module_of
from backcast.domain.events import ChecksRan, WorkflowEvent
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.engine.replay.audit.occurrences import Occurrence
from backcast.engine.replay.audit.texts import Stage, stage_at


class CheckRun(NamedTuple):
    """A run of checks."""

    event: int
    timestamp: datetime
    at: str
    "The module that was checked; empty where all were."
    passed: int
    unmet: int
    failures: tuple[Failure, ...]


class NodeChecks:
    """The runs that can be about one node, gathered from events.

    Of a task these are the runs of all its modules together.
    """

    def __init__(self, node: str) -> None:
        self.node, self.kind = node, kind_of(node)
        self.path = "" if self.kind == "task" else path_of(node)
        self._runs: list[CheckRun] = []

    def take(self, event: WorkflowEvent) -> None:
        """Note a run; one that ran nothing tells nothing."""
        if self.kind == "task" and self.node != node_id("task", event.task_id):
            return
        match event.fact:
            case ChecksRan(passed=passed, unmet=unmet) as fact if passed > 0 or unmet > 0:
                at, failures = module_of(fact), failures_of(event)
                if at in ("", self.path) or any(self._touches(one) for one in failures):
                    run = CheckRun(event.version, event.timestamp, at, passed, unmet, failures)
                    self._runs.append(run)

    def occurrences(self, stages: Sequence[Stage]) -> Iterator[Occurrence]:
        """Where the node failed, and where what it had failed in ran again without that."""
        failed: dict[str, None] = {}
        "The modules that were checked when it failed, and not since; empty for all of them."
        for run in self._runs:
            hits = self._hits(run, stages)
            over = {at for at in failed if run.at in ("", at)}
            if hits is not None:
                yield self._occurrence(run, "failed", _told(hits))
                failed[run.at] = None
            elif over:
                failed = {at: None for at in failed if at not in over}
                yield self._occurrence(run, "mended", "")

    def _occurrence(self, run: CheckRun, what: str, message: str) -> Occurrence:
        told = f"{run.passed} of {run.passed + run.unmet} passed"
        told = f"{told}; {message}" if message else told
        return Occurrence(run.event, run.timestamp, what, told=told, target=_module(run.at))

    def _touches(self, failure: Failure) -> bool:
        return self.path in (place_of(failure)[0], check_of(failure)[0])

    def _hits(self, run: CheckRun, stages: Sequence[Stage]) -> list[Failure] | None:
        """The failures that the node is in; None where it is in none.

        A module that was checked, and a task, fail without any that is named.
        """
        if self.kind in ("module", "task"):
            own = [one for one in run.failures if run.at == self.path or self._touches(one)]
            return own if own or (run.unmet > 0 and run.at == self.path) else None
        stage = stage_at(stages, run.event)
        if stage is None or not stage.there:
            return None
        lines = None
        if any(place_of(one)[0] == self.path for one in run.failures):
            lines = stage.lines(name_of(self.node))
        return [one for one in run.failures if self._is_in(one, lines)] or None

    def _is_in(self, failure: Failure, lines: tuple[int, int] | None) -> bool:
        """Whether something failed in the node: was raised in its lines, or is a check in it."""
        path, line = place_of(failure)
        if lines and path == self.path and lines[0] <= line <= lines[1]:
            return True
        path, check = check_of(failure)
        name = name_of(self.node)
        return path == self.path and (check == name or check.startswith(f"{name}."))


def place_of(failure: Failure) -> tuple[str, int]:
    """The path and line where something was raised; line 0 where that is not told."""
    path, _, line = failure.place.rpartition(":")
    return (path, int(line)) if line.isascii() and line.isdigit() and len(line) < 9 else ("", 0)


def check_of(failure: Failure) -> tuple[str, str]:
    """The path and the qualified name of a check, of a pytest id: `tests/test_a.py::TestA::test`.

    Empty where no path is told: a name alone may be that of several.
    """
    path, mark, name = failure.name.partition("::")
    return (path, name.partition("[")[0].replace("::", ".")) if mark else ("", "")


def _told(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    first = failures[0]
    place = f"({first.place})" if first.place else ""
    told = " ".join(filter(None, (first.name, place)))
    told = ": ".join(filter(None, (told, first.message.split("\n")[0])))
    return told + (f"; and {len(failures) - 1} more" if len(failures) > 1 else "")


def _module(path: str) -> str:
    return f"module:{path}" if path else ""
