r"""Texts that should be JSON values and are not quite: what is whole in them is found.

A write that was cut off leaves a stub, and the next record may stand behind it on the same line.

>>> text = b'{"uuid": "a", "messa{"uuid": "b"}'
>>> for part in pieces(text, lambda value: "uuid" in value):
...     print(part.start, part.end, part.value)
0 20 None
20 33 {'uuid': 'b'}
"""

import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.importers.json_values import parse

MAX_TEARS = 1000
"Tears in one text behind which whole values are looked for."
MAX_WINDOW = 2**24
"Bytes after a tear in which the next whole record may begin."

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_BETWEEN = re.compile(r"[\s\x00\ufeff\udcef\udcbb\udcbf\x1e]*")
"What may stand between two values; the last is the separator of JSON text sequences."
_LIST_BETWEEN = re.compile(r"[\s\x00\ufeff\udcef\udcbb\udcbf,\]]*")
_DECODE = JSONDecoder(parse_int=lambda digits: 0).raw_decode


class Part(NamedTuple):
    """A part of a text: a whole value, or one that is torn."""

    start: int
    end: int
    value: Any = None
    reason: str = ""
    "Why it is no value; empty if it is."


def pieces(
    text: bytes, is_whole: Callable[[dict[str, Any]], bool], *, in_list: bool = False
) -> Iterator[Part]:
    """Yield the parts of a text in order; behind a tear only what `is_whole` takes is a value.

    With `in_list` the text is a list, perhaps cut, and the values are its elements.
    """
    chars = text.decode("utf-8", "surrogateescape")
    between = _LIST_BETWEEN if in_list else _BETWEEN
    where = _Places(chars)
    at, torn_at, reason, tears = int(in_list), -1, "", 0
    while tears <= MAX_TEARS:
        at = _end(between, chars, at) if torn_at < 0 else at
        if at >= len(chars):
            break
        start, end, problem = _whole(chars, at)
        value, why = _value(chars[start:end]) if not problem else (None, problem)
        fits = not why and (torn_at < 0 or (isinstance(value, dict) and is_whole(value)))
        if not fits:
            tears += 1
            if torn_at < 0:
                torn_at, reason = at, why
            if (nested := _closed_before(chars, at, end)) is not None:
                found, no = _value(chars[slice(*nested)])
                if not no and isinstance(found, dict) and is_whole(found):
                    (start, end), value, fits = nested, found, True
        if fits:
            if torn_at >= 0 and start > torn_at:
                yield Part(where.byte(torn_at), where.byte(start), None, reason)
            yield Part(where.byte(start), where.byte(end), value)
            at, torn_at = end, -1
            continue
        at = _next(chars, at, end)
    if torn_at < 0 and at < len(chars):
        torn_at, reason = at, f"not JSON: more than {MAX_TEARS:,} tears in one text"
    if torn_at >= 0:
        yield Part(where.byte(torn_at), len(text), None, reason)


class _Places:
    """The places of characters as places of bytes; asked in order."""

    def __init__(self, chars: str) -> None:
        self.chars, self.char, self.at = chars, 0, 0
        self.ascii = chars.isascii()

    def byte(self, place: int) -> int:
        """Return the byte at which a character begins."""
        if self.ascii:
            return place
        if place >= self.char:
            self.at += len(self.chars[self.char : place].encode("utf-8", "surrogateescape"))
        else:
            self.at = len(self.chars[:place].encode("utf-8", "surrogateescape"))
        self.char = place
        return self.at


def _end(pattern: re.Pattern[str], chars: str, at: int) -> int:
    found = pattern.match(chars, at)
    return found.end() if found else at


def _whole(chars: str, at: int) -> tuple[int, int, str]:
    """Return the bounds of the value at a place; or how far it is one, and why not further."""
    try:
        return at, _DECODE(chars, at)[1], ""
    except JSONDecodeError as error:
        end = len(chars) if error.msg.startswith("Unterminated string") else error.pos
        return (
            at,
            max(end, at),
            "not JSON: it ends in the middle"
            if end >= len(chars.rstrip())
            else f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}",
        )
    except (RecursionError, ValueError):
        return at, len(chars), "not JSON: recursion limit exceeded"


def _value(chars: str) -> tuple[Any, str]:
    try:
        return parse(chars.encode("utf-8", "surrogateescape")), ""
    except InputError as error:
        return None, str(error)


def _closed_before(chars: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the bounds of the object that is closed last, at the end of a torn text."""
    last = start + len(chars[start:end].rstrip(" \t\r\n\0,"))
    if chars[last - 1 : last] != "}":
        return None
    opens: list[int] = []
    closed = -1
    for token in _TOKEN.finditer(chars, start, last):
        if token[0] in "{[":
            opens.append(token.start())
        elif token[0] in "}]":
            closed = opens.pop() if opens else -1
    return (closed, last) if closed > start and chars[closed] == "{" else None


def _next(chars: str, at: int, end: int) -> int:
    """Return where to look on: at the brace by which a tear was met, else at the one after it."""
    near = chars.rfind("{", max(at + 1, end - 2), end + 1)
    if near > at:
        return near
    later = chars.find("{", max(at + 1, end), end + MAX_WINDOW)
    return later if later >= 0 else len(chars)
