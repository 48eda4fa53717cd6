r"""Lines and JSON of files that anyone may have written: bounded, with one reason for each problem.

>>> parse(rb'{"text": "cut in half \ud83d"}')
{'text': 'cut in half \\ud83d'}
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.compressed import CutError, opened

MAX_LINE = 64 * 2**20
"Bytes of the longest line that is read."
MAX_FILE = 2**30
"Bytes of the longest file that is read as one JSON document."
BOM = b"\xef\xbb\xbf"

_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def read_lines(path: Path, report: Report, longest: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, stripped, with their numbers from 1.

    A line over `longest` bytes is reported and skipped, a piece at a time. A file compressed by
    zstd is read as its content; a cut is reported after all that came before it. Raises
    `InputError` if the file cannot be read.
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
                elif stripped := (line.removeprefix(BOM) if number == 1 else line).strip():
                    yield number, stripped
    except CutError as error:
        report.skipped.append(f"line {number + 1}: {error}; what follows is not read")
    except OSError as error:
        raise unreadable(path, error) from None


def _pass_over(file: BinaryIO) -> None:
    while (piece := file.readline(2**20)) and not piece.endswith(b"\n"):
        pass


def read_objects(path: Path, report: Report, is_whole: Callable[[dict[str, Any]], bool] = lambda value: True) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Yield the lines that are JSON objects; the others are reported with the reason."""
    for number, line in read_lines(path, report):
        try:
            value = parse(line)
        except InputError as error:
            report.skipped.append(f"line {number}: {error}")
            continue
        if isinstance(value, dict):
            yield number, line, value
        else:
            report.skipped.append(f"line {number}: needed a JSON object, found {named(value)}")


def first_object(path: Path, test: Callable[[dict[str, Any]], bool], needed: str) -> dict[str, Any]:
    """Return the first line that is an object of the format; `InputError` if there is none."""
    found = "no line"
    for _, line in read_lines(path, Report()):
        try:
            value = parse(line)
        except InputError as error:
            value, found = None, f"text that is {error}" if found == "no line" else found
        else:
            found = named(value) if found == "no line" else found
        if isinstance(value, dict) and test(value):
            return value
    raise InputError(f"{path}: needed {needed}, found {found}")


def read_json(path: Path, needed: str) -> object:
    """Return the content of a file that is one JSON document; else `InputError` with `needed`."""
    try:
        if (size := path.stat().st_size) > MAX_FILE:
            raise InputError(f"{path}: needed at most {MAX_FILE:,} bytes, found {size:,}")
        return parse(path.read_bytes().removeprefix(BOM))
    except OSError as error:
        raise unreadable(path, error) from None
    except InputError as error:
        if str(error).startswith("not JSON"):
            raise InputError(f"{path}: needed {needed}, found text that is {error}") from None
        raise


def parse(line: bytes) -> Any:
    """Return the value of a JSON text; else `InputError("not JSON: ...")`.

    Half of a surrogate pair, which is no text, stays in the value as it was escaped.
    """
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError as error:
        whole = _ESCAPES.sub(lambda found: b"\\" * bool(found["half"]) + found[0], line)
        if whole != line:
            return parse(whole)
        raise InputError(f"not JSON: {error}") from None


def named(value: object) -> str:
    """Return the kind of a JSON value in words, for a message."""
    match value:
        case dict():
            keys = ", ".join(sorted(repr(key[:30]) for key in list(value)[:5]))
            return f"an object with {keys}" if keys else "an empty object"
        case list():
            return f"a list of {len(value)}"
        case str():
            return "a string"
        case None:
            return "null"
        case bool():
            return "a boolean"
        case _:
            return "a number"


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the error for a file that the system does not let us read."""
    return InputError(f"{path}: needed a readable file, found: {error.strerror or error}")
