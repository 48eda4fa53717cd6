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
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xxhash import xxh3_128_digest

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

SATURATION = 1.2
"BM25's k1: how soon more of the same word in a text stops to count."
LENGTH = 0.75
"BM25's b: how much a long text is held against itself."

FORM = "\0"
"What stands between the forms of one word in a query: a text that holds any of them holds it."

_IDENTIFIER = re.compile(r"\w+")
_FORMS = re.compile(rf"\w+(?:{FORM}\w+)+")
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


@lru_cache(maxsize=64)
def _asked(query: str) -> Sequence[str]:
    """Return the words of a query, sorted, once each; the forms of a word are one of them."""
    forms = {FORM.join(sorted(set(one.lower().split(FORM)))) for one in _FORMS.findall(query)}
    return sorted(forms.union(words(_FORMS.sub(" ", query))))


class CurrentWords:
    """The words of the current documents; texts are numbered as in their `WordCounts`.

    It stays true when more texts are counted.
    """

    def __init__(self, counts: "WordCounts", weights: Numbers) -> None:
        """`weights` tells how many current documents have each text, of (texts) or shorter."""
        self._counts, self.weights = counts, weights
        self.documents = int(weights.sum())
        lengths = counts.lengths(len(weights))
        words = int((lengths * weights).sum())
        self.mean = words / max(1, self.documents) or 1.0
        "Words of a document, in the mean."
        self._norms = SATURATION * (1 - LENGTH) + lengths * (SATURATION * LENGTH / self.mean)
        self._rarities: dict[str, float] = {}
        self._last: tuple[str, tuple[Mapping[str, Sequence[int]], list[float]]] | None = None
        "The query that was asked last of a text, and its words."
        self._current = np.zeros(0, bool)
        "Whether a text is current, of all that are counted by now."

    def scores(self, query: str) -> Floats:
        """Return how well each text answers a query, of (texts); 0 for what is not current."""
        # In one order, since a sum of floats depends on it.
        found = self._held(_asked(query))
        rarities = np.array(self._note(found))
        if not len(found.texts):
            return np.zeros(len(self.weights))
        # BM25's fraction: how much the word says there, however rare it is.
        impacts = found.counts / (found.counts + self._norms[found.texts])
        gains = rarities[found.words] * impacts
        scores = np.bincount(found.texts, gains, len(self.weights))
        return scores.astype(float)

    def holding(self, names: Sequence[str]) -> Floats:
        """Return how many of some words each text holds, of (texts)."""
        held: Numbers = np.bincount(self._held(names).texts, minlength=len(self.weights))
        return held.astype(float)

    def score(self, query: str, text: str) -> float:
        """Return how well a text that is none of the documents answers a query."""
        held = Counter(words(text))
        norm = SATURATION * (1 - LENGTH + LENGTH * held.total() / self.mean)
        if self._last is None or self._last[0] != query:
            self._last = query, self._weighed(_asked(query))
        places, rarities = self._last[1]
        counts = Counter[int]()
        for word, n in held.items():
            for place in places.get(word, ()):
                counts[place] += n
        # In one order, since a sum of floats depends on it.
        return sum(rarities[place] * n / (n + norm) for place, n in sorted(counts.items()))

    def _weighed(self, asked: Sequence[str]) -> tuple[Mapping[str, Sequence[int]], list[float]]:
        """Return the places in `asked` of each form of a word, and how rare each word is."""
        known = self._rarities
        if not all(word in known for word in asked):
            self._note(self._held(asked))
        places = dict[str, list[int]]()
        for place, word in enumerate(asked):
            for form in word.split(FORM):
                places.setdefault(form, []).append(place)
        return places, [known[word] for word in asked]

    def _held(self, asked: Sequence[str]) -> "HeldWords":
        """Return where the current texts hold some words."""
        every = [form for word in asked for form in word.split(FORM)]
        found, texts = self._counts.holding(every), len(self._counts)
        if len(self._current) < texts:
            self._current = np.zeros(texts, bool)
            self._current[: len(self.weights)] = self.weights > 0
        now = np.flatnonzero(self._current[found.texts])
        held = HeldWords(asked, found.words[now], found.texts[now], found.counts[now])
        return held if len(every) == len(asked) else held.of_forms(len(self.weights))

    def _note(self, found: "HeldWords") -> list[float]:
        """Note how rare some words are, and return it."""
        holders = np.bincount(found.words, self.weights[found.texts], len(found.asked))
        rarities = [self._rarity(int(held)) for held in holders.tolist()]
        self._rarities.update(zip(found.asked, rarities, strict=True))
        return rarities

    def _rarity(self, holders: int) -> float:
        """Return how rare a word is that so many documents hold."""
        return math.log(1 + (self.documents - holders + 0.5) / (holders + 0.5))


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
        known = tuple(numbers.setdefault(word, len(numbers)) for word in _parts(identifier))
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
        found = map(self._known.__getitem__, _IDENTIFIER.findall(text))
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

    def current(self, texts: Numbers) -> CurrentWords:
        """Return the words of current documents, given the number of each one's text."""
        return CurrentWords(self, np.bincount(texts, minlength=len(self._lengths)))

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
