"""Runs whose servers stream: what is cut off in the midst is told, counted, and made again."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import ModelReplied
from backcast.domain.spending import Allowance
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.run_progress import RunProgress
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.models.server import ServerModel
from backcast.engine.models.so_far import AnswerPart, AnswersSoFar
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.executor import Race, SideCall, run_calls
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Alternative
from backcast.projections import progress, spending
from tests.servers import Handler, Hostile, hostile, llama_server
from tests.side_by_side import checks, code, runtime, spec_of

TASK = "parts"
HALF = "```python\ndef half_of_"
Held = Callable[[Handler, str], bool]


def event(**delta: Any) -> bytes:
    finish = delta.pop("finish", None)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


class Streams:
    """What answers a prompt with the function of its module, as a stream; `cuts` tells for which
    modules the answer stops in the midst, and `drops` for which its connection breaks then."""

    def __init__(self, cuts: str = "", drops: str = "") -> None:
        self.cuts, self.drops = set(cuts), list(drops)
        self.asked: list[str] = []
        self.begun = threading.Semaphore(0)
        "Counts the answers that have stopped in the midst."

    def __call__(self, handler: Handler) -> None:
        prompt = handler.body["messages"][-1]["content"]
        [name] = set(re.findall(r"(?:Write|Mend) (\w)_part\.py", prompt))
        self.asked.append(name)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        if name in self.cuts or name in self.drops:
            for letter in HALF:
                handler.wfile.write(event(content=letter))
            handler.wfile.flush()
            self.begun.release()
            if name in self.drops:
                self.drops.remove(name)
            else:
                handler.server.over.wait(60)
            return
        handler.wfile.write(event(content=code(name)) + event(finish="stop"))
        usage = {"prompt_tokens": 9, "completion_tokens": 2}
        handler.wfile.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
        handler.wfile.write(b"data: [DONE]\n\n")


@contextmanager
def served(streams: Streams) -> Iterator[tuple[ServerModel, Hostile]]:
    with hostile(streams) as server:
        yield ServerModel(server.url, backoff=0.01, patience=0.5), server


@contextmanager
def interrupted_after(streams: Streams, halves: int) -> Iterator[list[float]]:
    """Ctrl-C, once so many answers have stopped in the midst; yields when that was."""
    at = list[float]()

    def interrupts() -> None:
        for _ in range(halves):
            streams.begun.acquire(timeout=60)
        time.sleep(0.5)
        at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupts)
    thread.start()
    with suppress(KeyboardInterrupt):
        yield at
        thread.join()
        time.sleep(5)  # within it the signal comes
    thread.join()


def settled(store: EventStore) -> list[CallSettled]:
    return [one.fact for one in store.read(TASK) if isinstance(one.fact, CallSettled)]


def text(store: EventStore, ref: str | None) -> str:
    return store.get(ref).decode() if ref else ""


def test_ctrl_c_in_the_midst_of_streams_ends_them_and_keeps_what_had_come() -> None:
    streams = Streams(cuts="bc")
    with served(streams) as (model, _), EventStore.open("sqlite://") as store:
        start(store, spec_of("abc"))
        with interrupted_after(streams, 2) as at:
            work(store, TASK, runtime(model, 4), checks=checks)
        assert time.monotonic() - at[0] < 1 + 0.5
        cut = [one for one in settled(store) if one.outcome == "cancelled"]
        assert [text(store, one.part) for one in cut] == [HALF, HALF]
        tokens = {event.version: event.fact.tokens for event in store.read(TASK)
                  if isinstance(event.fact, ContextBuilt)}  # fmt: skip
        for one in cut:
            # Counted by the task's own tokenizer, here a bound; and far less than was set aside.
            assert one.bound
            assert 0 < one.cost.tokens - (tokens[one.call + 1] or 0) <= len(HALF) + 1
        assert len([1 for one in store.read(TASK) if isinstance(one.fact, ModelReplied)]) == 1
        stands: progress.State = state_at(store, progress, TASK)
        assert {path: stands.modules[path].iteration for path in stands.modules} == {
            "a_part.py": 0, "b_part.py": 0, "c_part.py": 0,
        }  # fmt: skip
        streams.cuts.clear()
        assert work(store, TASK, runtime(model, 4), checks=checks).status == "complete"
        assert sorted(streams.asked) == ["a", "b", "b", "c", "c", "z"]
        assert list(check(store)) == []
        assert all(verdict.holds for verdict in verified(store, TASK))


@pytest.mark.parametrize("budget", [None, Allowance(calls=50)])
def test_ctrl_c_in_the_midst_of_a_call_alone_keeps_what_had_come(budget: Allowance | None) -> None:
    streams = Streams(cuts="a")
    with served(streams) as (model, _), EventStore.open("sqlite://") as store:
        start(store, spec_of("a"))
        with interrupted_after(streams, 1):
            work(store, TASK, runtime(model, 1, budget), checks=checks)
        [cut] = settled(store)
        assert (cut.outcome, text(store, cut.part)) == ("cancelled", HALF)
        spent = state_at(store, spending, TASK)
        assert (spent.spent.calls, spent.spent.tokens) == (1, cut.cost.tokens)
        streams.cuts.clear()
        assert work(store, TASK, runtime(model, 1), checks=checks).status == "complete"
        assert list(check(store)) == []


def test_a_server_that_breaks_off_in_the_midst_is_asked_again_and_both_tries_count() -> None:
    streams = Streams(drops="ab")
    with served(streams) as (model, _), EventStore.open("sqlite://") as store:
        start(store, spec_of("abc"))
        assert work(store, TASK, runtime(model, 4), checks=checks).status == "complete"
        assert sorted(streams.asked) == ["a", "a", "b", "b", "c", "z"]
        costs = sorted(one.cost.tokens for one in settled(store))
        assert (len(costs), costs[0]) == (3, 11)
        assert all(cost > 11 + 100 for cost in costs[1:])  # each prompt was read twice


def test_a_call_that_fails_in_the_midst_keeps_what_had_come() -> None:
    streams = Streams(drops="aaaaaaaa")
    with served(streams) as (model, _), EventStore.open("sqlite://") as store:
        start(store, spec_of("ab"))
        with pytest.raises(ModelError, match="the stream ended before the answer did"):
            work(store, TASK, runtime(model, 4), checks=checks)
        [failed] = [one for one in settled(store) if one.outcome == "failed"]
        assert text(store, failed.part) == HALF


def test_a_loser_costs_what_it_had_generated() -> None:
    streams = Streams(cuts="ab")
    with served(streams) as (slow, _), served(Streams()) as (quick, _), \
            EventStore.open("sqlite://") as store:  # fmt: skip
        start(store, spec_of("a", last="b"))
        racing = runtime(slow, 4)._replace(alternatives=(Alternative(quick),))
        answer = quick.complete

        def waits(*given: Any, **options: Any) -> Any:
            assert streams.begun.acquire(timeout=60)  # until the slow one has begun
            time.sleep(0.5)
            return answer(*given, **options)

        quick.complete = waits  # type: ignore[method-assign]
        assert work(store, TASK, racing, checks=checks).status == "complete"
        lost = [one for one in settled(store) if one.outcome == "cancelled"]
        assert [text(store, one.part) for one in lost] == [HALF, HALF]
        most = runtime(slow).profile.rows["generation"]
        assert all(one.cost.tokens < most for one in lost)


def test_a_llama_server_with_one_slot_is_free_for_the_next_call_once_a_loser_is_ended(
    tmp_path: Path,
) -> None:
    from backcast.engine.models import Completion, Limits, Message
    from backcast.engine.models.cancelling import Cancellation

    with llama_server("qwen3", tmp_path, "-np", "1") as url:
        model = ServerModel(url, sampling={"ignore_eos": True})

        def asks(tokens: int) -> Callable[[Cancellation], Completion]:
            return lambda cancellation: model.complete(
                [Message("user", "Why?")], Limits(tokens, seconds=60, cancellation=cancellation)
            )

        def wins(cancellation: Cancellation) -> Completion:
            cancellation.pause(0.5)
            return Completion("yes")

        outcomes = dict[int, str]()
        losing = Race([SideCall(0, asks(15_000), 60), SideCall(1, wins, 60)])
        run_calls([losing, Race([SideCall(2, asks(3), 60)])],
                  lambda one: outcomes.update({one.call.id: one.outcome}))  # fmt: skip
        assert outcomes == {0: "cancelled", 1: "won", 2: "answered"}


def test_a_person_sees_tokens_come_while_they_come() -> None:
    coming = AnswersSoFar()
    with RunProgress(8_000, Console(force_terminal=True), coming) as shown:
        shown.asked = "a.py #1"
        assert "come" not in shown.__rich__().plain
        coming.open(7).begin(lambda: AnswerPart("x", tokens=12))
        coming.open(9).begin(lambda: AnswerPart("y", pieces=30))
        assert "42 tokens have come" in shown.__rich__().plain
        assert coming.close(7).part.tokens == 12
        assert "30 tokens have come" in shown.__rich__().plain
