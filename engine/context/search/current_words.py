"""How well the texts of a moment answer to words (BM25).

What a word weighs depends on how many of the current texts hold it. Libraries fix that when they
index, and would have to index each moment anew: bm25s takes 2 s for 50,000 texts of 60 words. So
texts are counted once, and a moment takes from the counts what is current.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from backcast.engine.context.search.word_counts import Floats, HeldWords, Numbers, WordCounts
from backcast.engine.context.search.words import FORM, asked_words, words

SATURATION = 1.2
"BM25's k1: how soon more of the same word in a text stops to count."
LENGTH = 0.75
"BM25's b: how much a long text is held against itself."

MOST_KEPT = 1_000_000
"Entries of words of one moment that are kept, beyond those of the last query."
NONE: Numbers = np.zeros(0, np.int64)


class CurrentWords:
    """The words of the current documents; texts are numbered as in their `WordCounts`.

    It stays true when more texts are counted.
    """

    def __init__(self, counts: WordCounts, texts: Numbers) -> None:
        """`texts` are the numbers of the current documents' texts, of (documents)."""
        self._counts = counts
        self.weights = weights = np.bincount(texts, minlength=len(counts))
        "How many current documents have each text, of (texts)."
        self.documents = int(weights.sum())
        lengths = counts.lengths(len(weights))
        words = int((lengths * weights).sum())
        self.mean = words / max(1, self.documents) or 1.0
        "Words of a document, in the mean."
        self._norms = SATURATION * (1 - LENGTH) + lengths * (SATURATION * LENGTH / self.mean)
        self._rarities: dict[str, float] = {}
        self._kept: dict[str, tuple[Numbers, Floats]] = {}
        "The texts that hold each word that was asked for, and what it is worth to each of them."
        self._entries = 0
        self._last: tuple[str, tuple[Mapping[str, Sequence[int]], list[float]]] | None = None
        "The query that was asked last of a text, and its words."
        self._current = np.zeros(0, bool)
        "Whether a text is current, of all that are counted by now."

    def scores(self, query: str) -> Floats:
        """Return how well each text answers a query, of (texts); 0 for what is not current."""
        # In one order, since a sum of floats depends on it.
        found = self._found(asked_words(query))
        if not found:
            return np.zeros(len(self.weights))
        texts, gains = map(np.concatenate, zip(*found, strict=True))
        scores = np.bincount(texts, gains, len(self.weights))
        return scores.astype(float)

    def holding(self, names: Sequence[str]) -> Floats:
        """Return how many of some words each text holds, of (texts)."""
        texts = [texts for texts, _ in self._found(names)]
        held: Numbers = np.bincount(np.concatenate([NONE, *texts]), minlength=len(self.weights))
        return held.astype(float)

    def _found(self, asked: Sequence[str]) -> list[tuple[Numbers, Floats]]:
        """Return the texts that hold each word, and what it is worth to each of them."""
        kept = self._kept
        if missing := [word for word in asked if word not in kept]:
            if self._entries > MOST_KEPT:
                kept.clear()
                self._entries, missing = 0, list(asked)
            self._read(missing)
        return [kept[word] for word in asked]

    def _read(self, asked: Sequence[str]) -> None:
        """Keep which texts hold some words, and what each is worth to them."""
        found = self._held(asked)
        rarities = np.array(self._note(found))
        # BM25's fraction: how much the word says there, however rare it is.
        impacts = found.counts / (found.counts + self._norms[found.texts])
        gains = rarities[found.words] * impacts
        words, texts = found.words, found.texts
        if (words[1:] < words[:-1]).any():  # They rise where the counts have one part.
            order = np.argsort(words, kind="stable")
            words, texts, gains = words[order], texts[order], gains[order]
        ends = np.searchsorted(words, np.arange(len(asked) + 1)).tolist()
        for word, (begin, end) in zip(asked, pairwise(ends), strict=True):
            self._kept[word] = texts[begin:end], gains[begin:end]
        self._entries += len(words)

    def score(self, query: str, text: str) -> float:
        """Return how well a text that is none of the documents answers a query."""
        held = Counter(words(text))
        norm = SATURATION * (1 - LENGTH + LENGTH * held.total() / self.mean)
        if self._last is None or self._last[0] != query:
            self._last = query, self._weighed(asked_words(query))
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

    def _held(self, asked: Sequence[str]) -> HeldWords:
        """Return where the current texts hold some words."""
        every = [form for word in asked for form in word.split(FORM)]
        found, texts = self._counts.holding(every), len(self._counts)
        if len(self._current) < texts:
            self._current = np.zeros(texts, bool)
            self._current[: len(self.weights)] = self.weights > 0
        now = np.flatnonzero(self._current[found.texts])
        held = HeldWords(asked, found.words[now], found.texts[now], found.counts[now])
        return held if len(every) == len(asked) else held.of_forms(len(self.weights))

    def _note(self, found: HeldWords) -> list[float]:
        """Note how rare some words are, and return it."""
        holders = np.bincount(found.words, self.weights[found.texts], len(found.asked))
        rarities = [self._rarity(int(held)) for held in holders.tolist()]
        self._rarities.update(zip(found.asked, rarities, strict=True))
        return rarities

    def _rarity(self, holders: int) -> float:
        """Return how rare a word is that so many documents hold."""
        return math.log(1 + (self.documents - holders + 0.5) / (holders + 0.5))
