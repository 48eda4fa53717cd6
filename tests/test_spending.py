"""What calls have cost and may yet cost: against brute force, and for questions that ask others."""

from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.call_events import CallSettled
from backcast.domain.dispatch_events import DispatchEnded, DispatchStarted
from backcast.domain.events import (
    AnswerOrigin,
    CallCost,
    Fact,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.domain.spending import Allowance, Amounts
from backcast.projections import fold, questions, spending
from tests.strategies import NOON, logs


def events_of(*facts: Fact) -> list[WorkflowEvent]:
    return [
        WorkflowEvent(n, "t", n, fact, NOON, NOON, "ann", ()) for n, fact in enumerate(facts, 1)
    ]


def amounts(calls: int, cost: CallCost) -> Amounts:
    return Amounts(calls, max(0, cost.tokens), max(0.0, cost.seconds), cost.money)


def aside(event: WorkflowEvent) -> Amounts | None:
    """What an event sets aside; None if nothing."""
    match event.fact:
        case DispatchStarted() as fact:
            return amounts(max(1, fact.reserved_calls or 1), fact.reserved or CallCost())
        case StepStarted() as fact if fact.wave is not None or fact.reserved is not None:
            return amounts(1, fact.reserved or CallCost())
    return None


def settles(log: list[WorkflowEvent], event: WorkflowEvent) -> int | None:
    """The open call that an event settles, else None: its log is read anew for each of them."""
    match event.fact:
        case CallSettled(call=start) | DispatchEnded(dispatch=start):
            if start >= event.version:
                return None
        case _:
            return None
    earlier = log[: event.version - 1]
    opened = aside(log[start - 1])
    settled = any(
        (isinstance(e.fact, CallSettled) and e.fact.call == start)
        or (opened and isinstance(e.fact, DispatchEnded) and e.fact.dispatch == start)
        for e in earlier[start:]
    )
    steps = [e.version for e in earlier if isinstance(e.fact, StepStarted) and not aside(e)]
    alone = isinstance(event.fact, CallSettled) and steps[-1:] == [start]
    return start if (opened or alone) and not settled else None


@given(log=logs(kinds=(StepStarted, CallSettled, DispatchStarted, DispatchEnded, ModelReplied)))
def test_each_call_costs_once_and_what_is_set_aside_is_kept_until_then(
    log: list[WorkflowEvent],
) -> None:
    state: spending.State = fold(spending, log)
    over = {event.version: call for event in log if (call := settles(log, event))}
    kept = {event.version: found for event in log if (found := aside(event))}
    assert dict(state.open) == {call: kept[call] for call in kept if call not in over.values()}
    total = Amounts()
    for event in log:
        match event.fact:
            case CallSettled(cost=cost, outcome=outcome) if event.version in over:
                total = total.plus(Amounts() if outcome == "reused" else amounts(1, cost))
            case DispatchEnded(cost=cost, calls=calls) if event.version in over:
                total = total.plus(amounts(1 if calls is None else calls, cost))
            case ModelReplied(call=None, answer_of=None) as fact:
                tokens = (fact.prompt_tokens or 0) + (fact.tokens or 0)
                total = total.plus(Amounts(1, tokens, fact.seconds or 0.0))
    assert state.spent == total
    assert sum(state.outcomes.values()) == len(over)
    assert state.dispatches == sum(
        isinstance(log[version - 1].fact, DispatchEnded) for version in over
    )
    assert spending.committed(state).tokens == total.tokens + sum(
        kept[call].tokens for call in state.open
    )


def test_an_answer_that_was_used_again_costs_nothing() -> None:
    again = ModelReplied(tokens=9, answer_of=AnswerOrigin(task="a", version=1))
    assert fold(spending, events_of(StepStarted(), again)).spent == Amounts()


def test_an_answer_to_a_question_is_proven_by_a_quote_that_is() -> None:
    shown = questions.ShownQuote("a.py", "x", True, "", 1, "")
    bad = shown._replace(proven=False)
    quotes: list[tuple[questions.ShownQuote, ...]] = [(), (bad,), (bad, shown)]
    why = [questions.FoundAnswer("so", quotes=some).unproven for some in quotes]
    assert why == ["it gives no quote", "none of its quotes is proven", ""]
    assert questions.FoundAnswer(quotes=(bad,)).unproven == ""
    assert questions.FoundAnswer("so", quotes=(shown,), doubt="cut").unproven == "cut"


@given(tokens=st.integers(0, 60), calls=st.integers(1, 4))
def test_a_question_may_spend_what_those_that_it_asked_leave_until_they_have_an_answer(
    tokens: int, calls: int
) -> None:
    first = QuestionAsked(name="q", allowed={"calls": 9, "tokens": 100})
    child = QuestionAsked(name="q.1a", parent="q", allowed={"calls": 4})
    step = StepStarted(kind="ask", module_name="q.1a", reserved=CallCost(tokens=60))
    settled = (
        fact for n in range(calls) for fact in (step, CallSettled(call=3 + 2 * n,
                                                                  cost=CallCost(tokens=tokens)))
    )  # fmt: skip
    log = events_of(first, child, *settled, step, AnswerGiven(name="q.1a"))
    open_call, answered = (fold(questions, log[:end]) for end in (-1, None))
    spent = calls * tokens
    # What its child may yet call is gone, and so is what an open call may cost.
    assert questions.used(open_call, "q") == Amounts(4, spent + 60)
    assert questions.unspent(open_call, "q").calls == 5
    assert questions.waiting(open_call, "q") == ["q.1a"]
    assert questions.used(answered, "q") == Amounts(calls + 1, spent + 60)
    assert questions.unspent(answered, "q") == Allowance(8 - calls, max(0, 40 - spent))
