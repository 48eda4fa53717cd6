r"""An answer that comes as a stream of events, put together to the one that comes whole.

>>> stream = AnswerStream()
>>> stream.take(b'data: {"choices": [{"delta": {"content": "Gr\xc3')
False
>>> stream.take(b'\xbc\xc3\x9fe"}, "finish_reason": "stop"}]}\n\n')
False
>>> stream.part.text, stream.finished, stream.take(b"data: [DONE]\n\n")
('Grüße', True, True)

A server may answer whole though it was asked for a stream: what comes first tells which it is.
"""

import json
from collections.abc import Mapping
from typing import Any

from backcast.engine.models.http_client import BYTES, NoAnswerError
from backcast.engine.models.reply import split_thinking
from backcast.engine.models.so_far import AnswerPart

GRACE = 2.0
"Seconds for which an answer that has ended is listened to: its counts may follow it."
FIELDS = (b"data", b"event", b"id", b"retry")
THOUGHTS = ("reasoning_content", "reasoning")
TEXTS = ("content", "refusal", *THOUGHTS)


class AnswerStream:
    """The body of one answer, as it comes."""

    def __init__(self, silence: float | None = None) -> None:
        """`silence`: the seconds without a byte after which it is given up; None for no such."""
        self.silence = silence
        self.finished = False
        "Whether the model has come to the end of the answer."
        self.ended = False
        "Whether the server has said that nothing more comes."
        self.error: dict[str, Any] | None = None
        "What the server said instead of going on."
        self.is_stream: bool | None = None
        "None before its first bytes came."
        self._rest, self._data = bytearray(), list[bytes]()
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._told: dict[str, Any] = {}
        self._finish: object = None
        self._pieces = self._read = 0

    def take(self, data: bytes) -> bool:
        """Take the next bytes; whether nothing more is to come that matters."""
        self._rest += data
        if self.is_stream is None:
            self.is_stream = _is_stream(bytes(self._rest[:64]))
        if len(self._rest) > BYTES:
            of = "an event of " if self.is_stream else ""
            raise NoAnswerError(f"{of}more than {BYTES:,} bytes")
        if not self.is_stream or b"\n" not in data:
            return False
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return any(self._line(line.removesuffix(b"\r")) for line in lines)

    def end(self) -> None:
        """Take what stands in a last line that was not ended."""
        if self.is_stream:
            self._line(bytes(self._rest).removesuffix(b"\r"))
            self._line(b"")
            self._rest.clear()

    @property
    def part(self) -> AnswerPart:
        """What has come by now."""
        text = self._text("content") or self._text("refusal")
        thinking = "".join(map(self._text, THOUGHTS))
        if not thinking:
            thinking, text = split_thinking(text)
        timings, usage = (_counts(self._told.get(name)) for name in ("timings", "usage"))
        said = timings.get("predicted_n", usage.get("completion_tokens"))
        read: int | None = usage.get("prompt_tokens", self._read or None)
        if "prompt_n" in timings:
            read = timings["prompt_n"] + timings.get("cache_n", 0)
        return AnswerPart(_sound(text), _sound(thinking), read, said, self._pieces)

    def body(self) -> bytes:
        """Return the body of the answer that comes whole."""
        if not self.is_stream:
            return bytes(self._rest)
        message: dict[str, Any] = {name: self._text(name) for name in self._texts}
        if self._calls:
            message["tool_calls"] = [self._calls[number] for number in sorted(self._calls)]
        elif "refusal" not in message:
            message.setdefault("content", "")  # a stream has no piece for what is empty
        choice = {"message": message, "finish_reason": self._finish}
        return json.dumps({"choices": [choice], **self._told}).encode()

    def _text(self, name: str) -> str:
        return "".join(self._texts.get(name, ()))

    def _line(self, line: bytes) -> bool:
        """Take a line; whether it ends the stream. A comment keeps the connection, and no more."""
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            return False
        if line or not self._data:
            return False
        data, self._data = b"\n".join(self._data), []
        if data.strip() == b"[DONE]":
            self.ended = True
            return True
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            shown = repr(data[:60].decode(errors="replace"))
            raise NoAnswerError(f"an event of a stream that is no JSON object: {shown}")
        return self._event(event)

    def _event(self, event: dict[str, Any]) -> bool:
        if event.get("error") or event.get("object") == "error":
            self.error = event
            return True
        for name in ("usage", "timings", "model"):
            if event.get(name):
                self._told[name] = event[name]
        self._read = _counts(event.get("prompt_progress")).get("processed", self._read)
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._choice(choice)
        return False

    def _choice(self, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            self._said(said)
        if (finish := choice.get("finish_reason")) is not None:
            self._finish, self.finished = finish, True
            self.silence = GRACE

    def _said(self, said: Mapping[str, Any]) -> None:
        for name in TEXTS:
            text = said.get(name)
            if text is None or (name == "reasoning" and said.get("reasoning_content")):
                continue
            if not isinstance(text, str):
                raise NoAnswerError(f"{name} that is no text")
            if text:
                self._pieces += 1
                self._texts.setdefault(name, []).append(text)
        calls = said.get("tool_calls")
        for number, piece in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(piece, dict):
                self._call(piece, number)

    def _call(self, piece: dict[str, Any], number: int) -> None:
        number = place if isinstance(place := piece.get("index"), int) else number
        call = self._calls.setdefault(number, {})
        function = piece.get("function")
        for name in piece.keys() - {"index", "function"}:
            call.setdefault(name, piece[name])
        if isinstance(function, dict):
            self._pieces += 1
            known = call.setdefault("function", {"name": "", "arguments": ""})
            for name in known:
                known[name] += str(function.get(name) or "")


def _is_stream(start: bytes) -> bool | None:
    """Tell whether a body is a stream of events by its start; None where that is too short."""
    start = start.lstrip()
    if not start:
        return None
    name, colon, _ = start[:6].partition(b":")
    if colon:
        return name in (b"", *FIELDS)
    return None if any(field.startswith(start) for field in FIELDS) else False


def _counts(counts: object) -> dict[str, int]:
    """Return the numbers of tokens among what a server tells."""
    pairs = counts.items() if isinstance(counts, dict) else ()
    return {name: count for name, count in pairs if type(count) is int and count >= 0}


def _sound(text: str) -> str:
    """Return a text that can be stored: half a character may have come of a pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
