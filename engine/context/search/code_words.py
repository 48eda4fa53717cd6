"""The words of the code of functions and classes, by which a search finds them too.

A summary tells what is called and named; a message, a key or a comment stands in the code alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_128_digest

from backcast.domain.errors import DamagedError
from backcast.domain.moment import Moment
from backcast.domain.node import path_of
from backcast.engine.context.search import Document
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.kept_words import words_kept
from backcast.engine.context.search.word_counts import Floats, Numbers, WordCounts
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
                # The id may name the task before the node.
                path = path_of(document.id.rpartition("\0")[2])
                places.setdefault((source, stem_of(path)), []).append(number)
        texts = np.full(len(documents), self._words.number(""), np.int64)
        for (source, stem), numbers in places.items():
            cuts = [documents[number].code[1:] for number in numbers]
            with suppress(DamagedError):  # what lost its text is found by its summary
                texts[numbers] = cut_words(self._words, self._lines, source, stem, cuts)
        return CurrentCode(texts, CurrentWords(self._words, texts))


def cut_words(
    words: WordCounts, lines: SourceLines, source: str, stem: str, cuts: Sequence[tuple[int, int]]
) -> Numbers:
    """Return the numbers of pieces of a source text, each below the stem of its module's name.

    `cuts` are their first and last lines. What was cut out of the same text at the same places is
    neither read nor cut again.
    """

    def texts() -> Iterator[str]:
        whole = lines.of(source) if any(last for _, last in cuts) else []
        return ("\n".join([stem, *whole[first - 1 : last]]) for first, last in cuts)

    return words.together(xxh3_128_digest(repr((source, stem, cuts)).encode()), texts)


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


def stem_of(path: str) -> str:
    """Return the name of a module's file without its ending."""
    return path.rpartition("/")[2].rpartition(".")[0]
