"""How far has the task come, and what is it waiting for?"""

from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import shortened
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Committed,
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
    PolicyUsed,
    RequirementsComplete,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.node import path_of
from backcast.domain.question_events import ANSWER, AnswerGiven, QuestionAsked, step_question
from backcast.domain.score_events import Scored

NAME = "progress"
VERSION = 9
SCOPE: Literal["task", "store"] = "task"

ENDED = ("complete", "failed")
"The statuses of a task on which nothing is left to do."
HISTORY = "history"
"The status of a repository's history, which no run has made."
SHOW = "show"
"The tool by which a model asks to see nodes in full, and the word for it in an answer."


class ModuleProgress(NamedTuple):
    """How far one module has come."""

    iteration: int = 0
    score: float | None = None
    status: str = "started"
    "started, complete or deleted."
    failed: int | None = None
    "Checks that failed or could not run; None if unchecked since its iteration."


class Planned(NamedTuple):
    """A module of the plan."""

    path: str
    purpose: str = ""
    dependencies: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    "The paths of the test files that check it."


class PendingStep(NamedTuple):
    """A request to a model that has not led to a usable answer yet."""

    kind: str
    "plan, code or summary."
    module: str = ""
    iteration: int = 0
    attempt: int = 1
    context: int = 0
    "The version of the request's CONTEXT_BUILT; 0 if none was built yet."
    reply: int = 0
    "The version of the MODEL_REPLIED; 0 if there is none yet."
    question: str = ""
    "The name of the question whose answer it waits for; empty for none."
    call: int = 0
    "The version of its STEP_STARTED."


class Whole(NamedTuple):
    """The checks of the whole task, run since the last iteration of any module."""

    passed: int
    failed: int
    at: str = ""
    "The path in which the first failure was raised; empty if unknown."


class PendingCall(NamedTuple):
    """A tool call whose answer is not in the log yet."""

    tool: str
    version: int
    "The task version of the event that made it."


class Lane(NamedTuple):
    """The request about one module, or node, while others are asked about side by side."""

    step: PendingStep | None = None
    calls: tuple[int, ...] = ()
    "Calls of models: the version of its STEP_STARTED, and those of its alternatives."
    refused: int = 0
    "As in `ProgressState`, and so are the fields below."
    refusal: str = ""
    spent: int = 0
    looks: int = 0
    wanted: tuple[str, ...] = ()


OF_LANE = ("step", "refused", "refusal", "spent", "looks", "wanted")
"The fields of a state that each lane has for itself."


class ProgressState(NamedTuple):
    """The progress of a task."""

    status: str = "unknown"
    "unknown, history, started, planning, generating, generated, complete or failed."
    goal: str | None = None
    reason: str | None = None
    "Why it failed."
    events: int = 0
    started_at: datetime | None = None
    last_at: datetime | None = None
    """The earliest and the latest timestamp of any event: log order is not the order of times, as
    an edit of a map has the time of its run."""
    modules: Map[str, ModuleProgress] = Map()
    calls: Map[str, PendingCall] = Map()
    "Open calls of tools, by call id, or by version if the log gives no id."
    asked: int = 0
    "The version of a step or context that no model has answered yet; 0 for none."
    replies: int = 0
    planned: tuple[Planned, ...] = ()
    step: PendingStep | None = None
    refused: int = 0
    "Unusable answers to the current step."
    refusal: str = ""
    "Why the last of them was unusable."
    spent: int = 0
    "Model calls of failed tries since the last successful one."
    looks: int = 0
    "How often the model has asked to see something since the last iteration of a module."
    wanted: tuple[str, ...] = ()
    "Nodes that the next prompt shows in full, as the model asked to see them; answers among them."
    tries: Map[str, int] = Map()
    "Tries by kind and module; for a summary, since the module's last iteration."
    whole: Whole | None = None
    lanes: Map[str, Lane] = Map()
    "The requests of a wave that are not done with, by the key of their tries."
    wave: int = 0
    "The version as of which the prompts of the last wave were built; 0 before the first."
    commits: int = 0
    "Commits of a repository's history."


