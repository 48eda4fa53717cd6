"""What the facts of a run's own loop make of a step: its name, its outcome, and why."""

from collections.abc import Iterator

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Committed,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    PlanningComplete,
    StepStarted,
    TaskFailed,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.engine.interfaces.failed_results import tests_failed
from backcast.engine.interfaces.views import BodyText, failed_because


def name_of(fact: object) -> str:
    """Return the name that a step has by one of its facts."""
    match fact:
        case StepStarted():
            words = [fact.kind or "", fact.module_name or ""]
            words += [f"#{fact.iteration}"] if fact.iteration else []
            words += [f"attempt {fact.attempt}"] if (fact.attempt or 1) > 1 else []
            return " ".join(filter(None, words))
        case Committed():
            return (fact.message.strip().splitlines() or [fact.sha[:10]])[0]
        case ContextBuilt(request=request) if request is not None:
            return f"{request.purpose or 'request'} {request.path}"
        case ContextBuilt():
            return fact.target or "prompt"
        case ModelReplied():
            return "answer"
        case ChecksRan():
            return "checks of the whole task"
        case MessageReceived():
            return ""
    return "no answer"


def row_name(fact: object) -> str:
    """Return the name of a row that a fact is in a log without steps; empty for other facts."""
    match fact:
        case ModuleIteration() | ModuleDeleted() | ModuleRenamed():
            name = fact.module_name or "a module"
            if isinstance(fact, ModuleIteration):
                return f"{name} #{fact.iteration}"
            return f"{name} deleted" if isinstance(fact, ModuleDeleted) else name
        case ChecksRan(module_name=str(module)):
            return f"checks of {module}"
        case PlanningComplete():
            return "the plan"
        case SummaryWritten():
            return f"summary of {fact.node}" if fact.node else "a summary"
        case TaskFailed():
            return "the task failed"
    return ""


ROWS = (
    ModuleIteration, ModuleDeleted, ModuleRenamed, ChecksRan, PlanningComplete, TaskFailed,
)  # fmt: skip
"Facts of which each is a row of a log in which no model was asked."


def outcomes_of(fact: object, text: BodyText) -> Iterator[tuple[str, str]]:
    """Yield what an event makes of its step, and why; `text` reads the body of a blob."""
    match fact:
        case TaskFailed() | ModelFailed():
            yield "failed", fact.reason or "it failed, and the log does not say why"
        case AnswerRefused():
            yield "refused", fact.reason or "the answer was not used"
        case ChecksRan() if fact.unmet:
            failures = [f"{one.name}: {one.message}" for one in fact.failures[:3]]
            more = [f"and {len(fact.failures) - 3} more"] if len(fact.failures) > 3 else []
            whole = f"{fact.unmet} of {fact.passed + fact.unmet} checks failed"
            yield "checks", "\n".join([whole, *failures, *more])
        case ChecksRan():
            yield "passed", ""
        case PlanningComplete():
            yield "plan", ""
        case ModuleIteration() | ModuleDeleted() | ModuleRenamed():
            yield "code", ""
        case Committed():
            yield "commit", ""
        case SummaryWritten():
            yield "summary", ""
        case ToolCalled():
            yield "tool", ""
        case ToolReturned() if fact.failed:
            yield "failed", failed_because(fact, text) or f"the tool {fact.tool or ''} failed"
        case ToolReturned() if fact.output and (said := tests_failed(text(fact.output))):
            yield "checks", f"tests failed in the tool's output: {said}"
        case ModelReplied():
            yield "reply", ""
