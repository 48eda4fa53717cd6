"""Answers that come as streams: the same as whole ones, and of what is cut off, what had come."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backcast.domain.errors import ModelError
from backcast.engine.models import Completion, Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.server import ServerModel
from backcast.engine.models.so_far import AnswerPart, AnswerSoFar
from backcast.engine.models.streaming import AnswerStream
from backcast.engine.models.wire import completion_of
from tests.servers import FINE, Handler, hostile, llama_server

LIMITS = Limits(9, seconds=20)
ASKED = [Message("user", "Why?")]
TEXT = "Grüße, 世界 🌍!"
USAGE = {"prompt_tokens": 9, "completion_tokens": 4,
         "prompt_tokens_details": {"cached_tokens": 3}}  # fmt: skip
TIMINGS = {"cache_n": 5, "prompt_n": 4, "predicted_n": 2}


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "model": "double"}


def sse(*events: object, end: str = "data: [DONE]\n\n") -> bytes:
    return "".join(
        one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in events
    ).encode() + end.encode()  # fmt: skip


def whole(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}], "model": "double"}


SAID = [chunk(role="assistant", content=None), *(chunk(content=one) for one in TEXT)]
COUNTED = {"choices": [], "usage": USAGE}
BEGUN = whole(content=TEXT)
SAME: dict[str, tuple[bytes, dict[str, Any]]] = {
    "with its counts": (sse(*SAID, chunk("stop"), COUNTED), BEGUN | {"usage": USAGE}),
    "without them": (sse(*SAID, chunk("stop")), BEGUN),
    "without an end": (sse(*SAID, chunk("stop"), end=""), BEGUN),
    "its last line not ended": (sse(*SAID, end="data: " + json.dumps(chunk("stop"))), BEGUN),
    "comments between": (sse(": hello\n\n", *SAID, ":\n\n", chunk("stop"), ": bye\n\n"), BEGUN),
    "other line ends": (sse(*SAID, chunk("stop")).replace(b"\n", b"\r\n"), BEGUN),
    "named events": (sse("event: a\nid: 7\n", *SAID, chunk("stop")), BEGUN),
    "raw characters": (
        sse(f'data: {{"choices": [{{"delta": {{"content": "{TEXT}"}}}}]}}\n\n', chunk("stop")),
        BEGUN,
    ),
    "halves of a pair": (
        sse(chunk(content="\ud83c"), chunk(content="\udf0d"), chunk("stop")), whole(content="🌍"),
    ),
    "told by llama.cpp": (
        sse(chunk(role="assistant") | {"prompt_progress": {"total": 9, "processed": 9}}, *SAID,
            chunk("stop") | {"timings": TIMINGS}), BEGUN | {"timings": TIMINGS},
    ),
    "thoughts": (
        sse(chunk(reasoning_content="H"), chunk(reasoning_content="m."), *SAID, chunk("stop")),
        whole(content=TEXT, reasoning_content="Hm."),
    ),
    "thoughts by both names": (
        sse(chunk(reasoning_content="Hm.", reasoning="Hm."), *SAID, chunk("stop")),
        whole(content=TEXT, reasoning_content="Hm."),
    ),
    "thoughts in the text": (
        sse(chunk(content="<thi"), chunk(content="nk>Hm.</think>Yes."), chunk("stop")),
        whole(content="<think>Hm.</think>Yes."),
    ),
    "nothing": (sse(chunk(role="assistant", content=None), chunk("stop")), whole(content="")),
    "a refusal": (sse(chunk(refusal="No"), chunk("stop", refusal=".")), whole(refusal="No.")),
    "a call": (
        sse(chunk(tool_calls=[{"index": 0, "type": "function",
                               "function": {"name": "f", "arguments": '{"a"'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
            chunk("tool_calls")),
        whole(tool_calls=[{"type": "function",
                           "function": {"name": "f", "arguments": '{"a": 1}'}}]),
    ),
    "a whole message in an event": (sse(BEGUN), BEGUN),
    "no stream at all": (json.dumps(BEGUN | {"usage": USAGE}).encode(), BEGUN | {"usage": USAGE}),
}  # fmt: skip


def read(*pieces: bytes) -> Completion:
    stream = AnswerStream()
    for piece in pieces:
        if stream.take(piece):
            break
    stream.end()
    return completion_of(stream.body(), "there", 1.0)


@pytest.mark.parametrize("name", SAME)
def test_a_stream_is_the_same_completion_as_the_answer_that_comes_whole(name: str) -> None:
    body, expected = SAME[name]
    same = completion_of(json.dumps(expected).encode(), "there", 1.0)
    assert read(body) == same
    # Cut anywhere, in the midst of a character too.
    assert all(read(body[:place], body[place:]) == same for place in range(len(body)))
    assert read(*(body[place : place + 1] for place in range(len(body)))) == same


@pytest.mark.parametrize("broken", ["data: {\n\n", "data: [1]\n\n", 'data: {"a": "\udcff"}\n\n',
                                    sse(chunk(content=["x"]), end="").decode(),
                                    "data: " + "[" * 100_000 + "\n\n"])  # fmt: skip
def test_an_event_that_is_none_is_told_in_a_line(broken: str) -> None:
    body = broken.encode(errors="surrogateescape")
    with pytest.raises(ModelError, match="needed a chat completion in JSON, found") as error:
        answered(lambda handler: stream(handler, body))
    assert error.value.kind == "garbled"
    assert len(str(error.value)) < 400


# Servers


def stream(handler: Handler, *pieces: bytes, pause: float = 0.0) -> None:
    """Send pieces of a body that ends with its connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(piece)
        handler.wfile.flush()
        handler.server.over.wait(pause)
    handler.close_connection = True


