"""The lines that open what a function or class stands in: classes, and blocks such as `if WIN:`.

Without them an indented function reads as a method of whatever class was shown above it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

BLOCK = re.compile(r"(if|elif|else|try|except|finally|with|for|while|match|case|async)\b.*")
GOES_ON = re.compile(r"(elif|else|except|finally)\b")
OPENS = re.compile(r"(if|try|for|while)\b")
MOST = 6
"The most lines of the head of a block."


class Opening(NamedTuple):
    """Lines that open a class or a block."""

    line: int
    "The first of them, counted from 1."
    text: str


class EnclosingLines:
    """The openings around the functions and classes of one module."""

    def __init__(
        self,
        lines: Sequence[str],
        places: Mapping[str, tuple[int, int]],
        signature: Callable[[str], str],
    ) -> None:
        """`places` are the first and last line of each function and class, `signature` gives the
        `class` or `def` line of each."""
        self.lines, self.places, self.signature = lines, places, signature
        self._known: dict[str, tuple[Opening, ...]] = {}

    def of(self, name: str) -> tuple[Opening, ...]:
        """Return what opens around a function or class, the outermost first."""
        if name not in self._known:
            self._known[name] = tuple(self._around(name))
        return self._known[name]

    def own(self, name: str) -> tuple[Opening, ...]:
        """Return the same, and behind it the line of the class itself."""
        return (*self.of(name), Opening(self.places.get(name, (0, 0))[0], self.signature(name)))

    def _around(self, name: str) -> Iterator[Opening]:
        owner = name.rpartition(".")[0]
        first, last = self.places.get(name, (0, 0))
        if owner in self.places and self.signature(owner):
            yield from self.own(owner)
            begin = self.places[owner][0]
            inside = margin(self.signature(owner)) + 4
        else:
            begin, inside = 0, 0
        if begin < first <= last <= len(self.lines) and margin(self.lines[first - 1]) > inside:
            yield from blocks(self.lines, first, begin)


def blocks(lines: Sequence[str], first: int, begin: int = 0) -> list[Opening]:
    """Return the openings of blocks around line `first`, of those behind line `begin`.

    >>> text = "if WIN:\\n    a()\\nelse:\\n    def f():\\n        pass".split("\\n")
    >>> blocks(text, 4)
    [Opening(line=3, text='if WIN:\\n    ...\\nelse:')]
    """
    found, depth = list[Opening](), margin(lines[first - 1])
    for number in range(first - 1, begin, -1):
        line = lines[number - 1]
        if not depth:
            break
        own = margin(line)
        if line.strip() and own < depth and BLOCK.match(line.strip()):
            found.append(Opening(number, _head(lines, number, begin)))
            depth = own
    return found[::-1]


def _head(lines: Sequence[str], number: int, begin: int) -> str:
    """Return the head of a block, and above it that of the statement which it goes on."""
    text, depth = _whole(lines, number), margin(lines[number - 1])
    if GOES_ON.match(lines[number - 1].strip()):
        for above in range(number - 1, begin, -1):
            line = lines[above - 1]
            if line.strip() and margin(line) == depth and OPENS.match(line.strip()):
                return f"{_whole(lines, above)}\n{' ' * (depth + 4)}...\n{text}"
    return text


def _whole(lines: Sequence[str], number: int) -> str:
    """Return the lines from one on up to that which ends with a colon."""
    for end in range(number, min(number + MOST, len(lines) + 1)):
        if lines[end - 1].partition("  #")[0].rstrip().endswith(":"):
            return "\n".join(lines[number - 1 : end])
    return lines[number - 1]


def margin(line: str) -> int:
    """Return how far a line is indented."""
    return len(line) - len(line.lstrip())
