"""How much have a task's calls cost, what is set aside for open ones, and how much may they cost?

A call that ran under a budget, or beside others, is settled by a fact of its own; what every other
one cost is told by its answer. An agent that was dispatched costs what its calls cost together.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.call_events import BudgetGranted, CallSettled
from backcast.domain.dispatch_events import DispatchEnded, DispatchStarted
from backcast.domain.events import (
    CallCost,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.domain.spending import Allowance, Amounts, amounts_of, counted

NAME = "spending"
VERSION = 3
SCOPE: Literal["task", "store"] = "task"


class SpendingState(NamedTuple):
    """The costs of a task's calls."""

    allowed: Allowance = Allowance()
    spent: Amounts = Amounts()
    open: Map[int, Amounts] = Map()
    "What is set aside for each call that is not settled, by the version of its STEP_STARTED."
    outcomes: Map[str, int] = Map()
    "How many settled calls ended in each way."
    dispatches: int = 0
    "How many of the settled are agents that were dispatched, each of which makes calls of its own."
    alone: int = 0
    "The version of the last STEP_STARTED of a call for which nothing was set aside; 0 for none."


State = SpendingState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case BudgetGranted() as fact:
            allowed = Allowance(fact.calls, fact.tokens, fact.seconds, fact.money)
            return state._replace(allowed=allowed)
        case StepStarted(wave=wave, reserved=reserved) if wave is not None or reserved is not None:
            aside = amounts_of(reserved or CallCost())
            return state._replace(open=state.open.set(event.version, aside))
        case StepStarted():
            return state._replace(alone=event.version)
        case CallSettled(call=call, cost=cost, outcome=outcome):
            if call not in state.open and call != state.alone:
                return state  # it is settled once
            count = state.outcomes.get(outcome or "", 0) + 1
            rest = state.open.delete(call) if call in state.open else state.open
            cost_of = Amounts() if outcome == "reused" else amounts_of(cost)
            return state._replace(
                spent=state.spent.plus(cost_of), open=rest,
                outcomes=state.outcomes.set(outcome or "", count),
                alone=0 if call == state.alone else state.alone,
            )  # fmt: skip
        case DispatchStarted(reserved=reserved, reserved_calls=calls):
            aside = amounts_of(reserved or CallCost())._replace(calls=max(1, calls or 1))
            return state._replace(open=state.open.set(event.version, aside))
        case DispatchEnded(dispatch=dispatch, cost=cost, calls=calls, outcome=outcome):
            if dispatch not in state.open:
                return state
            cost_of_all = amounts_of(cost)._replace(calls=1 if calls is None else max(0, calls))
            count = state.outcomes.get(outcome or "", 0) + 1
            return state._replace(
                spent=state.spent.plus(cost_of_all), open=state.open.delete(dispatch),
                outcomes=state.outcomes.set(outcome or "", count),
                dispatches=state.dispatches + 1,
            )  # fmt: skip
        case ModelReplied(call=None, answer_of=None) as fact:
            tokens = max(0, fact.prompt_tokens or 0) + max(0, fact.tokens or 0)
            amounts = Amounts(1, tokens, counted(fact.seconds or 0.0))
            return state._replace(spent=state.spent.plus(amounts))
    return state


def committed(state: State) -> Amounts:
    """Return what is spent and set aside together."""
    total = state.spent
    for call in sorted(state.open):
        total = total.plus(state.open[call])
    return total
