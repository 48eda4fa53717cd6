"""The words of texts, and how well texts answer to words (BM25).

An identifier counts whole and in its parts, which underscores and capitals divide, all in lower
case. There is no list of stop words and no stemming: code has its own.

What a word weighs depends on how many of the current texts hold it. Libraries fix that when they
index, and would have to index each moment anew: bm25s takes 2 s for 50,000 texts of 60 words. So
texts are counted once here, and a moment takes from the counts what is current.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from itertools import chain, count, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

SATURATION = 1.2
"BM25's k1: how soon more of the same word in a text stops to count."
LENGTH = 0.75
"BM25's b: how much a long text is held against itself."

_IDENTIFIER = re.compile(r"\w+")
_BREAK = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words(text: str) -> list[str]:
    """Return the words of a text, in order.

    >>> words("def parse_json(HTTPServer): ...")
    ['def', 'parse_json', 'parse', 'json', 'httpserver', 'http', 'server']
    """
    return [word for found in _IDENTIFIER.findall(text) for word in _parts(found)]


@lru_cache(maxsize=50_000)
def _parts(identifier: str) -> Sequence[str]:
    parts = [part.lower() for part in _BREAK.split(identifier) if part]
    whole = identifier.lower()
    return parts if parts == [whole] or not parts else [whole, *parts]


class CurrentWords(NamedTuple):
    """The words of the current documents; texts are numbered as they were chosen, from 0."""

    numbers: Mapping[str, int]
    documents: int
    weights: Numbers
    "Per text, how many current documents have it."
    starts: Numbers
    "Per word, where its entries begin; they end where those of the next begin."
    texts: Numbers
    "Per entry, the text that holds the word."
    impacts: Floats
    "Per entry, BM25's fraction: how much the word says there, however rare it is."
    mean: float
    "Words of a document, in the mean."

    def scores(self, query: str) -> Floats:
        """Return how well each text answers a query."""
        scores = np.zeros(len(self.weights))
        # In one order, since a sum of floats depends on it.
        for word in sorted(set(words(query))):
            entries = self.entries(word)
            scores[self.texts[entries]] += self.rarity(word) * self.impacts[entries]
        return scores

    def entries(self, word: str) -> slice:
        """Return the entries of a word."""
        number = self.numbers.get(word, len(self.starts))
        return slice(*self.starts[number : number + 2]) if number + 1 < len(self.starts) \
            else slice(0, 0)  # fmt: skip

    def rarity(self, word: str) -> float:
        """Return how rare a word is in the documents."""
        holders = int(self.weights[self.texts[self.entries(word)]].sum())
        return math.log(1 + (self.documents - holders + 0.5) / (holders + 0.5))

    def score(self, query: str, text: str) -> float:
        """Return how well a text that is none of the documents answers a query."""
        held = Counter(words(text))
        norm = SATURATION * (1 - LENGTH + LENGTH * held.total() / self.mean)
        known = [word for word in sorted(set(words(query))) if word in held]
        return sum(self.rarity(word) * held[word] / (held[word] + norm) for word in known)


class WordMemory:
    """The words of texts as they were counted before; equal texts have equal words."""

    def __init__(
        self, words: Sequence[str], digests: Sequence[bytes], sizes: Numbers, entries: Numbers
    ) -> None:
        """`entries` is of (2, entries): each word's number, and how often it stands in its text;
        `sizes` are the entries of each text."""
        self.words = words
        ends = [0, *(8 * np.cumsum(sizes)).tolist()]
        self._places = dict(zip(digests, pairwise(ends), strict=True))
        self._numbers, self._counts = (row.tobytes() for row in entries)
        self.made: list[WordCounts] = []
        "All that counts by this memory."
        self.missed = 0
        "Texts that were counted, since they were not known."

    def entries(self, digest: bytes) -> tuple[bytes, bytes] | None:
        """Return the numbers of a text's words, and how often each of them stands in it."""
        place = self._places.get(digest)
        if place is None:
            self.missed += 1
            return None
        known = slice(*place)
        return self._numbers[known], self._counts[known]


