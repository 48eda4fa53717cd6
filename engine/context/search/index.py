"""An index of texts of all moments, and searches that see those of one moment only.

Two rankings are fused: by meaning (the cosine of two vectors) and by words (BM25). Scores are
whole numbers of hundred-thousandths before they are compared, and ties go to the lesser id.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.engine.context.search import Document, SearchHit
from backcast.engine.context.search.held_vectors import HeldVectors, Vectors, checked, units
from backcast.engine.context.search.vectors import hash_of
from backcast.engine.context.search.words import CurrentWords, Numbers, WordCounts

NEAREST = 100
"Documents that get a rank by meaning, at the least."
FUSION = 60
"Added to each rank, so that the first places do not decide alone."
_OTHER = -(2**62)
"The score of a text that is no candidate."


class Current(NamedTuple):
    """The documents of one moment, as an index sees them; it stays true when the index grows."""

    ids: Sequence[str]
    "Sorted. A document's place here is its number."
    rows: Numbers
    "The rows of their texts in the index, once each, rising. A text's place here is its number."
    texts: Numbers
    "Per document, the number of its text."
    worded: Numbers
    "Per document, the number of its text among those whose words are counted."
    words: CurrentWords


class Index:
    """Texts with their vectors and words, each once however many documents have it."""

    def __init__(self, vectors: HeldVectors, words: WordCounts | None = None) -> None:
        """`words` are those of texts that were counted before."""
        self.vectors = vectors
        self._words = WordCounts() if words is None else words

    def __len__(self) -> int:
        return len(self.vectors)

    def current(self, documents: Sequence[Document]) -> Current:
        """Return what a search needs to know of the documents of a moment; made once for many."""
        ordered = sorted(documents)
        ids = [document.id for document in ordered]
        for id, other in pairwise(ids):
            if id == other:
                raise InputError(f"documents: needed each id once, found {id!r} twice")
        held = np.array([self._row(document) for document in ordered], np.int64)
        rows, texts = np.unique(held, return_inverse=True)
        worded = np.array([self._words.number(document.text) for document in ordered], np.int64)
        return Current(ids, rows, texts, worded, self._words.current(worded))

    def _row(self, document: Document) -> int:
        row = self.vectors.row(hash_of(document.text))
        if row is None:
            raise InputError(f"{document.id!r}: needed a text that the index holds")
        return row

    def search(
        self,
        query: str,
        vector: NDArray[np.generic],
        current: Sequence[Document] | Current,
        k: int = 10,
    ) -> list[SearchHit]:
        """The `k` best of the current documents, the best first; fewer where there are fewer."""
        check_request(query, k)
        [asked] = checked(np.asarray(vector).reshape(1, -1), 1, self.vectors.dimensions)
        if not isinstance(current, Current):
            current = self.current(current)
        if not current.ids:
            return []
        near = self.by_meaning(asked, current, max(k, NEAREST))
        return _fused(current.ids, near, by_words(query, current), k)

    def by_meaning(self, asked: Vectors, current: Current, count: int) -> Numbers:
        """Return the documents nearest to a vector, by number, the best first."""
        rows, found = self.vectors.nearest(asked, current.rows, count)
        scores = np.full(len(current.rows), _OTHER)
        scores[np.searchsorted(current.rows, rows)] = found
        return _ranked(scores[current.texts], _OTHER + 1)[:count]


def by_words(query: str, current: Current) -> Numbers:
    """Return the documents that hold a word of a query, by number, the best first."""
    return _ranked(units(current.words.scores(query))[current.worded], 1)


def by_words_alone(
    documents: Sequence[Document], query: str, k: int, words: WordCounts
) -> list[SearchHit]:
    """Return the `k` best of some documents that hold a word of a query, the best first."""
    check_request(query, k)
    ordered = sorted(documents)
    every = np.arange(len(ordered))
    worded = np.array([words.number(document.text) for document in ordered], np.int64)
    ids = [document.id for document in ordered]
    current = Current(ids, every, every, worded, words.current(worded))
    return _fused(current.ids, every[:0], by_words(query, current), k)


def check_request(query: str, k: int) -> None:
    """Raise `InputError` where nothing is asked for."""
    if not query.strip():
        raise InputError(f"query: needed words to search for, found {query!r}")
    if k < 1:
        raise InputError(f"k: needed 1 or more, found {k}")


def _ranked(units: Numbers, least: int) -> Numbers:
    """Return the places of the scores that reach a least one, the best first, ties by place."""
    places = np.flatnonzero(units >= least)
    if not len(places):
        return places
    # Score and place in one number: a plain sort of these is far faster than a stable one.
    scores = units[places]
    keys: Numbers = (scores.max() - scores) * len(units) + places
    keys.sort()
    keys %= len(units)
    return keys


def _fused(ids: Sequence[str], near: Numbers, worded: Numbers, k: int) -> list[SearchHit]:
    """Return the best by both rankings.

    What is not near, and has `k` documents before it by words, has them before it in the end too.
    """
    ranks = np.zeros((2, len(ids)), np.int64)
    for row, ranking in zip(ranks, (near, worded), strict=True):
        row[ranking] = np.arange(1, len(ranking) + 1)
    hits = []
    # Not by numpy's own union, which imports a part of it that takes as long as the whole search.
    places = sorted({*near.tolist(), *worded[:k].tolist()})
    for place, *both in zip(places, *ranks[:, places].tolist(), strict=True):
        score = sum(1 / (FUSION + rank) for rank in both if rank)
        hits.append(SearchHit(ids[place], score, both[0] or None, both[1] or None))
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]
