r"""Take the body of a request apart, so that its parts give its very bytes again.

Each part is the JSON text of one thing that a model is told: a text, a tool's definition, a call, a
result. What stands between two parts stays with the later one.

>>> body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi\\u0021"}]}'
>>> split = split_body(body, "chat")
>>> [(part.kind, part.role, part.text) for part in split.parts]
[('message', 'user', b'"Hi\\u0021"')]
>>> joined(split) == body
True
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from backcast.engine.log.exchanges.kinds import is_reminder, kind_of, plain_words, texts_of

CHAT, MESSAGES, RESPONSES, COMPLETION = "chat", "messages", "responses", "completion"
DIALECTS = {
    "/v1/chat/completions": CHAT, "/chat/completions": CHAT, "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES, "/v1/responses": RESPONSES, "/responses": RESPONSES,
    "/v1/completions": COMPLETION, "/completions": COMPLETION, "/completion": COMPLETION,
}  # fmt: skip
"The dialect of each path that asks a model."
GAP, SETTING = 512, 160
"Characters between two parts, and of a setting, that are no part of their own."
_SPACE = re.compile(r"[ \t\n\r]*")
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder(strict=False))["scan_once"]
"Reads the value that begins at a place, and returns it with its end."


class BodyPart(NamedTuple):
    """A part of a body."""

    kind: str
    role: str
    name: str
    before: str
    text: bytes
    message: int | None = None
    "The number of the message that it belongs to, from 0."


class SplitBody(NamedTuple):
    """A body as its parts, and what stands behind the last."""

    parts: tuple[BodyPart, ...]
    rest: str


def joined(split: SplitBody) -> bytes:
    """Return the body."""
    pieces = [piece for part in split.parts for piece in (part.before.encode(), part.text)]
    return b"".join([*pieces, split.rest.encode()])


def split_body(body: bytes, dialect: str) -> SplitBody:
    """Take a body apart; one that is not what its dialect says is a single part."""
    try:
        text = body.decode()
        found = _Walk(text).done(dialect)
        if joined(found) == body:
            return found
    except (ValueError, StopIteration, IndexError, RecursionError):
        pass
    return SplitBody((BodyPart("rest", "", "", "", body),) if body else (), "")


class _Walk:
    """A walk through the text of a body, which cuts it into parts."""

    def __init__(self, text: str) -> None:
        self.text, self.end = text, 0
        self.parts: list[BodyPart] = []
        self.message: int | None = None
        self.tools: dict[str, str] = {}
        "The tool of each call, by the id that its result names."

    def done(self, dialect: str) -> SplitBody:
        """Walk to the end."""
        top = {CHAT: self._chat, MESSAGES: self._messages, RESPONSES: self._responses}
        start = self._space(0)
        if self.text[start] != "{":
            raise ValueError("no object")
        end = self._object(start, top.get(dialect, self._completion))
        if self._space(end) != len(self.text):
            raise ValueError("more than an object")
        if len(self.text) - self.end > GAP:
            self._cut(self.end, len(self.text), "rest")
        return SplitBody(tuple(self.parts), self.text[self.end :])

    def _space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _object(self, at: int, on: Callable[[str, int], int]) -> int:
        """Walk an object; `on` gets each key and where its value begins, and returns its end."""
        at = self._space(at + 1)
        if self.text[at] == "}":
            return at + 1
        while True:
            if self.text[at] != '"':
                raise ValueError("no key")
            key, at = _scan(self.text, at)
            at = self._space(at)
            if self.text[at] != ":":
                raise ValueError("no colon")
            at = self._space(on(key, self._space(at + 1)))
            if self.text[at] == "}":
                return at + 1
            if self.text[at] != ",":
                raise ValueError("no comma")
            at = self._space(at + 1)

    def _array(self, at: int, on: Callable[[int, int], int]) -> int:
        """Walk an array; `on` gets each number and where the element begins."""
        at, number = self._space(at + 1), 0
        if self.text[at] == "]":
            return at + 1
        while True:
            at = self._space(on(number, at))
            number += 1
            if self.text[at] == "]":
                return at + 1
            if self.text[at] != ",":
                raise ValueError("no comma")
            at = self._space(at + 1)

    def _cut(self, start: int, end: int, kind: str, role: str = "", name: str = "") -> int:
        if start - self.end > GAP and kind != "rest":
            self._cut(self.end, start, "rest")
        before = self.text[self.end : start]
        text = self.text[start:end].encode()
        self.parts.append(BodyPart(kind, role, name, before, text, self.message))
        self.end = end
        return end

    # The dialects

    def _chat(self, key: str, at: int) -> int:
        if key == "messages" and self.text[at] == "[":
            return self._talk(at, self._message)
        if key in ("tools", "functions") and self.text[at] == "[":
            return self._array(at, self._tool)
        return self._setting(key, at)

    def _messages(self, key: str, at: int) -> int:
        if key == "system":
            return self._content(at, "system", "system")
        return self._chat(key, at)

    def _responses(self, key: str, at: int) -> int:
        if key == "instructions" and self.text[at] == '"':
            return self._cut(at, self._skip(at), "system", "system")
        if key == "input" and self.text[at] == '"':
            return self._cut(at, self._skip(at), "message", "user")
        if key == "input" and self.text[at] == "[":
            return self._talk(at, self._message)
        return self._chat(key, at)

    def _completion(self, key: str, at: int) -> int:
        if key == "prompt":
            return self._cut(at, self._skip(at), "message", "user")
        return self._setting(key, at)

    def _setting(self, key: str, at: int) -> int:
        end = self._skip(at)
        return self._cut(at, end, "setting", "", key) if end - at > SETTING else end

    def _skip(self, at: int) -> int:
        return _scan(self.text, at)[1]

    def _talk(self, at: int, on: Callable[[int, int], int]) -> int:
        end = self._array(at, on)
        self.message = None
        return end

    def _tool(self, number: int, at: int) -> int:
        value, end = _scan(self.text, at)
        function = value.get("function", value) if isinstance(value, dict) else {}
        name = _string(function, "name") or _string(value, "type")
        return self._cut(at, end, "tool", "", name)

    def _message(self, number: int, at: int) -> int:
        self.message = number
        value, end = _scan(self.text, at)
        if not isinstance(value, dict):
            return self._cut(at, end, "message", "")
        role, type = _string(value, "role"), _string(value, "type")
        if known := kind_of(type):  # an item of the Responses interface
            role = role or ("tool" if known == "result" else "assistant")
            return self._cut(at, end, known, role, self._tool_of(value, known))
        kind = {"system": "system", "developer": "system", "tool": "result"}.get(role, "message")
        name = self._tool_of(value, kind)

        def on(key: str, at: int) -> int:
            if key == "content" and self.text[at] in '"[':
                return self._content(at, kind, role, name)
            if key == "tool_calls" and self.text[at] == "[":
                return self._array(at, self._call)
            if key in ("reasoning_content", "reasoning") and self.text[at] == '"':
                return self._cut(at, self._skip(at), "thinking", role)
            return self._setting(key, at)

        return self._object(at, on)

    def _content(self, at: int, kind: str, role: str, name: str = "") -> int:
        """Cut a content: a text, or a block at a time."""
        if self.text[at] == "[":
            return self._array(at, lambda number, at: self._block(at, kind, role, name))
        value, end = _scan(self.text, at)
        return self._cut(at, end, _kind(kind, value), role, name)

    def _block(self, at: int, kind: str, role: str, name: str) -> int:
        value, end = _scan(self.text, at)
        block = value if isinstance(value, dict) else {}
        known = kind_of(_string(block, "type"))
        name = self._tool_of(block, known) or name
        return self._cut(at, end, known or _kind(kind, block.get("text")), role, name)

    def _call(self, number: int, at: int) -> int:
        value, end = _scan(self.text, at)
        return self._cut(at, end, "call", "assistant", self._tool_of(value, "call"))

    def _tool_of(self, value: object, kind: str) -> str:
        """Return the name that a block or an item has, as of a result that its call has."""
        if kind == "result":
            ids = (_string(value, field) for field in ("call_id", "tool_call_id", "tool_use_id"))
            return next((self.tools[id] for id in ids if id in self.tools), _string(value, "name"))
        name = _string(value, "name")
        if kind == "call":
            held = value.get("function") if isinstance(value, dict) else None
            name = name or _string(held, "name") or _string(value, "type").removesuffix("_call")
            self.tools[_string(value, "call_id") or _string(value, "id")] = name
        return name


def _kind(kind: str, text: object) -> str:
    reminds = isinstance(text, str) and is_reminder(text)
    return "reminder" if reminds and kind == "message" else kind


def _string(value: object, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def is_shown(part: BodyPart, prompt: str) -> bool:
    """Return whether a prompt, as the server's template made it, shows a part.

    Not every template shows tools, calls, or what a model thought before.

    >>> is_shown(BodyPart("tool", "", "grep", "", b"{}"), '[{"name": "grep"}]')
    True
    """
    if part.kind == "thinking":
        return part_text(part.text).strip() in prompt
    if part.kind not in ("tool", "call"):
        return True
    named = re.search(rf"(?<![\w-]){re.escape(part.name)}(?=[\"'(\n<:{{])", prompt)
    return bool(named) and plain_words(part.text, part.kind) in prompt


def part_text(body: bytes) -> str:
    r"""Return what a part says, as a text to read and to count.

    >>> part_text(b'{"type": "text", "text": "a\\nb"}')
    'a\nb'
    """
    text = body.decode(errors="replace")
    try:
        return "\n".join(texts_of(json.loads(text))) or text
    except (ValueError, RecursionError):
        return text