MEMORY: ContextVar[WordMemory | None] = ContextVar("MEMORY", default=None)
"The memory that word counts are made with."


class WordCounts:
    """How often each word stands in each text; texts are rows, from 0."""

    def __init__(self) -> None:
        self._memory, self.digests = MEMORY.get(), list[bytes]()
        "The second: of each text, where there is a memory."
        self._numbers: dict[str, int] = {}
        "Of words, in the order in which they were met."
        if self._memory:
            self._numbers.update(zip(self._memory.words, count()))
            self._memory.made.append(self)
        self._known: dict[str, tuple[int, ...]] = {}
        "The numbers of an identifier's words."
        self._words, self._rows, self._counts = array("q"), array("q"), array("q")
        "An entry for each word of each text."
        self._lengths = array("q")
        self._columns: tuple[Numbers, Numbers, Floats] | None = None

    def add(self, text: str) -> None:
        """Count the words of one more text."""
        self._columns = None
        if self._memory:
            digest = xxh3_128_digest(text.encode(errors="surrogatepass"))
            self.digests.append(digest)
            if found := self._memory.entries(digest):
                self._take(*found)
                return
        numbers = chain.from_iterable(map(self._numbered, _IDENTIFIER.findall(text)))
        counts = Counter(numbers)
        self._words.extend(counts)
        self._rows.extend([len(self._lengths)] * len(counts))
        self._counts.extend(counts.values())
        self._lengths.append(counts.total())

    def _take(self, numbers: bytes, counts: bytes) -> None:
        """Take over the words of one more text."""
        held = array("q", counts)
        self._words.frombytes(numbers)
        self._rows.extend([len(self._lengths)] * len(held))
        self._counts.extend(held)
        self._lengths.append(sum(held))

    @property
    def entries(self) -> tuple[list[str], Numbers, Numbers, Numbers]:
        """All words; and per entry the number of its word, its text, and how often it stands
        there."""
        columns = (self._words, self._rows, self._counts)
        numbers, rows, counts = (np.array(column, np.int64) for column in columns)
        return list(self._numbers), numbers, rows, counts

    def _numbered(self, identifier: str) -> tuple[int, ...]:
        known = self._known.get(identifier)
        if known is None:
            numbers = self._numbers
            known = tuple(numbers.setdefault(word, len(numbers)) for word in _parts(identifier))
            self._known[identifier] = known
        return known

    def current(self, rows: Numbers, weights: Numbers) -> CurrentWords:
        """Return the words of some rows, rising, and how many documents each of them stands for."""
        self._columns = self._columns or self._by_word()
        starts, holding, counts = self._columns
        places = np.full(len(self._lengths), -1)
        places[rows] = np.arange(len(rows))
        texts = places[holding]
        kept = texts >= 0
        texts, counts = texts[kept], counts[kept]
        lengths = np.array(self._lengths, np.int64)[rows]
        documents = int(weights.sum())
        mean = int((lengths * weights).sum()) / max(1, documents) or 1.0
        norms = SATURATION * (1 - LENGTH) + lengths * (SATURATION * LENGTH / mean)
        before = np.concatenate(([0], np.cumsum(kept)))
        impacts = counts / (counts + norms[texts])
        return CurrentWords(self._numbers, documents, weights, before[starts], texts, impacts, mean)

    def _by_word(self) -> tuple[Numbers, Numbers, Floats]:
        """Return the entries as a sparse matrix by columns: where each begins, rows, counts."""
        numbers = np.array(self._words, np.int64)
        # Word and place in one number: a plain sort of these is far faster than a stable one.
        order = (numbers << 32) + np.arange(len(numbers))
        order.sort()
        order &= 2**32 - 1
        starts = np.zeros(len(self._numbers) + 1, np.int64)
        starts[1:] = np.cumsum(np.bincount(numbers, minlength=len(self._numbers)))
        return (
            starts,
            np.array(self._rows, np.int64)[order],
            np.array(self._counts, np.float64)[order],
        )
