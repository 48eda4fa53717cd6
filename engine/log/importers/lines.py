"""Lines of files that anyone may have written: bounded, with one reason for each problem."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.compressed import CutError, opened
from backcast.engine.log.importers.first_bytes import LENGTH, kind_of, refuse_binary
from backcast.engine.log.importers.json_values import as_utf8, is_utf8, named, parse
from backcast.engine.log.importers.recognised import hint
from backcast.engine.log.importers.torn import pieces

MAX_LINE = 64 * 2**20
"Bytes of the longest line that is read."
MAX_FILE = 2**30
"Bytes of the longest file that is read as one JSON document."
BOM = b"\xef\xbb\xbf"
OPEN = b"{[,:"
"The last bytes of a line that opens a value of several lines."

Test = Callable[[dict[str, Any]], bool]
Line = tuple[int, bytes, Any]
"Its number from 1, its text, and its value."


def anything(value: dict[str, Any]) -> bool:
    """Return True."""
    return True


def read_lines(path: Path, report: Report, longest: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, stripped, with their numbers from 1.

    A line over `longest` bytes is reported and skipped, a piece at a time. Marks of byte order and
    zeros, as a crash leaves them, are no part of a line. A compressed file is read as its content;
    a cut is reported after all that came before it. Raises `InputError` if the file cannot be read.
    """
    number = 0
    try:
        with opened(path) as file:
            while line := file.readline(longest + 1):
                number += 1
                if len(line) > longest and not line.endswith(b"\n"):
                    _pass_over(file)
                    report.skipped.append(
                        f"line {number}: needed at most {longest:,} bytes, found more"
                    )
                    continue
                stripped = line.strip()
                if stripped[:1] == b"{" and stripped[-1:] == b"}" and b"\r" not in stripped:
                    yield number, stripped
                    continue
                # In a file of an old Mac, a carriage return alone ends a line.
                ends, number = not line.endswith(b"\n"), number - 1
                for count, part in enumerate(stripped.split(b"\r")):
                    number += 1 if ends or not count else 0
                    if cleaned := _cleaned(part, number, report):
                        yield number, cleaned
    except CutError as error:
        report.skipped.append(f"line {number + 1}: {error}; what follows is not read")
    except OSError as error:
        raise unreadable(path, error) from None


def _cleaned(line: bytes, number: int, report: Report) -> bytes:
    """Return a line without the zeros and marks around it; zeros are reported."""
    kept = line.strip()
    while (less := kept.removeprefix(BOM).strip(b"\0").strip()) != kept:
        kept = less
    if zeros := line.count(b"\0") - kept.count(b"\0"):
        beside = "; the rest of the line is read" if kept else ""
        report.skipped.append(f"line {number}: {zeros:,} NUL bytes, as a crash leaves them{beside}")
    return kept


def _pass_over(file: BinaryIO) -> None:
    while (piece := file.readline(2**20)) and not piece.endswith(b"\n"):
        pass


def read_values(
    path: Path, report: Report, longest: int = MAX_LINE, is_whole: Test = anything
) -> Iterator[Line]:
    """Yield the JSON values of a file; what is none is reported with the reason.

    There should be one a line. A value over several lines, two on a line, a list of all, and a
    whole one (see `is_whole`) behind one that was cut off are found too.
    """
    lines = read_lines(path, report, longest)
    for number, line in lines:
        try:
            value = parse(line)
        except InputError as error:
            if opens_more(line, str(error)):
                yield from _document(line, lines, number, report, is_whole)
                return
            yield from _mended(line, number, report, is_whole, str(error))
            continue
        if isinstance(value, list) and _is_list_of(value, is_whole):
            yield from ((number, to_json(item), item) for item in value)
        else:
            yield number, line, value


def opens_more(line: bytes, error: str) -> bool:
    """Return whether a line that is no JSON opens a value that goes on in the next lines."""
    return "EOF while parsing" in error and line[:1] in b"{[" and line[-1:] in OPEN


def _is_list_of(value: list[Any], is_whole: Test) -> bool:
    return all(isinstance(item, dict) for item in value) and any(map(is_whole, value))


