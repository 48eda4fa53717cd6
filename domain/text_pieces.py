"""A text as the lines that a terminal shows, very long ones in pieces.

Of a very long text both ends are read, and what stands around the words that are looked for.

>>> [piece.text for piece in pieces_of("one\\ntwo\\rTWO\\n", ())]
['one', 'TWO']
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

READ = 2**19
"Characters at each end that are read of a text which is longer than both."
AROUND = 1_000
"Characters around a sign of an error that are read in the middle of such a text."
LONGEST = 1_000
"Characters from which on a line is taken in pieces."
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
Span = tuple[int, int]


class TextPiece(NamedTuple):
    """A line, or a piece of a very long one."""

    text: str
    line: int
    "The number of its line, from 1."
    joins: bool = False
    "Whether it goes on with the piece before."


def pieces_of(text: str, words: Sequence[str]) -> list[TextPiece]:
    """Return the lines of a text as a terminal shows them, very long ones in pieces."""
    found, line, at = list[TextPiece](), 1, 0
    for start, end in _stretches(text, words):
        line += text.count("\n", at, start)
        part = text[start:end]
        inside = start > 0 and text[start - 1] != "\n"
        if "\x1b" in part:
            part = _COLOURS.sub("", part)
        for number, own in enumerate(part.split("\n")):
            if "\r" in own:  # what is written over is never seen
                own = own.rstrip("\r").rpartition("\r")[2]
            joins = inside and not number
            if len(own) <= LONGEST:
                found.append(TextPiece(own, line + number, joins))
            else:
                found += (
                    TextPiece(piece, line + number, joins or bool(place))
                    for place, piece in enumerate(_cut(own))
                )
        if found and not found[-1].text and not found[-1].joins:
            found.pop()  # what begins behind the last line break is no line
        line, at = line + part.count("\n"), end
    return found


def _stretches(text: str, words: Sequence[str]) -> list[Span]:
    """Return the parts of a text that are read: all of it, or of a very long one both ends and
    what stands around each word that tells of an error or that is asked for."""
    if len(text) <= 2 * READ:
        return [(0, len(text))]
    found, last = [(0, _line_end(text, READ))], _line_begin(text, len(text) - READ)
    seen = set[str]()
    for place in sorted(place for word in words for place in _places(text, word, READ, last)):
        if place < found[-1][1] - AROUND // 2:
            continue
        key = text[_line_begin(text, place) : _line_end(text, place)]
        if key in seen:
            continue
        seen.add(key)
        begin = max(found[-1][1], _line_begin(text, place - AROUND))
        end = min(last, _line_end(text, place + AROUND))
        if begin == found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    if last <= found[-1][1]:
        return [*found[:-1], (found[-1][0], len(text))]
    return [*found, (last, len(text))]


def _places(text: str, word: str, start: int, end: int) -> Iterator[int]:
    place = text.find(word, start, end)
    while place >= 0:
        yield place
        place = text.find(word, place + len(word), end)


def _line_begin(text: str, place: int) -> int:
    """Return where the line of a place begins, but no further back than some characters."""
    return max(text.rfind("\n", max(0, place - AROUND), place) + 1, place - AROUND, 0)


def _line_end(text: str, place: int) -> int:
    """Return the place behind the end of a line, but no further on than some characters."""
    found = text.find("\n", place, place + AROUND)
    return found + 1 if found >= 0 else min(len(text), place + AROUND)


def _cut(line: str) -> Iterator[str]:
    """Yield a very long line in pieces that end with a word, where there is one."""
    start = 0
    while start < len(line):
        end = min(len(line), start + LONGEST // 2)
        space = line.rfind(" ", start + 1, end) if end < len(line) else -1
        end = space + 1 if space > start + LONGEST // 4 else end
        yield line[start:end]
        start = end
