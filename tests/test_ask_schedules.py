"""In whatever order the calls of a question end, it comes to the same, within its budget."""

import os
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    ModelReplied,
    StepStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.domain.spending import Allowance, Amounts
from backcast.engine.log import EventStore
from backcast.engine.models import Call, Limits
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.subject import Subject
from backcast.projections import fold, questions, spending
from tests.asked import (
    BUDGET,
    TASK,
    Planner,
    answer,
    asking,
    at_random,
    came_to,
    executor,
    explores,
    repository,
    subject_of,
)


@pytest.fixture(scope="module")
def big() -> Iterator[Subject]:
    with repository() as store:
        yield subject_of(store)


def spent(store: EventStore) -> Amounts:
    state: spending.State = fold(spending, store.read(TASK))
    assert not state.open
    return state.spent


@pytest.fixture(scope="module")
def in_order(big: Subject) -> dict[str, Any]:
    """What a question over 200 modules comes to whose calls are made one after another."""
    asked = asking(big, Planner(explores), concurrency=1)
    found = asked.work().questions["q"].answer
    assert found
    assert found.complete
    assert [quote.proven for quote in found.quotes] == [True]
    assert all(verdict.holds for verdict in verified(asked.task.store, TASK))
    return came_to(asked.task.store)


ORDERS = int(os.environ.get("BACKCAST_ORDERS", "25"))
"""Orders that are tried. A thousand take 100 seconds of processor, as each has 41 calls and appends
147 times to a real store: too long for a test. What they rest on, that a question's facts come to
the same among whichever others, is tried a thousand times below."""


@pytest.mark.parametrize("seed", range(ORDERS))
def test_in_whatever_order_calls_end_a_question_over_200_modules_comes_to_the_same(
    big: Subject, in_order: dict[str, Any], seed: int
) -> None:
    randomly = random.Random(seed)
    model = Planner(explores)
    run = at_random(randomly)
    asked = asking(big, model, concurrency=randomly.randint(1, 12), run=run)
    asked.work()
    assert len(in_order["questions"]) == 1 + 4 + 12
    assert came_to(asked.task.store) == in_order
    cost = spent(asked.task.store)
    assert cost.calls == len(model.asked) <= (BUDGET.calls or 0)
    assert cost.tokens <= (BUDGET.tokens or 0)


@pytest.mark.parametrize("seed", range(15))
def test_no_schedule_spends_more_than_the_budget_and_each_ends_with_an_answer(
    big: Subject, seed: int
) -> None:
    randomly = random.Random(seed)
    budget = Allowance(randomly.randint(1, 30), randomly.randint(6_000, 90_000))
    seen = []
    for order in range(2):
        run = at_random(random.Random(100 * seed + order))
        asked = asking(big, Planner(explores), budget=budget, concurrency=5, run=run)
        most = list[Amounts]()
        asked.watch = lambda events, asked=asked, most=most: most.append(  # type: ignore[misc]
            spending.committed(asked.task.spending)
        )
        state = asked.work()
        assert all(one.answer for one in state.questions.values())
        assert max(one.calls for one in most) <= (budget.calls or 0)
        assert max(one.tokens for one in most) <= (budget.tokens or 0)
        seen.append(came_to(asked.task.store))
    assert seen[0] == seen[1]


def test_the_executor_comes_to_the_same_with_calls_side_by_side(
    big: Subject, in_order: dict[str, Any]
) -> None:
    import time

    delays = random.Random(3)
    model = Planner(explores, lambda call, limits: time.sleep(delays.uniform(0, 0.01)))
    asked = asking(big, model, concurrency=6, run=executor)
    asked.work()
    assert came_to(asked.task.store) == in_order


def test_what_is_left_is_inherited_by_smaller_questions_less_what_their_asker_spent(
    big: Subject,
) -> None:
    asked = asking(big, Planner(explores), budget=Allowance(calls=30))
    state = asked.work()
    # Two calls of its own, one more kept for its answer: (30 - 2 - 1) // 4.
    assert {state.questions[f"q.2{letter}"].allowed.calls for letter in "abcd"} == {6}
    # Of six: two spent, one kept: 3 // 3.
    assert state.questions["q.2a.2a"].allowed.calls == 1
    assert state.questions["q.2a.2a"].answer is not None
    assert spent(asked.task.store).calls <= 30


class Killed(Exception):
    """The end of a process."""


