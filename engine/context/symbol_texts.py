"""The words of the symbols' source texts, for policies that look into bodies.

An outline knows what a body calls and names; its text holds the rest: how things are written here.
What a module's texts hold is counted once, until the module changes.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from backcast.engine.context.module_symbols import Floats, Named, Numbers
from backcast.engine.context.search.code_words import cut_words, stem_of
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.context.sources import SourceLines
from backcast.engine.context.symbols import Symbols
from backcast.projections import dependency_graph

SPARE, TIMES = 10_000, 4
"Texts that stay counted when they are gone: so many, and so many times the current ones."


class TextIndex:
    """The words of source texts, for all moments."""

    def __init__(self, lines: SourceLines, words: WordCounts | None = None) -> None:
        """`words` are those of texts that were counted before."""
        self.lines = lines
        self.begin(words)

    def begin(self, words: WordCounts | None = None) -> None:
        """Forget all that was counted."""
        self._counts = WordCounts() if words is None else words
        self._last: tuple[dependency_graph.State, Symbols, CurrentWords, Numbers] | None = None
        self._modules: dict[str, tuple[str, tuple[Named, ...], Numbers]] = {}

    def current(
        self, state: dependency_graph.State, symbols: Symbols
    ) -> tuple[CurrentWords, Numbers]:
        """Return the words of the symbols' texts, and the number of each one's text.

        Those of the last moment are kept, for its other requests.
        """
        last = self._last
        if last is None or last[0] is not state or last[1] is not symbols:
            numbers = self._numbers(state, symbols)
            last = self._last = state, symbols, CurrentWords(self._counts, numbers), numbers
        return last[2], last[3]

    def _numbers(self, state: dependency_graph.State, symbols: Symbols) -> Numbers:
        """Return the number of each symbol's text, of (symbols)."""
        if len(self._counts) > SPARE + TIMES * len(symbols.nodes):
            self.begin()
        kept, modules, found = self._modules, state.modules, list[Numbers]()
        for path, part in symbols.parts.items():
            if named := part.symbols:
                known, source = kept.get(path), modules[path].source or ""
                if known is None or known[0] != source or known[1] is not named:
                    known = kept[path] = source, named, self._module(state, path, named)
                found.append(known[2])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _module(
        self, state: dependency_graph.State, path: str, named: tuple[Named, ...]
    ) -> Numbers:
        """Return the numbers of the texts of a module's symbols."""
        places = dependency_graph.lines_of(state, path)
        cuts = [places.get(symbol.name, (1, 0)) for symbol in named]
        source = state.modules[path].source or ""
        return cut_words(self._counts, self.lines, source, stem_of(path), cuts)


class SymbolTexts:
    """The source texts of the symbols of one moment."""

    def __init__(self, index: TextIndex, state: dependency_graph.State, symbols: Symbols) -> None:
        self.index, self.state, self.symbols = index, state, symbols

    @cached_property
    def _current(self) -> tuple[CurrentWords, Numbers]:
        return self.index.current(self.state, self.symbols)

    def scores(self, query: str) -> Floats:
        """Return how well each text answers a query, by BM25."""
        if not self.symbols.nodes:
            return np.zeros(0)
        current, rows = self._current
        return current.scores(query)[rows]

    def score(self, query: str, text: str) -> float:
        """Return how well a part of a text answers a query, as `scores` does."""
        return self._current[0].score(query, text)

    def lines(self, path: str) -> Mapping[str, tuple[int, int]]:
        """Return the first and last line of each function and class of a module."""
        return dependency_graph.lines_of(self.state, path)
