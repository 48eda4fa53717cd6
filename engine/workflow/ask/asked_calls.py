"""The calls of questions to their model: prompt, budget, slot of a server, settlement."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from backcast.domain.cache import LookUpPolicy, look_up
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BudgetExceededError, InputError, ModelError
from backcast.domain.events import (
    Claim,
    Fact,
    ModelFailed,
    StepStarted,
)
from backcast.domain.spending import Amounts, short_of
from backcast.engine.context.prefix import compared
from backcast.engine.context.recorded import fact_of, messages
from backcast.engine.context.request import Request
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Call, Completion, Limits, Message
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.so_far import AnswersSoFar
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.models.warming import AskedPrompt, PrefixScheduler
from backcast.engine.workflow.ask.actions import schema_of
from backcast.engine.workflow.ask.subject import SubjectOf
from backcast.engine.workflow.ask.task import AskedTask
from backcast.engine.workflow.ask.words import POLICY, VERSION, StepBuilder
from backcast.engine.workflow.call_budget import CallBudget, PreparedCall
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.executor import EndedCall, Race, SideCall
from backcast.engine.workflow.results import replied
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import questions
from backcast.projections.questions import KIND

NODES = 24
"Nodes of which a quote may be, the last that were shown."
_NODE = re.compile(r"[a-z]+:[^\s\"',()]+")


class Append(Protocol):
    """What appends facts to the log of a question."""

    def __call__(
        self, facts: Sequence[Fact | Claim], blobs: Sequence[Blob] = (), writer: str = "ask"
    ) -> None: ...


class FlyingCall(NamedTuple):
    """A call that is open."""

    prepared: PreparedCall
    schema: Mapping[str, Any]


class QuestionCalls:
    """The calls of one task's questions."""

    def __init__(
        self, task: AskedTask, runtime: Runtime, subject_of: SubjectOf, append: Append, *,
        runner: str, seconds: float,
    ) -> None:  # fmt: skip
        self.task, self.runtime, self.subject_of, self.append = task, runtime, subject_of, append
        self.runner, self.seconds = runner, seconds
        self.budget = CallBudget(task, runtime)
        self.tokenizer = tokenizer_of(runtime.profile.tokenizer)
        self.builder = StepBuilder(runtime.profile, self.tokenizer, task.store.get)
        self.coming = runtime.coming or AnswersSoFar()
        self.scheduler = PrefixScheduler(runtime.model if runtime.warming != "no" else None)
        self.flying: dict[int, FlyingCall] = {}
        "The open calls, by the version of their STEP_STARTED."
        self._last: Sequence[PromptPiece] = ()

    def begun(self, name: str) -> tuple[int, str]:
        """Append that a question's next call is made, and return it; else 0, and why it is not."""
        state, store = self.task.asked, self.task.store
        question = state.questions[name]
        limits = Limits(state.limits.get("answer", 256), seconds=self.seconds)
        blobs = list[Blob]()
        if question.context:
            built = self.task.event(question.context).fact
            assert isinstance(built, ContextBuilt)
            actions, again = question.actions, question.context
            said = messages(built, store.get)
            number, attempt = question.iteration, question.refused + 1
        else:
            try:
                step = self.builder.build(state, name)
            except BudgetExceededError as error:
                return 0, str(error)
            built, blobs = self._built(name, question.text, step.context)
            actions, again, said = step.allowed, 0, step.context.messages
            number, attempt = step.number, step.attempt
        rest = questions.unspent(state, name)
        if rest.seconds is not None:
            limits = limits._replace(seconds=round(min(limits.seconds, rest.seconds), 3))
        asked = AskModel(KIND, name, number, attempt)
        prepared = PreparedCall(name, asked, built, said, limits, again)
        most = self.budget.most(prepared)
        needed = Amounts(1, most.tokens, max(most.seconds, 0.001), most.money)
        if short := short_of(question.allowed, questions.used(state, name), needed):
            return 0, f"the budget does not suffice: {short}"
        extra: dict[str, object] = {"again": again} if again else {}
        started = StepStarted(
            kind=KIND, module_name=name, iteration=number, attempt=attempt, runner=self.runner,
            reserved=most, actions=actions, **extra,
        )  # fmt: skip
        self.append([started] if again else [started, built], blobs)
        call = self.task.asked.questions[name].call
        self.flying[call] = FlyingCall(prepared, schema_of(actions, self._nodes(name, said)))
        return call, ""

    def _built(self, name: str, text: str, context: Context) -> tuple[ContextBuilt, list[Blob]]:
        """Return a prompt as it is recorded."""
        profile, tokenizer = self.runtime.profile, self.tokenizer
        before, self._last = self._last, pieces(profile.template, context.messages)
        prefix = compared(before, self._last, tokenizer, POLICY.words) if before else None
        request = Request(f"question:{name}", text)
        found = look_up([item.node for item in context.items], (), (), LookUpPolicy(enough=0))
        fact, blobs = fact_of(
            context, request, profile, POLICY, tokenizer, self.task.version, found, prefix
        )
        code = {**fact.code, KIND: str(VERSION)}
        return fact.model_copy(update={"code": code}), blobs

    def _nodes(self, question: str, said: Sequence[tuple[str, str]]) -> list[str]:
        """Return the nodes that a prompt shows, and that are there: a quote is of one of them."""
        shown = dict.fromkeys(name for _, text in said for name in _NODE.findall(text))
        found, subject = dict[str, None](), self.subject_of(question)
        for name in reversed(shown):
            try:
                found[subject.node(name.rstrip(".:")).node] = None
            except InputError:  # it only looks like a node
                continue
            if len(found) == NODES:
                break
        return sorted(found)

    def placed(self, begun: Sequence[int]) -> list[Race]:
        """Return calls that were begun as they are made, by the slots of the server that read
        them, once these have read what several of the prompts begin with."""
        prompts = [
            AskedPrompt(call, _messages(prepared), prepared.limits, prepared.fact.tokens or 0)
            for call, prepared in ((call, self.flying[call].prepared) for call in begun)
        ]
        placed = self.scheduler.place(prompts, self.runtime.concurrency)
        if placed.facts:
            self.append(placed.facts)
        order = {call: number for number, call in enumerate(placed.order)}
        return [
            Race([SideCall(
                call, partial(self._ask, call, self.flying[call], placed.slots.get(call)),
                self.flying[call].prepared.limits.seconds, placed.slots.get(call),
            )])
            for call in sorted(begun, key=lambda call: order.get(call, len(order)))
        ]  # fmt: skip

    def _ask(
        self, number: int, flying: FlyingCall, slot: int | None, cancellation: Cancellation
    ) -> Completion:
        prepared = flying.prepared
        call = Call(self.task.task_id, *prepared.action, digest=prepared.fact.digest or "")
        limits = prepared.limits._replace(
            cancellation=cancellation, so_far=self.coming.open(number), slot=slot
        )
        return self.runtime.model.complete(
            _messages(prepared), limits, schema=flying.schema, call=call
        )

    def ended(self, ended: EndedCall) -> tuple[str, ModelError | None]:
        """Append how a call ended, and return its question, and why it failed, if it did."""
        call, prepared = ended.call.id, self.flying.pop(ended.call.id).prepared
        self.scheduler.ended(call, ended.answer)
        so_far = self.coming.close(call)
        settlement = self.budget.settled(
            call, prepared, ended.outcome, ended.answer, ended.error, seconds=ended.seconds,
            so_far=so_far,
        )  # fmt: skip
        if ended.answer is not None:
            result = replied(
                ended.answer, self.runtime.model.id, prepared.fact.tokens, call, prepared.lane
            )
            self.append([*result.facts, settlement], result.blobs, result.writer)
            return prepared.lane, None
        named, blobs = dict[str, str](), list[Blob]()
        for name, text in (("part", so_far.part.text), ("part_thinking", so_far.part.thinking)):
            if text:
                blobs.append(Blob(text.encode(errors="surrogatepass")))
                named[name] = blobs[-1].ref
        settlement = settlement.model_copy(update=named)
        if ended.outcome != "failed" or ended.error is None:
            self.append([settlement], blobs)
            return prepared.lane, None
        error = ended.error
        failed = ModelFailed(
            reason=str(error), kind=error.kind, call=call, module_name=prepared.lane
        )
        self.append([failed, settlement], blobs)
        return prepared.lane, error


def _messages(prepared: PreparedCall) -> list[Message]:
    return [Message(role, text) for role, text in prepared.said]
