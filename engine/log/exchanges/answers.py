r"""Read what a server answered: whole, or as a stream of events; in each dialect.

>>> body = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
>>> read_answer(body, "chat", "text/event-stream").text
'Hi'
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import zstandard

from backcast.engine.log.exchanges.bodies import MESSAGES, RESPONSES

MOST = 512 * 2**20
"Bytes that a compressed answer may unpack to."


@dataclass
class ToolCallText:
    """A call of a tool while its pieces come."""

    name: str = ""
    id: str = ""
    arguments: str = ""


@dataclass
class ModelAnswer:
    """What a model answered."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCallText] = field(default_factory=list)
    model: str | None = None
    finish: str | None = None
    prompt_tokens: int | None = None
    tokens: int | None = None
    cached_tokens: int | None = None
    error: str = ""
    "What the server said went wrong."
    id: str = ""
    "The answer's id, from which a later request may go on."
    ended: bool = False
    "Whether a stream came to its end."


class GarbledAnswer(ValueError):
    """An answer that is not in the form of its interface."""


def read_answer(body: bytes, dialect: str, kind: str = "", encoding: str = "") -> ModelAnswer:
    """Read an answer of a content type and encoding; `GarbledAnswer` where it is none."""
    plain = unpacked(body, encoding)
    answer = ModelAnswer()
    if "event-stream" in kind or plain.lstrip()[:5] in (b"data:", b"event"):
        add = {MESSAGES: _message_event, RESPONSES: _response_event}.get(dialect, _chunk)
        for event in events(plain):
            if event == "[DONE]":
                answer.ended = True
            elif isinstance(event, dict):
                _error(answer, event)
                add(answer, event)
        return answer
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError):
        shown = plain[:60].decode(errors="replace")
        raise GarbledAnswer(f"needed JSON, found {kind or 'text'}: {shown!r}") from None
    if not isinstance(value, dict):
        raise GarbledAnswer(f"needed a JSON object, found {type(value).__name__}")
    _error(answer, value)
    {MESSAGES: _message, RESPONSES: _response}.get(dialect, _whole)(answer, value)
    answer.ended = True
    return answer


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body without its content encoding; `GarbledAnswer` where it cannot be read."""
    try:
        match encoding.strip().lower():
            case "" | "identity":
                return body
            case "gzip" | "x-gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise GarbledAnswer(f"needed {encoding}, found {error}") from None
    raise GarbledAnswer(f"needed gzip, deflate or zstd, found content in {encoding!r}")


def events(body: bytes) -> Iterator[Any]:
    """Yield the data of each whole event of a stream; text that is no JSON as it is."""
    text = body.decode(errors="replace").replace("\r\n", "\n")
    for block in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        if not lines:
            continue
        data = "\n".join(lines)
        try:
            yield json.loads(data)
        except (ValueError, RecursionError):
            yield data


def _error(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    if error := value.get("error"):
        message = error.get("message") if isinstance(error, dict) else error
        answer.error = str(message or error)


def _whole(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Read an answer of the chat or completion interface."""
    for choice in _first(value.get("choices")):
        _delta(answer, _dict(choice.get("message")))
        answer.text += _text(choice.get("text"))
        answer.finish = choice.get("finish_reason") or answer.finish
    _numbers(answer, value)