def _document(
    first: bytes, lines: Iterator[tuple[int, bytes]], number: int, report: Report, is_whole: Test
) -> Iterator[Line]:
    """Yield the values of a file that has not one a line: one or several, or the list of all."""
    texts, numbers, size = [first], [number], len(first)
    for place, text in lines:
        texts.append(text)
        numbers.append(place)
        if (size := size + len(text)) > MAX_FILE:
            report.skipped.append(f"line {place}: needed at most {MAX_FILE:,} bytes, found more")
            break
    starts, at = list[int](), 0
    for text in texts:
        starts.append(at)
        at += len(text) + 1
    yield from _parts(b"\n".join(texts), starts, numbers, report, is_whole, first[:1] == b"[")


def _mended(line: bytes, number: int, report: Report, is_whole: Test, error: str) -> Iterator[Line]:
    """Yield the values on a line that is no JSON as a whole."""
    if not is_utf8(line):
        try:
            value = parse(as_utf8(line))
        except InputError:
            pass
        else:
            note_bytes(number, report)
            yield number, line, value
            return
    yield from _parts(line, [0], [number], report, is_whole, line[:1] == b"[", error)


def note_bytes(number: int, report: Report) -> None:
    """Note, once a file, that bytes were kept which are no text."""
    note = r"bytes that are not UTF-8 were read as \xNN (Latin-1? iconv converts), first in line "
    if not any(line.startswith(note) for line in report.notes):
        report.notes.append(f"{note}{number}")


def _parts(
    text: bytes,
    starts: list[int],
    numbers: list[int],
    report: Report,
    is_whole: Test,
    in_list: bool,
    error: str = "",
) -> Iterator[Line]:
    """Yield the whole values of a text, and report its torn parts by the lines they begin in."""
    parts = list(pieces(text, is_whole, in_list=in_list))
    if error and not any(isinstance(part.value, dict) for part in parts):
        report.skipped.append(f"line {numbers[0]}: {error}")
        return
    for place, part in enumerate(parts):
        number = numbers[bisect_right(starts, part.start) - 1]
        if not part.reason:
            yield number, text[part.start : part.end].strip(), part.value
            continue
        reason = error if len(parts) == 1 and error else part.reason
        if place + 1 < len(parts):
            size = part.end - part.start
            reason = f"{size:,} bytes are no whole record; the whole one behind them is read"
        report.skipped.append(f"line {number}: {reason}")


def read_objects(
    path: Path, report: Report, is_whole: Test = anything
) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Yield the values that are JSON objects; the others are reported with the reason."""
    for number, line, value in read_values(path, report, is_whole=is_whole):
        if isinstance(value, dict):
            yield number, line, value
        else:
            report.skipped.append(f"line {number}: needed a JSON object, found {named(value)}")


def first_object(path: Path, test: Test, needed: str, word: str) -> dict[str, Any]:
    """Return the first object of the format; `InputError` if there is none."""
    refuse_binary(path, needed)
    report = Report()
    first: object = ...
    found = ""
    for _, _, value in read_values(path, report, is_whole=test):
        if isinstance(value, dict) and test(value):
            return value
        if not found:
            first, found = value, named(value)
    found = f"{found}{hint(first, word)}" if isinstance(first, dict | list) else ""
    found = found or nothing_in(path, report, "" if first is ... else named(first))
    raise InputError(f"{path}: needed {needed}, found {found}")


def nothing_in(path: Path, report: Report, value: str) -> str:
    """Return in words what a file is that holds nothing of a log; at most a plain value."""
    try:
        with path.open("rb") as file:
            head = file.read(LENGTH)
        with opened(path) as file:
            inner = file.read(LENGTH)
    except OSError as error:
        raise unreadable(path, error) from None
    except CutError as error:
        return _cut(str(error))
    if kind := kind_of(head) or kind_of(inner):
        return kind
    if not head:
        return "an empty file"
    if not report.skipped:
        return value or "a file of white space"
    reason = report.skipped[0].partition(": ")[2]
    return f"text that is {reason}" if reason.startswith("not JSON") else _cut(reason)


def _cut(reason: str) -> str:
    """Return what a file is, in the words of the error that found it cut off."""
    kind = reason.removeprefix("needed a whole ").partition(", found one that is")[0]
    return f"a {kind} that is cut off" if kind != reason else reason


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the error for a file that the system does not let us read."""
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: needed a file, found a folder: name a file in it")
    return InputError(f"{path}: needed a readable file, found: {error.strerror or error}")