@pytest.mark.parametrize("after", range(3, 36, 4))
def test_a_question_that_was_killed_anywhere_goes_on_and_asks_only_what_has_no_answer(
    big: Subject, after: int
) -> None:
    # What a call may have cost that was cut counts, so there is enough for that.
    budget, calls = Allowance(calls=900, tokens=9_000_000), iter(range(after))
    whole = asking(big, Planner(explores), budget=budget)
    whole.work()

    def before(call: Call, limits: Limits) -> None:
        if next(calls, None) is None:
            raise Killed

    def here(model: Planner) -> Asking:
        run = at_random(random.Random(after))
        return asking(big, model, store, budget=budget, run=run)

    with EventStore.open("sqlite://") as store:
        with pytest.raises(Killed):
            here(first := Planner(explores, before)).work()
        assert len(list(store.read(TASK, types=["MODEL_REPLIED"]))) == after
        here(second := Planner(explores)).work()
        known = {(call.module, call.iteration, call.attempt) for call in first.asked[:after]}
        assert not known & {(call.module, call.iteration, call.attempt) for call in second.asked}
        found, expected = came_to(store), came_to(whole.task.store)
        assert found["prompts"] == expected["prompts"]
        for name, one in expected["questions"].items():
            assert found["questions"][name].answer == one.answer
        outcomes = [
            event.fact.data["outcome"] for event in store.read(TASK, types=["CALL_SETTLED"])
        ]
        assert outcomes.count("cut") >= 1


# Interleavings of the same facts


def lane_of(event: WorkflowEvent, calls: dict[int, str]) -> str:
    """The question in whose course an event stands; empty for one before all questions."""
    match event.fact:
        case QuestionAsked() as fact:
            return fact.parent or ""
        case StepStarted(module_name=str(name)) | AnswerRefused(module_name=str(name)):
            if isinstance(event.fact, StepStarted):
                calls[event.version] = name
            return name
        case ContextBuilt(target=str(target)):
            return target.partition(":")[2]
        case ModelReplied(call=int(call)) | CallSettled(call=int(call)):
            return calls[call]
        case ToolCalled(call_id=str(id)) | ToolReturned(call_id=str(id)):
            return questions.turn_of(id)[0]
        case AnswerGiven(name=name):
            return name
    return "" if not calls else "q"


def interleaved(
    lanes: dict[str, list[WorkflowEvent]], randomly: random.Random
) -> list[WorkflowEvent]:
    """Events in a random order in which each follows what it came from, with calls by their new
    versions."""
    left = {name: list(events) for name, events in lanes.items()}
    order, moved = list[WorkflowEvent](), dict[int, int]()
    open_lanes, asked, ended = ["", "q"], dict[str, list[str]](), set[str]()
    while open_lanes:
        able = []
        for name in open_lanes if not left[""] else [""]:
            first = left[name][0].fact
            waits = isinstance(first, ToolReturned) and not ended.issuperset(asked.get(name, ()))
            if not waits:
                able.append(name)
        name = randomly.choice(able)
        event = left[name].pop(0)
        version = len(order) + 1
        moved[event.version] = version
        fact = event.fact
        if (call := getattr(fact, "call", None)) in moved:
            fact = fact.model_copy(update={"call": moved[call]})
        order.append(event._replace(fact=fact, version=version, position=version))
        if isinstance(fact, QuestionAsked) and fact.parent:
            asked.setdefault(fact.parent, []).append(fact.name)
            open_lanes.append(fact.name)
        if isinstance(fact, AnswerGiven):
            ended.add(fact.name)
        open_lanes = [lane for lane in open_lanes if left[lane]]
    return order


def test_a_thousand_interleavings_of_the_same_facts_fold_to_one_state(big: Subject) -> None:
    def shallow(call: Call) -> Any:  # a fifth of the events, as each order folds them all
        return answer("it has one") if call.module.count(".") == 1 else explores(call)

    asked = asking(big, Planner(shallow), concurrency=4, run=at_random(random.Random(7)))
    asked.work()
    lanes, calls = dict[str, list[WorkflowEvent]](), dict[int, str]()
    events = list(asked.task.store.read(TASK))
    for event in events:
        lanes.setdefault(lane_of(event, calls), []).append(event)
    assert sorted(lanes) == sorted(["", *asked.task.asked.questions])
    expected = settled(fold(questions, events))
    orders = set[tuple[datetime, ...]]()
    for seed in range(1_000):
        order = interleaved(lanes, random.Random(seed))
        assert len(order) == len(events)
        orders.add(tuple(event.timestamp for event in order))
        assert settled(fold(questions, order)) == expected
    assert len(orders) > 990


def settled(state: questions.State) -> dict[str, Any]:
    """What questions came to, without the versions by which calls are known."""
    assert not state.steps
    return {name: state.questions[name] for name in sorted(state.questions)}
