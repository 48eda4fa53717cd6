"""What only a terminal shows: lines of its width, and signs of success and failure in colour.

Every command may import this module, so it imports nothing slow.
"""

import os
import shutil
import sys

from backcast.engine.interfaces.terminal import PAINTS

GOOD, BAD = "✓", "✗"
LEAST = 40
"Columns to which no line is cut, however narrow the terminal says it is."


def screen_width() -> int | None:
    """Return the columns of the terminal that stdout is; None for a pipe or a file."""
    if not (sys.stdout and sys.stdout.isatty()):  # None where it was closed
        return None
    return max(LEAST, shutil.get_terminal_size().columns)


def cut_to(text: str, width: int | None) -> str:
    """Return a line cut to a width, if there is one.

    >>> cut_to("as wide as it gets", 10), cut_to("as wide", None)
    ('as wide a…', 'as wide')
    """
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def coloured(text: str, colour: str) -> str:
    """Return a text in a colour; as it is where NO_COLOR is set, or stdout is no terminal."""
    if not colour or screen_width() is None or os.environ.get("NO_COLOR"):
        return text
    return f"{PAINTS[colour]}{text}{PAINTS['']}"


def with_colour(sign: str) -> str:
    """Return a sign in its colour."""
    return coloured(sign, {GOOD: "green", BAD: "red"}.get(sign, "")) if sign.strip() else sign
