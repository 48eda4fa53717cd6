"""The lines of a module around the place where a function stands, or will stand.

Much of what a function is written like stands next to it: whole, in parts, or between functions.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

ABOVE = 2
"Lines above the place for each line below it, as long as there are some."


class Excerpt(NamedTuple):
    """Lines around a place, counted from 1."""

    first: int
    "The first line."
    above: int
    "The last line above the place."
    below: int
    "The first line below it."
    last: int
    "The last line; less than `below` where nothing below is shown."

    def holds(self, first: int, last: int) -> bool:
        """Tell whether all of some lines are shown."""
        return self.first <= first <= last <= self.above or self.below <= first <= last <= self.last

    def overlaps(self, first: int, last: int) -> bool:
        """Tell whether any of some lines are shown."""
        return first <= self.last and last >= self.first

    def text(self, lines: Sequence[str]) -> str:
        """Return the shown lines of a module."""
        shown = [*lines[self.first - 1 : self.above], *lines[self.below - 1 : self.last]]
        return "\n".join(shown).strip("\n")


def excerpt(
    lines: Sequence[str], above: int, below: int, limit: int, count: Callable[[str], int]
) -> Excerpt:
    """Return lines up to `above` and from `below` on, of at most so many tokens.

    >>> excerpt("abcdefgh", 4, 6, 4, len)
    Excerpt(first=2, above=4, below=6, last=6)
    >>> excerpt("abcdefgh", 0, 1, 3, len).text("abcdefgh")
    'a\\nb\\nc'
    """
    free, first, last = limit, above + 1, below - 1
    turn = 0
    while first > 1 or last < len(lines):
        up = first > 1 and (turn % (ABOVE + 1) < ABOVE or last >= len(lines))
        line = lines[first - 2] if up else lines[last]
        free -= count(line)
        if free < 0:
            break
        first, last = (first - 1, last) if up else (first, last + 1)
        turn += 1
    return Excerpt(first, above, below, last)
