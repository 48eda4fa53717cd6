"""Sets aside what calls may cost, before they are made, and settles what they have cost."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from backcast.domain.errors import ModelError
from backcast.domain.events import CallCost, CallSettled, ContextBuilt, WorkflowEvent
from backcast.domain.spending import Amounts, remaining, short_of
from backcast.engine.log.store import EventStore
from backcast.engine.models import Completion, Limits
from backcast.engine.models.cancelling import CallCancelledError
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
        allowed = self.task.spending.allowed
        if not allowed.limited:
            return list(calls)
        spent, admitted, short = spending.committed(self.task.spending), list[PreparedCall](), ""
        seconds = remaining(allowed, spent).seconds
        for prepared in calls:
            if seconds is not None:
                limits, several = prepared.limits, len(self.runtime.alternatives) + 1
                share = min(limits.seconds, round(seconds / len(calls) / several, 3))
                prepared = prepared._replace(limits=limits._replace(seconds=share))
            most = self.most(prepared)
            needed = Amounts()
            for _ in range(1 + (len(self.runtime.alternatives) if prepared.lane else 0)):
                needed = needed.plus(Amounts(1, most.tokens, max(most.seconds, 0.001), most.money))
            if found := short_of(allowed, spent, needed):
                short = short or found
                continue
            spent = spent.plus(needed)
            admitted.append(prepared)
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
    ) -> CallSettled:
        """Return the settlement of a call: its cost as the model tells it, else the most it was."""
        most, price = self.most(prepared), self.runtime.price
        prompt, said = prepared.fact.tokens or 0, prepared.limits.max_tokens
        bound = False
        if answer is not None:
            bound = answer.tokens is None
            prompt = prompt if answer.prompt_tokens is None else answer.prompt_tokens
            said = said if answer.tokens is None else answer.tokens
            seconds = answer.seconds if seconds is None else seconds
        elif isinstance(error, CallCancelledError) and error.tokens is not None:
            prompt, said = min(prompt, error.tokens), max(0, error.tokens - prompt)
        elif error is not None and error.kind in READS_NOTHING:
            prompt = said = 0
        else:
            bound = True
        cost = CallCost(
            tokens=prompt + said,
            seconds=round(most.seconds if seconds is None else seconds, 3),
            money=price.of(prompt, said),
        )
        reason = {"reason": str(error)} if error is not None else {}
        flag = {"bound": True} if bound else {}
        return CallSettled(call=call, outcome=outcome, cost=cost, **flag, **reason)

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
