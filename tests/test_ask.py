"""A question about a log: what a model does for its answer, and what ends it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from backcast.domain.errors import InputError, ModelError
from backcast.domain.moment import Moment
from backcast.domain.spending import Allowance
from backcast.engine.log import EventStore
from backcast.engine.models import Call, Limits
from backcast.engine.models.grammar import gbnf
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.ask.actions import ACTIONS, read_action, schema_of
from backcast.engine.workflow.ask.doing import ITSELF
from backcast.engine.workflow.ask.subject import Subject
from backcast.engine.workflow.ask.words import REPEATED
from backcast.engine.workflow.refusals import RefusedError
from backcast.projections import fold, questions
from tests.asked import (
    LIMITS,
    TASK,
    Planner,
    answer,
    asking,
    executor,
    explores,
    module,
    repository,
    subject_of,
)


@pytest.fixture(scope="module")
def big() -> Iterator[Subject]:
    with repository() as store:
        yield subject_of(store)


def state_of(store: EventStore) -> questions.State:
    state: questions.State = fold(questions, store.read(TASK))
    return state


# Bad replies


def test_a_model_that_asks_for_itself_for_ever_is_told_and_ended(big: Subject) -> None:
    def itself(call: Call) -> Any:
        return {"action": "ask", "question": "Which part has the LARGEST  factor?", "about": ""}

    asked = asking(big, Planner(itself))
    state = asked.work()
    [first] = state.questions.values()
    assert [turn.message for turn in first.turns[1:]] == [ITSELF, *[REPEATED] * LIMITS.repeats]
    assert first.actions == ()
    assert first.answer
    assert not first.answer.complete
    assert "needed an action of answer, found 'ask'" in first.answer.reason


def test_questions_that_ask_further_for_ever_end_at_the_depth(big: Subject) -> None:
    def deeper(call: Call) -> Any:
        return {"action": "ask", "question": f"And what is below {call.module}?", "about": ""}

    asked = asking(big, model := Planner(deeper), budget=Allowance(calls=40))
    state = asked.work()
    assert {one.depth for one in state.questions.values()} <= {0, 1, 2}
    assert len(model.asked) <= 40
    deepest = [one for one in state.questions.values() if one.depth == LIMITS.depth]
    assert deepest
    assert all(one.answer and "could not be used" in one.answer.reason for one in deepest)


def test_the_same_fifty_times_ends_after_the_repeats_that_are_allowed(big: Subject) -> None:
    def same(call: Call) -> Any:
        return {"action": "read", "node": "module:pkg0/part3.py"}

    limits = LIMITS._replace(iterations=60)
    asked = asking(big, model := Planner(same), limits=limits, budget=Allowance(calls=60))
    first = asked.work().questions["q"]
    assert len(model.asked) == 1 + LIMITS.repeats + 2  # and one that can only be the answer
    assert first.turns[2].message == REPEATED
    assert "stands above" in model.prompts["q", 3, 1]
    assert first.answer
    assert "read" in first.answer.reason


def test_a_file_outside_is_an_error_that_names_near_ones(big: Subject) -> None:
    def outside(call: Call) -> Any:
        nodes = ["../../etc/passwd", "module:pkg0/part33.py", "function:pkg1/part33.py::compute3"]
        if call.iteration <= len(nodes):
            return {"action": "read", "node": nodes[call.iteration - 1]}
        return answer("nothing")

    first = asking(big, Planner(outside)).work().questions["q"]
    said = [turn.message for turn in first.turns[1:]]
    assert said[0].startswith("there is no '../../etc/passwd' here")
    assert "near it: module:pkg1/part33.py" in said[1]
    assert "near it: function:pkg1/part33.py::compute33" in said[2]
    assert first.answer
    assert first.answer.complete


@pytest.mark.parametrize("bad", ['{"action": "answer"', "[1]", '{"action": "delete"}',
                                 '{"action": "read", "node": 7}', "\ud83d"])  # fmt: skip
def test_a_reply_that_is_no_action_is_repaired_once(big: Subject, bad: str) -> None:
    model = Planner(lambda call: bad if call.attempt == 1 else answer("42"))
    first = asking(big, model).work().questions["q"]
    assert first.answer
    assert (first.answer.text, first.answer.complete) == ("42", True)
    assert "Your last reply was not used" in model.prompts["q", 1, 2]
    never = asking(big, Planner(lambda call: bad)).work().questions["q"]
    assert never.answer
    assert "could not be used" in never.answer.reason
    assert not never.answer.complete


def test_words_in_place_of_json_are_a_best_effort(big: Subject) -> None:
    asked = asking(big, Planner(lambda call: "It is part 199."))
    found = asked.work().questions["q"].answer
    assert found
    assert (found.text, found.complete) == ("It is part 199.", False)
    assert asked.task.store.version(TASK)
    assert "TASK_COMPLETE" in [event.type for event in asked.task.store.read(TASK)]


def test_a_smaller_question_whose_call_fails_stops_nothing(big: Subject) -> None:
    def before(call: Call, limits: Limits) -> None:
        if call.module in ("q.2b", "q.2c.2a"):
            raise ModelError("the server is down") if call.module == "q.2b" else ValueError("odd")

    asked = asking(big, Planner(explores, before), run=executor)
    state = asked.work()
    lost = state.questions["q.2b"].answer
    assert lost
    assert not lost.text
    assert "the server is down" in lost.reason
    assert "ValueError" in (state.questions["q.2c.2a"].answer or lost).reason
    whole = state.questions["q"].answer
    assert whole
    assert whole.text
    assert not whole.complete
    assert whole.reason == "of 4 questions that it asked 2 came to no whole answer"


def test_a_call_that_never_returns_is_given_up_and_its_asker_goes_on(
    big: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr("backcast.engine.workflow.executor.LATE", 0.05)

    def before(call: Call, limits: Limits) -> None:
        if call.module == "q.2d":
            time.sleep(30)  # whatever is said to it

    began = time.monotonic()
    asked = asking(big, Planner(explores, before), run=executor, seconds=0.2)
    whole = asked.work().questions["q"].answer
    assert whole
    assert whole.text
    assert not whole.complete
    assert time.monotonic() - began < 25


def test_where_the_first_question_itself_has_no_answer_of_the_model_it_can_go_on(
    big: Subject,
) -> None:
    def down(call: Call, limits: Limits) -> None:
        if call.module == "q" and call.iteration == 2:
            raise ModelError("the server is down")

    with EventStore.open("sqlite://") as store:
        with pytest.raises(ModelError, match="the server is down"):
            asking(big, Planner(explores, down), store, run=executor).work()
        again = Planner(explores)
        found = asking(big, again, store).work().questions["q"].answer
        assert found
        assert found.complete
        assert ("q", 1) not in [(call.module, call.iteration) for call in again.asked]


def test_only_an_answer_is_allowed_at_the_end(big: Subject) -> None:
    def looks(call: Call) -> Any:
        return {"action": "list", "under": f"pkg{call.iteration}"}

    model = Planner(looks)
    first = asking(big, model, limits=LIMITS._replace(iterations=3)).work().questions["q"]
    assert first.answer
    assert "could not be used" in first.answer.reason
    last = model.schemas["q", 3, 1]
    assert last["properties"]["action"] == {"const": "answer"}
    one = Planner(looks)
    asking(big, one, budget=Allowance(calls=1)).work()
    assert one.schemas["q", 1, 1]["properties"]["action"] == {"const": "answer"}


def test_too_long_a_prompt_shows_the_last_results_and_names_the_rest(big: Subject) -> None:
    def reads(call: Call) -> Any:
        return {"action": "read", "node": module(call.iteration)}

    model = Planner(reads)
    limits = LIMITS._replace(iterations=12, result=600, prompt=3_600)
    asked = asking(big, model, limits=limits, budget=Allowance(calls=20))
    asked.work()
    sizes = [e.fact.data["tokens"] for e in asked.task.store.read(TASK, types=["CONTEXT_BUILT"])]
    assert max(sizes) <= 3_600
    assert "its result is not shown any more" in model.prompts["q", 11, 1]
    assert source_line(10) in model.prompts["q", 11, 1]
    assert all(verdict.holds for verdict in verified(asked.task.store, TASK))


def source_line(number: int) -> str:
    return f"def compute{number}(value: int, factor: int = {number * 7})"


# Quotes


def test_quotes_are_checked_against_the_moment(big: Subject) -> None:
    def quotes(call: Call) -> Any:
        return answer(
            "7 times its number",
            ("function:pkg0/part4.py::compute4", "return   value\n * factor"),
            ("pkg0/part4.py", "factor: int = 28"),
            ("module:pkg0/part4.py", "factor: int = 29"),
            ("module:pkg0/part400.py", "factor"),
            ("module:pkg0/part5.py", "  "),
        )

    found = asking(big, Planner(quotes)).work().questions["q"].answer
    assert found is not None
    assert [quote.proven for quote in found.quotes] == [True, True, False, False, False]
    assert found.quotes[1].node == "module:pkg0/part4.py"
    assert "does not hold" in found.quotes[2].reason
    assert "there is no" in found.quotes[3].reason


def test_what_came_later_is_not_there() -> None:
    with repository(4) as store:
        moment = Moment(2)
        then = subject_of(store, moment)
        assert then.paths == [module(0), module(1)]
        with pytest.raises(InputError, match="there is no"):
            then.node(module(3))
        assert "part3" not in then.search("part 3")


def test_a_log_without_code_is_listed_searched_and_read_by_its_events() -> None:
    from backcast.domain.events import ChecksRan, MessageReceived

    with EventStore.open("sqlite://") as store:
        said = store.put(b"Please mend the cart")
        store.append("big", [MessageReceived(role="user", text=said), ChecksRan(
            passed=1, failed=2, preview="E assert 3.5 == 4")], after=0)  # fmt: skip
        log = subject_of(store)
        assert log.list("").splitlines()[0] == "event:1 user: Please mend the cart"
        assert log.search("assert 3") == (
            "event:2, lines 1-2:\nchecks: 1 passed, 2 failed\nE assert 3.5 == 4"
        )
        assert "mend the cart" in log.read("event:1")[1]
        with pytest.raises(InputError, match="near it: event:1, event:2"):
            log.node("event:9")


def test_a_question_without_words_is_asked_nevertheless(big: Subject) -> None:
    found = asking(big, Planner(lambda call: answer("yes")), text="??").work().questions["q"].answer
    assert found is not None
    assert found.text == "yes"


# The form


def test_the_form_of_actions_is_a_grammar_and_is_read_as_strictly() -> None:
    for allowed in (tuple(ACTIONS), ("answer",), ("list", "read", "answer")):
        assert gbnf(schema_of(allowed))
    taken = read_action('```json\n{"action": "read", "node": "a.py"}\n```', tuple(ACTIONS))
    assert taken.arguments == {"node": "a.py", "first": 0, "last": 0}
    with pytest.raises(RefusedError, match="needed an action of answer, found 'read'"):
        read_action('{"action": "read", "node": "a.py"}', ("answer",))
    with pytest.raises(RefusedError, match="not one JSON object"):
        read_action("[" * 100_000, tuple(ACTIONS))
    big = json.dumps({"action": "ask_many", "questions": [{"question": "a"}] * 7})
    with pytest.raises(RefusedError, match="questions"):
        read_action(big, tuple(ACTIONS))
