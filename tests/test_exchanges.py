"""Bodies are taken apart and put together; answers are read; conversations are found again."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.context_events import ForeignRequest, RequestPart
from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.answers import GarbledAnswer, read_answer
from backcast.engine.log.exchanges.bodies import DIALECTS, joined, part_text, split_body
from backcast.engine.log.exchanges.requests import assembled, body_of, shortened
from backcast.engine.log.exchanges.sessions import conversation
from backcast.engine.log.exchanges.spool import Spool
from backcast.engine.log.exchanges.writer import ExchangeWriter
from backcast.engine.log.store import EventStore

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud83d", 'a"b\\', "x" * 700, "<system-reminder>"])
BLOCKS = st.fixed_dictionaries({"type": st.sampled_from(["text", "image", "odd"]), "text": TEXTS})
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": TEXTS | st.lists(BLOCKS, max_size=3) | st.none(),
        "tool_calls": st.lists(st.fixed_dictionaries({"function": st.just({"name": "f"})})),
        "reasoning_content": TEXTS,
    },
)
BODIES = st.fixed_dictionaries(
    {"model": TEXTS},
    optional={
        "messages": st.lists(MESSAGES | st.integers(), max_size=4),
        "tools": st.lists(BLOCKS, max_size=3), "input": TEXTS | st.lists(MESSAGES, max_size=3),
        "system": TEXTS | st.lists(BLOCKS, max_size=2), "prompt": TEXTS,
        "temperature": st.floats(), "metadata": st.dictionaries(TEXTS, TEXTS, max_size=3),
    },
)  # fmt: skip
SPACES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", "\r :")])


@given(BODIES, SPACES, st.booleans(), st.sampled_from(sorted(DIALECTS.values())))
def test_a_body_is_its_parts(
    body: dict[str, object], spaces: tuple[str, str], ascii: bool, dialect: str
) -> None:
    text = json.dumps(body, separators=spaces, ensure_ascii=ascii)
    written = text.encode(errors="surrogatepass")
    split = split_body(written, dialect)
    assert joined(split) == written
    cut = {"rest"} if len(split.parts) == 1 else set()
    assert {part.kind for part in split.parts if part.text == written} <= cut


@given(st.binary(max_size=60))
def test_a_body_that_is_no_json_is_one_part(body: bytes) -> None:
    split = split_body(b"\xff" + body, "chat")
    assert [part.kind for part in split.parts] == ["rest"]
    assert joined(split) == b"\xff" + body


def test_the_parts_of_an_agents_request_have_their_kinds() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = json.dumps({
        "model": "m", "tools": [{"type": "function", "function": {"name": "read"}}],
        "messages": [
            {"role": "system", "content": "Be terse"},
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>Monday</system-reminder>"},
                {"type": "text", "text": "Fix it"}, image,
            ]},
            {"role": "assistant", "content": "Well", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "def f(): ..."},
        ],
    }).encode()  # fmt: skip
    shown = [(part.kind, part.role, part.name) for part in split_body(body, "chat").parts]
    assert shown == [
        ("tool", "", "read"), ("system", "system", ""), ("reminder", "user", ""),
        ("message", "user", ""), ("image", "user", ""), ("message", "assistant", ""),
        ("call", "assistant", "read"), ("result", "tool", "read"),
    ]  # fmt: skip


def test_the_parts_of_a_request_to_anthropic_have_their_kinds() -> None:
    body = json.dumps({
        "system": [{"type": "text", "text": "Be terse", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Fix it"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm"},
                {"type": "tool_use", "id": "t", "name": "read", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "text"}
            ]},
        ],
    }).encode()  # fmt: skip
    split = split_body(body, "messages")
    assert [part.kind for part in split.parts] == [
        "system", "message", "thinking", "call", "result",
    ]  # fmt: skip
    assert [part.message for part in split.parts] == [None, 0, 1, 1, 2]
    assert part_text(split.parts[-1].text) == "text"


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcde")))
def test_copied_runs_and_own_parts_give_all_parts(before: list[str], after: list[str]) -> None:
    def parts(names: list[str]) -> list[RequestPart]:
        return [RequestPart(kind="message", text="blob:" + name * 64) for name in names]

    base, now = parts(before), parts(after)
    own, runs = shortened(now, base)
    request = ForeignRequest(path="/", parts=own, copied=runs)
    assert list(assembled(request, base)) == now
    assert {part.text for part in own}.isdisjoint({part.text for part in base})


@pytest.mark.parametrize(
    ("dialect", "chunks"),
    [
        ("chat", [{"choices": [{"delta": {"tool_calls": [
                    {"index": 0, "id": "c", "function": {"name": "read", "arguments": '{"a"'}}]}}]},
                  {"choices": [{"delta": {"tool_calls": [
                    {"index": 0, "function": {"arguments": ":1}"}}]}, "finish_reason": "t"}]}]),
        ("messages", [{"type": "content_block_start",
                       "content_block": {"type": "tool_use", "id": "c", "name": "read"}},
                      {"type": "content_block_delta", "delta": {"partial_json": '{"a"'}},
                      {"type": "content_block_delta", "delta": {"partial_json": ":1}"}},
                      {"type": "message_stop"}]),
        ("responses", [{"type": "response.completed", "response": {"output": [
            {"type": "function_call", "name": "read", "call_id": "c", "arguments": '{"a":1}'}]}}]),
    ],
)  # fmt: skip
def test_a_call_is_read_from_the_pieces_of_its_stream(
    dialect: str, chunks: list[dict[str, object]]
) -> None:
    body = b"".join(b"data: %s\r\n\r\n" % json.dumps(chunk).encode() for chunk in chunks)
    answer = read_answer(body, dialect, "text/event-stream")
    [call] = answer.calls
    assert (call.name, call.id, call.arguments) == ("read", "c", '{"a":1}')
    assert answer.ended
    torn = read_answer(body[: body.rindex(b"data:")], dialect, "text/event-stream")
    assert not torn.ended


def test_an_answer_that_cannot_be_read_says_what_was_found() -> None:
    with pytest.raises(GarbledAnswer, match="found text/html"):
        read_answer(b"<html>", "chat", "text/html")
    with pytest.raises(GarbledAnswer, match="'br'"):
        read_answer(b"x", "chat", "application/json", "br")


def test_what_clients_change_in_a_message_does_not_make_another_conversation() -> None:
    def said(content: object) -> tuple[bytes, ...]:
        body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
        return conversation(body, "messages", "/v1/messages").messages

    plain = said("Fix it")
    assert said([{"type": "text", "text": "Fix it"}]) == plain
    marked = {"type": "text", "text": "Fix it", "cache_control": {"type": "ephemeral"}}
    reminder = {"type": "text", "text": "<system-reminder>Monday</system-reminder>"}
    assert said([reminder, marked]) == plain
    assert said("Fix that") != plain


def test_a_long_conversation_costs_what_is_new_in_it(tmp_path: Path) -> None:
    words = random.Random(1)
    folder = Spool(tmp_path / "spool")
    with EventStore.open(f"sqlite:///{tmp_path}/log.db") as store:
        writer = ExchangeWriter(store, "talk")
        sizes = list[int]()
        messages: list[dict[str, str]] = []
        for turn in range(60):
            text = " ".join(f"{words.random():.6f}" for _ in range(40))
            messages += [{"role": "user", "content": text}]
            body = json.dumps({"model": "m", "messages": messages}).encode()
            exchange = folder.begin("POST", "/v1/chat/completions", {})
            exchange.add(spool.ASKED, body)
            exchange.note(spool.ANSWERED, {"status": 200, "headers": {}})
            message = {"role": "assistant", "content": f"Yes, {turn}"}
            exchange.add(spool.ANSWER, json.dumps({"choices": [{"message": message}]}).encode())
            exchange.end(spool.FINISHED)
            found = spool.read(exchange.path)
            assert found is not None
            written = writer.write(found)
            assert written is not None
            assert writer.write(found) is None  # it is there already
            again = writer.reader("talk").at(written.version)
            assert again is not None
            assert body_of(again, store.get) == body
            sizes.append(len(again.request.model_dump_json(exclude_unset=True)))
            messages.append(message)
        assert store.tasks() == ["talk"]
        assert max(sizes[40:]) < 1.2 * max(sizes[3:10])  # a request holds what is new
