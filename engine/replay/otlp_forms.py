"""What models and tools said, and attributes, in the forms of OpenTelemetry's GenAI conventions."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from backcast.engine.log.importers.content import mapping, sequence, string
from backcast.engine.log.importers.times import EPOCH

Fields = dict[str, Any]


def spoken_item(item: Any) -> Fields | None:
    """Return an item of the responses interface as a chat can show it; None where it has no words.

    Programs keep thoughts as summaries, and calls of tools that only their server knows.
    """
    match item:
        case {"type": "reasoning"}:
            blocks = [*sequence(item.get("summary")), *sequence(item.get("content"))]
            texts = [text for block in blocks if (text := string(mapping(block).get("text")))]
            return {"type": "reasoning", "content": [{"text": "\n".join(texts)}]} if texts else None
        case {"type": "custom_tool_call", "name": name, "call_id": id, "input": given}:
            called = {"name": name, "call_id": id, "arguments": json_of({"input": given})}
            return {"type": "function_call", **called}
        case {"type": "local_shell_call", "call_id": id, "action": action}:
            called = {"name": "local_shell", "call_id": id, "arguments": json_of(action)}
            return {"type": "function_call", **called}
        case {"type": "custom_tool_call_output", "call_id": id, "output": output}:
            return {"type": "function_call_output", "call_id": id, "output": output}
        case {"type": "function_call" | "function_call_output"}:
            return dict(item)
        case {"role": "assistant"}:
            return {**item, "type": "message"}
        case {"role": str()}:
            return dict(item)
    return None


def json_of(value: object) -> str:
    """Return a value as JSON; a text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def message_of(message: Mapping[str, Any]) -> Fields:
    """Return a message of a chat in the form of the conventions."""
    role, content = str(message.get("role") or "user"), message.get("content")
    parts: list[Fields] = []
    if isinstance(thoughts := message.get("reasoning_content"), str) and thoughts:
        parts.append({"type": "reasoning", "content": thoughts})
    blocks = content if isinstance(content, list) else [content] if content is not None else []
    shown = [_part(block) for block in blocks]
    if role == "tool":
        text = "".join(str(part.get("content", "")) for part in shown)
        response = {"id": message.get("tool_call_id"), "response": text}
        return {"role": role, "parts": [{"type": "tool_call_response", **response}]}
    parts += shown
    for call in map(mapping, sequence(message.get("tool_calls"))):
        function = mapping(call.get("function"))
        parts.append({"type": "tool_call", "id": call.get("id"), "name": function.get("name"),
                      "arguments": _parsed(function.get("arguments"))})  # fmt: skip
    return {"role": role, "parts": parts}


def _part(block: object) -> Fields:
    match block:
        case (str() as text) | {"type": "text", "text": str() as text}:
            return {"type": "text", "content": text}
        case {"type": "image_url", "image_url": {"url": str() as url}}:
            return {"type": "uri", "modality": "image", "uri": url}
    return {"type": "file", "content": block}


def _parsed(arguments: object) -> object:
    """Return arguments as the object that a text of JSON holds, where it holds one."""
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


def pairs(named: Mapping[str, Any]) -> list[Fields]:
    """Return attributes as OpenTelemetry writes them, without those that nobody tells."""
    return [{"key": name, "value": _value(value)} for name, value in named.items()
            if value is not None]  # fmt: skip


def _value(value: object) -> Fields:
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": clean(str(value))}


def clean(text: str) -> str:
    """Return a text that UTF-8 can hold."""
    return text.encode(errors="replace").decode()


def nanoseconds(time: datetime) -> str:
    """Return a time as OpenTelemetry writes it; the beginning of its era for an earlier one."""
    since: timedelta = time - EPOCH
    return str(max(0, (since // timedelta(microseconds=1)) * 1000))
