"""Search over the texts of nodes as of a moment, by meaning and by words.

Equal inputs give equal hits, scores included, and no text counts that was not current: neither as
a hit, nor in what a word weighs. The modules that do the work are imported when first used; only
the search by words alone does without the extra 'semantic'.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backcast.engine.context.search.embedders import Embedder, needs_extra, sentence_embedder
from backcast.engine.log.store import EventStore

if TYPE_CHECKING:
    from backcast.engine.context.search.code_words import SearchWords

__all__ = [
    "CodePlace",
    "Document",
    "Embedder",
    "SearchHit",
    "search",
    "search_words",
    "sentence_embedder",
]


class CodePlace(NamedTuple):
    """Where the code of a function or class stands."""

    source: str = ""
    "The digest of its module's text; empty for no code."
    first: int = 1
    last: int = 0


NO_CODE = CodePlace()


class Document(NamedTuple):
    """A node, and the text by which it is found."""

    id: str
    text: str
    code: CodePlace = NO_CODE
    "The code by which it is found too."


class SearchHit(NamedTuple):
    """A document that was found."""

    id: str
    score: float
    "By reciprocal rank fusion: 1/(5 + rank) by meaning and 2/(5 + rank) by words, added up."
    by_meaning_rank: int | None
    "From 1; None where it is not among the nearest by meaning."
    by_words_rank: int | None
    "From 1; None where it holds no word of the query."


def search(
    store: EventStore,
    embedder: Embedder,
    documents: Sequence[Document],
    query: str,
    k: int = 10,
    progress: Callable[[int], None] = lambda step: None,
    words: "SearchWords | None" = None,
    worded: str = "",
) -> list[SearchHit]:
    """Find the `k` documents that answer a query best, the best first.

    `documents` are those of one moment. Vectors are kept in the store, where it can be written;
    `progress` is told how many more texts have theirs. `words` were counted before; `worded` are
    the words to look for, where they are not the query's own.
    """
    needs_extra("numpy", "faiss")
    from backcast.engine.context.search.index import Index, check_request
    from backcast.engine.context.search.vectors import held_by, rows_of, vectors

    check_request(query, k)
    if not documents:
        return []
    rows_of(store, embedder, [document.text for document in documents], progress)
    index = Index(held_by(store, embedder), words)
    # On its own: in a batch with others it would embed to other bits.
    [asked] = vectors(store, embedder, [query])
    return index.search(worded or query, asked, documents, k)


def search_words(
    documents: Sequence[Document], query: str, k: int = 10, words: "SearchWords | None" = None
) -> list[SearchHit]:
    """Find the `k` documents that answer a query best by their words alone, the best first.

    `words` were counted before.
    """
    from backcast.engine.context.search.index import by_words_alone

    return by_words_alone(documents, query, k, words)
