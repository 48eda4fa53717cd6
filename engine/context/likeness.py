"""How alike are two names, by the words that they are made of? Rare words count more.

A function is mostly written after others: a sibling in its class, the same method of another class,
a variant under another prefix. Their names tell before any text does.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.engine.context.search.words import words

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


KEPT = 4
"Counts of names for which words stay weighed."


class WeighedWords(NamedTuple):
    """The words of names, each worth more the rarer it is."""

    entries: Numbers
    "The word of each entry."
    owners: Numbers
    "The name of each entry."
    rarity: Floats
    "Of each word."
    unknown: float
    "The rarity of a word that no name has."
    whole: Floats
    "The sum over each name's words."


class NameWords:
    """Names by number, and the words in them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: dict[str, int] = {}
        self._entries, self._names = array("q"), array("q")
        "An entry for each word of each name."
        self._weighed: dict[int, tuple[Numbers, WeighedWords]] = {}
        "What was weighed last, by the identity of the counts."

    def number(self, name: str) -> int:
        """Return the number of a name."""
        known = self._numbers.get(name)
        if known is None:
            known = self._numbers[name] = len(self._numbers)
            for word in dict.fromkeys(_parts(name)):
                self._entries.append(self._words.setdefault(word, len(self._words)))
                self._names.append(known)
        return known

    def known(self, names: Iterable[str]) -> Numbers:
        """Return the numbers of those of some names that have one."""
        return np.array([self._numbers[name] for name in names if name in self._numbers], np.int64)

    def likeness(self, name: str, counts: Numbers) -> Floats:
        """Return how alike each name is to a given one, of (names), between 0 and 1.

        `counts` tells how often each name is there, of (names) or shorter. What two names share is
        weighed against all that either has.
        """
        size, (entries, owners, rarity, unknown, whole) = len(self._numbers), self._weigh(counts)
        asked = {self._words.get(word, -1) for word in _parts(name)}
        total = sum(rarity[word] if word >= 0 else unknown for word in sorted(asked))
        is_asked = np.zeros(len(self._words) + 1, bool)
        is_asked[sorted(asked)] = True  # The last place is that of no word, -1.
        held = np.flatnonzero(is_asked[entries])
        shared = np.bincount(owners[held], weights=rarity[entries[held]], minlength=size)
        either = whole + total - shared
        found: Floats = np.divide(shared, either, out=np.zeros(size), where=either > 0)
        return found

    def _weigh(self, counts: Numbers) -> "WeighedWords":
        """Return the words of all names, weighed by how often these are there."""
        kept, size = self._weighed.get(id(counts)), len(self._numbers)
        if kept is not None and kept[0] is counts and len(kept[1].whole) == size:
            return kept[1]
        known = np.zeros(size)
        known[: min(size, len(counts))] = counts[:size]
        entries, owners = np.array(self._entries, np.int64), np.array(self._names, np.int64)
        spread = np.bincount(entries, weights=known[owners], minlength=len(self._words))
        names = max(1.0, float(known.sum()))
        rarity = np.log1p(names / np.maximum(spread, 0.5))
        whole: Floats = np.bincount(owners, rarity[entries], size).astype(float)
        made = WeighedWords(entries, owners, rarity, float(np.log1p(names / 0.5)), whole)
        if len(self._weighed) >= KEPT:
            self._weighed.clear()
        self._weighed[id(counts)] = counts, made
        return made


def _parts(name: str) -> list[str]:
    """Return the words of a name, without the whole name where it has several."""
    every = words(name)
    return every[1:] if len(every) > 1 else every
