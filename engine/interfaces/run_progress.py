"""Show a run while it happens: a status on a terminal, and a line for each result."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

from rich.console import Console
from rich.text import Text

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    ModelFailed,
    ModelReplied,
    PlanningComplete,
    StepStarted,
    TaskComplete,
    TaskFailed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import MapEdited
from backcast.domain.missing_layers import without_layers
from backcast.domain.plans import OF_PLAN
from backcast.domain.question_events import AnswerGiven, QuestionAsked, step_question
from backcast.engine.interfaces.terminal import message
from backcast.engine.interfaces.views import one_line
from backcast.engine.models.so_far import AnswersSoFar


class RunProgress:
    """A printer of lines to stderr or `out`; on a terminal it also shows the current step."""

    def __init__(
        self, room: int, out: Console | None = None, coming: AnswersSoFar | None = None
    ) -> None:
        """`room`: the tokens that a prompt may have; `coming`: the answers as they come."""
        self.room, self.coming = room, coming or AnswersSoFar()
        self.out = out or Console(stderr=True, highlight=False, soft_wrap=True)
        self.status = self.out.status("reading the log") if self.out.is_terminal else None
        self.asked, self.prompt = "", ""
        self._beside: dict[int | str, tuple[str, str]] = {}
        "What was asked, and how long its prompt is, by call and by module, in a wave."
        self._call = 0
        self._lacking = ""
        "What is told already of the layers that checks lack on this machine."

    def __enter__(self) -> Self:
        if self.status:
            self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self.status:
            self.status.stop()

    def take(self, events: Sequence[WorkflowEvent]) -> None:
        """Print the lines of appended events, and update the status."""
        for event in events:
            if isinstance(event.fact, ChecksRan):
                self._tell_lacking(event.fact)
            if line := self._line(event):
                self.out.print(one_line(line, 300), markup=False, highlight=False, soft_wrap=True)
        if self.status:
            self.status.update(self)

    def _tell_lacking(self, fact: ChecksRan) -> None:
        """Say once what checks were run without."""
        lacking = without_layers(fact.isolation)
        if lacking != self._lacking:
            self._lacking = lacking
            if lacking:
                message(lacking)

    def __rich__(self) -> Text:
        """Return the current step, with how much has come of its answer: it is shown anew."""
        coming = self.coming.tokens
        parts = [self.prompt, f"{coming:,} tokens have come" if coming else ""]
        return Text(one_line(f"{self.asked}  {', '.join(filter(None, parts))}", 160))

    def _line(self, event: WorkflowEvent) -> str:
        """Return the line about an event; empty for events without one."""
        self._turn(event)
        match event.fact:
            case StepStarted() as fact:
                number = f" #{fact.iteration}" if fact.iteration else ""
                self.asked = f"{fact.module_name or fact.kind}{number}"
                self._call = event.version if fact.wave else 0
                if self._call:
                    self.prompt = self.prompt if fact.alternative else ""
                    self._beside[self._call] = self.asked, self.prompt
            case ContextBuilt() as fact:
                examples = _examples(fact)
                same = f", {fact.shared_prefix:,} as before" if fact.shared_prefix else ""
                self.prompt = f"prompt {fact.tokens or 0:,} of {self.room:,} tokens{same}"
                if self._call:
                    self._beside[self._call] = self.asked, self.prompt
                return f"{self.asked:<20} {examples}" if examples else ""
            case ModelReplied() as fact:
                answer = f"answer of {fact.tokens:,}" if fact.tokens else ""
                answer = f"the answer of task {fact.answer_of.task}" if fact.answer_of else answer
                self.prompt = ", ".join(filter(None, (self.prompt, answer)))
                if fact.call is not None and fact.module_name:
                    self._beside[fact.module_name] = self.asked, self.prompt
            case PlanningComplete() as fact:
                self.asked = "plan"
                paths = ", ".join(one.path for one in fact.planned)
                if of := fact.reused:
                    paths += f"; the plan of task {of.task} (event {of.version}), no model asked"
                return self._about(paths)
            case ChecksRan() as fact:
                self.asked = self.asked or fact.module_name or ""
                return self._about(_count(fact), fact.module_name) + _rest(fact)
            case QuestionAsked(parent=None) as fact:
                return self._about(f"asks {fact.name}: {fact.text or ''}")
            case AnswerGiven() as fact if "." not in fact.name:
                return f"{fact.name:<20} {fact.text or f'no answer: {fact.reason}'}"
            case ToolReturned() as fact if (fact.nodes or fact.message) and not step_question(fact):
                text = f"asks to see {', '.join(fact.nodes)}" if fact.nodes else "asks to see"
                return self._about("; ".join(filter(None, (text, fact.message))))
            case ModelFailed(kind="answer", reason=reason):  # the refusals stand in lines above
                return f"{self.asked:<20} {(reason or '').partition('. ')[0]}"
            case AnswerRefused(reason=reason) | ModelFailed(reason=reason):
                return self._about(reason or "it failed")
            case MapEdited() as fact:
                return _edited(fact)
            case TaskComplete():
                return "complete"
            case TaskFailed(reason=reason):
                return f"failed: {reason}"
        return ""

    def _turn(self, event: WorkflowEvent) -> None:
        """Turn to the call, or the module, that an event is about, where several are worked on."""
        fact, key = event.fact, cast(int | str | None, None)
        if isinstance(fact, ModelReplied | AnswerRefused | ModelFailed | ToolReturned):
            key = fact.call
        elif isinstance(fact, ChecksRan):
            key = fact.module_name
        if key is not None and key in self._beside:
            self.asked, self.prompt = self._beside[key]
        if isinstance(fact, AnswerRefused | ModelFailed) and fact.module_name in self._beside:
            self.asked, self.prompt = self._beside[fact.module_name]

    def _about(self, what: str, module: str | None = "") -> str:
        asked = "all tests" if module is None else self.asked
        prompt = f"  ({self.prompt})" if self.prompt and module is not None else ""
        return f"{asked:<20} {what}{prompt}"


def _examples(fact: ContextBuilt) -> str:
    """Return whose plans a prompt shows as examples, and why others are none."""
    plans = {item.node: "an example" for item in fact.items if item.node.startswith(OF_PLAN)}
    for omission in fact.omissions:
        if omission.node.startswith(OF_PLAN):
            plans[omission.node] = omission.reason
    return "; ".join(
        f"the plan of task {node.removeprefix(OF_PLAN)} is {what}" for node, what in plans.items()
    )


def _count(fact: ChecksRan) -> str:
    skipped = f", {fact.skipped} skipped by their own text" if fact.skipped else ""
    return f"{fact.passed} of {fact.passed + fact.unmet} passed{skipped}"


def _edited(fact: MapEdited) -> str:
    refused = sum(bool(edit.refused) for edit in fact.edits)
    parts = [f"{len(fact.edits) - refused} edits", f"{refused} refused" if refused else ""]
    parts.append(f"a model was asked {len(fact.answers)} times" if fact.answers else "")
    return f"{'context map':<20} {', '.join(filter(None, parts))}"


def _rest(fact: ChecksRan) -> str:
    """Return the first failure, and what the sandbox stopped."""
    parts = [f"stopped: {breach}" for breach in fact.contained]
    if fact.failures:
        first = fact.failures[0]
        name = first.name.partition("::")[2] or first.name
        said = first.message.partition("\n")[0]
        parts.insert(0, ": ".join(filter(None, (" ".join(filter(None, (first.at, name))), said))))
    return "".join(f"; {part}" for part in parts)