State = ProgressState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    if isinstance(event.fact, Scored):
        return state
    if name := step_question(event.fact):
        state = _questioned(state, event, name)
    else:
        lane, state = _lane_of(state, event), _worked(state, event)
        if not lane and _is_late(state, event):
            state = state._replace(replies=state.replies + isinstance(event.fact, ModelReplied))
        else:
            state = _in_lane(state, event, lane) if lane else _requested(state, event)
    time = event.timestamp
    begun, last = min(state.started_at or time, time), max(state.last_at or time, time)
    return state._replace(events=state.events + 1, started_at=begun, last_at=last)


def _worked(state: State, event: WorkflowEvent) -> State:
    """Apply an event to the status, the plan and the modules."""
    modules = state.modules
    match event.fact:
        case ModuleIteration(module_name=name, iteration=number, score=score):
            modules = modules.set(name, ModuleProgress(number, score))
            state = state._replace(tries=_summable(state.tries, name))
            status = HISTORY if state.status == HISTORY else "generating"
            return state._replace(status=status, modules=modules, whole=None)
        case ModuleStarted(module_name=name):
            return state._replace(
                status="generating", modules=modules.set(name, ModuleProgress()), whole=None
            )
        case ModuleComplete(module_name=name):
            return state._replace(modules=_marked(modules, name, "complete"))
        case ModuleDeleted(module_name=name):
            return state._replace(modules=_marked(modules, name, "deleted"), whole=None)
        case ModuleRenamed(module_name=name, previous_name=previous, iteration=number):
            modules = _marked(modules, previous, "deleted").set(name, ModuleProgress(number))
            return state._replace(modules=modules, whole=None)
        case ChecksRan() as fact:
            return _after_checks(state, fact)
        case Committed():
            status = HISTORY if state.status == "unknown" else state.status
            return state._replace(status=status, commits=state.commits + 1)
        case TaskStarted(goal=goal):
            return state._replace(status="started", goal=goal)
        case RequirementsComplete() | PlanningStarted():
            return state._replace(status="planning")
        case PlanningComplete(planned=planned):
            plan = tuple(Planned(m.path, m.purpose, m.dependencies, m.tests) for m in planned)
            return state._replace(status="generating", planned=plan)
        case GenerationComplete():
            return state._replace(status="generated")
        case TaskComplete():
            return state._replace(status="complete")
        case TaskFailed(reason=reason):
            return state._replace(status="failed", reason=reason)
    return state


def _questioned(state: State, event: WorkflowEvent, name: str) -> State:
    """Apply an event in the course of a question that a step asks: the step waits for its end."""
    match event.fact:
        case ModelReplied():
            return state._replace(replies=state.replies + 1)
        case QuestionAsked(parent=None, call=call):
            lane = _lane_of_call(state, call or 0)
            step, wanted = (state.lanes[lane] if lane else state).step, tuple[str, ...]()
            changed = step._replace(question=name) if step and step.reply else step
        case AnswerGiven():
            steps = ((key, own.step) for key, own in sorted(state.lanes.items()))
            lane = next((key for key, step in steps if step and step.question == name), "")
            step = (state.lanes[lane] if lane else state).step
            if step is None or step.question != name:
                return state
            changed, wanted = _anew(step), (f"{ANSWER}{name}",)
        case _:
            return state
    if lane:
        own = state.lanes[lane]
        own = own._replace(step=changed, wanted=(*own.wanted, *wanted))
        return state._replace(lanes=state.lanes.set(lane, own))
    return state._replace(step=changed, wanted=(*state.wanted, *wanted))


