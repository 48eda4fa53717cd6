"""The lives of nodes outside outlines: a task, an iteration of a module, a failure."""

from typing import Protocol

from backcast.domain.cache import Failure, asked_of, failures_of, module_of, shortened
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    ModelFailed,
    ModelReplied,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import kind_of
from backcast.engine.replay.audit.occurrences import Occurrence


class Other(Protocol):
    """A collector of what happened to a node itself."""

    state: str
    "Empty while nothing is known."
    occurrences: list[Occurrence]

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event did to the node."""


class Nothing:
    """The empty life, for nodes in outlines and for nodes that only others mention."""

    def __init__(self) -> None:
        self.state, self.occurrences = "", list[Occurrence]()

    def take(self, event: WorkflowEvent) -> None:
        """Ignore the event."""

    def _note(self, event: WorkflowEvent, what: str, text: str = "") -> None:
        place = event.version, event.timestamp
        self.occurrences.append(Occurrence(*place, what, event.writer, shortened(text)))


class TaskLife(Nothing):
    """The life of a task, from its start to its end."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.id = node.partition(":")[2]

    def take(self, event: WorkflowEvent) -> None:
        """Note where the task began or ended."""
        if event.task_id != self.id:
            return
        match event.fact:
            case TaskStarted(goal=goal):
                self.state = "there"
                self._note(event, "recorded", goal or "")
            case TaskComplete():
                self.state = "complete"
                self._note(event, "complete")
            case TaskFailed(reason=reason):
                self.state = "failed"
                self._note(event, "failed", reason or "")


class ModuleLife(Nothing):
    """The life of one iteration of a module, until the next one."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.path, _, self.number = node.partition(":")[2].rpartition("@")

    def take(self, event: WorkflowEvent) -> None:
        """Note where the iteration was made, checked and replaced."""
        match event.fact:
            case ModuleIteration(module_name=self.path) | ModuleRenamed(module_name=self.path):
                if str(event.fact.iteration) == self.number:
                    self._note(event, "back" if self.occurrences else "recorded")
                    self.state = "there"
                else:
                    self._end(event, f"by iteration {event.fact.iteration}")
            case ModuleDeleted(module_name=self.path) | ModuleRenamed(previous_name=self.path):
                self._end(event, "its module went away")
            case ChecksRan(passed=passed, unmet=unmet, module_name=self.path) if (
                self.state == "there" and passed + unmet > 0
            ):
                what = "failed" if unmet > 0 else "passed"
                self._note(event, what, f"{passed} of {passed + unmet} passed")

    def _end(self, event: WorkflowEvent, cause: str) -> None:
        if self.state == "there":
            self.state = "superseded"
            self._note(event, "superseded", cause)


class FailureLife(Nothing):
    """The life of a failure, until the same was tried again."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.place = node.partition(":")[2]
        self.failure: Failure | None = None

    def take(self, event: WorkflowEvent) -> None:
        """Note where the failure arose, and where the same was tried again."""
        failures = failures_of(event)
        if self.failure is None:
            same = (one for one in failures if f"{one.version}.{one.number}" == self.place)
            self.failure = next(same, None)
            if self.failure:
                self.state = "there"
                self._note(event, "recorded", _describe(self.failure))
        elif self.state == "there" and _retried(event, self.failure):
            self.state = "over"
            again = next((one for one in failures if _same(one, self.failure)), None)
            text = f"as failure:{again.version}.{again.number}" if again else ""
            self._note(event, "failed" if again else "mended", text)


def other_of(node: str) -> Other:
    """Return the collector for a node's own life."""
    kinds = {"task": TaskLife, "iteration": ModuleLife, "failure": FailureLife}
    made = kinds.get(kind_of(node))
    return made(node) if made else Nothing()


def _describe(failure: Failure) -> str:
    head = " ".join(filter(None, (failure.kind, failure.at, failure.name)))
    return f"{head}: {failure.message}" if failure.message else head


def _retried(event: WorkflowEvent, failure: Failure) -> bool:
    """Whether an event tries again what had failed, by the rules of `online_cache`."""
    match event.fact:
        case ChecksRan(passed=passed, unmet=unmet) as fact:
            ran = passed > 0 or unmet > 0
            return ran and failure.kind == "checks" and module_of(fact) in ("", failure.at)
        case ToolReturned(tool=tool):
            return failure.kind == "tool" and shortened(tool) == failure.at
        case (ModelFailed() | ModelReplied() | AnswerRefused()) as fact:
            return failure.kind == "model" and asked_of(fact) == failure.at
        case TaskFailed():
            return failure.kind == "task"
    return False


def _same(first: Failure, second: Failure) -> bool:
    return (first.kind, first.name) == (second.kind, second.name)
