"""How far has the task come, and what is it waiting for?"""

from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from domain.events import (
    ContextBuilt,
    GenerationComplete,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    ModuleStarted,
    PlanningComplete,
    PlanningStarted,
    RequirementsComplete,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)

NAME = "progress"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"


class ModuleProgress(NamedTuple):
    """How far one module has come."""

    iteration: int = 0
    score: float | None = None
    status: str = "started"
    "started, complete or deleted."


class Call(NamedTuple):
    """A tool call whose answer is not in the log yet."""

    tool: str
    version: int
    "The task version of the event that made it."


class State(NamedTuple):
    """Where a task stands."""

    status: str = "unknown"
    "unknown, started, planning, generating, generated, complete or failed."
    goal: str | None = None
    reason: str | None = None
    "Why it failed."
    events: int = 0
    started_at: datetime | None = None
    last_at: datetime | None = None
    "The timestamp of the last event, in log order."
    modules: Map[str, ModuleProgress] = Map()
    calls: Map[str, Call] = Map()
    "Open tool calls, by call id, or by version where the log gives no id."
    asked: int = 0
    "The version of a step or context that no model has answered yet; 0 when there is none."
    replies: int = 0


initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """The state after one more event."""
    status, goal, reason, events, started_at, _, modules, calls, asked, replies = state
    match event.fact:
        case ToolCalled(tool=tool, call_id=call_id):
            key = call_id or str(event.version)
            calls, asked = calls.set(key, Call(tool, event.version)), 0
        case ToolReturned(call_id=call_id):
            calls = _answered(calls, call_id, event.because)
        case ModelReplied():
            replies, asked = replies + 1, 0
        case ModuleIteration(module_name=name, iteration=iteration, score=score):
            status, modules = "generating", modules.set(name, ModuleProgress(iteration, score))
        case StepStarted() | ContextBuilt() | MessageReceived():
            asked = event.version
        case ModelFailed():
            asked = 0
        case ModuleStarted(module_name=name):
            status, modules = "generating", modules.set(name, ModuleProgress())
        case ModuleComplete(module_name=name):
            modules = _marked(modules, name, "complete")
        case ModuleDeleted(module_name=name):
            modules = _marked(modules, name, "deleted")
        case ModuleRenamed(module_name=name, previous_name=previous, iteration=iteration):
            modules = _marked(modules, previous, "deleted").set(name, ModuleProgress(iteration))
        case TaskStarted(goal=goal):
            status = "started"
        case RequirementsComplete() | PlanningStarted():
            status = "planning"
        case PlanningComplete():
            status = "generating"
        case GenerationComplete():
            status = "generated"
        case TaskComplete():
            status = "complete"
        case TaskFailed(reason=reason):
            status = "failed"
    time = event.timestamp
    return State(
        status, goal, reason, events + 1, started_at or time, time, modules, calls, asked, replies
    )


def waiting_for(state: State) -> str:
    """What has to come next, in words; empty when the task has ended."""
    if state.status in ("complete", "failed"):
        return ""
    if len(state.calls):
        call = min(state.calls.values(), key=lambda call: call.version)
        return f"tool {call.tool}, called by event {call.version} of the task"
    if state.asked:
        return f"the model, asked by event {state.asked} of the task"
    return "the next step"


def _marked(modules: Map[str, ModuleProgress], name: str, status: str) -> Map[str, ModuleProgress]:
    return modules.set(name, modules.get(name, ModuleProgress())._replace(status=status))


def _answered(
    calls: Map[str, Call], call_id: str | None, because: tuple[int, ...]
) -> Map[str, Call]:
    """The calls still open: an answer names its call, or its event, or means the oldest."""
    if call_id is None:
        named = [key for key in sorted(calls) if calls[key].version in because]
        oldest = min(calls, key=lambda key: (calls[key].version, key), default="")
        call_id = named[0] if named else oldest
    return calls.delete(call_id) if call_id in calls else calls
