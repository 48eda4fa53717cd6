r"""Files that are one JSON document: read whole, or as far as they are whole.

Of a document that is cut off or damaged, the fields of its object and the elements of its lists
are read one by one. An element that cannot be read is `UNREAD`, so the others keep their places.

>>> salvaged(b'{"a": 1, "list": [{"b": 2}, {"c": tru}, {"d": 3}, {"e"')[0]
{'a': 1, 'list': [{'b': 2}, UNREAD, {'d': 3}]}
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.compressed import CutError, opened
from backcast.engine.log.importers.first_bytes import LENGTH, kind_of, refuse_binary
from backcast.engine.log.importers.json_values import as_utf8, is_utf8, named, parse
from backcast.engine.log.importers.lines import MAX_FILE, anything, note_bytes, unreadable
from backcast.engine.log.importers.recognised import hint
from backcast.engine.log.importers.torn import Part, pieces

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]', re.DOTALL)


class Unread:
    """The place of an element that could not be read."""

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD = Unread()


class Problem(NamedTuple):
    """A part of a document that could not be read."""

    at: int
    "The byte at which it begins."
    reason: str


def read_json(
    path: Path,
    needed: str,
    is_ours: Callable[[Any], bool],
    word: str,
    report: Report,
    *,
    whole: bool = False,
) -> Any:
    """Return the content of a file that is one JSON document of a format.

    What is damaged in it is reported, and the rest returned; but not of an object that is one
    record, and so must be `whole`. `InputError` with `needed` if the document is of another format,
    or none.
    """
    refuse_binary(path, needed)
    text = _bytes_of(path, needed)
    value, problems, reason = _value(text, report)
    if not is_ours(value) or (whole and reason and isinstance(value, dict)):
        found = f"{named(value)}{hint(value, word)}"
        if reason and not hint(value, word):
            found = f"text that is {reason}"
        found = kind_of(text[:LENGTH]) or (found if text.strip(b"\0 \t\r\n") else _nothing(text))
        raise InputError(f"{path}: needed {needed}, found {found}")
    if zeros := len(text) - len(text.lstrip(b"\0")):
        report.skipped.append(f"line 1: {zeros:,} NUL bytes, as a crash leaves them")
    if zeros := len(text) - len(text.rstrip(b"\0")):
        line = text.count(b"\n") + 1
        report.skipped.append(f"line {line}: {zeros:,} NUL bytes, as a crash leaves them")
    for problem in problems:
        line = text.count(b"\n", 0, problem.at) + 1
        report.skipped.append(f"line {line}: {problem.reason}")
    return value


def _bytes_of(path: Path, needed: str) -> bytes:
    try:
        with opened(path) as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    except CutError as error:
        raise InputError(f"{path}: {error}") from None
    if len(text) > MAX_FILE:
        raise InputError(f"{path}: needed at most {MAX_FILE:,} bytes, found more")
    return text


def _nothing(text: bytes) -> str:
    if not text:
        return "an empty file"
    zeros = text.count(b"\0")
    return f"a file of {zeros:,} NUL bytes" if zeros else "a file of white space"


def _value(text: bytes, report: Report) -> tuple[Any, list[Problem], str]:
    """Return the value of a text, what could not be read of it, and why it is no JSON."""
    inner = text.strip().removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n")
    offset = text.find(inner[:64]) if inner else 0
    try:
        return parse(inner), [], ""
    except InputError as error:
        reason = str(error)
    if not is_utf8(inner):
        note_bytes(text.count(b"\n", 0, offset + _first_odd(inner)) + 1, report)
        inner = as_utf8(inner)
        try:
            return parse(inner), [], ""
        except InputError as error:
            reason = str(error)
    if (several := _several(inner)) is not None:
        values, end = several
        rest = inner[end:].strip(b"\0 \t\r\n")
        behind = [Problem(offset + end, f"{len(rest):,} bytes behind the end are not JSON")]
        return values, behind if rest else [], ""
    value, problems = salvaged(inner)
    return value, [Problem(offset + at, why) for at, why in problems], reason


def _first_odd(text: bytes) -> int:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _several(text: bytes) -> tuple[Any, int] | None:
    """Return the document at the beginning of a text, or the list of all, and where they end."""
    found: list[Part] = []
    for part in pieces(text, anything):
        if part.reason:
            break
        found.append(part)
    if not found or not isinstance(found[0].value, dict | list):
        return None
    values = [part.value for part in found]
    if len(values) > 1 and all(isinstance(value, dict) for value in values):
        return values, found[-1].end
    return values[0], found[0].end


def salvaged(text: bytes) -> tuple[Any, list[Problem]]:
    """Return what can be read of an object or a list, and what cannot."""
    if text[:1] not in (b"{", b"["):
        return None, []
    problems: list[Problem] = []
    slices = list(_slices(text))
    if text[:1] == b"[":
        return _list(text, slices, problems), problems
    found: dict[str, Any] = {}
    for begin, end, whole in slices:
        key, _, rest = _field(text, begin, end)
        if key is None:
            if not whole:
                problems.append(_cut(begin))
            elif text[begin:end].strip():
                problems.append(Problem(begin, "not JSON: needed a field"))
            continue
        value = _part(text, rest, end, whole, problems)
        if value is not UNREAD:
            found[key] = value
    return found, problems


def _part(text: bytes, begin: int, end: int, whole: bool, problems: list[Problem]) -> Any:
    """Return the value of a field; that of a list as far as it can be read."""
    if whole:
        try:
            return parse(text[begin:end])
        except InputError as error:
            reason = str(error)
    else:
        reason = "not JSON: it is cut off"
    if text[begin : begin + 1] == b"[":
        inner = text[begin:end]
        below: list[Problem] = []
        value = _list(inner, list(_slices(inner)), below)
        problems.extend(Problem(begin + at, why) for at, why in below)
        return value
    problems.append(Problem(begin, reason))
    return UNREAD


def _list(text: bytes, slices: list[tuple[int, int, bool]], problems: list[Problem]) -> list[Any]:
    values: list[Any] = []
    for number, (begin, end, whole) in enumerate(slices, 1):
        if not whole:
            problems.append(_cut(begin, f"element {number}"))
            continue
        if not text[begin:end].strip():
            continue
        try:
            values.append(parse(text[begin:end]))
        except InputError as error:
            values.append(UNREAD)
            problems.append(Problem(begin, f"element {number}: {error}"))
    return values


def _cut(at: int, what: str = "the last field") -> Problem:
    return Problem(at, f"{what}: not JSON: it is cut off, and what came before is read")


def _slices(text: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield the bounds of each item of an object or a list, and whether it ends."""
    depth, begin = 0, 1
    for token in _TOKEN.finditer(text):
        mark = text[token.start() : token.start() + 1]
        if mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
            if not depth:
                yield begin, token.start(), True
                return
        elif mark == b"," and depth == 1:
            yield begin, token.start(), True
            begin = token.end()
    yield begin, len(text), False


def _field(text: bytes, begin: int, end: int) -> tuple[str | None, int, int]:
    """Return the key of a field, and where its colon and its value are."""
    found = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL).match(text, begin, end)
    if not found:
        return None, begin, begin
    try:
        return str(parse(found[1])), found.end(1), found.end()
    except InputError:
        return None, begin, begin
