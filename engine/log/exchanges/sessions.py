"""Find the conversation that a request goes on with: the one with the longest common prefix.

Not by time: requests come in any order, several at once. Messages are compared without what clients
change in them from call to call: marks for a server's cache, and reminders.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from backcast.engine.log.exchanges.bodies import MESSAGES, RESPONSES

RECENT = 16
"Contexts of a task that a request may go on from."
TITLE, COUNT = "title", "token count"
_REMINDER = re.compile(r"<(system-reminder|environment_context)>.*?</\1>\s*", re.DOTALL)
_SESSION = re.compile(r'_session_([0-9A-Za-z-]+)$|"session_id":\s*"([^"]+)"')
_TITLE = re.compile(r"\btitles?\b|\bsummari[sz]e this (?:conversation|session)\b", re.IGNORECASE)
TALKED = frozenset(("user", "assistant", "tool", "function"))


class Conversation(NamedTuple):
    """The messages of a request, each by a hash, without the instructions before them."""

    messages: tuple[bytes, ...]
    answered: bool
    "Whether a message of the model is among them."
    goal: str
    "The first text of a person."
    purpose: str


class KnownContext(NamedTuple):
    """A context of a task that a request may go on from."""

    version: int
    messages: tuple[bytes, ...]
    answered: bool = False
    "Whether the model answered it."


class Session(NamedTuple):
    """A task, and its latest contexts."""

    task: str
    contexts: tuple[KnownContext, ...]


def conversation(body: bytes, dialect: str, path: str) -> Conversation:
    """Return the conversation of a request; an empty one where it holds none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    said = fields.get("input" if dialect == RESPONSES else "messages", fields.get("prompt"))
    talk = said if isinstance(said, list) else [] if said is None else [said]
    messages = [
        item if isinstance(item, dict) else {"role": "user", "content": item} for item in talk
    ]
    shown = [item for item in messages if item.get("role", "assistant") in TALKED]
    goal = next((_words(item) for item in shown if item.get("role") == "user"), "")
    answered = any(item.get("role", "assistant") == "assistant" for item in shown)
    purpose = COUNT if path.endswith("/count_tokens") else ""
    if not (purpose or fields.get("tools") or answered) and len(shown) == 1:
        system = fields.get("system") if dialect == MESSAGES else fields.get("instructions")
        instructions = [_words(item) for item in messages if item not in shown]
        if _TITLE.search(" ".join([*instructions, _plain(system), goal[:2000]])):
            purpose = TITLE
    hashes = tuple(_hash(item) for item in shown)
    return Conversation(hashes, answered, goal, purpose)


def session_in(body: bytes, headers: Mapping[str, str]) -> str | None:
    """Return the id that an agent gives its session in a request, if it does.

    >>> session_in(b'{"metadata": {"user_id": "user_1_account_2_session_3f-a"}}', {})
    '3f-a'
    """
    for name in ("session_id", "session-id", "conversation_id", "x-claude-code-session-id"):
        if given := headers.get(name):
            return given
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    metadata = fields.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    user = metadata.get("user_id")
    if isinstance(user, str) and (found := _SESSION.search(user)):
        return found[1] or found[2]
    for given in (metadata.get("sessionId"), metadata.get("session_id"),
                  fields.get("prompt_cache_key")):  # fmt: skip
        if isinstance(given, str) and given:
            return given
    return None


def nearest(sessions: Mapping[str, Session], asked: Conversation) -> tuple[str, int] | None:
    """Return the task that a request goes on with, and the version of the nearest context.

    None for a new conversation: one whose first message no task has, or whose very messages were
    answered already, as when a command is run again.
    """
    best: tuple[int, int, str, int] | None = None
    for place, session in enumerate(sessions.values()):
        for known in session.contexts:
            same = common(known.messages, asked.messages)
            if not same or (not asked.answered and known.answered and not asked.purpose):
                continue
            found = (same, place, session.task, known.version)
            best = found if best is None or found[:2] >= best[:2] else best
    return best and best[2:]


def common(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> int:
    """Return how many leading messages two conversations share."""
    count = 0
    for mine, other in zip(before, after, strict=False):
        if mine != other:
            break
        count += 1
    return count


def _hash(message: Mapping[str, Any]) -> bytes:
    content = message.get("content")
    blocks = [content] if not isinstance(content, list) else content
    plain = [block for block in map(_block, blocks) if block not in ("", None)]
    rest = {name: value for name, value in message.items()
            if name in ("role", "tool_calls", "tool_call_id", "call_id", "arguments", "output",
                        "type")}  # fmt: skip
    body = json.dumps([plain, rest], sort_keys=True).encode()
    return hashlib.sha256(body).digest()[:16]


def _block(block: object) -> object:
    if isinstance(block, str):
        return _REMINDER.sub("", block)
    if isinstance(block, dict):
        if isinstance(block.get("text"), str):
            return _REMINDER.sub("", block["text"])
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block


def _words(message: Mapping[str, Any]) -> str:
    return _REMINDER.sub("", _plain(message.get("content")))


def _plain(content: object) -> str:
    match content:
        case str():
            return content
        case list():
            texts = (block.get("text") if isinstance(block, dict) else block for block in content)
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""
