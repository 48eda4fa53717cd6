"""Find the conversation that a request goes on with: the one with the longest common prefix.

Not by time: requests come in any order, several at once. Messages are compared without what clients
change in them from call to call: marks for a server's cache, and reminders.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from backcast.engine.log.exchanges.bodies import MESSAGES, RESPONSES
from backcast.engine.log.exchanges.kinds import is_reminder

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
    key: str = ""
    "The session as the client names it; empty where it does not."
    goes_on: str = ""
    "The id of the answer that it goes on from, where the messages before are with the server."
    spoken: tuple[frozenset[str], ...] = ()
    "Of each message, what an answer would be known again by; empty for one of a person."


class KnownContext(NamedTuple):
    """A context of a task that a request may go on from."""

    version: int
    messages: tuple[bytes, ...]
    answered: bool = False
    "Whether the model answered it."
    key: str = ""
    spoken: frozenset[str] = frozenset()
    "What its answer is known again by."


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
    goal = next(
        (text for item in shown if item.get("role") == "user" and (text := words(item))), ""
    )
    answered = any(item.get("role", "assistant") == "assistant" for item in shown)
    purpose = COUNT if path.endswith("/count_tokens") else ""
    if not (purpose or fields.get("tools") or answered) and len(shown) == 1:
        system = fields.get("system") if dialect == MESSAGES else fields.get("instructions")
        instructions = [words(item) for item in messages if item not in shown]
        if _TITLE.search(" ".join([*instructions, _plain(system), goal[:2000]])):
            purpose = TITLE
    hashes = tuple(_hash(item) for item in shown)
    goes_on = _string(fields, "previous_response_id")
    spoken = tuple(map(_spoken, shown))
    return Conversation(hashes, answered, goal, purpose, _session(fields), goes_on, spoken)


def spoken_by(text: str, call_ids: Iterable[str]) -> frozenset[str]:
    """Return what an answer is known again by: the ids of its calls, and its words.

    >>> spoken_by("", ["call_1"])
    frozenset({'call_1'})
    """
    said = " ".join(text.split())
    marks = {f"said {hashlib.sha256(said.encode(errors='replace')).hexdigest()[:16]}"}
    return frozenset(filter(None, call_ids)) | (marks if said else frozenset())


def _spoken(message: Mapping[str, Any]) -> frozenset[str]:
    if message.get("role", "assistant") != "assistant":
        return frozenset()
    calls, content = message.get("tool_calls"), message.get("content")
    blocks = content if isinstance(content, list) else []
    given = [*(calls if isinstance(calls, list) else []), *blocks]
    ids = [_string(item, "id") for item in given if isinstance(item, dict)]
    return spoken_by(_plain(blocks or content), [*ids, _string(message, "call_id")])


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
    return _session(value if isinstance(value, dict) else {}) or None


def _session(fields: Mapping[str, Any]) -> str:
    metadata = fields.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if found := _SESSION.search(_string(metadata, "user_id")):
        return found[1] or found[2]
    named = (_string(metadata, "sessionId"), _string(metadata, "session_id"))
    return next(filter(None, named), _string(fields, "prompt_cache_key"))


def _string(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def nearest(sessions: Mapping[str, Session], asked: Conversation) -> tuple[str, int] | None:
    """Return the task that a request goes on with, and the version of the nearest context.

    None for a new conversation: one whose first message no task has, which its client calls another
    session, or whose very messages were answered already, as when a command is run again. Of two
    that began alike, the one whose answer stands in the request.
    """
    best: tuple[int, bool, int, str, int] | None = None
    for place, session in enumerate(sessions.values()):
        for known in session.contexts:
            same = common(known.messages, asked.messages)
            if known.key and asked.key and known.key != asked.key:
                continue
            if not same or (not asked.answered and known.answered and not asked.purpose):
                continue
            is_answer = any(known.spoken & spoken for spoken in asked.spoken[same:])
            found = (same, is_answer, place, session.task, known.version)
            best = found if best is None or found[:3] >= best[:3] else best
    return best and best[3:]


def common(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> int:
    """Return how many leading messages two conversations share."""
    count = 0
    for mine, other in zip(before, after, strict=False):
        if mine != other:
            break
        count += 1
    return count


def fresh(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> frozenset[int]:
    """Return the numbers of the messages that the conversation before did not hold.

    An agent may change what it said or was told before: what follows that is not new for it.

    >>> sorted(fresh((b"task", b"result", b"go on"), (b"task", b"cut", b"go on", b"go on")))
    [1, 3]
    """
    same = common(before, after)
    held = Counter(before[same:])
    found = set[int]()
    for number, message in enumerate(after[same:], same):
        if held[message]:
            held[message] -= 1
        else:
            found.add(number)
    return frozenset(found)


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


def words(message: Mapping[str, Any]) -> str:
    """Return what a person said in a message: all but the agent's reminders."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else [content]
    texts = (_REMINDER.sub("", text) for block in blocks if (text := _plain([block])))
    return "\n".join(text for text in texts if text.strip() and not is_reminder(text))


def _plain(content: object) -> str:
    match content:
        case str():
            return content
        case list():
            texts = (block.get("text") if isinstance(block, dict) else block for block in content)
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""
