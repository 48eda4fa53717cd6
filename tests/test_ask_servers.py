"""Questions whose servers break off, start again, have one slot, or say what nobody can read."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backcast.domain.call_events import CallSettled
from backcast.engine.log import EventStore
from backcast.engine.models import Call, Limits
from backcast.engine.models.server import ServerModel
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.subject import Subject
from tests.asked import (
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
from tests.servers import Handler, hostile

SAID = "Größe 字 🌍: 1393"


@pytest.fixture(scope="module")
def small() -> Iterator[Subject]:
    with repository(24) as store:
        yield subject_of(store)


def event(**delta: Any) -> bytes:
    finish = delta.pop("finish", None)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n".encode()


class Streams:
    """What answers questions as a stream, whose bytes are cut within characters."""

    def __init__(self, breaks: int = 0, *, garbles: str = "", slots: int = 9) -> None:
        self.breaks, self.garbles = breaks, garbles
        "Answers that break off in the midst, and the question that is answered by no JSON."
        self.one, self.slots = threading.Lock(), threading.Semaphore(slots)
        self.pause, self.waited = 0.1 if slots == 1 else 0.0, 0
        "Requests that found no free slot."

    def __call__(self, handler: Handler) -> None:
        if handler.path != "/v1/chat/completions":
            handler.say({"prompt": "".join(m["content"] for m in handler.body["messages"])})
            return
        if not self.slots.acquire(blocking=False):
            self.waited += 1
            self.slots.acquire()
        try:
            time.sleep(self.pause)
            self._stream(handler)
        finally:
            self.slots.release()

    def _stream(self, handler: Handler) -> None:
        prompt = handler.body["messages"][-1]["content"]
        text = json.dumps(self._reply(prompt), ensure_ascii=False)
        if self.garbles and self.garbles in prompt.rpartition("Question: ")[2]:
            handler.send_response(200)
            handler.send_header("Content-Length", "5")
            handler.end_headers()
            handler.wfile.write(b"{oops")
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        with self.one:
            breaks = bool(self.breaks) and "# 1." not in prompt and "pkg" in prompt[-60:]
            self.breaks -= breaks
        shown = text[: len(text) // 2] if breaks else text
        sent = b"".join(event(content=letter) for letter in shown)
        usage = {"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 20}}
        if not breaks:
            sent += event(finish="stop") + f"data: {json.dumps(usage)}\n\n".encode()
            sent += b"data: [DONE]\n\n"
        cuts = [n for n, byte in enumerate(sent) if byte & 0xC0 == 0x80]  # within characters
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            handler.wfile.write(sent[begin:end])
            handler.wfile.flush()

    def _reply(self, prompt: str) -> Any:
        if "Which part" not in prompt.rpartition("Question: ")[2]:
            return answer(SAID, (module(3), "factor: int = 21"))
        if "# 1. ask_many" in prompt:
            return answer(SAID)
        asked = [{"question": f"What has pkg{n}?", "about": ""} for n in range(4)]
        return {"action": "ask_many", "questions": asked}


@contextmanager
def served(streams: Streams, small: Subject) -> Iterator[Asking]:
    with hostile(streams) as server, EventStore.open("sqlite://") as store:
        model = ServerModel(server.url, backoff=0.01, patience=20)
        yield asking(small, model, store, run=executor)


def settled(asked: Asking) -> list[CallSettled]:
    events = asked.task.store.read(TASK, types=["CALL_SETTLED"])
    return [one.fact for one in events if isinstance(one.fact, CallSettled)]


def test_characters_that_are_split_between_tokens_and_packets_come_whole(small: Subject) -> None:
    with served(Streams(), small) as asked:
        state = asked.work()
        found = state.questions["q"].answer
        assert found
        assert (found.text, found.complete) == (SAID, True)
        parts = [state.questions[f"q.1{letter}"].answer for letter in "abcd"]
        assert [part.text if part else "" for part in parts] == [SAID] * 4
        assert all(verdict.holds for verdict in verified(asked.task.store, TASK))


def test_a_server_that_breaks_off_and_comes_back_answers_all_and_both_tries_count(
    small: Subject,
) -> None:
    with served(Streams(breaks=2), small) as asked:
        found = asked.work().questions["q"].answer
        assert found
        assert (found.text, found.complete) == (SAID, True)
        ends = settled(asked)
        assert [one.outcome for one in ends] == ["answered"] * 7  # the last gave no quote at first
        again = [one for one in ends if one.cost.tokens > 110]
        assert len(again) == 2  # each prompt was read twice


def test_a_server_that_says_no_json_costs_that_smaller_question_its_answer(small: Subject) -> None:
    with served(Streams(garbles="pkg2"), small) as asked:
        state = asked.work()
        lost, whole = state.questions["q.1c"].answer, state.questions["q"].answer
        assert lost
        assert whole
        assert "its call failed" in lost.reason
        assert (whole.text, whole.complete) == (SAID, False)
        assert [one.outcome for one in settled(asked)].count("failed") == 1


def test_a_server_with_one_slot_answers_all_that_a_question_asks_in_turn(small: Subject) -> None:
    with served(streams := Streams(slots=1), small) as asked:
        found = asked.work().questions["q"].answer
        assert found
        assert (found.text, found.complete) == (SAID, True)
        assert streams.waited
        assert [one.outcome for one in settled(asked)] == ["answered"] * 7


def test_an_answer_that_comes_after_its_call_was_given_up_changes_nothing(
    small: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backcast.engine.workflow.executor.LATE", 0.05)
    came = threading.Event()

    def before(call: Call, limits: Limits) -> None:
        if call.module == "q.2d":
            time.sleep(1.3)  # whatever is said to it
            came.set()
        elif call.module == "q" and call.iteration == 3:
            assert came.wait(5)  # it comes while the question is worked on still

    def says(call: Call) -> Any:
        return answer("it has one") if call.module.count(".") == 1 else explores(call)

    asked = asking(small, Planner(says, before), run=executor, seconds=1.0)
    state = asked.work()
    lost, whole = state.questions["q.2d"].answer, state.questions["q"].answer
    assert lost
    assert whole
    assert "needed an answer within 1 seconds" in lost.reason
    assert not whole.complete
    version = asked.task.version
    time.sleep(0.05)
    assert asked.task.store.version(TASK) == version
    replies = [e.fact.data for e in asked.task.store.read(TASK, types=["MODEL_REPLIED"])]
    assert "q.2d" not in [reply.get("module_name") for reply in replies]
