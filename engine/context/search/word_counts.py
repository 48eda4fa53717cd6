"""Counts of the words in texts: each text is counted once, whatever moments hold it."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, count, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xxhash import xxh3_128_digest

from backcast.engine.context.search.words import FORM, IDENTIFIER, parts_of

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


class HeldWords(NamedTuple):
    """Where some words stand: an entry for each text that holds one of them."""

    asked: Sequence[str]
    words: Numbers
    "Places in `asked`; they rise, for each text by itself."
    texts: Numbers
    counts: Floats

    def of_forms(self, texts: int) -> "HeldWords":
        """Return the entries of words where these are those of their forms, one by one, in each of
        so many texts."""
        sizes = [word.count(FORM) + 1 for word in self.asked]
        words = np.repeat(np.arange(len(self.asked)), sizes)[self.words]
        cells, places = np.unique(words * texts + self.texts, return_inverse=True)
        counts: Floats = np.bincount(places, self.counts, len(cells)).astype(float)
        held, places = np.divmod(cells, max(texts, 1))
        return HeldWords(self.asked, held, places, counts)


class CountedWords(NamedTuple):
    """Entries for each word of some texts, sorted by word."""

    words: Numbers
    texts: Numbers
    counts: Floats


class CountedTexts(NamedTuple):
    """Texts and their words, in the form in which they are kept."""

    words: Sequence[str]
    digests: Sequence[bytes]
    "Of each text."
    lengths: Numbers
    "The number of words of each text."
    entries: CountedWords
    groups: Mapping[bytes, Numbers]
    "See `WordCounts.together`."


class NumberedWords(dict[str, tuple[int, ...]]):
    """The numbers of the words of each identifier; what is met first is numbered."""

    def __init__(self, numbers: dict[str, int]) -> None:
        """`numbers` are those of words, in the order in which they were met."""
        super().__init__()
        self._numbers = numbers

    def __missing__(self, identifier: str) -> tuple[int, ...]:
        numbers = self._numbers
        known = tuple(numbers.setdefault(word, len(numbers)) for word in parts_of(identifier))
        self[identifier] = known
        return known


class WordCounts:
    """How often each word stands in each text; equal texts are one, and numbered from 0.

    The entries are kept in a few parts that are sorted by word, each less than half as long as the
    one before. So a text that is added, or is no longer current, costs little, and a query costs
    what its own words hold.
    """

    def __init__(self) -> None:
        self.new = 0
        "Texts that had to be counted."
        self._texts_known: dict[bytes, int] = {}
        "The numbers of texts, by their digests."
        self._asked = bytearray()
        "1 for each text that was asked for, else 0."
        self._groups: dict[bytes, Numbers] = {}
        self._groups_asked: dict[bytes, None] = {}
        self._numbers: dict[str, int] = {}
        "Of words, in the order in which they were met."
        self._known = NumberedWords(self._numbers)
        self._parts: list[CountedWords] = []
        self._words, self._texts, self._counts = array("q"), array("q"), array("q")
        "An entry for each word of each text that is in none of the parts."
        self._lengths = array("q")

    @classmethod
    def of(cls, kept: CountedTexts) -> "WordCounts":
        """Return texts that were counted before; none of them counts as asked for."""
        made = cls()
        made._texts_known.update(zip(kept.digests, count()))
        made._asked, made._lengths = bytearray(len(kept.lengths)), array("q", kept.lengths.tolist())
        made._groups.update(kept.groups)
        made._numbers.update(zip(kept.words, count()))
        made._parts += [kept.entries] if len(kept.entries.words) else []
        return made

    def __len__(self) -> int:
        return len(self._lengths)

    def number(self, text: str) -> int:
        """Return the number of a text, whose words are counted when it is asked for first."""
        digest = xxh3_128_digest(text.encode(errors="surrogatepass"))
        number = self._texts_known.get(digest)
        if number is None:
            number = self._texts_known[digest] = len(self._lengths)
            self._count(text)
        self._asked[number] = 1
        return number

    def together(self, key: bytes, texts: Callable[[], Iterable[str]]) -> Numbers:
        """Return the numbers of texts that are cut from one, without making them anew.

        `key` is a digest of all that they are made of.
        """
        found = self._groups.get(key)
        if found is None:
            found = np.array([self.number(text) for text in texts()], np.int64)
            self._groups[key] = found
        else:
            np.frombuffer(self._asked, np.uint8)[found] = 1
        self._groups_asked[key] = None
        return found

    def asked(self) -> CountedTexts:
        """Return all texts that were asked for, in the form in which they are kept."""
        texts = np.frombuffer(bytes(self._asked), np.uint8).astype(bool)
        places = np.cumsum(texts) - 1
        columns = zip(NOWHERE, *self._sorted(), strict=True)
        entries = CountedWords(*(np.concatenate(some) for some in columns))
        entries = CountedWords(*(column[texts[entries.texts]] for column in entries))
        held = np.bincount(entries.words, minlength=len(self._numbers)) > 0
        numbers, texts_now = np.cumsum(held)[entries.words] - 1, places[entries.texts]
        return CountedTexts(
            [word for word, is_held in zip(self._numbers, held.tolist(), strict=True) if is_held],
            [digest for digest, number in self._texts_known.items() if texts[number]],
            self.lengths(len(texts))[texts],
            _by_word(numbers, texts_now, entries.counts),
            {key: places[self._groups[key]] for key in self._groups_asked},
        )

    def _count(self, text: str) -> None:
        """Count the words of one more text."""
        found = map(self._known.__getitem__, IDENTIFIER.findall(text))
        counts = Counter(chain.from_iterable(found))
        self._words.extend(counts)
        self._texts.extend(repeat(len(self._lengths), len(counts)))
        self._counts.extend(counts.values())
        self._lengths.append(counts.total())
        self._asked.append(1)
        self.new += 1

    def lengths(self, count: int) -> Numbers:
        """Return the number of words of each of the first texts."""
        return np.array(self._lengths[:count], np.int64)

    def holding(self, asked: Sequence[str]) -> HeldWords:
        """Return where all texts hold some words."""
        numbers = np.array([self._numbers.get(word, -1) for word in asked], np.int64)
        found = [_entries(part, numbers) for part in self._sorted()]
        places, texts, counts = (
            np.concatenate(columns) for columns in zip(NOWHERE, *found, strict=True)
        )
        return HeldWords(asked, places, texts, counts)

    def _sorted(self) -> Sequence[CountedWords]:
        """Return all entries, in parts."""
        if self._words:
            parts = self._parts
            parts.append(_by_word(self._words, self._texts, self._counts))
            self._words, self._texts, self._counts = array("q"), array("q"), array("q")
            while len(parts) > 1 and 2 * len(parts[-1].words) > len(parts[-2].words):
                last, other = parts.pop(), parts.pop()
                parts.append(_by_word(*(map(np.concatenate, zip(other, last, strict=True)))))
        return self._parts


NOWHERE = CountedWords(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def _by_word(words: ArrayLike, texts: ArrayLike, counts: ArrayLike) -> CountedWords:
    """Sort entries by word."""
    numbers = np.array(words, np.int64)
    order = np.argsort(numbers, kind="stable")
    return CountedWords(
        numbers[order], np.array(texts, np.int64)[order], np.array(counts, np.float64)[order]
    )


def _entries(part: CountedWords, numbers: Numbers) -> CountedWords:
    """Return the entries of some words, each word by its place among these."""
    starts = np.searchsorted(part.words, numbers, "left")
    sizes = np.searchsorted(part.words, numbers, "right") - starts
    places = np.repeat(np.arange(len(numbers)), sizes)
    before = np.cumsum(sizes) - sizes
    rows = np.arange(len(places)) + (starts - before)[places]
    return CountedWords(places, part.texts[rows], part.counts[rows])
