"""The events of a task as steps: what was asked of a model, and what came of it."""

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.dispatch_events import DispatchStarted
from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    ChecksRan,
    Committed,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleIteration,
    ModuleRenamed,
    StepStarted,
    TaskComplete,
    TaskFailed,
    ToolCalled,
    WorkflowEvent,
)
from backcast.domain.question_events import AnswerGiven
from backcast.engine.interfaces.view import dispatch_steps
from backcast.engine.interfaces.view.step_words import name_of, outcomes_of
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
    "Whether another program built the prompt, or its messages alone are known."
    answered: bool = False
    replied: int = 0
    "The version of its first answer; 0 for none."
    at: datetime | None = None

    @property
    def event(self) -> int:
        """The event by which the step is linked."""
        return self.asked or self.first

    @property
    def asked(self) -> int:
        """The event that names its prompt: of one that is formed the answer's; 0 for none."""
        return self.prompt or (self.replied if self.foreign else 0)

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
        self.dispatched: dict[int, str] = {}
        "The names of the steps in which agents were started, by the events of that."
        self._dispatch = 0
        "The dispatch of the last step."
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
            name = name_of(fact) if opens else "before the first step"
            name = self._of_dispatch(event) or name
            self._versions[event.version] = self.versions
            self.steps.append(RunStep(number, event.version, event.version, name,
                                      at=event.timestamp))  # fmt: skip
        self.versions = versions.evolve(self.versions, event)
        step = self.steps[-1]._replace(last=event.version)
        if isinstance(fact, ContextBuilt) and not step.prompt:
            foreign = fact.request is not None
            name = (self._asked(fact) or name_of(fact)) if foreign else step.name or name_of(fact)
            step = step._replace(prompt=event.version, foreign=foreign, name=name)
        if isinstance(fact, ModelReplied | ModelFailed):
            foreign = step.foreign or (not step.prompt and step.name in ("answer", ""))
            said = self._said(fact) if foreign and isinstance(fact, ModelReplied) else ""
            replied = step.replied or event.version * isinstance(fact, ModelReplied)
            step = step._replace(answered=True, name=said or step.name or name_of(fact),
                                 foreign=foreign, replied=replied)  # fmt: skip
        # Of another program's step the calls tell most; the first names it.
        unnamed = step.name in ("answer", "") or (step.foreign and step.outcome != "tool")
        if isinstance(fact, ToolCalled) and unnamed:
            step = step._replace(name=called(fact))
        if isinstance(fact, AnswerGiven) and not step.prompt:
            step = step._replace(name=f"answer to {fact.name}")
        for outcome, why in (*outcomes_of(fact), *dispatch_steps.outcomes(fact)):
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
            case StepStarted() | Committed() | DispatchStarted():
                return True
            case fact if isinstance(fact, dispatch_steps.OF_A_DISPATCH):
                return fact.dispatch in self.dispatched and fact.dispatch != self._dispatch
            case ContextBuilt():
                return bool(step.prompt) or not step.number
            case ModelReplied() | ModelFailed():
                return step.answered or not step.number
            case MessageReceived():
                return step.answered and step.foreign
        return _is_whole(event.fact) and step.answered and step.outcome != "reply"

    def _of_dispatch(self, event: WorkflowEvent) -> str:
        """Return the name of a step of a dispatch, and remember which it is; empty for others."""
        fact = event.fact
        if isinstance(fact, DispatchStarted):
            self._dispatch = event.version
            self.dispatched[event.version] = dispatch_steps.dispatch_name(fact)
            return self.dispatched[event.version]
        if isinstance(fact, dispatch_steps.OF_A_DISPATCH) and fact.dispatch in self.dispatched:
            self._dispatch = fact.dispatch
            return f"{self.dispatched[fact.dispatch]}, further"
        return ""

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


OPENERS = (
    StepStarted, Committed, ContextBuilt, ModelReplied, ModelFailed, MessageReceived,
    DispatchStarted,
)  # fmt: skip


def _is_whole(fact: object) -> bool:
    return isinstance(fact, ChecksRan) and fact.module_name is None
