"""The check runs in which a node failed, and the runs that mended it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.cache import Failure, failures_of, module_of
from backcast.domain.events import ChecksRan, WorkflowEvent
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.engine.replay.audit.occurrences import Occurrence
from backcast.engine.replay.audit.texts import Stage, stage_at


class CheckRun(NamedTuple):
    """One run of checks."""

    event: int
    timestamp: datetime
    at: str
    "Path of the module checked; empty where all were."
    passed: int
    unmet: int
    failures: tuple[Failure, ...]


class NodeChecks:
    """The check runs that can concern one node, gathered from events.

    For a task these are the runs of all its modules together.
    """

    def __init__(self, node: str) -> None:
        self.node, self.kind = node, kind_of(node)
        self.path = "" if self.kind == "task" else path_of(node)
        self._runs: list[CheckRun] = []

    def take(self, event: WorkflowEvent) -> None:
        """Note a run that ran at least one check."""
        if self.kind == "task" and self.node != node_id("task", event.task_id):
            return
        match event.fact:
            case ChecksRan(passed=passed, unmet=unmet) as fact if passed > 0 or unmet > 0:
                at, failures = module_of(fact), failures_of(event)
                if at in ("", self.path) or any(self._touches(failure) for failure in failures):
                    run = CheckRun(event.version, event.timestamp, at, passed, unmet, failures)
                    self._runs.append(run)

    def occurrences(self, stages: Sequence[Stage]) -> Iterator[Occurrence]:
        """Yield where the node failed, and where the same checks then ran without it."""
        failed: dict[str, None] = {}
        "Modules checked when it failed and not since; an empty path means all of them."
        for run in self._runs:
            hits = self._hits(run, stages)
            over = {at for at in failed if run.at in ("", at)}
            if hits is not None:
                yield self._occurrence(run, "failed", _describe(hits))
                failed[run.at] = None
            elif over:
                failed = {at: None for at in failed if at not in over}
                yield self._occurrence(run, "mended", "")

    def _occurrence(self, run: CheckRun, what: str, message: str) -> Occurrence:
        text = f"{run.passed} of {run.passed + run.unmet} passed"
        text = f"{text}; {message}" if message else text
        return Occurrence(run.event, run.timestamp, what, told=text, target=_module(run.at))

    def _touches(self, failure: Failure) -> bool:
        return self.path in (place_of(failure)[0], check_of(failure)[0])

    def _hits(self, run: CheckRun, stages: Sequence[Stage]) -> list[Failure] | None:
        """Return the failures that involve the node; None where there are none.

        A checked module, or a task, can fail with an empty list: nothing was named.
        """
        if self.kind in ("module", "task"):
            own = [one for one in run.failures if run.at == self.path or self._touches(one)]
            return own if own or (run.unmet > 0 and run.at == self.path) else None
        stage = stage_at(stages, run.event)
        if stage is None or not stage.exists:
            return None
        lines = None
        if any(place_of(failure)[0] == self.path for failure in run.failures):
            lines = stage.lines(name_of(self.node))
        return [failure for failure in run.failures if self._is_in(failure, lines)] or None

    def _is_in(self, failure: Failure, lines: tuple[int, int] | None) -> bool:
        """Whether a failure was raised in the node's lines, or is a check inside it."""
        path, line = place_of(failure)
        if lines and path == self.path and lines[0] <= line <= lines[1]:
            return True
        path, check = check_of(failure)
        name = name_of(self.node)
        return path == self.path and (check == name or check.startswith(f"{name}."))


def place_of(failure: Failure) -> tuple[str, int]:
    """Return the path and line where a failure was raised; line 0 where unknown."""
    path, _, line = failure.place.rpartition(":")
    return (path, int(line)) if line.isascii() and line.isdigit() and len(line) < 9 else ("", 0)


def check_of(failure: Failure) -> tuple[str, str]:
    """Return the path and qualified name of a check from its pytest id, as `a.py::TestA::test`.

    Both are empty for an id without a path, since several checks may share a name.
    """
    path, mark, name = failure.name.partition("::")
    return (path, name.partition("[")[0].replace("::", ".")) if mark else ("", "")


def _describe(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    first = failures[0]
    place = f"({first.place})" if first.place else ""
    text = " ".join(filter(None, (first.name, place)))
    text = ": ".join(filter(None, (text, first.message.split("\n")[0])))
    return text + (f"; and {len(failures) - 1} more" if len(failures) > 1 else "")


def _module(path: str) -> str:
    return f"module:{path}" if path else ""
