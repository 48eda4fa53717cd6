"""What a question's prompts show, what its calls cost that are cut, and what of results is kept."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import TextCompressed
from backcast.domain.events import ModuleIteration, ToolReturned
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Call, Completion, Limits
from backcast.engine.models.grammar import gbnf
from backcast.engine.models.so_far import AnswerPart
from backcast.engine.models.warming import AskedPrompt, PlacedCalls
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.ask.subject import Subject
from tests.asked import (
    LIMITS,
    REPOSITORY,
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
def small() -> Iterator[Subject]:
    with repository(24) as store:
        yield subject_of(store)


def test_the_first_prompt_holds_what_the_words_find_and_the_question_stands_last(
    small: Subject,
) -> None:
    model = Planner(lambda call: answer("49"))
    asking(small, model, text="Which factor has compute7 by default?").work()
    prompt = model.prompts["q", 1, 1]
    assert prompt.endswith("\n\nQuestion: Which factor has compute7 by default?")
    line = "def compute7(value: int, factor: int = 49) -> int:"
    whole = f"function:{module(7)}::compute7, lines 4-8:\n{line}\n"
    assert prompt.startswith("# What may be near it\n\n")
    found, actions, _ = prompt.partition("\n\n# Actions\n")
    assert whole in found[found.rindex("\n\n") :]  # what is named stands next to the question
    assert '{"action": "search"' in prompt.partition(actions)[2]


def test_where_only_an_answer_is_allowed_no_action_is_spoken_of(small: Subject) -> None:
    model = Planner(lambda call: answer("49"))
    asking(small, model, limits=LIMITS._replace(iterations=1)).work()
    assert "search" not in model.prompts["q", 1, 1]
    assert "# What may be near it" in model.prompts["q", 1, 1]


def test_a_quote_is_of_a_node_that_is_shown_and_is_there(small: Subject) -> None:
    model = Planner(lambda call: answer("49"))
    asking(small, model, text="compute7?", limits=LIMITS._replace(iterations=1)).work()
    schema = model.schemas["q", 1, 1]
    nodes = schema["properties"]["quotes"]["items"]["properties"]["node"]["enum"]
    assert f"function:{module(7)}::compute7" in nodes
    assert all(small.node(node).node == node for node in nodes)
    assert gbnf(schema)


def test_an_answer_that_was_cut_within_its_quotes_is_one(small: Subject) -> None:
    class Cut(Planner):
        def complete(self, *said: Any, **named: Any) -> Completion:
            return super().complete(*said, **named)._replace(finish="length")

    text = json.dumps(answer("49", (module(7), "factor: int = 49"), (module(7), "= 49")))
    found = asking(small, Cut(lambda call: text[:-12])).work().questions["q"].answer
    assert found is not None
    assert (found.text, found.complete) == ("49", True)
    assert [quote.proven for quote in found.quotes] == [True]
    within = asking(small, Cut(lambda call: text[:30])).work().questions["q"].answer
    assert within is not None
    assert not within.complete


def test_a_result_over_its_target_is_compressed_and_the_whole_stays() -> None:
    lines = "\n".join(f"note_{number} = {number}  # of the cellar" for number in range(400))
    text = f"{lines}\n\n\ndef attic_lamp(watts: int = 40) -> int:\n    return watts\n"
    with EventStore.open("sqlite://") as store:
        blob = Blob(text.encode())
        fact = ModuleIteration(module_name="house.py", iteration=1, source=blob.ref)
        store.append(REPOSITORY, [fact], after=0, blobs=[blob])
        Outlining(store, REPOSITORY).catch_up()

        def reads(call: Call) -> Any:
            if call.iteration == 1:
                return {"action": "read", "node": "house.py"}
            return answer("40")

        limits = LIMITS._replace(prompt=20_000, result=2_000)
        asked = asking(
            subject_of(store), model := Planner(reads), limits=limits,
            text="How many watts has attic_lamp?",
        )  # fmt: skip
        asked.work()
        log = asked.task.store
        [event] = log.read(TASK, types=["TEXT_COMPRESSED"])
        assert isinstance(event.fact, TextCompressed)
        assert event.fact.compressed is not None
        assert text.rstrip() in log.get(event.fact.compressed.whole).decode()
        [_, result] = (e.fact for e in log.read(TASK, types=["TOOL_RETURNED"]))
        assert isinstance(result, ToolReturned)
        shown = log.get(result.output or "").decode()
        assert len(shown) < len(text) / 2
        assert "def attic_lamp(watts: int = 40)" in shown
        assert shown in model.prompts["q", 2, 1]
        assert all(verdict.holds for verdict in verified(log, TASK))


def test_a_call_that_fails_in_the_middle_costs_what_had_come(small: Subject) -> None:
    from backcast.domain.errors import ModelError

    def before(call: Call, limits: Limits) -> None:
        if call.module == "q.2b":
            assert limits.so_far is not None
            limits.so_far.begin(lambda: AnswerPart("It is pa", prompt_tokens=90, tokens=3))
            raise ModelError("the connection broke", "broken")

    asked = asking(small, Planner(explores_here, before), run=executor)
    asked.work()
    log = asked.task.store
    [failed] = (
        event.fact for event in log.read(TASK, types=["CALL_SETTLED"])
        if isinstance(event.fact, CallSettled) and event.fact.outcome == "failed"
    )  # fmt: skip
    assert failed.cost.tokens == 93
    assert log.get(failed.part or "") == b"It is pa"


def explores_here(call: Call) -> Any:
    line = "def compute0(value: int, factor: int = 0)"
    return (
        answer("compute0 has 0", (module(0), line))
        if call.module.count(".") == 1
        else explores(call)
    )


def test_calls_that_begin_together_are_placed_together(small: Subject) -> None:
    asked = asking(small, Planner(explores_here))
    scheduler = asked.calls.scheduler
    places, ends = list[list[int]](), list[int]()

    def place(prompts: Sequence[AskedPrompt], concurrency: int) -> PlacedCalls:
        calls = [prompt.id for prompt in prompts]
        places.append(calls)
        return PlacedCalls(tuple(reversed(calls)), {call: call % 2 for call in calls}, [])

    slots = list[int | None]()
    asked.calls.runtime.model.before = lambda call, limits: slots.append(limits.slot)  # type: ignore[attr-defined]
    scheduler.place = place  # type: ignore[method-assign]
    scheduler.ended = lambda call, answer: ends.append(call)  # type: ignore[method-assign]
    asked.work()
    assert [len(calls) for calls in places if calls] == [1, 1, 4, 1, 1]
    assert sorted(ends) == sorted(call for calls in places for call in calls)
    assert None not in slots
