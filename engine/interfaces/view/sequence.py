"""The events of a task as steps: what was asked of a model, and what came of it."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Committed,
    ContextBuilt,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    PlanningComplete,
    StepStarted,
    SummaryWritten,
    TaskComplete,
    TaskFailed,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.interfaces.views import called
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.store import EventStore
from backcast.projections import versions

GLYPHS = {
    "failed": "✗", "refused": "!", "checks": "✗", "passed": "✓", "plan": "P", "code": "C",
    "summary": "S", "tool": "T", "reply": "A", "begin": "·",
}  # fmt: skip
"The sign of each outcome, for those who cannot tell its colour."
NAMES = {
    "failed": "failed", "refused": "refused", "checks": "checks failed", "passed": "checks passed",
    "plan": "plan", "code": "code", "summary": "summary", "tool": "tool", "reply": "answer",
    "begin": "",
}  # fmt: skip
RANKS = {name: rank for rank, name in enumerate(reversed(GLYPHS))}
"Of several outcomes in a step the highest counts."


class RunStep(NamedTuple):
    """Some events that follow each other: a request, its answer, and what came of it."""

    number: int
    "From 1; 0 for what stands before the first step."
    first: int
    last: int
    name: str
    outcome: str = "begin"
    why: str = ""
    "The reason of a failure or refusal."
    prompt: int = 0
    "The version of its prompt; 0 for none."
    foreign: bool = False
    "Whether another program built the prompt."
    answered: bool = False
    at: datetime | None = None

    @property
    def event(self) -> int:
        """The event by which the step is linked."""
        return self.prompt or self.first

    @property
    def label(self) -> str:
        """What came of it, in a word or two."""
        return NAMES[self.outcome]


class RunSequence:
    """The steps of a task up to the last event that was read."""

    def __init__(self, store: EventStore, task: str) -> None:
        self.store, self.task = store, task
        self.steps: list[RunStep] = []
        self.version = 0
        self.goal = ""
        self.ended = ""
        self.written: dict[str, list[int]] = {}
        "The events that wrote each module."
        self.versions = versions.initial
        self._versions: dict[int, versions.State] = {}
        "The versions of modules before each step, by its first event."

    def read_on(self) -> list[RunStep]:
        """Read new events, and return all steps."""
        last = self.store.version(self.task)
        for event in self.store.read(self.task, after=self.version, last=last):
            self._take(event)
        self.version = last
        return self.steps

    def at(self, version: int) -> RunStep:
        """Return the step that holds an event."""
        low, high = 0, len(self.steps) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.steps[middle].first <= version else (low, middle - 1)
        return self.steps[low]

    def versions_at(self, version: int) -> tuple[int, versions.State]:
        """Return the versions of modules before the step of an event, and up to which event."""
        first = self.at(version).first
        return first - 1, self._versions[first]

    def writer_of(self, path: str, version: int) -> int:
        """Return the event that last wrote a module before another event; 0 for none."""
        return max((at for at in self.written.get(path, ()) if at < version), default=0)

    def worst(self) -> RunStep:
        """Return the step to show first: the last that failed, else the last with a prompt."""
        failed = [step for step in self.steps if step.outcome in ("failed", "checks")]
        prompts = [step for step in self.steps if step.prompt]
        return (failed or prompts or self.steps)[-1]

    def _take(self, event: WorkflowEvent) -> None:
        fact = event.fact
        if not self.steps or self._begins(event):
            opens = self._opens(event)
            number = self.steps[-1].number + 1 if self.steps else int(opens)
            name = _name(fact) if opens else "before the first step"
            self._versions[event.version] = self.versions
            self.steps.append(RunStep(number, event.version, event.version, name,
                                      at=event.timestamp))  # fmt: skip
        self.versions = versions.evolve(self.versions, event)
        step = self.steps[-1]._replace(last=event.version)
        if isinstance(fact, ContextBuilt) and not step.prompt:
            foreign = fact.request is not None
            name = (self._asked(fact) or _name(fact)) if foreign else step.name or _name(fact)
            step = step._replace(prompt=event.version, foreign=foreign, name=name)
        if isinstance(fact, ModelReplied | ModelFailed):
            said = self._said(fact) if step.foreign and isinstance(fact, ModelReplied) else ""
            step = step._replace(answered=True, name=said or step.name or _name(fact))
        # Of another program's step the calls tell most; the first names it.
        unnamed = step.name in ("answer", "") or (step.foreign and step.outcome != "tool")
        if isinstance(fact, ToolCalled) and unnamed:
            step = step._replace(name=called(fact))
        for outcome, why in _outcomes(fact):
            if RANKS[outcome] >= RANKS[step.outcome]:
                step = step._replace(outcome=outcome, why=why or step.why)
        self.steps[-1] = step
        self.goal = self.goal or str(getattr(fact, "goal", None) or "")
        if isinstance(fact, ModuleIteration | ModuleRenamed):
            self.written.setdefault(fact.module_name, []).append(event.version)
        if isinstance(fact, TaskComplete | TaskFailed):
            self.ended = event.type

    def _begins(self, event: WorkflowEvent) -> bool:
        """Return whether a step begins with an event."""
        step = self.steps[-1]
        match event.fact:
            case StepStarted() | Committed():
                return True
            case ContextBuilt():
                return bool(step.prompt) or not step.number
            case ModelReplied() | ModelFailed():
                return step.answered or not step.number
            case MessageReceived():
                return step.answered and step.foreign
        return _is_whole(event.fact) and step.answered and step.outcome != "reply"

    def _asked(self, fact: ContextBuilt) -> str:
        """Return the beginning of what is new in another program's request."""
        parts = fact.request.parts if fact.request else ()
        for part in reversed(parts):
            if part.kind in ("message", "result"):
                with suppress(DamagedError, ValueError):
                    words = part_text(self.store.get(part.text))[:200].split()
                    return " ".join(words)[:80]
        return ""

    def _said(self, fact: ModelReplied) -> str:
        """Return the beginning of an answer."""
        with suppress(DamagedError, ValueError):
            words = self.store.get(fact.text).decode(errors="replace") if fact.text else ""
            return " ".join(words[:200].split())[:80]
        return ""

    @staticmethod
    def _opens(event: WorkflowEvent) -> bool:
        return isinstance(event.fact, OPENERS) or _is_whole(event.fact)


OPENERS = (StepStarted, Committed, ContextBuilt, ModelReplied, ModelFailed, MessageReceived)


def _is_whole(fact: object) -> bool:
    return isinstance(fact, ChecksRan) and fact.module_name is None


def _name(fact: object) -> str:
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


def _outcomes(fact: object) -> Iterator[tuple[str, str]]:
    """Yield what an event makes of its step, and why."""
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
        case SummaryWritten():
            yield "summary", ""
        case ToolCalled():
            yield "tool", ""
        case ToolReturned() if fact.failed:
            yield "failed", fact.message or f"the tool {fact.tool or ''} failed"
        case ModelReplied():
            yield "reply", ""
