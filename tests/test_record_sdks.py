"""The SDKs that agents are built on, in front of the proxy: tools, streams, async, leaving."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.upstreams import KEY, Playing, backcast, body, log, recorder, until, upstream

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

ARGUMENTS = '{"path": "till.py"}'
OPENAI_TOOL: Any = {
    "type": "function",
    "function": {"name": "read", "parameters": {
        "type": "object", "properties": {"path": {"type": "string"}}}},
}  # fmt: skip


def events(*values: dict[str, Any], named: bool = False) -> bytes:
    """The body of a stream of events."""
    return b"".join(
        (f"event: {value['type']}\n" if named else "").encode()
        + b"data: " + json.dumps(value).encode() + b"\n\n"
        for value in values
    )  # fmt: skip


def streamed(asked: Playing, whole: bytes, size: int = 40) -> None:
    """Send a stream in chunks that cut its events anywhere."""
    asked.begin()
    for at in range(0, len(whole), size):
        asked.chunk(whole[at : at + size])
    asked.end()


def delta(**said: Any) -> dict[str, Any]:
    finish = said.pop("finish", None)
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "double",
            "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}  # fmt: skip


def call_in_pieces() -> bytes:
    call = {"index": 0, "id": "call_1", "type": "function",
            "function": {"name": "read", "arguments": ARGUMENTS[:7]}}  # fmt: skip
    more = {"index": 0, "function": {"arguments": ARGUMENTS[7:]}}
    return events(
        delta(role="assistant", content="Let me look."), delta(tool_calls=[call]),
        delta(tool_calls=[more]), delta(finish="tool_calls"),
    ) + b"data: [DONE]\n\n"  # fmt: skip


def test_a_tool_that_openai_streams_is_called_answered_and_recorded(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")

    def play(asked: Playing) -> None:
        if b'"role":"tool"' in asked.body.replace(b" ", b""):
            streamed(asked, events(delta(content="It is fine."), delta(finish="stop"))
                     + b"data: [DONE]\n\n")  # fmt: skip
        else:
            streamed(asked, call_in_pieces())

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        client = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1")
        talk: list[Any] = [{"role": "user", "content": "Is till.py fine?"}]
        with client.chat.completions.stream(
            model="m", messages=talk, tools=[OPENAI_TOOL]
        ) as answering:
            for _ in answering:
                pass
            said = answering.get_final_completion().choices[0].message
        [call] = said.tool_calls
        assert (call.function.name, call.function.arguments) == ("read", ARGUMENTS)
        talk += [
            {"role": "assistant", "content": said.content, "tool_calls": [
                {"id": call.id, "type": "function", "function": {
                    "name": "read", "arguments": call.function.arguments}}]},
            {"role": "tool", "tool_call_id": call.id, "content": "def total(): ..."},
        ]  # fmt: skip
        chunks = client.chat.completions.create(
            model="m", messages=talk, tools=[OPENAI_TOOL], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "It is fine."
        client.close()
        proxy.ended()
    recorded = log(tmp_path, "recorded")
    assert [event["type"] for event in recorded] == [
        "TASK_STARTED", "MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED", "TOOL_CALLED",
        "TOOL_RETURNED", "SOURCE_READ", "CONTEXT_BUILT", "MODEL_REPLIED",
    ]  # fmt: skip
    called, returned = recorded[4], recorded[5]
    assert called["data"]["arguments"] == {"path": "till.py"}
    assert returned["because"] == [called["version"]]
    assert body(tmp_path, returned["data"]["output"]) == b"def total(): ..."
    assert backcast(tmp_path, "verify").count(b"rebuilt: same") == 2


def test_a_tool_that_anthropic_streams_and_a_count_are_recorded(tmp_path: Path) -> None:
    anthropic = pytest.importorskip("anthropic")
    usage = {"input_tokens": 12, "cache_read_input_tokens": 30, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "m1", "type": "message", "role": "assistant", "model": "double", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    tool_use = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}
    pieces = [
        {"type": "content_block_delta", "index": 1,
         "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in (ARGUMENTS[:5], ARGUMENTS[5:])
    ]  # fmt: skip
    whole = events(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Let me look."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool_use}, *pieces,
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"output_tokens": 9}},
        {"type": "message_stop"}, named=True,
    )  # fmt: skip

    def play(asked: Playing) -> None:
        if asked.path.endswith("count_tokens"):
            asked.whole(b'{"input_tokens": 42}')
        else:
            streamed(asked, whole)

    async def asking(url: str) -> Any:
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url) as client:
            asked: Any = {
                "model": "m", "tools": [{"name": "read", "input_schema": {"type": "object"}}],
                "messages": [{"role": "user", "content": "Is till.py fine?"}],
            }  # fmt: skip
            counted = await client.messages.count_tokens(**asked)
            assert counted.input_tokens == 42
            async with client.messages.stream(max_tokens=99, **asked) as answering:
                return await answering.get_final_message()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        said = asyncio.run(asking(proxy.url))
        proxy.ended()
    assert [block.type for block in said.content] == ["text", "tool_use"]
    replied = [event for event in log(tmp_path) if event["type"] == "MODEL_REPLIED"][-1]["data"]
    assert (replied["prompt_tokens"], replied["cached_tokens"], replied["tokens"]) == (42, 30, 9)
    assert replied["finish"] == "tool_use"
    [called] = [event["data"] for event in log(tmp_path) if event["type"] == "TOOL_CALLED"]
    assert (called["tool"], called["arguments"]) == ("read", {"path": "till.py"})
    purposes = [event["data"]["request"].get("purpose") for event in log(tmp_path)
                if event["type"] == "CONTEXT_BUILT"]  # fmt: skip
    assert purposes == ["token count", None]


def test_a_response_that_calls_a_function_is_streamed_and_recorded(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "read",
            "arguments": ARGUMENTS, "status": "completed"}  # fmt: skip
    usage = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25,
             "input_tokens_details": {"cached_tokens": 8},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    response = {"id": "r1", "object": "response", "created_at": 1, "model": "double",
                "status": "completed", "output": [call], "parallel_tool_calls": True,
                "tool_choice": "auto", "tools": [], "usage": usage}  # fmt: skip
    whole = events(
        {"type": "response.created", "sequence_number": 0,
         "response": response | {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
         "item": call | {"arguments": ""}},
        {"type": "response.function_call_arguments.delta", "sequence_number": 2, "item_id": "fc_1",
         "output_index": 0, "delta": ARGUMENTS},
        {"type": "response.completed", "sequence_number": 3, "response": response}, named=True,
    )  # fmt: skip
    with (
        upstream(lambda asked: streamed(asked, whole)) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        client = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1")
        asked: Any = [{"role": "user", "content": "Is till.py fine?"}]
        kinds = [event.type for event in client.responses.create(
            model="m", instructions="Be terse", input=asked, stream=True)]  # fmt: skip
        assert kinds[-1] == "response.completed"
        asked += [call, {"type": "function_call_output", "call_id": "call_1", "output": "x = 1"}]
        for _ in client.responses.create(
            model="m", instructions="Be terse", input=asked, stream=True
        ):
            pass
        client.close()
        proxy.ended()
    recorded = log(tmp_path, "recorded")
    [returned] = [event for event in recorded if event["type"] == "TOOL_RETURNED"]
    called = next(event for event in recorded if event["type"] == "TOOL_CALLED")
    assert returned["because"] == [called["version"]]
    replied = next(event["data"] for event in recorded if event["type"] == "MODEL_REPLIED")
    assert (replied["prompt_tokens"], replied["cached_tokens"]) == (20, 8)
    assert backcast(tmp_path, "verify").count(b"rebuilt: same") == 2


def test_clients_that_leave_in_mid_stream_leave_the_server_too(tmp_path: Path) -> None:
    openai, anthropic = (pytest.importorskip(name) for name in ("openai", "anthropic"))

    def play(asked: Playing) -> None:
        asked.begin()
        if asked.path.endswith("/messages"):
            asked.chunk(events(
                {"type": "message_start", "message": {
                    "id": "m", "type": "message", "role": "assistant", "model": "double",
                    "content": [], "stop_reason": None, "stop_sequence": None,
                    "usage": {"input_tokens": 1, "output_tokens": 1}}}, named=True))  # fmt: skip
        else:
            asked.chunk(events(delta(content="Once")))
        asked.wait_until_gone()

    async def leave(url: str) -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client:
            chunks = await client.chat.completions.create(
                model="m", stream=True, messages=[{"role": "user", "content": "A story"}]
            )
            async for _ in chunks:
                break
            await chunks.close()

    async def cancel(url: str) -> None:
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0) as client:

            async def read() -> None:
                async with client.messages.stream(
                    model="m", max_tokens=9, messages=[{"role": "user", "content": "A tale"}]
                ) as answering:
                    async for _ in answering:
                        pass

            task = asyncio.ensure_future(read())
            await asyncio.sleep(1.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        for leaving in (leave, cancel):
            server.gone.clear()
            asyncio.run(leaving(proxy.url))
            until(server.gone.is_set)
        proxy.ended()
    ends = [event["data"]["kind"] for event in log(tmp_path) if event["type"] == "MODEL_FAILED"]
    assert ends == ["left", "left"]


def test_a_client_that_retries_is_recorded_each_time(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    count = [0]

    def play(asked: Playing) -> None:
        count[0] += 1
        if count[0] < 3:
            asked.whole(b'{"error": {"message": "overloaded", "type": "x"}}', 503)
        else:
            streamed(asked, events(delta(content="Now"), delta(finish="stop"))
                     + b"data: [DONE]\n\n")  # fmt: skip

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        client = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1", max_retries=2)
        chunks = client.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": "Hi"}]
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Now"
        client.close()
        proxy.ended()
    recorded = log(tmp_path, "recorded")
    assert [event["type"] for event in recorded if "MODEL" in event["type"]] == [
        "MODEL_FAILED", "MODEL_FAILED", "MODEL_REPLIED"
    ]  # fmt: skip
    assert [event["data"]["kind"] for event in recorded if "FAILED" in event["type"]] == [
        "refused", "refused"
    ]  # fmt: skip