def answered(answer: Callable[[Handler], object], limits: Limits = LIMITS) -> Completion:
    with hostile(answer) as server:
        return ServerModel(server.url, backoff=0.01, patience=0.5).complete(ASKED, limits)


def test_a_server_that_knows_no_streams_is_asked_as_ever_and_not_twice() -> None:
    for refused in ({"stream_options"}, {"stream", "stream_options"}):

        def answer(handler: Handler, refused: set[str] = refused) -> None:
            found = sorted(refused & handler.body.keys())
            if found:
                handler.say({"error": {"message": f"extra inputs: {found[0]}"}}, 400)
            else:
                handler.say(FINE)

        with hostile(answer) as server:
            model = ServerModel(server.url)
            assert model.complete(ASKED, Limits(9)).text == "Yes."
            asked = len(server.bodies)
            assert model.complete(ASKED, Limits(9)).text == "Yes."
            assert len(server.bodies) == asked + 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [({"code": 500, "message": "out of memory"}, "unavailable"),
     ({"code": 400, "message": "exceed_context_size_error: too long"}, "overflow"),
     ({"code": "bad", "message": "no"}, "unavailable"), ("no", "unavailable")],
)  # fmt: skip
def test_an_error_in_the_midst_of_a_stream_is_told_by_its_kind(error: object, kind: str) -> None:
    so_far = AnswerSoFar()
    body = sse(*SAID, {"error": error}, end="")
    with pytest.raises(ModelError) as raised:
        answered(lambda handler: stream(handler, body), Limits(9, seconds=5, so_far=so_far))
    assert raised.value.kind == kind
    assert so_far.part.text == TEXT


def test_a_stream_that_breaks_off_is_asked_for_again_and_its_tokens_are_not_forgotten() -> None:
    tries = iter([sse(*SAID, end=""), sse(*SAID[:4], end=""), sse(*SAID, chunk("stop"))])
    so_far = AnswerSoFar()
    answer = answered(lambda handler: stream(handler, next(tries)), Limits(9, so_far=so_far))
    assert answer.text == TEXT
    assert [part.text for part in so_far.earlier] == [TEXT, TEXT[:3]]