def _chunk(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Add an event of a stream of the chat or completion interface."""
    for choice in _first(value.get("choices")):
        _delta(answer, _dict(choice.get("delta")))
        answer.text += _text(choice.get("text"))
        if choice.get("finish_reason"):
            answer.finish, answer.ended = choice["finish_reason"], True
    answer.ended = answer.ended or value.get("stop") is True
    _numbers(answer, value)


def _first(choices: object) -> list[dict[str, Any]]:
    found = choices if isinstance(choices, list) else []
    return [one for one in found if isinstance(one, dict) and not one.get("index")]


def _delta(answer: ModelAnswer, said: Mapping[str, Any]) -> None:
    answer.text += _text(said.get("content"))
    answer.thinking += _text(said.get("reasoning_content")) or _text(said.get("reasoning"))
    for place, call in enumerate(said.get("tool_calls") or ()):
        index = call.get("index")
        at = index if isinstance(index, int) and 0 <= index < 10_000 else place
        while len(answer.calls) <= at:
            answer.calls.append(ToolCallText())
        function, held = _dict(call.get("function")), answer.calls[at]
        held.id = _text(call.get("id")) or held.id
        held.name += _text(function.get("name"))
        held.arguments += _text(function.get("arguments"))


def _numbers(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    usage, timings = _dict(value.get("usage")), _dict(value.get("timings"))
    details = _dict(usage.get("prompt_tokens_details")) or _dict(usage.get("input_tokens_details"))
    answer.model = value.get("model") or answer.model
    if "content" in value and "choices" not in value:  # llama-server's own interface
        answer.text += _text(value["content"])
        answer.finish = value.get("stop_type") or answer.finish
        answer.prompt_tokens = value.get("tokens_evaluated", answer.prompt_tokens)
        answer.tokens = value.get("tokens_predicted", answer.tokens)
    answer.prompt_tokens = usage.get("prompt_tokens", answer.prompt_tokens)
    answer.tokens = usage.get("completion_tokens", answer.tokens)
    cached = details.get("cached_tokens", answer.cached_tokens)
    answer.cached_tokens = timings.get("cache_n", cached)
    if answer.prompt_tokens is None and isinstance(timings.get("prompt_n"), int):
        answer.prompt_tokens = timings["prompt_n"] + (timings.get("cache_n") or 0)
    if answer.tokens is None:
        answer.tokens = timings.get("predicted_n")


def _message(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Read an answer of the messages interface."""
    for block in value.get("content") or ():
        match block:
            case {"type": "text", "text": str() as text}:
                answer.text += text
            case {"type": "thinking", "thinking": str() as text}:
                answer.thinking += text
            case {"type": "tool_use", "name": str() as name}:
                arguments = json.dumps(block.get("input"), ensure_ascii=False)
                answer.calls.append(ToolCallText(name, _text(block.get("id")), arguments))
    answer.model = value.get("model") or answer.model
    answer.finish = value.get("stop_reason") or answer.finish
    if isinstance(value.get("input_tokens"), int):  # a count, and no reply
        answer.prompt_tokens = value["input_tokens"]
    _usage(answer, value)


def _usage(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    usage = _dict(value.get("usage"))
    cached = usage.get("cache_read_input_tokens")
    if "input_tokens" in usage:
        counts = (usage["input_tokens"], cached, usage.get("cache_creation_input_tokens"))
        answer.prompt_tokens = sum(count for count in counts if isinstance(count, int))
    answer.cached_tokens = answer.cached_tokens if cached is None else cached
    answer.tokens = usage.get("output_tokens", answer.tokens)
    details = _dict(usage.get("input_tokens_details"))
    answer.cached_tokens = details.get("cached_tokens", answer.cached_tokens)


def _message_event(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Add an event of a stream of the messages interface."""
    match value:
        case {"type": "message_start", "message": dict() as message}:
            _message(answer, message)
        case {"type": "content_block_start", "content_block": {"type": "tool_use"} as block}:
            answer.calls.append(ToolCallText(_text(block.get("name")), _text(block.get("id"))))
        case {"type": "content_block_delta", "delta": dict() as delta}:
            answer.text += _text(delta.get("text"))
            answer.thinking += _text(delta.get("thinking"))
            if answer.calls:
                answer.calls[-1].arguments += _text(delta.get("partial_json"))
        case {"type": "message_delta"}:
            answer.finish = _dict(value.get("delta")).get("stop_reason") or answer.finish
            answer.tokens = _dict(value.get("usage")).get("output_tokens", answer.tokens)
        case {"type": "message_stop"}:
            answer.ended = True


def _response(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Read an answer of the responses interface."""
    for item in value.get("output") or ():
        match item:
            case {"type": "message", "content": list() as blocks}:
                answer.text += "".join(_text(_dict(block).get("text")) for block in blocks)
            case {"type": "reasoning"}:
                blocks = [*(item.get("summary") or ()), *(item.get("content") or ())]
                answer.thinking += "".join(_text(_dict(block).get("text")) for block in blocks)
            case {"type": str() as type} if type.endswith("_call"):
                answer.calls.append(_item_call(item, type))
    answer.id = _text(value.get("id")) or answer.id
    answer.model = value.get("model") or answer.model
    answer.finish = value.get("status") or answer.finish
    _usage(answer, value)


def _item_call(item: Mapping[str, Any], type: str) -> ToolCallText:
    """Return a call: of a function, of a tool with a text of its own, or of one built in."""
    name = _text(item.get("name")) or type.removesuffix("_call")
    given = next((item[field] for field in ("arguments", "action") if field in item), None)
    if given is None:
        given = {"input": item["input"]} if "input" in item else {}
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return ToolCallText(name, _text(item.get("call_id")) or _text(item.get("id")), arguments)


def _response_event(answer: ModelAnswer, value: Mapping[str, Any]) -> None:
    """Add an event of a stream of the responses interface."""
    match value:
        case {"type": "response.output_text.delta", "delta": str() as delta}:
            answer.text += delta
        case {"type": "response.reasoning_text.delta" | "response.reasoning_summary_text.delta",
              "delta": str() as delta}:  # fmt: skip
            answer.thinking += delta
        case {"type": "response.output_item.done", "item": {"type": str() as type} as item} if (
            type.endswith("_call")
        ):
            answer.calls.append(_item_call(item, type))
        case {"type": "response.created", "response": {"model": str() as model}}:
            answer.model = model
        case {"type": "response.completed" | "response.incomplete" | "response.failed",
              "response": dict() as response}:  # fmt: skip
            _error(answer, response)
            if response.get("output"):  # else it came in the events before
                answer.text = answer.thinking = ""
                answer.calls.clear()
            _response(answer, response)
            answer.ended = True


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
