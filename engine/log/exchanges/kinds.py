"""What the blocks and items of a message are, and the texts in them."""

import json
from collections.abc import Iterator

REMINDERS = (
    "<system-reminder", "<environment_context", "<user_instructions", "<reminder",
    "# AGENTS.md instructions for ", "<turn_aborted",
)  # fmt: skip
"Texts that begin so are the agent's, although they stand where a person speaks."
_KINDS = {
    "image": "image", "image_url": "image", "input_image": "image", "document": "file",
    "file": "file", "input_file": "file", "input_audio": "file", "reasoning": "thinking",
    "thinking": "thinking", "redacted_thinking": "thinking", "tool_use": "call",
    "tool_result": "result", "compaction": "message", "compaction_summary": "message",
}  # fmt: skip


def kind_of(type: str) -> str:
    """Return what a block or an item of a type is; nothing where it is part of what is said.

    >>> kind_of("custom_tool_call"), kind_of("custom_tool_call_output"), kind_of("input_text")
    ('call', 'result', '')
    """
    if found := _KINDS.get(type, ""):
        return found
    if type.endswith(("_call", "_tool_use")):
        return "call"
    return "result" if type.endswith(("_call_output", "_tool_result")) else ""


def is_reminder(text: str) -> bool:
    """Return whether a text is an agent's reminder."""
    return text.lstrip().startswith(REMINDERS)


def texts_of(value: object) -> Iterator[str]:
    """Yield the texts that a part shows to a model; of a call its tool and what it was given."""
    match value:
        case str():
            yield value
        case {"text": str() as text}:
            yield text
        case {"type": "tool_result", "content": content} | {"output": content}:
            yield from texts_of(content)
        case {"thinking": str() as thinking}:
            yield thinking
        case {"type": "reasoning"}:
            for name in ("summary", "content"):
                yield from texts_of(_field(value, name))
        case {"function": {"name": str() as name, "arguments": str() as arguments}}:
            yield f"{name} {arguments}"
        case {"type": str() as type, "name": str() as name} if kind_of(type) == "call":
            given = _field(value, "arguments") or _field(value, "input") or ""
            yield f"{name} {given if isinstance(given, str) else _json(given)}"
        case list():
            for item in value:
                yield from texts_of(item)


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
