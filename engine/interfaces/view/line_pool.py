"""Keep many texts that are alike once: their lines in one list, and each text as runs of it.

A browser inflates what lies at most 32 KB apart, and versions of one file lie further apart than
that. Here a text is a few runs of lines that others have, and the lines that are new in it.

>>> first = "".join(f"line {n} of a text\\n" for n in range(9))
>>> kept = pooled([first, f"{first}one more\\n"])
>>> kept.runs
[[9], [0, 0, 9, 1]]
>>> kept.lines[-1]
'one more\\n'
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_PARTS = re.compile(r"[^\n<]*\n|<[^\n<]*\n?|[^\n<]+")
"A line, or what stands from one tag to the next: panels are long lines of many tags."
SHORTEST = 64
"Characters of a run that is worth naming; a shorter one stands again."
TRIED = 4
"Places of a pair of lines that are tried, the latest first."


class PooledTexts(NamedTuple):
    """Texts as runs of lines."""

    lines: list[str]
    runs: list[list[int]]
    """Of each text: lines that are new in it, in threes with a run: where it begins, counted from
    the end of the run before, and its lines. New lines stand in the order of the texts."""


def pooled(texts: Iterable[str]) -> PooledTexts:
    """Return texts as runs of lines; the page's script puts them together again."""
    pool = _LinePool()
    return PooledTexts(pool.lines, [pool.add(text) for text in texts])


class _LinePool:
    """The lines of all texts so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._ids: list[int] = []
        "The number of each line in the pool, by what it says."
        self._numbers: dict[str, int] = {}
        self._places: dict[tuple[int, int], list[int]] = {}
        "Where two lines stand one behind the other."

    def add(self, text: str) -> list[int]:
        """Return the runs of a text, and keep the lines that are new in it."""
        lines = _PARTS.findall(text)
        ids = [self._numbers.setdefault(line, len(self._numbers)) for line in lines]
        found, end, at = [0], 0, 0
        while at < len(ids):
            place, count = self._longest(ids, at, lines)
            if count:
                found += (place - end, count, 0)
                end = place + count
            else:
                found[-1] += 1
                self._append(lines[at], ids[at])
            at += count or 1
        return found

    def _append(self, line: str, number: int) -> None:
        if self._ids:
            self._places.setdefault((self._ids[-1], number), []).append(len(self._ids) - 1)
        self.lines.append(line)
        self._ids.append(number)

    def _longest(self, ids: list[int], at: int, lines: list[str]) -> tuple[int, int]:
        """Return where the longest run stands that a text goes on with, and its lines, or none."""
        best, count = 0, 0
        if at + 1 == len(ids):
            return best, count
        for place in reversed(self._places.get((ids[at], ids[at + 1]), ())[-TRIED:]):
            if self._ids[place + count : place + count + 1] != ids[at + count : at + count + 1]:
                continue
            size = _alike(self._ids, place, ids, at)
            if size > count:
                best, count = place, size
        long = count > SHORTEST or sum(map(len, lines[at : at + count])) >= SHORTEST
        return (best, count) if long else (0, 0)


def _alike(pool: list[int], place: int, ids: list[int], at: int) -> int:
    """Return how many lines are the same from two places on: two at the least."""
    size, step, grows = 2, 2, True
    while step:
        here, other = ids[at + size : at + size + step], pool[place + size : place + size + step]
        if len(here) == step and here == other:
            size += step
            step *= 1 + grows
        else:
            step, grows = step // 2, False
    return size
