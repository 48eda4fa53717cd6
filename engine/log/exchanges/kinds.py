"""What the blocks and items of a message are, and the texts in them."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

REMINDERS = (
    "<system-reminder", "<environment_context", "<user_instructions", "<reminder",
    "# AGENTS.md instructions for ", "<turn_aborted",
)  # fmt: skip
"Texts that begin so are the agent's, although they stand where a person speaks."
ENOUGH = 12
"Characters by which a text is known again."
_PLAIN = re.compile(r"[ !#-%(-;=?-\[\]-~]{1,60}")
"Characters that no way of writing JSON or HTML changes."
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


def plain_words(body: bytes, kind: str) -> str:
    r"""Return how a tool's description begins, or the longest text that a call was given.

    Only as far as every template writes it alike, and only where that is enough to be known by.

    >>> plain_words(b'{"name": "f", "description": "Reads a whole file. \\"x\\""}', "tool")
    'Reads a whole file. '
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    fields = value if isinstance(value, dict) else {}
    fields = fields["function"] if isinstance(fields.get("function"), dict) else fields
    if kind == "tool":
        texts = [fields.get("description")]
    else:
        given = fields.get("arguments", fields.get("input"))
        with suppress(ValueError, RecursionError):
            given = json.loads(given) if isinstance(given, str) else given
        texts = list(given.values()) if isinstance(given, dict) else [given]
    plain = [found[0] for text in texts if isinstance(text, str) and (found := _PLAIN.match(text))]
    longest = max(plain, key=len, default="")
    return longest if len(longest) >= ENOUGH else ""


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
