"""The lives of what is in no outline: a task, an iteration of a module, something that failed."""

from typing import Protocol

from backcast.domain.cache import Failure, failures_of, module_of, shortened
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
    """Gathers what happened to a node itself."""

    state: str
    "Empty where nothing is told of it."
    told: list[Occurrence]

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event did to the node."""


class Nothing:
    """Of a node that is told of by others alone, and of what is in an outline."""

    def __init__(self) -> None:
        self.state, self.told = "", list[Occurrence]()

    def take(self, event: WorkflowEvent) -> None:
        """Nothing."""


class TaskLife(Nothing):
    """The task itself, from its start to its end."""

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
                self.told.append(_of(event, "recorded", goal or ""))
            case TaskComplete():
                self.state = "complete"
                self.told.append(_of(event, "complete"))
            case TaskFailed(reason=reason):
                self.state = "failed"
                self.told.append(_of(event, "failed", reason or ""))


class ModuleLife(Nothing):
    """One iteration of a module, until the next."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.path, _, self.number = node.partition(":")[2].rpartition("@")

    def take(self, event: WorkflowEvent) -> None:
        """Note where it was made, and where another took its place."""
        match event.fact:
            case ModuleIteration(module_name=self.path) | ModuleRenamed(module_name=self.path):
                if str(event.fact.iteration) == self.number:
                    self.told.append(_of(event, "back" if self.told else "recorded"))
                    self.state = "there"
                else:
                    self._end(event, f"by iteration {event.fact.iteration}")
            case ModuleDeleted(module_name=self.path) | ModuleRenamed(previous_name=self.path):
                self._end(event, "its module went away")
            case ChecksRan(passed=passed, unmet=unmet, module_name=self.path) if (
                self.state == "there" and passed + unmet > 0
            ):
                what = "failed" if unmet > 0 else "passed"
                self.told.append(_of(event, what, f"{passed} of {passed + unmet} passed"))

    def _end(self, event: WorkflowEvent, told: str) -> None:
        if self.state == "there":
            self.state = "superseded"
            self.told.append(_of(event, "superseded", told))


class Failed(Nothing):
    """Something that failed, until the same was tried again."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self.place = node.partition(":")[2]
        self.failure: Failure | None = None

    def take(self, event: WorkflowEvent) -> None:
        """Note where it failed, and where the same was tried again."""
        there = failures_of(event)
        if self.failure is None:
            same = (one for one in there if f"{one.version}.{one.number}" == self.place)
            self.failure = next(same, None)
            if self.failure:
                self.state = "there"
                self.told.append(_of(event, "recorded", _said(self.failure)))
        elif self.state == "there" and _tried(event, self.failure):
            self.state = "over"
            again = next((one for one in there if _same(one, self.failure)), None)
            told = f"as failure:{again.version}.{again.number}" if again else ""
            self.told.append(_of(event, "failed" if again else "mended", told))


def other_of(node: str) -> Other:
    """What gathers the life of a node that is in no outline."""
    kinds = {"task": TaskLife, "iteration": ModuleLife, "failure": Failed}
    made = kinds.get(kind_of(node))
    return made(node) if made else Nothing()


def _of(event: WorkflowEvent, what: str, told: str = "") -> Occurrence:
    return Occurrence(event.version, event.timestamp, what, event.writer, shortened(told))


def _said(failure: Failure) -> str:
    head = " ".join(filter(None, (failure.kind, failure.at, failure.name)))
    return f"{head}: {failure.message}" if failure.message else head


def _tried(event: WorkflowEvent, failure: Failure) -> bool:
    """Whether an event tells that what had failed was tried again, as `online_cache` has it."""
    match event.fact:
        case ChecksRan(passed=passed, unmet=unmet) as fact:
            ran = passed > 0 or unmet > 0
            return ran and failure.kind == "checks" and module_of(fact) in ("", failure.at)
        case ToolReturned(tool=tool):
            return failure.kind == "tool" and shortened(tool) == failure.at
        case ModelFailed() | ModelReplied() | AnswerRefused():
            return failure.kind == "model"
        case TaskFailed():
            return failure.kind == "task"
    return False


def _same(one: Failure, other: Failure) -> bool:
    return (one.kind, one.name) == (other.kind, other.name)
