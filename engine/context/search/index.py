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
from backcast.engine.context.search.code_words import CurrentCode, SearchWords
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.held_vectors import HeldVectors, Vectors, checked, units
from backcast.engine.context.search.vectors import hash_of
from backcast.engine.context.search.word_counts import Numbers, WordCounts

NEAREST = 100
"Documents that get a rank by meaning, at the least."
FUSION = 5
"Added to each rank, so that the first places do not decide alone."
WORDED = 2
"How much more a rank by words counts than one by meaning."
CODED = 1.5
"How much more it counts how well the code answers than how well the text does, each of its best."
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
    code: CurrentCode | None


class Index:
    """Texts with their vectors and words, each once however many documents have it."""

    def __init__(self, vectors: HeldVectors, words: SearchWords | None = None) -> None:
        """`words` are those of texts that were counted before."""
        self.vectors = vectors
        self._words = words or SearchWords(WordCounts())

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
        return Current(ids, rows, texts, *_counted(ordered, self._words))

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
    """Return the documents that hold a word of a query, by number, the best first.

    With code, how well this and the text answer is added up, each as a share of the best.
    """
    scores = current.words.scores(query)[current.worded]
    if current.code:
        scores = scores / (scores.max(initial=0.0) or 1.0) + CODED * current.code.scores(query)
    return _ranked(units(scores), 1)


def by_words_alone(
    documents: Sequence[Document], query: str, k: int, words: SearchWords | None
) -> list[SearchHit]:
    """Return the `k` best of some documents that hold a word of a query, the best first."""
    check_request(query, k)
    ordered = sorted(documents)
    every = np.arange(len(ordered))
    ids = [document.id for document in ordered]
    counted = _counted(ordered, words or SearchWords(WordCounts()))
    return _fused(ids, every[:0], by_words(query, Current(ids, every, every, *counted)), k)


def _counted(
    documents: Sequence[Document], words: SearchWords
) -> tuple[Numbers, CurrentWords, CurrentCode | None]:
    """Return the numbers of the documents' texts, and the words of these and of their code."""
    worded = np.array([words.texts.number(document.text) for document in documents], np.int64)
    code = words.code.current(documents) if words.code else None
    return worded, CurrentWords(words.texts, worded), code


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
        weighed = zip((1, WORDED), both, strict=True)
        score = sum(weight / (FUSION + rank) for weight, rank in weighed if rank)
        hits.append(SearchHit(ids[place], score, both[0] or None, both[1] or None))
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]
