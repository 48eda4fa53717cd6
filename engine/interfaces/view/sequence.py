"""The events of a task as steps: what was asked of a model, and what came of it."""

from bisect import bisect_left
from contextlib import suppress

from backcast.domain.context_events import ContextBuilt
from backcast.domain.dispatch_events import DispatchStarted
from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    ChecksRan,
    Committed,
    Imported,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleIteration,
    ModuleRenamed,
    ModuleStarted,
    PlanningComplete,
    PlanningStarted,
    RequirementsComplete,
    StepStarted,
    TaskComplete,
    TaskFailed,
    ToolCalled,
    WorkflowEvent,
)
from backcast.domain.question_events import AnswerGiven
from backcast.engine.interfaces.view import dispatch_steps
from backcast.engine.interfaces.view.run_step import RANKS, RunStep
from backcast.engine.interfaces.view.step_words import ROWS, name_of, outcomes_of, row_name
from backcast.engine.interfaces.views import NAME, called
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import GONE, read_text
from backcast.projections import versions
from backcast.projections.progress import history_words


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
        self.raised: dict[int, tuple[str, ...]] = {}
        "The paths in which checks of the whole task failed, by the events of those checks."
        self.commits = 0
        self.format = ""
        "That of the log which the task was imported from; empty for one of our own."
        self.plans = False
        "Whether the log tells of a plan, or of a request of ours."
        self._has_steps = False
        "Whether a model was asked by now, or a commit made; else each text and check is a row."
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
        """Return the step to show first: the last that failed, if it has a prompt or one is behind
        its failure; else the last with a prompt, which of an agent's is mostly the largest."""
        failed = [step for step in self.steps if step.outcome in ("failed", "checks")]
        prompts = [step for step in self.steps if step.asked]
        if failed and (failed[-1].asked or failed[-1].first in self.dispatched
                       or self.behind(failed[-1])):  # fmt: skip
            return failed[-1]
        return (prompts or failed or self.steps)[-1]

    def behind(self, step: RunStep) -> RunStep | None:
        """Return the step whose prompt is behind a failure of all checks: that of the answer at
        fault, else that which mended it; None where the log tells neither."""
        if fault := self.fault_of(step):
            return fault[1]
        writers, _ = self.mended(step)
        return writers[-1] if writers else None

    def fault_of(self, step: RunStep) -> tuple[str, RunStep] | None:
        """Return where all checks first failed in a module, and the step whose answer wrote it."""
        for version, paths in self.raised.items():
            if not step.first <= version <= step.last:
                continue
            for path in paths:
                at = self.writer_of(path, version)
                if at and self.at(at).asked:
                    return path, self.at(at)
        return None

    def mended(self, step: RunStep) -> tuple[list[RunStep], RunStep | None]:
        """Return the steps that wrote code after all checks failed, and the checks that then
        passed; none where they did not."""
        if not any(step.first <= version <= step.last for version in self.raised):
            return [], None
        places = sorted(at for versions in self.written.values() for at in versions)
        writers = list[RunStep]()
        for later in self.steps[self.steps.index(step) + 1 :]:
            if later.whole:
                passed = later.outcome == "passed"
                return (writers, later) if passed else ([], None)
            place = bisect_left(places, later.first)
            if later.asked and place < len(places) and places[place] <= later.last:
                writers.append(later)
        return [], None

    def _take(self, event: WorkflowEvent) -> None:
        fact = event.fact
        if not self.steps or self._begins(event):
            opens = self._opens(event) or self._is_row(event.fact)
            number = self.steps[-1].number + 1 if self.steps else int(opens)
            name = (name_of(fact) if self._opens(event) else row_name(fact)) or name_of(fact)
            name = name if opens else "before the first step"
            name = self._of_dispatch(event) or name
            self._versions[event.version] = self.versions
            self.steps.append(RunStep(number, event.version, event.version, name,
                                      at=event.timestamp))  # fmt: skip
        self._has_steps = self._has_steps or isinstance(fact, OPENERS)
        self.versions = versions.evolve(self.versions, event)
        step = self.steps[-1]._replace(last=event.version)
        if isinstance(fact, ContextBuilt) and not step.prompt:
            foreign = fact.request is not None
            name = (self._asked(fact) or name_of(fact)) if foreign else step.name or name_of(fact)
            step = step._replace(prompt=event.version, foreign=foreign, name=name)
        if isinstance(fact, ModelReplied | ModelFailed):
            foreign = step.foreign or (not step.prompt and step.name in ("answer", ""))
            said = self._beginning(fact.text) if foreign and isinstance(fact, ModelReplied) else ""
            replied = step.replied or event.version * isinstance(fact, ModelReplied)
            step = step._replace(answered=True, name=said or step.name or name_of(fact),
                                 foreign=foreign, replied=replied)  # fmt: skip
        if isinstance(fact, MessageReceived) and not step.message:
            step = step._replace(message=self._beginning(fact.text))
        if _is_whole(fact):
            step = step._replace(whole=True)
        # Of another program's step the calls tell most; the first names it.
        unnamed = step.name in ("answer", "") or (step.foreign and step.outcome != "tool")
        if isinstance(fact, ToolCalled) and unnamed:
            step = step._replace(name=called(fact, self._text))
        if isinstance(fact, AnswerGiven) and not step.prompt:
            step = step._replace(name=f"answer to {fact.name}")
        for outcome, why in (*outcomes_of(fact, self._text), *dispatch_steps.outcomes(fact)):
            if RANKS[outcome] >= RANKS[step.outcome]:
                step = step._replace(outcome=outcome, why=why or step.why)
        self.steps[-1] = step
        self.commits += isinstance(fact, Committed)
        self.plans = self.plans or isinstance(fact, PLANNED)
        if isinstance(fact, Imported):
            self.format = fact.format or self.format
        if isinstance(fact, ChecksRan) and _is_whole(fact) and fact.unmet:
            places = (failure.at.rpartition(":") for failure in fact.failures)
            self.raised[event.version] = tuple(path or rest for path, _, rest in places)
        self.goal = self.goal or str(getattr(fact, "goal", None) or "")
        if isinstance(fact, ModuleIteration | ModuleRenamed):
            self.written.setdefault(fact.module_name, []).append(event.version)
        if isinstance(fact, TaskComplete | TaskFailed):
            self.ended = event.type

    def _begins(self, event: WorkflowEvent) -> bool:
        """Return whether a step begins with an event."""
        step = self.steps[-1]
        if self._is_row(event.fact):
            return True
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

    def _is_row(self, fact: object) -> bool:
        """Return whether a fact is a row by itself, as no step has begun in the log."""
        return not self._has_steps and isinstance(fact, ROWS)

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
                    return _cut(" ".join(words))
        return ""

    def _beginning(self, ref: str | None) -> str:
        """Return the beginning of an answer or a message."""
        return _cut(" ".join(self._text(ref or "")[:200].split()))

    def _text(self, ref: str) -> str:
        text = read_text(self.store, ref)
        return "" if text == GONE else text

    @property
    def subject(self) -> str:
        """What the run is about: its goal; of a repository's history what that is."""
        if self.goal or not self.commits:
            return " ".join(self.goal.split())
        return history_words(self.commits, self.steps[0].at, self.steps[-1].at)

    @staticmethod
    def _opens(event: WorkflowEvent) -> bool:
        return isinstance(event.fact, OPENERS) or _is_whole(event.fact)


OPENERS = (
    StepStarted, Committed, ContextBuilt, ModelReplied, ModelFailed, MessageReceived,
    DispatchStarted,
)  # fmt: skip
PLANNED = (
    StepStarted, RequirementsComplete, PlanningStarted, PlanningComplete, ModuleStarted,
)  # fmt: skip
"Facts of a run that generates code; the sessions of other programs have none of them."


def _is_whole(fact: object) -> bool:
    return isinstance(fact, ChecksRan) and fact.module_name is None


def _cut(words: str) -> str:
    return words if len(words) <= NAME else f"{words[: NAME - 1]}…"
