r"""JSON that anyone may have written, to values that can be written again, and their names.

Python and Inspect write NaN and Infinity, which are read as such.

>>> parse(rb'{"text": "cut in half \ud83d", "score": -Infinity}')
{'text': 'cut in half \\ud83d', 'score': -inf}
"""

import re
from typing import Any

from pydantic_core import from_json

from backcast.domain.errors import InputError

_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def parse(line: bytes) -> Any:
    """Return the value of a JSON text; else `InputError("not JSON: ...")`.

    Half of a surrogate pair, which is no text, stays in the value as it was escaped.
    """
    try:
        return from_json(line)
    except ValueError as error:
        whole = _ESCAPES.sub(lambda found: b"\\" * bool(found["half"]) + found[0], line)
        if whole != line:
            return parse(whole)
        raise InputError(f"not JSON: {error}") from None


def as_utf8(text: bytes) -> bytes:
    r"""Return JSON whose bytes are all UTF-8: other ones become the text `\xNN`.

    >>> parse(as_utf8('"caf\xe9"'.encode("latin-1")))
    'caf\\xe9'
    """
    chars = text.decode("utf-8", "surrogateescape")
    return _NOT_UTF8.sub(lambda odd: f"\\\\x{ord(odd[0]) - 0xDC00:02x}", chars).encode()


def is_utf8(text: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def named(value: object) -> str:
    """Return the kind of a JSON value in words, for a message."""
    match value:
        case dict():
            keys = ", ".join(sorted(repr(key[:30]) for key in list(value)[:5]))
            return f"an object with {keys}" if keys else "an empty object"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case str():
            return "a string"
        case None:
            return "null"
        case bool():
            return "a boolean"
        case _:
            return "a number"
