"""Where calls that begin alike are read, and what a server reads before it is asked."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.call_events import PrefixWarmed
from backcast.engine.models import Completion, Limits, Message
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.prefixes import PrefixCall, SlotTexts, planned
from backcast.engine.models.server import ServerModel
from backcast.engine.models.warming import AskedPrompt, PlacedCalls, PrefixScheduler
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from tests.servers import FINE, Handler, hostile, llama_server

SOURCE = "\n".join(f"def f{n}(x): return x * {n} + {n % 7}" for n in range(45))
"About 750 tokens."
QUESTIONS = [f"Which function is number {n}?" for n in range(4)]
LIMITS = Limits(4, seconds=60)


def call(number: int, text: str, tokens: int = 0, answer: int = 10) -> PrefixCall:
    return PrefixCall(number, text, tokens or len(text), answer)


def prompts(questions: Sequence[str], first: int = 1) -> list[AskedPrompt]:
    return [
        AskedPrompt(number, [Message("user", f"{SOURCE}\n{question}")], LIMITS, 760)
        for number, question in enumerate(questions, first)
    ]


def asked(
    model: ServerModel, scheduler: PrefixScheduler, questions: Sequence[str], first: int = 1
) -> tuple[PlacedCalls, dict[int, Completion]]:
    """Ask questions about one source side by side, as the scheduler has them placed."""
    ready, answers = prompts(questions, first), dict[int, Completion]()
    placed = scheduler.place(ready, 4)

    def race(prompt: AskedPrompt) -> Race:
        slot = placed.slots.get(prompt.id)

        def ask(cancellation: Cancellation) -> Completion:
            limits = prompt.limits._replace(cancellation=cancellation, slot=slot)
            return model.complete(prompt.messages, limits)

        return Race([SideCall(prompt.id, ask, 60, queue=slot)])

    def report(ended: EndedCall) -> None:
        if ended.error:
            raise ended.error
        assert ended.answer is not None
        answers[ended.call.id] = ended.answer
        scheduler.ended(ended.call.id, ended.answer)

    run_calls([race(prompt) for prompt in ready], report, 4)
    return placed, answers


# The plan


@given(
    st.lists(st.text("ab", max_size=8), max_size=8),
    st.integers(1, 5),
    st.booleans(),
    st.dictionaries(st.integers(0, 4), st.text("ab", max_size=8), max_size=3),
)
def test_every_call_is_planned_once_and_in_a_slot_that_there_is(
    texts: list[str], slots: int, copies: bool, held: dict[int, str]
) -> None:
    known = SlotTexts()
    for slot, text in held.items():
        known = known.after(slot, text)
    calls = [call(number, text, answer=1) for number, text in enumerate(texts)]
    plan = planned(calls, known, slots, copies=copies, least=3, written=1)
    assert sorted(plan.order) == list(range(len(calls)))
    assert planned(calls[::-1], known, slots, copies=copies, least=3, written=1) == plan
    assert set(plan.slots) in (set(), set(range(len(calls))))
    assert all(slot in range(slots) for slot in plan.slots.values())
    for prefix in plan.read_first:
        own = {plan.slots[one] for one in prefix.calls}
        assert own == {prefix.slot, *prefix.copies}
        assert prefix.slot not in prefix.copies
        assert len(prefix.calls) > 1


def test_with_one_slot_nothing_is_warmed_and_equal_beginnings_follow_each_other() -> None:
    calls = [call(1, "aaaa1"), call(2, "bbbb1"), call(3, "aaaa2"), call(4, "bbbb2")]
    plan = planned(calls, SlotTexts(), 1, copies=True, least=4)
    assert plan == ((1, 3, 2, 4), {}, ())


def test_where_no_slot_can_be_copied_short_answers_follow_in_one_and_long_run_beside() -> None:
    short = [call(n, "a" * 1000 + str(n), answer=5) for n in range(4)]
    assert set(planned(short, SlotTexts(), 4).slots.values()) == {0}
    beside = [one._replace(answer=1000) for one in short]
    assert sorted(planned(beside, SlotTexts(), 4).slots.values()) == [0, 1, 2, 3]
    assert planned(beside, SlotTexts(), 4).read_first == ()


def test_what_shares_too_little_is_left_to_the_server() -> None:
    calls = [call(n, "a" * 200 + str(n)) for n in range(4)]
    assert planned(calls, SlotTexts(), 4, copies=True).slots == {}


def test_a_slot_that_has_the_beginning_already_is_taken_first() -> None:
    known = SlotTexts().after(0, "b" * 900).after(2, "a" * 900)
    plan = planned([call(n, "a" * 900 + str(n)) for n in range(2)], known, 3)
    assert set(plan.slots.values()) == {2}


def test_a_slot_that_had_less_than_it_was_sent_is_believed_no_more_nor_are_the_others() -> None:
    sent = call(1, "a" * 900)
    known = SlotTexts().after(0, "a" * 900).after(1, "b" * 900)
    assert set(known.told(0, sent, 890).texts) == {0, 1}
    assert set(known.told(0, sent, None).texts) == {0, 1}
    assert set(known.told(0, sent, 0).texts) == {0}


# A real server


def test_slots_that_can_be_copied_read_what_calls_share_once(tmp_path: Path) -> None:
    with llama_server("mistral", tmp_path, "-np", "4", "--slot-save-path", f"{tmp_path}/") as url:
        model = ServerModel(url)
        scheduler = PrefixScheduler(model)
        placed, answers = asked(model, scheduler, QUESTIONS)
        [fact] = placed.facts
        assert (fact.meant_for, fact.copies, fact.reason) == ((1, 2, 3, 4), 3, None)
        assert fact.tokens is not None
        assert fact.tokens > 700
        assert fact.tokens == fact.fresh
        for number, answer in answers.items():
            assert answer.cached_tokens is not None, number
            assert answer.cached_tokens >= fact.tokens - 2
        # What is read is what would have been read without all that.
        alone = [model.complete(one.messages, one.limits).text for one in prompts(QUESTIONS)]
        assert [answers[number].text for number in sorted(answers)] == alone
        again, _ = asked(model, scheduler, QUESTIONS, 11)
        [fact] = again.facts
        assert fact.fresh is not None
        assert fact.fresh < 10
        assert len(list(tmp_path.glob("backcast-*.kv"))) <= 4


def test_without_files_for_slots_calls_follow_each_other_and_are_told(tmp_path: Path) -> None:
    with llama_server("mistral", tmp_path, "-np", "4") as url:
        model = ServerModel(url)
        scheduler = PrefixScheduler(model)
        placed, answers = asked(model, scheduler, QUESTIONS)
        [fact] = placed.facts
        assert "slot-save-path" in (fact.reason or "")
        assert len(set(placed.slots.values())) == 1
        assert all((answer.cached_tokens or 0) > 700 for answer in answers.values())
        again, _ = asked(model, scheduler, QUESTIONS, 11)
        assert again.facts == []


@pytest.mark.parametrize("keeps", [False, True])
def test_a_server_that_clears_idle_slots_is_given_no_more_copies(
    tmp_path: Path, *, keeps: bool
) -> None:
    options = ["-np", "4", "-kvu", "--slot-save-path", f"{tmp_path}/"]
    options += ["--no-cache-idle-slots"] if keeps else []
    with llama_server("mistral", tmp_path, *options) as url:
        model = ServerModel(url)
        scheduler = PrefixScheduler(model)
        _, answers = asked(model, scheduler, QUESTIONS)
        assert all(answer.cached_tokens for answer in answers.values()) == keeps
        assert scheduler.copies == keeps
        assert bool(asked(model, scheduler, QUESTIONS, 11)[0].facts) == keeps


def test_a_server_that_starts_again_is_forgotten(tmp_path: Path) -> None:
    files = "-np", "4", "--slot-save-path", f"{tmp_path}/"
    with llama_server("mistral", tmp_path, *files) as url:
        scheduler = PrefixScheduler(ServerModel(url))
        asked(ServerModel(url), scheduler, QUESTIONS)
        assert len(scheduler.known.texts) == 4
    with llama_server("mistral", tmp_path, *files) as url:
        scheduler.server = model = ServerModel(url)
        placed, answers = asked(model, scheduler, QUESTIONS, 11)
        [fact] = placed.facts
        assert fact.tokens == fact.fresh  # it says so itself, and nothing else is believed
        assert all((answer.cached_tokens or 0) > 700 for answer in answers.values())


def test_a_server_with_one_slot_is_given_nothing_before_its_calls(tmp_path: Path) -> None:
    with llama_server("mistral", tmp_path, "-np", "1", "--slot-save-path", f"{tmp_path}/") as url:
        model = ServerModel(url)
        placed, answers = asked(model, PrefixScheduler(model), QUESTIONS)
        assert (placed.facts, placed.slots) == ([], {})
        assert sum((answer.cached_tokens or 0) > 700 for answer in answers.values()) == 3


def test_a_server_that_is_not_llama_cpps_is_left_alone() -> None:
    with hostile(lambda _: FINE) as server:
        scheduler = PrefixScheduler(ServerModel(f"{server.url}/v1"))
        assert scheduler.place(prompts(QUESTIONS), 4) == ((1, 2, 3, 4), {}, [])
        assert server.bodies == []


@pytest.mark.parametrize("missing", ["/apply-template", "/completion", "/slots"])
def test_a_server_that_lacks_a_part_of_it_fails_no_call(missing: str) -> None:
    def answer(request: Handler) -> object:
        path = request.path
        if path.startswith(missing):
            request.say({"error": {"message": "not there"}}, 404)
        elif path == "/apply-template":
            request.say({"prompt": request.body["messages"][0]["content"]})
        elif path == "/completion":
            request.say({"timings": {"cache_n": 0, "prompt_n": 700}})
        else:
            request.say({})
        return None

    with hostile(answer) as server:
        model = ServerModel(f"{server.url}/v1")
        model.native, model.slots = True, 4
        scheduler = PrefixScheduler(model)
        placed = scheduler.place(prompts(QUESTIONS), 4)
        assert [type(fact) for fact in placed.facts] == [PrefixWarmed]
        assert "not there" in (placed.facts[0].reason or "")
        assert not scheduler.copies
        assert scheduler.place(prompts(QUESTIONS), 4).facts == []
