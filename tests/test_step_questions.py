"""A code step may ask before it writes: the answer stands in its next prompt, and it goes on."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from immutables import Map

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import StepStarted, WorkflowEvent
from backcast.domain.question_events import AnswerGiven, QuestionAsked, step_question
from backcast.domain.spending import Allowance
from backcast.engine.context.recorded import messages
from backcast.engine.interfaces.question_tree import QuestionTree
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models import Call, Limits
from backcast.engine.replay.verify import verified
from backcast.engine.workflow import step_questions
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.recorded_run import RecordedRun
from backcast.engine.workflow.requests import ASK
from backcast.projections import ALL, calls, fold, prefixes, progress, questions, spending, versions
from tests.side_by_side import (
    Double,
    asked_twice,
    came_to,
    checks,
    code,
    killed_after,
    runtime,
    spec_of,
    waits,
)

TASK = "parts"
QUESTION = "What must a return?"
QUOTE = {"node": "module:test_a.py", "text": "def test_a() -> None:\n    assert a() == 'a'"}


def asks(text: str = QUESTION, about: str = "") -> str:
    return f"```ask\n{text}\n{f'about: {about}' if about else ''}\n```\n"


def says(action: str, **named: Any) -> str:
    return json.dumps({"action": action, **named})


def answers(call: Call) -> str:
    """Answer a question of a step: look, read, then quote."""
    if call.iteration == 1:
        return says("search", words="assert a")
    if call.iteration == 2:
        return says("read", node="test_a.py")
    return says("answer", text="It asserts a.", quotes=[QUOTE])


def asks_first(call: Call) -> str:
    """Ask about the module `a` before it is written; write all else at once."""
    if call.kind == "ask":
        return answers(call)
    if call.module == "a_part.py" and call.attempt == 1:
        return asks(about="test_a.py")
    return code(call.module[0])


def run(
    answer: Callable[[Call], str], concurrency: int = 1, *, names: str = "ab",
    before: Callable[[Call, Limits], None] | None = None, budget: Allowance | None = None,
    store: EventStore | None = None, **limits: Any,
) -> tuple[EventStore, Double, progress.State]:  # fmt: skip
    """A run whose steps may ask two questions each."""
    store = store or EventStore.open("sqlite://")
    model = Double(answer, before)
    if not store.version(TASK):
        start(store, spec_of(names, **{"asks": 2, **limits}))
    return store, model, work(store, TASK, runtime(model, concurrency, budget), checks=checks)


def prompts_of(store: EventStore, target: str) -> list[str]:
    built = [event.fact for event in store.read(TASK, types=["CONTEXT_BUILT"])]
    mine = [fact for fact in built if isinstance(fact, ContextBuilt) and fact.target == target]
    return [messages(fact, store.get)[-1][1] for fact in mine]


def facts(store: EventStore, *types: str) -> list[Any]:
    return [event.fact for event in store.read(TASK, types=types)]


def asked(store: EventStore) -> questions.State:
    state: questions.State = fold(questions, store.read(TASK))
    return state


# What a step gets


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_code_step_asks_before_it_writes_and_sees_the_answer_with_its_quote(
    concurrency: int,
) -> None:
    store, model, state = run(asks_first, concurrency)
    assert state.status == "complete"
    first, second = prompts_of(store, "module:a_part.py")
    assert ASK in first
    assert ASK in second  # it may ask once more
    assert f"# Asked: {QUESTION} (about module:test_a.py)\nIt asserts a.\n" in second
    assert f'module:test_a.py: "{QUOTE["text"]}"' in second
    assert "earlier answers could not be used" not in second
    assert "Asked" not in prompts_of(store, "module:b_part.py")[0]
    [question] = asked(store).questions.values()
    assert question.answer
    assert question.answer.complete
    assert [turn.tool for turn in question.turns] == ["look", "search", "read"]
    assert [(call.kind, call.module) for call in model.asked].count(("ask", "q1")) == 3
    assert all(verdict.holds for verdict in verified(store, TASK))
    [fact] = (e.fact for e in store.read(TASK, types=["QUESTION_ASKED"]))
    assert isinstance(fact, QuestionAsked)
    begun = store.read(TASK, after=(fact.call or 0) - 1, last=fact.call)
    assert next(iter(begun)).fact.data["module_name"] == "a_part.py"


def test_what_a_question_shows_and_what_fails_in_it_is_not_of_the_steps_own_prompts() -> None:
    def wrong(call: Call) -> str:
        if call.kind == "ask" and call.iteration == 1:
            return says("read", node="nothing.py") if call.attempt == 2 else "no JSON"
        return asks_first(call)

    store, _, _ = run(wrong)
    plain, _, _ = run(lambda call: code(call.module[0]))
    [_, second], [alone] = (prompts_of(one, "module:a_part.py") for one in (store, plain))
    assert "nothing.py" not in second
    assert "no JSON" not in second
    whole = [line for line in second.splitlines() if line not in alone]
    assert whole[0] == "# Added"
    assert prompts_of(store, "module:b_part.py") == prompts_of(plain, "module:b_part.py")


def test_unless_a_run_allows_it_nothing_is_offered_and_a_question_is_no_answer() -> None:
    store, model, state = run(asks_first, asks=None)
    assert state.status == "complete"
    assert all(ASK not in prompt for prompt in prompts_of(store, "module:a_part.py"))
    assert not list(store.read(TASK, types=["QUESTION_ASKED"]))
    [refused] = (event.fact for event in store.read(TASK, types=["ANSWER_REFUSED"]))
    assert "its blocks are ask" in refused.data["reason"]
    assert not [call for call in model.asked if call.kind == "ask"]


def test_a_question_may_be_taken_apart_and_its_parts_are_children_in_the_same_log() -> None:
    def parts(call: Call) -> str:
        if call.module == "q1" and call.iteration == 1:
            several = [{"question": f"What does test_{name} call?", "about": f"test_{name}.py"}
                       for name in "ab"]  # fmt: skip
            return says("ask_many", questions=several)
        if call.kind == "ask":
            return says("answer", text=f"by {call.module}", quotes=[])
        return asks_first(call)

    store, _, state = run(parts, 4)
    assert state.status == "complete"
    assert sorted(asked(store).questions) == ["q1", "q1.1a", "q1.1b"]
    assert "by q1 (unproven: it gives no quote)\n" in prompts_of(store, "module:a_part.py")[1]
    assert all(verdict.holds for verdict in verified(store, TASK))


def test_the_tree_of_calls_shows_a_question_below_the_call_that_asked_it() -> None:
    store, model, _ = run(asks_first)
    lines = list(QuestionTree(TASK, list(store.read(TASK))).lines())
    assert lines[0].startswith(f"parts  {len(model.asked)} calls, ")
    place = next(n for n, line in enumerate(lines) if "q1  What must a return?" in line)
    assert lines[place - 1].startswith("├── code a_part.py #1 ")
    assert lines[place + 1].startswith("│       ├── 1. search assert a")
    assert lines[place + 4].startswith("├── code a_part.py #1 attempt 2")


# Limits


def test_a_step_asks_no_more_often_than_it_may_and_then_writes_or_fails() -> None:
    def only(call: Call) -> str:
        if call.kind == "ask":
            return says("answer", text="So it is.", quotes=[QUOTE])
        return asks(f"And why, at attempt {call.attempt}?")

    store, model, state = run(only, iterations=2)
    assert (state.status, state.reason) == (
        "failed", "no answer for a_part.py could be used after 2 tries",
    )  # fmt: skip
    refused = [event.fact.data["reason"] for event in store.read(TASK, types=["ANSWER_REFUSED"])]
    assert refused == ["Your last answer was not used: you have asked 2 times: answer with the code"
                       " now"] * 4  # fmt: skip
    # In each of two tries: two questions, and two answers that were refused.
    assert len(asked(store).questions) == 4
    assert len(model.asked) == 2 * (2 + 2) + 4
    assert ASK not in prompts_of(store, "module:a_part.py")[2]


def test_the_same_question_is_not_answered_twice_in_a_step() -> None:
    def again(call: Call) -> str:
        if call.kind == "ask":
            return says("answer", text="So it is.", quotes=[QUOTE])
        return asks(QUESTION.upper()) if call.attempt < 3 else code(call.module[0])

    store, _, state = run(again, names="a", last="b")
    assert state.status == "complete"
    reasons = {event.fact.data["reason"] for event in store.read(TASK, types=["ANSWER_REFUSED"])}
    assert reasons == {"Your last answer was not used: you have asked this already, see its answer:"
                       " answer with the code now"}  # fmt: skip
    assert sorted(asked(store).questions) == ["q1", "q2"]  # one of each module


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("```ask\n\n```", "needed a question in the ask block, found none"),
        (asks(about="module:../../etc/passwd"), "there is no 'module:../../etc/passwd' here"),
        ("```ask\nWhat is it", "needed blocks that end"),
    ],
)
def test_a_question_that_is_none_is_refused_in_a_line(body: str, why: str) -> None:
    store, _, state = run(
        lambda call: body if call.attempt == 1 else code(call.module[0]), names="a", last="b"
    )
    assert state.status == "complete"
    first = next(event.fact for event in store.read(TASK, types=["ANSWER_REFUSED"]))
    assert why in first.data["reason"]
    assert "\n" not in first.data["reason"]


@pytest.mark.parametrize("seed", range(8))
def test_questions_of_steps_never_cost_more_than_what_is_left_of_the_runs_budget(seed: int) -> None:
    randomly = random.Random(seed)
    budget = Allowance(randomly.randint(5, 30), randomly.randint(9_000, 90_000))

    def each(call: Call) -> str:
        if call.kind == "code" and call.attempt == 1 and call.module[0] in "abc":
            return asks(f"What must {call.module} return?")
        return asks_first(call)

    store = EventStore.open("sqlite://")
    with suppress(ModelError):  # where it suffices for no further call of a step
        run(each, randomly.randint(1, 4), names="abc", budget=budget, store=store)
    folded, most = spending.initial, list[tuple[int, int]]()
    for event in store.read(TASK):
        folded = spending.evolve(folded, event)
        most.append(spending.committed(folded)[:2])
    assert max(calls for calls, _ in most) <= (budget.calls or 0)
    assert max(tokens for _, tokens in most) <= (budget.tokens or 0)
    assert all(verdict.holds for verdict in verified(store, TASK))


def test_where_too_little_is_left_a_step_is_told_to_write() -> None:
    store = EventStore.open("sqlite://")
    with pytest.raises(ModelError, match="the budget does not suffice"):
        run(asks_first, names="a", last="b", budget=Allowance(calls=2), store=store)
    [refused] = (event.fact for event in store.read(TASK, types=["ANSWER_REFUSED"]))
    assert "too little of the budget is left for a question" in refused.data["reason"]
    assert [m.module_name for m in facts(store, "MODULE_ITERATION")] == ["a_part.py"]
    assert not asked(store).questions


def test_a_question_whose_budget_is_spent_ends_without_an_answer_and_the_step_writes() -> None:
    store = EventStore.open("sqlite://")
    with pytest.raises(ModelError, match="the budget does not suffice"):  # for the last module
        run(asks_first, names="a", last="b", budget=Allowance(calls=4), store=store)
    [question] = asked(store).questions.values()
    assert question.allowed.calls == 2  # of four: one was spent, one is kept for the code
    assert question.answer
    assert not question.answer.complete
    assert "no answer: " in prompts_of(store, "module:a_part.py")[1]
    assert [m.module_name for m in facts(store, "MODULE_ITERATION")] == ["a_part.py"]


# What fails


def test_a_question_whose_call_fails_is_told_as_such_and_the_step_goes_on() -> None:
    def down(call: Call, limits: Limits) -> None:
        if call.kind == "ask":
            raise ModelError("the server is down")

    store, _, state = run(asks_first, before=down)
    assert state.status == "complete"
    shown = prompts_of(store, "module:a_part.py")[1]
    assert "no answer: its call failed: the server is down" in shown
    [given] = (e.fact for e in store.read(TASK, types=["ANSWER_GIVEN"]))
    assert isinstance(given, AnswerGiven)
    assert not given.complete


def test_ctrl_c_in_a_question_ends_its_calls_and_the_run_goes_on_where_it_was() -> None:
    def holds(call: Call, limits: Limits) -> None:
        if call.kind == "ask" and call.iteration == 2:
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            assert limits.cancellation
            limits.cancellation.pause(30)

    store = EventStore.open("sqlite://")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(asks_first, before=holds, store=store)
    assert time.monotonic() - began < 3
    assert [fact.outcome for fact in facts(store, "CALL_SETTLED")] == ["answered", "cancelled"]
    _, again, state = run(asks_first, store=store)
    assert state.status == "complete"
    made = [(call.module, call.iteration, call.attempt) for call in again.asked]
    assert ("q1", 1, 1) not in made
    assert ("a_part.py", 1, 1) not in made
    assert asked_twice(store) == []


# Killed, replayed, and in any order


def all_ask(call: Call) -> str:
    """Ask in every step, and mend one module."""
    if call.kind == "ask":
        if call.module.count(".") == 0 and call.iteration == 1:
            return says(
                "ask_many", questions=[{"question": f"And {n}?", "about": ""} for n in "xy"]
            )
        return says("answer", text=f"by {call.module}", quotes=[QUOTE])
    if call.attempt == 1 and call.iteration == 1:
        return asks(f"What must {call.module} return?")
    return code(call.module[0], "no" if call.module[0] == "b" and call.iteration == 1 else "")


@pytest.fixture(scope="module")
def in_order() -> dict[str, Any]:
    store, _, _ = run(all_ask, 4, names="abc")
    return came_to(store) | answers_of(store)


def answers_of(store: EventStore) -> dict[str, Any]:
    known = asked(store).questions
    prompts: dict[str, list[str]] = {}
    for fact in facts(store, "CONTEXT_BUILT"):
        prompts.setdefault(fact.target, []).append(fact.digest)
    return {"answers": {name: known[name].answer for name in sorted(known)}, "prompts": prompts}


@pytest.mark.parametrize("seed", range(6))
def test_in_whatever_order_calls_end_prompts_answers_and_code_are_the_same(
    in_order: dict[str, Any], seed: int
) -> None:
    randomly = random.Random(seed)
    before = waits(lambda call: randomly.uniform(0, 0.01))
    store, model, _ = run(all_ask, randomly.randint(2, 9), names="abc", before=before)
    assert came_to(store) | answers_of(store) == in_order
    assert model.most > 1
    assert len(in_order["answers"]) == 4 * 3
    assert all(verdict.holds for verdict in verified(store, TASK))


def test_a_run_that_is_killed_within_questions_goes_on_and_asks_only_what_has_no_answer(
    tmp_path: Path, in_order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a call may have cost that was cut counts, so there is enough for that.
    monkeypatch.setattr(step_questions, "BUDGET", Allowance(900, 9_000_000))
    killed = 0
    for first in (13, 17):
        url, number = f"sqlite:///{tmp_path}/{first}.db", first
        with EventStore.open(url) as store:
            start(store, spec_of("abc", asks=2))
        while killed_after(url, number, Double(all_ask), 4):
            killed, number = killed + 1, 9 + (number + first) % 13
        with EventStore.open(url) as store:
            found = came_to(store) | answers_of(store)
            assert found == in_order
            assert list(check(store)) == []
            assert asked_twice(store) == []
    assert killed > 6


def test_a_run_with_questions_is_replayed_from_its_own_log_without_a_model(tmp_path: Path) -> None:
    store, _, _ = run(all_ask, 4, names="abc")
    file = tmp_path / "parts.jsonl"
    file.write_text("".join(f"{line}\n" for line in export_lines(store, TASK)))
    again = EventStore.open("sqlite://")
    start(again, spec_of("abc", asks=2))
    played = runtime(RecordedRun(file, strict=True), 4)
    assert work(again, TASK, played, checks=checks).status == "complete"
    assert came_to(again) | answers_of(again) == came_to(store) | answers_of(store)


def lane_of(fact: Any, asking: dict[int, str]) -> str:
    """The question of a step in whose course a fact stands."""
    if isinstance(fact, CallSettled):
        return asking[fact.call]
    name = step_question(fact)
    return name.rpartition(".")[0] or name if isinstance(fact, QuestionAsked) else name


def test_a_thousand_interleavings_of_questions_of_sibling_steps_fold_to_one_state() -> None:
    def shallow(call: Call) -> str:  # a third of the events, as each order folds them all
        if call.kind == "ask" and call.module in ("q2", "q3", "q4"):
            return says("answer", text=f"by {call.module}", quotes=[QUOTE])
        return all_ask(call)

    store, _, _ = run(shallow, 4, names="abcd", last="e")
    events, asking = list(store.read(TASK)), dict[int, str]()
    roots = [n for n, e in enumerate(events) if isinstance(e.fact, QuestionAsked)
             and e.fact.name in ("q1", "q4")]  # fmt: skip
    ends = [n for n, e in enumerate(events) if isinstance(e.fact, AnswerGiven)
            and "." not in e.fact.name]  # fmt: skip
    begin, end = roots[1] + 1, ends[3] + 1
    lanes = dict[str, list[list[WorkflowEvent]]]()
    part = events[begin:end]
    for event in part:
        if isinstance(event.fact, StepStarted):
            asking[event.version] = event.fact.module_name or ""
        root = lane_of(event.fact, asking).partition(".")[0]
        # A call and its prompt stand next to each other, and so do an answer and its settlement.
        if isinstance(event.fact, ContextBuilt | CallSettled):
            lanes[root][-1].append(event)
        else:
            lanes.setdefault(root, []).append([event])
    assert sorted(lanes) == ["q1", "q2", "q3", "q4"]
    before = {one.NAME: fold(one, events[:begin]) for one in ALL}
    expected = {one.NAME: placeless(fold(one, part, before[one.NAME])) for one in ALL}
    orders = set[tuple[int, ...]]()
    for seed in range(1_000):
        order = interleaved(lanes, part, random.Random(seed))
        orders.add(tuple(event.fact.data.get("call", 0) for event in order))
        for one in ALL:
            assert placeless(fold(one, order, before[one.NAME])) == expected[one.NAME], one.NAME
    assert len(orders) > 990


def interleaved(
    lanes: dict[str, list[list[WorkflowEvent]]], part: list[WorkflowEvent], randomly: random.Random
) -> list[WorkflowEvent]:
    """The facts of questions in another order, each question's own in its own, at the same places;
    calls are known by their new versions."""
    rest = {name: list(groups) for name, groups in lanes.items()}
    order, moved = list[WorkflowEvent](), dict[int, int]()
    while any(rest.values()):
        name = randomly.choice([name for name in sorted(rest) if rest[name]])
        for event in rest[name].pop(0):
            there = part[len(order)]
            moved[event.version] = there.version
            fact = event.fact
            if (call := getattr(fact, "call", None)) in moved:
                fact = fact.model_copy(update={"call": moved[call]})
            order.append(there._replace(fact=fact, writer=event.writer))
    return order


def placeless(state: Any) -> Any:
    """A state without the places at which calls stood."""
    if isinstance(state, calls.State):
        return sorted(map(repr, state.calls.values())), state.shown
    if isinstance(state, prefixes.State):
        return state._replace(step=0)
    if isinstance(state, versions.State):
        return state._replace(spoke=Map())
    return state
