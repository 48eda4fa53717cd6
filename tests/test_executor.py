"""Calls side by side: kept, reported and ended, whatever the models do."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.errors import ModelError
from backcast.engine.models import Completion, Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.server import ServerModel
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from tests.models import tiny
from tests.servers import FINE, Handler, hostile, llama_server, stops

LONG = [Message("user", "Say something long about everything there is.")]
Ask = Callable[[Cancellation], Completion]


def after(seconds: float, text: str = "yes") -> Ask:
    """A model that answers after so many seconds, unless it is cancelled before."""

    def ask(cancellation: Cancellation) -> Completion:
        cancellation.pause(seconds)
        return Completion(text, 1, 1)

    return ask


def deaf(seconds: float) -> Ask:
    """A model that does not hear that it is cancelled."""

    def ask(_: Cancellation) -> Completion:
        time.sleep(seconds)
        return Completion("late", 1, 1)

    return ask


def failing(error: Exception) -> Ask:
    def ask(_: Cancellation) -> Completion:
        raise error

    return ask


def ran(*races: Race, concurrency: int = 10) -> dict[int, EndedCall]:
    ended = dict[int, EndedCall]()

    def report(one: EndedCall) -> None:
        assert one.call.id not in ended, "a call ends once"
        ended[one.call.id] = one

    run_calls(races, report, concurrency)
    assert set(ended) == {call.id for race in races for call in race.calls}
    return ended


def alone(id: int, ask: Ask, seconds: float = 30) -> Race:
    return Race([SideCall(id, ask, seconds)])


def alternatives(*asks: Ask, good: str = "yes") -> Race:
    calls = [SideCall(number, ask, 30) for number, ask in enumerate(asks)]
    return Race(calls, lambda answer: answer.text == good)


def outcomes(ended: dict[int, EndedCall]) -> list[str]:
    return [ended[id].outcome for id in sorted(ended)]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (10, 8)])
def test_so_many_calls_run_at_once_and_no_more(concurrency: int, most: int) -> None:
    lock, counts = threading.Lock(), [0, 0]

    def ask(cancellation: Cancellation) -> Completion:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        deadline = time.monotonic() + 5
        while counts[1] < most and time.monotonic() < deadline:
            cancellation.pause(0.003)  # until as many have begun as may
        cancellation.pause(0.03)
        with lock:
            counts[0] -= 1
        return Completion("yes")

    ended = ran(*(alone(id, ask) for id in range(8)), concurrency=concurrency)
    assert (outcomes(ended), counts[1]) == (["answered"] * 8, most)


def test_what_fails_or_raises_is_reported_and_the_others_are_kept() -> None:
    ended = ran(
        alone(0, after(0.05)),
        alone(1, failing(ModelError("it is down"))),
        alone(2, failing(KeyError("odd"))),
        alone(3, after(0)),
        alone(4, deaf(30), seconds=0.01),
    )
    assert outcomes(ended) == ["answered", "failed", "failed", "answered", "failed"]
    errors = [str(ended[id].error) for id in (1, 2, 4)]
    assert errors == [
        "it is down", "the model raised KeyError: 'odd'",
        "needed an answer within 0.01 seconds, found none",
    ]  # fmt: skip


def test_of_alternatives_the_first_valid_answer_wins_and_the_others_are_cancelled() -> None:
    began = time.monotonic()
    ended = ran(alternatives(after(20), after(0.05, "no"), after(0.1), after(20)))
    assert time.monotonic() - began < 5
    assert outcomes(ended) == ["cancelled", "lost", "won", "cancelled"]


def test_of_two_that_win_at_once_one_is_used_and_the_other_has_lost() -> None:
    both = threading.Barrier(2)

    def ask(_: Cancellation) -> Completion:
        both.wait(10)
        return Completion("yes")

    for _ in range(20):
        assert sorted(outcomes(ran(alternatives(ask, ask)))) == ["lost", "won"]


def test_a_loser_that_answers_after_its_cancellation_has_lost_and_keeps_its_answer() -> None:
    ended = ran(alternatives(after(0), deaf(0.2)))
    assert outcomes(ended) == ["won", "lost"]
    assert ended[1].answer is not None
    assert outcomes(ran(alternatives(after(0), deaf(3)))) == ["won", "cancelled"]


def test_where_no_alternative_is_valid_the_first_answer_is_used_and_failures_are_told() -> None:
    broken = failing(ModelError("garbled"))
    ended = ran(alternatives(broken, after(0.01, "no"), after(0.1, "never")))
    assert outcomes(ended) == ["failed", "won", "lost"]
    assert outcomes(ran(alternatives(broken, broken))) == ["failed", "failed"]


def test_an_error_of_the_report_ends_all_calls() -> None:
    heard = threading.Event()

    def ask(cancellation: Cancellation) -> Completion:
        try:
            cancellation.pause(30)
        except CallCancelledError:
            heard.set()
            raise
        return Completion("yes")

    def report(ended: EndedCall) -> None:
        if ended.call.id == 0:
            raise ValueError("the disk is full")

    began = time.monotonic()
    with pytest.raises(ValueError, match="the disk is full"):
        run_calls([alone(0, after(0.05)), alone(1, ask)], report)
    assert heard.is_set()
    assert time.monotonic() - began < 3


def test_ctrl_c_ends_all_calls_within_a_second_those_that_wait_for_a_turn_too() -> None:
    ended = list[EndedCall]()
    races = [alone(id, ask) for id, ask in enumerate([after(0), deaf(30), after(30), after(30)])]
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_calls(races, ended.append, 3)
    assert time.monotonic() - began < 0.3 + 1
    assert sorted(one.outcome for one in ended) == ["answered", *["cancelled"] * 3]


def test_calls_are_made_inside_somebody_s_event_loop_too() -> None:
    async def notebook() -> list[str]:
        return outcomes(ran(alone(0, after(0)), alone(1, after(0))))

    assert asyncio.run(notebook()) == ["answered", "answered"]


@pytest.mark.parametrize("seed", range(5))
def test_in_any_schedule_each_call_ends_once_and_each_race_has_one_winner(seed: int) -> None:
    randomly = random.Random(seed)
    races, number = list[Race](), 0
    for _ in range(12):
        calls = []
        for _ in range(randomly.randint(1, 4)):
            ask = randomly.choice([
                after(randomly.uniform(0, 0.05)), after(randomly.uniform(0, 0.05), "no"),
                failing(ModelError("no")), deaf(randomly.uniform(0, 0.05)),
            ])  # fmt: skip
            calls.append(SideCall(number, ask, 30))
            number += 1
        races.append(Race(calls, lambda answer: answer.text == "yes"))
    ended = ran(*races, concurrency=randomly.randint(1, 6))
    for race in races:
        found = [ended[call.id].outcome for call in race.calls]
        if len(race.calls) > 1:
            assert found.count("won") == any(ended[c.id].answer for c in race.calls)
        else:
            assert found[0] in ("answered", "failed")


# Real connections


def test_a_cancelled_request_is_closed_at_once() -> None:
    closed = threading.Event()

    def answer(handler: Handler) -> None:
        while not handler.server.over.is_set():
            handler.connection.settimeout(0.05)
            try:
                if not handler.connection.recv(1):
                    closed.set()
                    return
            except TimeoutError:
                pass

    with hostile(answer) as server:
        model = ServerModel(server.url)
        began = time.monotonic()
        ended = ran(alternatives(asking(model, 60), after(0.2)))
        assert outcomes(ended) == ["cancelled", "won"]
        assert closed.wait(1)
        assert time.monotonic() - began < 1.5


def test_a_cancelled_call_does_not_wait_until_its_server_is_there_again() -> None:
    with hostile(lambda handler: handler.say({"error": {"message": "busy"}}, 503)) as server:
        model = ServerModel(server.url, backoff=20, patience=60)
        began = time.monotonic()
        assert outcomes(ran(alternatives(asking(model, 60), after(0.2)))) == ["cancelled", "won"]
        assert time.monotonic() - began < 2


def test_an_answer_that_is_no_json_is_a_failed_call_and_no_more() -> None:
    turns = iter(["{", FINE])
    with hostile(lambda handler: handler.say(next(turns))) as server:
        model = ServerModel(server.url)
        ended = ran(alone(0, asking(model, 5)), alone(1, asking(model, 5)), concurrency=1)
        assert outcomes(ended) == ["failed", "answered"]
        assert ended[0].error is not None
        assert ended[0].error.kind == "garbled"


def asking(model: ServerModel | LlamaModel, seconds: float, tokens: int = 2_000) -> Ask:
    return lambda cancellation: model.complete(
        LONG, Limits(tokens, seconds=seconds, cancellation=cancellation)
    )


def test_a_llama_server_stops_to_generate_for_a_loser(tmp_path: Path) -> None:
    with llama_server("qwen3", tmp_path) as url:
        model = ServerModel(url)
        assert model.slots == 2
        ended = ran(alternatives(asking(model, 60, 8_000), after(0.5)))
        assert outcomes(ended) == ["cancelled", "won"]
        assert stops(url)


def test_a_server_with_one_slot_answers_one_after_the_other(tmp_path: Path) -> None:
    with llama_server("qwen3", tmp_path, "-np", "1") as url:
        model = ServerModel(url)
        assert model.slots == 1
        ended = ran(*(alone(id, asking(model, 60, 8)) for id in range(4)), concurrency=4)
        assert outcomes(ended) == ["answered"] * 4


def test_in_process_a_loser_is_aborted_and_the_model_answers_as_before() -> None:
    model = LlamaModel(tiny("qwen3"), 4_096, threads=1)
    limits = Limits(20)
    before = model.complete(LONG, limits).text
    began = time.monotonic()
    ended = ran(alternatives(asking(model, 60, 4_000), after(0.3)))
    assert time.monotonic() - began < 0.3 + 1
    assert outcomes(ended) == ["cancelled", "won"]
    error = ended[0].error
    assert isinstance(error, CallCancelledError)
    assert error.tokens is not None
    assert error.tokens > 10
    assert model.complete(LONG, limits).text == before
