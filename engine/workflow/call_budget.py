"""Sets aside what calls may cost, before they are made, and settles what they have cost."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError, UnavailableError
from backcast.domain.events import CallCost, WorkflowEvent
from backcast.domain.spending import Amounts, remaining, short_of
from backcast.engine.log.store import EventStore
from backcast.engine.models import Completion, Limits
from backcast.engine.models.cancelling import CallCancelledError
from backcast.engine.models.so_far import AnswerPart, AnswerSoFar
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.prompts import BuiltPrompt
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import spending

READS_NOTHING = ("unavailable", "refused", "overflow")
"Kinds of failures of which the model has neither read nor written anything."


class PreparedCall(NamedTuple):
    """A call with its prompt, before it is made."""

    lane: str
    "Empty for a call alone."
    action: AskModel
    fact: ContextBuilt
    said: Sequence[tuple[str, str]]
    limits: Limits
    again: int = 0
    "The version of its CONTEXT_BUILT; 0 for a prompt that is not in the log yet."
    made: BuiltPrompt | None = None
    alternative: int = 0
    "Its number among the alternatives to a call; 0 for that call itself."
    shares: bool = False
    "Whether it is asked with the prompt of that call."


def _within(prepared: PreparedCall, seconds: float) -> PreparedCall:
    limits = prepared.limits
    return prepared._replace(limits=limits._replace(seconds=min(limits.seconds, seconds)))


class SpendingTask(Protocol):
    """A task whose calls are counted."""

    store: EventStore
    spending: spending.State

    def event(self, version: int) -> WorkflowEvent:
        """Return the event at a version of the task."""


class CallBudget:
    """The budget of a task's calls, as its log has it."""

    def __init__(self, task: SpendingTask, runtime: Runtime) -> None:
        self.task, self.runtime = task, runtime

    def admitted(self, calls: Sequence[PreparedCall]) -> list[PreparedCall]:
        """Return the first calls that the budget suffices for together, within its seconds.

        `ModelError` where it suffices for none.
        """
        return [call for [call] in self.admitted_races([[call] for call in calls])]

    def admitted_races(self, races: Sequence[Sequence[PreparedCall]]) -> list[list[PreparedCall]]:
        """Return the first calls, each with its alternatives, that the budget suffices for
        together, within its seconds.

        `ModelError` where it suffices for none.
        """
        allowed = self.task.spending.allowed
        if not allowed.limited:
            return [list(race) for race in races]
        spent, short = spending.committed(self.task.spending), ""
        admitted = list[list[PreparedCall]]()
        seconds = remaining(allowed, spent).seconds
        for race in races:
            if seconds is not None:
                share = round(seconds / len(races) / len(race), 3)
                race = [_within(prepared, share) for prepared in race]
            needed = Amounts()
            for most in map(self.most, race):
                needed = needed.plus(Amounts(1, most.tokens, max(most.seconds, 0.001), most.money))
            if found := short_of(allowed, spent, needed):
                short = short or found
                continue
            spent = spent.plus(needed)
            admitted.append(list(race))
        if not admitted:
            raise ModelError(f"the budget does not suffice: {short}", "budget")
        return admitted

    def most(self, prepared: PreparedCall) -> CallCost:
        """Return what a call can cost at most."""
        prompt, answer = prepared.fact.tokens or 0, prepared.limits.max_tokens
        money = self.runtime.price.of(prompt, answer)
        return CallCost(tokens=prompt + answer, seconds=prepared.limits.seconds, money=money)

    def settled(
        self,
        call: int,
        prepared: PreparedCall,
        outcome: str,
        answer: Completion | None = None,
        error: ModelError | None = None,
        *,
        seconds: float | None = None,
        so_far: AnswerSoFar | None = None,
    ) -> CallSettled:
        """Return the settlement of a call: its cost as the model tells it, what had come of an
        answer that broke off, else the most that it can have been."""
        most, price = self.most(prepared), self.runtime.price
        prompt, said = prepared.fact.tokens or 0, prepared.limits.max_tokens
        bound, so_far = False, so_far or AnswerSoFar()
        part = so_far.part
        if answer is not None:
            whole = AnswerPart(
                answer.text, answer.thinking, answer.prompt_tokens, answer.tokens
            )  # fmt: skip
            prompt, wrote, bound = self._came(whole, prompt)
            if wrote or answer.tokens is not None:
                said = wrote
            else:  # an empty answer may have been thought about for long
                bound = True
            seconds = answer.seconds if seconds is None else seconds
        elif part.came:
            prompt, said, bound = self._came(part, prompt)
        elif isinstance(error, CallCancelledError) and error.tokens is not None:
            prompt, said = min(prompt, error.tokens), max(0, error.tokens - prompt)
        elif error is not None and error.kind in READS_NOTHING:
            prompt = said = 0
        else:
            bound = True
        for earlier in so_far.earlier:  # the server has worked for these tries too
            read, tried, _ = self._came(earlier, prepared.fact.tokens or 0)
            prompt, said = prompt + read, said + tried
        cost = CallCost(
            tokens=prompt + said,
            seconds=round(most.seconds if seconds is None else seconds, 3),
            money=price.of(prompt, said),
        )
        reason = {"reason": str(error)} if error is not None else {}
        flag = {"bound": True} if bound else {}
        return CallSettled(call=call, outcome=outcome, cost=cost, **flag, **reason)

    def _came(self, part: AnswerPart, prompt: int) -> tuple[int, int, bool]:
        """Return the tokens of prompt and answer of a try that broke off, and whether they are a
        bound: what had come is counted here where the model does not tell."""
        read = prompt if part.prompt_tokens is None else part.prompt_tokens
        if part.tokens is not None or not (part.text or part.thinking):
            return read, part.tokens or 0, False
        texts = [text for text in (part.thinking, part.text) if text]
        try:
            tokenizer = tokenizer_of(self.runtime.profile.tokenizer)
            return read, sum(map(tokenizer.count, texts)), not tokenizer.exact
        except UnavailableError:  # of a server that is gone; no token is less than a byte
            return read, sum(len(text.encode(errors="replace")) for text in texts), True

    def settled_cut(self) -> list[CallSettled]:
        """Return the settlements of calls that an earlier process was ended in, at their most."""
        state, now = self.task.spending, self.task.store.clock()
        facts = list[CallSettled]()
        for call in sorted(state.open):
            aside, began = state.open[call], self.task.event(call).timestamp
            ran = max(0.0, (now - began).total_seconds())
            seconds = round(min(aside.seconds, ran), 3)
            cost = CallCost(tokens=aside.tokens, seconds=seconds, money=aside.money)
            facts.append(CallSettled(call=call, outcome="cut", cost=cost, bound=True))
        return facts
