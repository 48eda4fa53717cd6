"""The prompts of a pipeline that are not done with: which of them a program means.

A program that asks one thing after the other means the last prompt. One that has several open at a
time has to name the one that an answer is to, as nobody else can tell.
"""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import (
    AnswerRefused,
    ModelFailed,
    ModelReplied,
    ModuleIteration,
    PlanningComplete,
    StepStarted,
    WorkflowEvent,
)

NAMED = 3
"Prompts that an error names."


class OpenPrompt(NamedTuple):
    """A prompt that was asked, and what has come of it."""

    call: int
    "The version of its STEP_STARTED."
    context: int
    "The version of its CONTEXT_BUILT."
    kind: str
    module: str
    iteration: int
    runner: str
    beside: bool
    "Whether it was asked while others were open, so that the log keeps it in a lane of its own."
    tokens: int | None = None
    "Of the prompt, as they were counted before it was asked."
    reply: int = 0
    "The version of its MODEL_REPLIED; 0 while there is none."
    failed: bool = False
    "Whether no answer came."
    used: bool = False
    "Whether its answer was used or refused."

    @property
    def waits(self) -> bool:
        """Whether it has neither an answer nor the word that none came."""
        return not self.reply and not self.failed


class OpenPrompts:
    """The prompts of one task, by the versions of their CONTEXT_BUILT."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.asked: dict[int, OpenPrompt] = {}
        self.last = 0
        "The version of the last step that began."
        self.is_beside = False
        "Whether two prompts of the process that asks have waited at a time."
        self._open: list[int] = []
        "The prompts that may be meant where none is named."
        self._by_call: dict[int, int] = {}
        self._begun: tuple[int, StepStarted] | None = None

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event of the task tells."""
        match event.fact:
            case StepStarted() as fact:
                self.last, self._begun = event.version, (event.version, fact)
            case ContextBuilt(tokens=tokens):
                if self._begun and self._begun[0] == event.version - 1:
                    self._ask(*self._begun, tokens)
            case ModelReplied(call=call):
                self._note(call, reply=event.version)
            case ModelFailed(kind=kind, call=call) if kind != "answer":
                self._note(call, failed=True)
            case AnswerRefused(call=call):
                self._note(call, used=True)
            case ModuleIteration(module_name=path):
                self._use("code", path)
            case PlanningComplete():
                self._use("plan")

    def _ask(self, call: int, fact: StepStarted, tokens: int | None) -> None:
        runner, version = fact.runner or "", call + 1
        # What another process asked is given up as soon as this one asks.
        own = [prompt for prompt in self.open if prompt.runner == runner]
        self.is_beside = bool(own) and (self.is_beside or any(prompt.waits for prompt in own))
        self._open = [*(prompt.context for prompt in own if self.is_beside), version]
        self._by_call[call] = version
        self.asked[version] = OpenPrompt(
            call, version, fact.kind or "", fact.module_name or "", fact.iteration or 0, runner,
            fact.wave is not None, tokens,
        )  # fmt: skip

    def _note(
        self, call: int | None, *, reply: int = 0, failed: bool = False, used: bool = False
    ) -> None:
        version = self._by_call.get(call or self.last, 0)
        if before := self.asked.get(version):
            self.asked[version] = before._replace(
                reply=reply or before.reply, failed=failed or before.failed,
                used=used or before.used,
            )  # fmt: skip

    def _use(self, kind: str, module: str | None = None) -> None:
        for prompt in self.replied():
            if prompt.kind == kind and module in (prompt.module, None):
                self.asked[prompt.context] = prompt._replace(used=True)

    @property
    def open(self) -> list[OpenPrompt]:
        """The prompts that may be meant where none is named, in the order of asking."""
        return [found for version in self._open if not (found := self.asked[version]).used]

    def waiting(self, what: str, version: int | None) -> OpenPrompt:
        """Return the prompt that an answer, or the word that none came, is to.

        `version` is that of the prompt which the program named. `InputError` where it has an
        answer, or where none is named and not exactly one waits.
        """
        if version is not None:
            prompt = self._named(what, version)
            if prompt.reply:
                raise InputError(
                    f"{what}: needed a prompt without an answer, found {self.name(prompt)}, which"
                    f" event {prompt.reply} answers"
                )
            return prompt
        waits = [prompt for prompt in self.open if prompt.waits]
        # A prompt that failed may be asked again: it is meant where no other one waits.
        found = waits or [prompt for prompt in self.open if not prompt.reply]
        return self._only(what, found, "wait", "a prompt without an answer")

    def answered(self, what: str, version: int | None) -> OpenPrompt:
        """Return the prompt whose answer is meant; `InputError` as for `waiting`."""
        if version is not None:
            prompt = self._named(what, version)
            if not prompt.reply or prompt.used:
                state = "whose answer was used or refused" if prompt.used else "which has none yet"
                raise InputError(
                    f"{what}: needed a prompt with an answer, found {self.name(prompt)}, {state}"
                )
            return prompt
        return self._only(what, self.replied(), "have an answer", "an answer to the last prompt")

    def about(
        self, what: str, version: int | None, found: Sequence[OpenPrompt]
    ) -> OpenPrompt | None:
        """Return the prompt whose answer led to something; None where it was none's.

        `InputError` where none is named and several are `found` that may be meant.
        """
        if version is not None:
            return self._named(what, version)
        return self._only(what, found, "have an answer", "") if found else None

    def replied(self) -> list[OpenPrompt]:
        """Return the open prompts that have an answer which is not used yet."""
        return [prompt for prompt in self.open if prompt.reply]

    def name(self, prompt: OpenPrompt) -> str:
        """Return a prompt in words, behind its address: `shop@12 code cart.py #1`."""
        number = f"#{prompt.iteration}" if prompt.iteration else ""
        words = filter(None, (prompt.kind, prompt.module, number))
        return " ".join([f"{self.task}@{prompt.context}", *words])

    def _named(self, what: str, version: int) -> OpenPrompt:
        if version not in self.asked:
            raise InputError(
                f"{what}: prompt: needed what ask() of task {self.task!r} returned, found"
                f" {self.task}@{version}"
            )
        return self.asked[version]

    def _only(
        self, what: str, found: Sequence[OpenPrompt], state: str, needed: str
    ) -> OpenPrompt:  # fmt: skip
        if not found:
            raise InputError(f"task {self.task!r}: needed {needed}, found none")
        if len(found) > 1:
            names = ", ".join(self.name(prompt) for prompt in found[:NAMED])
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            raise InputError(
                f"{what}: {len(found)} prompts {state}: {names}{more}: say which one by"
                f" {what}(..., prompt=PROMPT), where PROMPT is what ask() returned"
            )
        return found[0]