def answers_seen(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the answers to a step's own questions among the nodes that it wants to see."""
    return tuple(node for node in wanted if node.startswith(ANSWER))


def seen_from(state: State, lane: str) -> State:
    """Return the state as the request of one lane stands in it."""
    own = state.lanes.get(lane, Lane(spent=state.spent))
    return state._replace(**{name: getattr(own, name) for name in OF_LANE})


def _lane_of(state: State, event: WorkflowEvent) -> str:
    """Return the key of the lane that an event belongs to; empty for none."""
    match event.fact:
        case StepStarted(wave=int(), kind=str(kind), module_name=name):
            return try_key(kind, name or "")
        case ContextBuilt():
            return _lane_of_call(state, event.version - 1)
        case (
            ModelReplied(call=int(call))
            | ModelFailed(call=int(call))
            | AnswerRefused(call=int(call))
            | ToolReturned(call=int(call))
        ):
            return _lane_of_call(state, call)
        case ModuleIteration(module_name=name):
            lane = try_key("code", name)
        case SummaryWritten(node=str(node)):
            lane = try_key("summary", node)
        case _:
            return ""
    return lane if lane in state.lanes and state.lanes[lane].step else ""


def _lane_of_call(state: State, call: int) -> str:
    """Return the key of the lane of a model call; empty where none is open."""
    lanes = (lane for lane in sorted(state.lanes) if call in state.lanes[lane].calls)
    return next(lanes, "") if len(state.lanes) else ""


def _in_lane(state: State, event: WorkflowEvent, key: str) -> State:
    """Apply an event to the request of one lane: the others stay as they are."""
    lane = state.lanes.get(key, Lane(spent=state.spent))
    seen = _requested(seen_from(state, key), event)
    if isinstance(event.fact, StepStarted):
        calls = (*lane.calls, event.version) if event.fact.alternative else (event.version,)
        lane, state = lane._replace(calls=calls), state._replace(wave=event.fact.wave or 0)
    lane = lane._replace(**{name: getattr(seen, name) for name in OF_LANE})
    done = lane.step is None and not lane.spent
    lanes = state.lanes.delete(key) if done and key in state.lanes else state.lanes
    lanes = lanes if done else lanes.set(key, lane)
    return state._replace(lanes=lanes, replies=seen.replies, tries=seen.tries, calls=seen.calls)


def _is_late(state: State, event: WorkflowEvent) -> bool:
    """Return whether an answer is to a call whose lane is gone, and not to the step's own."""
    match event.fact:
        case (
            ModelReplied(call=int(call))
            | ModelFailed(call=int(call))
            | AnswerRefused(call=int(call))
        ):
            return state.step is not None and state.step.call not in (0, call)
    return False


def _requested(state: State, event: WorkflowEvent) -> State:
    """Apply an event to the requests to models and tools."""
    match event.fact:
        case StepStarted() as fact:
            # An alternative may have a prompt of its own: the step stays as its first call has it.
            other = fact.alternative and state.step
            step = state.step if other else _step(state.step, fact, event.version)
            return state._replace(asked=event.version, step=step)
        case ContextBuilt() | MessageReceived():
            step = state.step
            if step and not step.context and isinstance(event.fact, ContextBuilt):
                step = step._replace(context=event.version)
            return state._replace(asked=event.version, step=step)
        case ModelReplied():
            step = state.step._replace(reply=event.version) if state.step else None
            return state._replace(replies=state.replies + 1, asked=0, step=step)
        case PolicyUsed():
            # A context for another window, or by another policy, is not asked again.
            lanes = state.lanes
            for key in sorted(lanes):
                lanes = lanes.set(key, lanes[key]._replace(step=_unasked(lanes[key].step)))
            return state._replace(step=_unasked(state.step), lanes=lanes)
        case AnswerRefused(reason=reason):
            refused, refusal = state.refused + 1, shortened(reason)
            return state._replace(refused=refused, refusal=refusal, step=_anew(state.step))
        case ModelFailed(kind="answer"):
            spent = attempt(state) - 1
            return _after_try(state)._replace(asked=0, spent=spent)
        case ModelFailed():
            return state._replace(asked=0)
        case PlanningComplete() | ModuleIteration() | SummaryWritten() as fact:
            return _after_try(state) if state.step and _comes(state.step, fact) else state
        case ToolCalled(tool=tool, call_id=call_id):
            key = call_id or str(event.version)
            calls = state.calls.set(key, PendingCall(tool, event.version))
            return state._replace(calls=calls, asked=0)
        case ToolReturned(call_id=call_id, nodes=nodes) as fact:
            calls = _answered(state.calls, call_id, event.because)
            if state.step and fact.tool == SHOW:
                looks = state.looks + 1
                wanted = (*answers_seen(state.wanted), *nodes)
                state = state._replace(step=_anew(state.step), looks=looks, wanted=wanted)
            return state._replace(calls=calls)
    return state


def _step(before: PendingStep | None, fact: StepStarted, call: int) -> PendingStep | None:
    """Return the request that a step starts; foreign logs do not tell it."""
    if fact.kind is None:
        return None
    context = before.context if before and fact.again == before.context else 0
    return PendingStep(
        fact.kind,
        fact.module_name or "",
        fact.iteration or 0,
        fact.attempt or 1,
        context,
        call=call,
    )


def _anew(step: PendingStep | None) -> PendingStep | None:
    """Return the step before anything was asked or answered."""
    return step._replace(context=0, reply=0, question="") if step else None


def _unasked(step: PendingStep | None) -> PendingStep | None:
    """Return the step without its context, unless it is answered."""
    return step if step and step.reply else _anew(step)


def _comes(step: PendingStep, fact: PlanningComplete | ModuleIteration | SummaryWritten) -> bool:
    """Return whether a fact is the requested one, made of the answer."""
    match fact:
        case PlanningComplete():
            fits = step.kind == "plan"
        case ModuleIteration(module_name=name):
            fits = step.kind == "code" and name == step.module
        case SummaryWritten(node=node):
            fits = step.kind == "summary" and node == step.module
    return fits and step.reply > 0


def attempt(state: State) -> int:
    """Return the number of the next model call, counted from 1, since the last success."""
    return 1 + state.spent + state.refused + state.looks + len(answers_seen(state.wanted))


def _after_try(state: State) -> State:
    """Return the state after a request has succeeded or been given up."""
    tries = state.tries
    if state.step:
        key = try_key(state.step.kind, state.step.module)
        tries = tries.set(key, tries.get(key, 0) + 1)
    return state._replace(
        step=None, refused=0, refusal="", spent=0, looks=0, wanted=(), tries=tries
    )


def _summable(tries: Map[str, int], path: str) -> Map[str, int]:
    """Return the tries without summaries of a module and its contents, which have changed."""
    for key in sorted(tries):
        kind, _, node = key.partition(":")
        if kind == "summary" and path_of(node) == path:
            tries = tries.delete(key)
    return tries


def try_key(kind: str, module: str) -> str:
    """Return the key under which the tries of a module, or of a node, are counted.

    A lane has the same key: it is the request about one of them.
    """
    return f"{kind}:{module}"


def _after_checks(state: State, fact: ChecksRan) -> State:
    failed = fact.unmet
    if fact.module_name is None:
        at = fact.failures[0].at.partition(":")[0] if fact.failures else ""
        return state._replace(whole=Whole(fact.passed, failed, at))
    if fact.module_name not in state.modules:
        return state
    module = state.modules[fact.module_name]._replace(failed=failed)
    return state._replace(modules=state.modules.set(fact.module_name, module))


def waiting_for(state: State) -> str:
    """Return what has to come next, in words; empty if the task has ended."""
    if state.status in (*ENDED, HISTORY):
        return ""
    if len(state.calls):
        call = min(state.calls.values(), key=lambda call: call.version)
        return f"tool {call.tool}, called by event {call.version} of the task"
    steps = ((lane.calls, lane.step) for _, lane in state.lanes.items())
    if open_calls := [calls[0] for calls, step in steps if step and not step.reply and calls]:
        return f"the model, asked by event {min(open_calls)} of the task"
    own = [state.step, *(lane.step for _, lane in state.lanes.items())]
    if names := sorted(step.question for step in own if step and step.question):
        return f"the answer to question {names[0]}"
    if state.asked:
        return f"the model, asked by event {state.asked} of the task"
    return "the next step"


def history_words(commits: int, first: datetime | None, last: datetime | None) -> str:
    """Return what a repository's history is, in words: how many commits, and of which days."""
    days = list(dict.fromkeys(f"{time:%Y-%m-%d}" for time in (first, last) if time))
    count = f"{commits:,} commit{'s' if commits != 1 else ''}"
    return f"a history of {count}, {' to '.join(days)}; no run"


def _marked(modules: Map[str, ModuleProgress], name: str, status: str) -> Map[str, ModuleProgress]:
    return modules.set(name, modules.get(name, ModuleProgress())._replace(status=status))


def _answered(
    calls: Map[str, PendingCall], call_id: str | None, because: tuple[int, ...]
) -> Map[str, PendingCall]:
    """Return the calls still open: an answer names its call, or its event, or means the oldest."""
    if call_id is None:
        named = [key for key in sorted(calls) if calls[key].version in because]
        oldest = min(calls, key=lambda key: (calls[key].version, key), default="")
        call_id = named[0] if named else oldest
    return calls.delete(call_id) if call_id in calls else calls
