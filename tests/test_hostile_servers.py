"""Whatever a model server does, asking it ends in time, in one line, and by the right kind."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice

import pytest

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import Completion, Limits, Message
from backcast.engine.models.address import key_for
from backcast.engine.models.server import ServerModel
from backcast.engine.workflow.runtime import open_runtime, profile_named
from tests.servers import FINE, Handler, hostile

SECRET = "a-secret-key"
ASKED = [Message("system", "Be brief."), Message("user", "Why?")]
LIMITS = Limits(9, seconds=5)
Answer = Callable[[Handler], object]
HANG = 60.0
"Seconds: what ends in half of them has not waited for what hangs, on however busy a machine."


def ask(answer: Answer, limits: Limits = LIMITS, key: str = SECRET) -> Completion:
    """What a server that answers so is understood to have said."""
    with hostile(answer) as server:
        model = ServerModel(server.url, key=key, backoff=0.01, patience=0.5)
        return model.complete(ASKED, limits)


def saying(body: object, status: int = 200, **options: str) -> Answer:
    return lambda handler: handler.say(body, status, **options)


def ending(finish: object, **message: object) -> Answer:
    return saying({"choices": [{"message": message, "finish_reason": finish}]})


def forever(*parts: bytes) -> Iterator[bytes]:
    yield from parts
    while True:
        yield b" "


def trickle(*parts: bytes) -> Answer:
    """Sends the parts, and then a byte now and then for a minute and more."""

    def answer(handler: Handler) -> None:
        for part in islice(forever(*parts), 3000):
            if handler.server.over.wait(0.02):
                return
            handler.wfile.write(part)

    return answer


def hang(handler: Handler) -> None:
    handler.server.over.wait(HANG)


def break_off(handler: Handler) -> None:
    handler.say('{"choices": [{"mess', length="4000")
    handler.close_connection = True


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TOO_LONG = {"error": {"message": "This model's maximum context length is 4096 tokens, not 5000"}}
EXCEEDED = {"error": {"message": "5000 of 4096", "type": "exceed_context_size_error"}}
DEEP = '{"choices": ' + "[" * 100_000
FAILURES: dict[str, tuple[Answer, str]] = {
    "an error always": (saying({"error": {"message": "out of\nmemory"}}, 500), "unavailable"),
    "an error in HTML": (saying("<html>Bad gateway</html>", 502, kind="text/html"), "unavailable"),
    "too many requests": (saying({"error": "slow down"}, 429), "unavailable"),
    "breaking off": (break_off, "unavailable"),
    "nothing at all": (lambda handler: None, "unavailable"),
    "an error that is no HTTP": (lambda handler: handler.wfile.write(b"?\n\n"), "unavailable"),
    "text": (saying("Yes."), "garbled"),
    "HTML": (saying("<html>Welcome</html>", kind="text/html"), "garbled"),
    "an empty body": (saying(""), "garbled"),
    "half a body": (saying('{"choices": [{'), "garbled"),
    "a list": (saying([1, 2]), "garbled"),
    "a deep list": (saying(DEEP), "garbled"),
    "invalid UTF-8": (saying(b'{"choices": "\xff\xfe"}'), "garbled"),
    "half a character": (saying(r'{"choices": [{"message": {"content": "\ud800"}}]}'), "garbled"),
    "no choices": (saying({"model": "double"}), "garbled"),
    "an empty choice": (saying({"choices": []}), "garbled"),
    "an empty object": (saying({"choices": [{}]}), "garbled"),
    "null content": (ending("stop", content=None), "garbled"),
    "content that is no text": (ending("stop", content=["Yes."]), "garbled"),
    "no reason to end": (ending(None, content="Yes."), "garbled"),
    "a call of tools": (ending("tool_calls", content=""), "garbled"),
    "a filter": (ending("content_filter", content="Y"), "refused"),
    "packed content": (saying(b"?", Content_Encoding="gzip"), "garbled"),
    "too long a prompt": (saying(TOO_LONG, 400), "overflow"),
    "llama.cpp's word for it": (saying(EXCEEDED, 400), "overflow"),
    "a bad request": (saying({"error": {"message": "no such field"}}, 400), "refused"),
    "a page not found": (saying("", 404), "refused"),
    "a feature not there": (saying({"error": {"message": "not supported"}}, 501), "refused"),
    "another key": (saying({"error": {"message": f"{SECRET} is wrong"}}, 401), "refused"),
    "the key in an error": (saying({"error": {"message": f"{SECRET} is bad"}}, 400), "refused"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_no_answer_is_told_by_its_kind_in_one_line(name: str) -> None:
    answer, kind = FAILURES[name]
    with pytest.raises(ModelError) as error:
        ask(answer)
    assert error.value.kind == kind
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "answer",
    [hang, trickle(HEAD + b"\r\n"), trickle(HEAD + b"X: "), trickle(b"HTTP/1.1 ")],
    ids=["hang", "body", "header", "status"],
)
def test_an_answer_that_does_not_end_is_waited_for_no_longer_than_allowed(answer: Answer) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"within 0\.4 seconds") as error:
        ask(answer, Limits(9, seconds=0.4))
    assert error.value.kind == "timeout"
    assert time.monotonic() - started < HANG / 2


def test_of_an_answer_without_bounds_only_so_much_is_read() -> None:
    sent = count()

    def pour(handler: Handler) -> None:
        handler.wfile.write(HEAD + b"\r\n")
        with suppress(OSError):
            while next(sent) < 100:
                handler.wfile.write(b"x" * 1_000_000)

    with pytest.raises(ModelError, match="more than 16,000,000 bytes") as error:
        ask(pour)
    assert error.value.kind == "garbled"
    assert next(sent) < 60


def test_a_server_that_is_down_is_unavailable() -> None:
    with hostile(saying(FINE)) as server:
        model = ServerModel(server.url, backoff=0.01, patience=0.1)
    with pytest.raises(ModelError, match="Connection refused") as error:
        model.complete(ASKED, LIMITS)
    assert error.value.kind == "unavailable"
    with pytest.raises(ModelError, match="Connection refused") as error:
        ServerModel(server.url, backoff=0.01)
    assert error.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("times", "status", "message"),
    [(1, 500, "once"), (3, 502, "thrice"), (6, 503, "Loading model")],
)
def test_what_passes_is_asked_again(times: int, status: int, message: str) -> None:
    asked = count()

    def answer(handler: Handler) -> None:
        if next(asked) < times:
            handler.say({"error": {"message": message}}, status)
        else:
            handler.say(FINE)

    found = ask(answer)
    assert (found.text, found.prompt_tokens, found.tokens, found.finish) == ("Yes.", 9, 2, "stop")
    assert found.cached_tokens is None
    assert next(asked) == times + 1


def test_what_would_fail_again_is_not_asked_again() -> None:
    with hostile(saying("no", 400)) as server:
        model = ServerModel(server.url, backoff=0.01)
        with pytest.raises(ModelError):
            model.complete(ASKED, LIMITS)
        assert len(server.bodies) == 1


def test_a_redirect_takes_neither_the_prompt_nor_the_key_elsewhere() -> None:
    with hostile(saying(FINE)) as other:
        there = f"{other.url}/v1/chat/completions"
        with pytest.raises(ModelError, match="answered 307") as error:
            ask(saying("", 307, Location=there))
        assert error.value.kind == "refused"
        assert other.bodies == []


def test_another_type_of_content_is_no_reason_to_refuse_an_answer() -> None:
    assert ask(saying(FINE, kind="text/plain")).text == "Yes."


def test_a_thought_is_kept_apart_however_it_is_told() -> None:
    for message in (
        {"content": "Yes.", "reasoning_content": "Hm."},
        {"content": "Yes.", "reasoning": "Hm."},
        {"content": "<think>\nHm.\n</think>\n\nYes."},
    ):
        answer = ask(ending("stop", **message))
        assert (answer.thinking, answer.text) == ("Hm.", "Yes.")
    cut = ask(ending("length", content=None, reasoning_content="Hm, or"))
    assert (cut.thinking, cut.text, cut.finish) == ("Hm, or", "", "length")


def test_what_holds_no_content_is_still_what_the_model_said() -> None:
    thought = ask(ending("stop", content=None, reasoning_content="Hm."))
    assert (thought.thinking, thought.text, thought.finish) == ("Hm.", "", "stop")
    calls = [{"type": "function", "function": {"name": "write", "arguments": "{}"}}]
    called = ask(ending("tool_calls", content=None, tool_calls=calls))
    assert called.text.startswith('<tool_call>[{"type": "function", "function": {"name": "write"')
    assert called.finish == "stop"
    assert ask(ending("stop", content=None, refusal="I must not.")).text == "I must not."


def test_a_server_of_another_kind_is_asked_by_the_standard_and_said_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with hostile(saying(FINE)) as server, caplog.at_level(logging.WARNING, "backcast"):
        model = ServerModel(f"{server.url}/v1/", key=SECRET)
        for _ in range(2):
            model.complete(ASKED, Limits(9), schema={"type": "object"}, stop=["\n"])
        asked, told = server.bodies[-1], server.told[-1]
    assert [record.message.split()[1:5] for record in caplog.records] == [
        ["is", "not", "llama.cpp's", "server:"]
    ]
    assert set(asked) == {
        "messages", "model", "max_tokens", "temperature", "seed", "stop", "response_format",
        "stream", "stream_options",
    }  # fmt: skip
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert told == f"Bearer {SECRET}"
    assert (model.native, model.id, model.count(ASKED, LIMITS)) == (False, "double", None)
    assert SECRET not in model.id + str(vars(model))


@pytest.mark.parametrize("name", ["x\0y", "x\ny", "x\x1by", "x\u202ey", "x\ud800y"])
def test_the_name_that_a_model_is_told_by_can_be_stored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "do_GET", lambda handler: handler.say({"data": [{"id": name}]}))
    sent = FINE | {"model": name.encode(errors="replace").decode()}
    with hostile(saying(sent)) as server:
        model = ServerModel(server.url)
        assert (model.id, model.complete(ASKED, LIMITS).model) == ("x?y", "")
        assert ServerModel(server.url, "other").complete(ASKED, LIMITS).model == "x?y"


def test_what_a_servers_error_says_can_be_stored_and_shown() -> None:
    with pytest.raises(ModelError, match=r"answered 400: a\?b\?c\?d$"):
        ask(saying(r'{"error": {"message": "a\u0000b\ud800c\u001bd"}}', 400))


def test_of_a_name_without_end_only_so_much_is_kept() -> None:
    assert ask(saying(FINE | {"model": "x" * 10_000})).model == "x" * 200


def test_vllm_is_told_not_to_think() -> None:
    with hostile(saying(FINE), owner="vllm") as server:
        ServerModel(server.url).complete(ASKED, LIMITS)
        assert server.bodies[-1]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_template_that_takes_no_system_is_remembered() -> None:
    def answer(handler: Handler) -> None:
        if len(handler.server.bodies[-1]["messages"]) > 1:
            handler.say({"error": {"message": "Only user and assistant roles are supported!"}}, 500)
        else:
            handler.say(FINE)

    with hostile(answer) as server:
        model = ServerModel(server.url, backoff=0.01)
        for _ in range(2):
            assert model.complete(ASKED, LIMITS).text == "Yes."
        assert [len(body["messages"]) for body in server.bodies] == [2, 1, 1]
        assert server.bodies[-1]["messages"][0]["content"] == "Be brief.\n\nWhy?"


def test_cached_tokens_are_taken_where_the_standard_has_them() -> None:
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 7}}
    assert ask(saying(FINE | {"usage": usage})).cached_tokens == 7
    assert ask(saying(FINE | {"usage": None})).prompt_tokens is None


def test_a_proxy_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(saying(FINE)).text == "Yes."


def test_half_a_character_is_sent_as_a_question_mark() -> None:
    with hostile(saying(FINE)) as server:
        ServerModel(server.url).complete([Message("user", "caf\udce9.py")], LIMITS)
        assert server.bodies[-1]["messages"][0]["content"] == "caf?.py"


ELSEWHERE = {
    "OPENAI_API_KEY": SECRET, "OPENAI_ADMIN_KEY": SECRET, "OPENAI_ORG_ID": SECRET,
    "OPENAI_PROJECT_ID": SECRET,
    "OPENAI_CUSTOM_HEADERS": f"Authorization: {SECRET}\nX-Key: {SECRET}",
}  # fmt: skip


def test_what_is_meant_for_openai_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKCAST_API_KEY", raising=False)
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    sent: list[str] = []

    def answer(handler: Handler) -> None:
        sent.append(str(handler.headers))
        handler.say(FINE)

    assert ask(answer, key="").text == "Yes."
    monkeypatch.setenv("BACKCAST_API_KEY", "ours")
    assert ask(answer, key="").text == "Yes."
    assert SECRET not in "".join(sent)
    assert "Authorization: Bearer no-key" in sent[0]
    assert "Authorization: Bearer ours" in sent[1]


@pytest.mark.parametrize(
    ("url", "key"),
    [("https://api.openai.com/v1", SECRET), ("https://API.openai.com:443/v1", SECRET),
     ("http://api.openai.com/v1", ""), ("https://api.openai.com:8443/v1", ""),
     ("https://api.openai.com.example.org/v1", ""), ("https://example.org/api.openai.com", "")],
)  # fmt: skip
def test_openais_key_is_for_openai_alone(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKCAST_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert key_for(url) == key
    monkeypatch.setenv("BACKCAST_API_KEY", " ours\n")
    assert (key_for(url), key_for(url, "given")) == ("ours", "given")


def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputError, match="needed an API key of printable ASCII") as error:
        key_for("http://host", "a\nb")
    assert "b" not in str(error.value).removeprefix("needed an API key of printable")


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://host/v1", "http://", "http://me:pass@host/v1",
     "http://me:pass/word@host/v1", "http://me:1/pass@host/v1", "http://[pass/v1",
     "http://host:pass/v1", "http://host/v1?api_key=pass", "http://host/v1#pass",
     "http://host/pa\0ss/v1"],
)  # fmt: skip
def test_an_address_that_cannot_be_asked_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InputError, match="needed http://HOST:PORT/v1") as error:
        ServerModel(url)
    assert "pass" not in str(error.value)
    with pytest.raises(InputError, match="needed http://HOST:PORT") as error:
        profile_named(f"server:{url}")
    assert "pass" not in str(error.value)


@pytest.mark.parametrize("end", ["?api_key=pass", "#pass", "?"])
def test_a_key_in_an_address_is_told_where_it_goes(end: str) -> None:
    with pytest.raises(InputError, match=r"without a query .* a key goes into BACKCAST_API_KEY"):
        open_runtime(f"http://host/v1{end}")


@pytest.mark.parametrize(
    "name",
    ["HTTP://me:pass@host", "Https://me:pass@host/v1", "htp://me:pass@host/v1",
     "server:http://me:pass@host", "htp://me:p@ss@host", "htp://host?key=pass"],
)  # fmt: skip
def test_no_error_repeats_what_may_be_a_password(name: str) -> None:
    for named in (open_runtime, profile_named):
        with pytest.raises(InputError) as error:
            named(name)
        assert "ss" not in str(error.value).replace("address", "")


def test_the_scheme_of_an_address_is_read_in_any_case() -> None:
    with hostile(saying(FINE)) as server:
        model = ServerModel(server.url.replace("http", "HTTP"))
        assert model.url == f"{server.url}/v1"
        assert model.complete(ASKED, LIMITS).text == "Yes."
