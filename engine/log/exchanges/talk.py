"""What is new in a conversation, as the facts that an imported agent's log would give."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from backcast.engine.log.exchanges.bodies import RESPONSES
from backcast.engine.log.exchanges.sessions import TALKED, words


class NewWords(NamedTuple):
    """A message, or a tool's result, that a request brings."""

    role: str
    "user, or tool for a result."
    text: str
    call_id: str | None = None
    failed: bool = False


def new_words(body: bytes, dialect: str, fresh: Collection[int]) -> Iterator[NewWords]:
    """Yield what people and tools said in the messages of those numbers, of a conversation.

    What the model said is left out, as the log has it as it answered; so are an agent's reminders.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    said = fields.get("input" if dialect == RESPONSES else "messages", fields.get("prompt"))
    talk = said if isinstance(said, list) else [] if said is None else [said]
    shown = [item if isinstance(item, dict) else {"role": "user", "content": item} for item in talk]
    heard = [item for item in shown if item.get("role", "assistant") in TALKED]
    for number, message in enumerate(heard):
        if number in fresh:
            yield from _words(message)


def _words(message: Mapping[str, Any]) -> Iterator[NewWords]:
    content = message.get("content")
    match message:
        case {"role": "tool"}:
            yield NewWords("tool", _plain(content), _id(message.get("tool_call_id")))
        case {"type": str() as type} if type.endswith("_call_output"):
            id = _id(message.get("call_id")) or _id(message.get("id"))
            yield NewWords("tool", _plain(message.get("output")), id)
        case {"role": "user"}:
            said: list[object] = []
            for block in content if isinstance(content, list) else [content]:
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    text, id = _plain(block.get("content")), _id(block.get("tool_use_id"))
                    yield NewWords("tool", text, id, block.get("is_error") is True)
                else:
                    said.append(block)
            if text := words({"content": said}):
                yield NewWords("user", text)


def _id(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") if isinstance(block, dict) else block for block in blocks)
    return "\n".join(text for text in texts if isinstance(text, str))
