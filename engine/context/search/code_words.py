"""The words of the code of functions and classes, by which a search finds them too.

A summary tells what is called and named; a message, a key or a comment stands in the code alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_128_digest

from backcast.domain.moment import Moment
from backcast.domain.node import path_of
from backcast.engine.context.search import Document
from backcast.engine.context.search.kept_words import words_kept
from backcast.engine.context.search.words import CurrentWords, Floats, Numbers, WordCounts
from backcast.engine.context.sources import SourceLines
from backcast.engine.log.store import EventStore


class CurrentCode(NamedTuple):
    """The code of the documents of one moment."""

    texts: Numbers
    "Per document, the number of its text; that of an empty one for a document without code."
    words: CurrentWords

    def scores(self, query: str) -> Floats:
        """Return how well the code of each document answers a query, by BM25; the best is 1."""
        scores = self.words.scores(query)[self.texts]
        return scores / (scores.max(initial=0.0) or 1.0)


class CodeWords:
    """The words of code, each text's counted once."""

    def __init__(self, read: Callable[[str], bytes], words: WordCounts) -> None:
        """`read` gives a source text by its digest, `words` are those that were counted before."""
        self._lines, self._words = SourceLines(read), words

    def current(self, documents: Sequence[Document]) -> CurrentCode:
        """Return what a search needs to know of the code of some documents."""
        places = dict[tuple[str, str], list[int]]()
        for number, document in enumerate(documents):
            if source := document.code.source:
                places.setdefault((source, _stem(document)), []).append(number)
        texts = np.full(len(documents), self._words.number(""), np.int64)
        for (source, stem), numbers in places.items():
            texts[numbers] = self._of(source, stem, [documents[n].code[1:] for n in numbers])
        return CurrentCode(texts, self._words.current(texts))

    def _of(self, source: str, stem: str, cuts: Sequence[tuple[int, int]]) -> Numbers:
        """Return the numbers of the pieces of a text; what was cut before is not read again."""

        def texts() -> Iterator[str]:
            lines = self._lines.of(source)
            return ("\n".join([stem, *lines[first - 1 : last]]) for first, last in cuts)

        return self._words.together(xxh3_128_digest(repr((source, stem, cuts)).encode()), texts)


class SearchWords(NamedTuple):
    """The words by which documents are found."""

    texts: WordCounts
    code: CodeWords | None = None
    "None where only the documents' own texts count."


@contextmanager
def search_words_kept(
    store: EventStore, name: str, task_id: str, moment: Moment
) -> Iterator[SearchWords]:
    """Give the words that were kept under a name, and keep in the end what was asked of them."""
    with (
        words_kept(store, name, task_id, moment) as texts,
        words_kept(store, f"{name}, in code", task_id, moment) as code,
    ):
        yield SearchWords(texts, CodeWords(store.get, code))


def _stem(document: Document) -> str:
    """Return the name of a document's module; its id may name the task before the node."""
    return path_of(document.id.rpartition("\0")[2]).rpartition("/")[2].rpartition(".")[0]