def test_an_answer_that_never_goes_on_is_no_answer_and_what_came_of_it_is_told() -> None:
    so_far = AnswerSoFar()
    with pytest.raises(ModelError, match="the stream ended before the answer did") as error:
        answered(lambda handler: stream(handler, sse(*SAID, end="")), Limits(9, so_far=so_far))
    assert error.value.kind == "unavailable"
    assert so_far.part.text == TEXT
    assert so_far.part.tokens is None


def test_an_ended_answer_does_not_wait_for_an_end_of_the_connection() -> None:
    def answer(handler: Handler) -> None:
        stream(handler, sse(*SAID, chunk("stop"), end=""), pause=60)

    began = time.monotonic()
    assert answered(answer).text == TEXT
    assert time.monotonic() - began < 15


def test_silence_in_an_answer_that_has_begun_ends_it_where_that_is_asked_for() -> None:
    so_far, began = AnswerSoFar(), time.monotonic()
    with pytest.raises(ModelError, match=r"broke off: nothing came for 0\.3 seconds") as error:
        answered(lambda handler: stream(handler, sse(*SAID, end=""), pause=60),
                 Limits(9, seconds=60, silence=0.3, so_far=so_far))  # fmt: skip
    assert (error.value.kind, so_far.part.text) == ("timeout", TEXT)
    assert time.monotonic() - began < 30
    # Before it has begun a prompt may be read for long, and comments are signs of life.
    living = [b"", *[b": alive\n\n"] * 4, sse(*SAID, chunk("stop"))]
    answer = answered(lambda handler: stream(handler, *living, pause=0.2),
                      Limits(9, seconds=60, silence=2))  # fmt: skip
    assert answer.text == TEXT


def test_a_cancelled_stream_tells_what_had_come_of_it() -> None:
    cancellation, so_far = Cancellation(), AnswerSoFar()
    told = {"timings": {"prompt_n": 7, "cache_n": 2, "predicted_n": 3}}
    body = sse(*SAID[:4], chunk(content="x") | told, end="")
    ends = threading.Timer(0.5, cancellation.cancel)
    ends.start()
    with pytest.raises(CallCancelledError):
        answered(lambda handler: stream(handler, body, pause=60),
                 Limits(9, seconds=60, cancellation=cancellation, so_far=so_far))  # fmt: skip
    ends.join()
    assert so_far.part == AnswerPart(TEXT[:3] + "x", "", 9, 3, 4)


# llama.cpp's own


@pytest.fixture(scope="module", params=["qwen3", "mistral"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
          "additionalProperties": False}  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "schema"), [(Limits(40), None), (Limits(60, 30), None), (Limits(30), SCHEMA)]
)
def test_a_llama_server_says_the_same_as_a_stream_and_whole(
    url: str, limits: Limits, schema: dict[str, Any] | None
) -> None:
    model = ServerModel(url, deterministic=True)
    so_far = AnswerSoFar()
    limits = limits._replace(so_far=so_far)
    streamed = model.complete(ASKED, limits, schema=schema)
    # Random weights say parts of characters too, which one token does not end.
    part = so_far.part
    assert (part.prompt_tokens, part.tokens) == (streamed.prompt_tokens, streamed.tokens)
    assert part.text == streamed.text
    assert model.streams == 2
    model.streams = 0
    told = model.complete(ASKED, limits._replace(so_far=None), schema=schema)
    assert streamed._replace(seconds=None) == told._replace(seconds=None)
    assert streamed.tokens


def test_a_llama_server_tells_what_a_cancelled_call_has_cost(url: str) -> None:
    model, cancellation, so_far = ServerModel(url), Cancellation(), AnswerSoFar()

    def cancels() -> None:
        while (so_far.part.tokens or 0) < 5:
            time.sleep(0.01)
        cancellation.cancel()

    thread = threading.Thread(target=cancels)
    thread.start()
    with pytest.raises(CallCancelledError):
        model.complete(ASKED, Limits(4_000, cancellation=cancellation, so_far=so_far))
    thread.join()
    part = so_far.part
    assert part.prompt_tokens == model.count(ASKED, Limits(9))
    assert part.tokens
    assert 5 <= part.tokens < 4_000
