"""The functions and classes of earlier work, in words and numbers, as of a moment.

What a module brings is counted once, until it changes; so is what was taken out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from immutables import Map

from backcast.domain.node import node_id
from backcast.domain.outline import Facet, Facets, lines_by_name, names_in
from backcast.domain.paths import is_test
from backcast.domain.removed import RemovedSymbol, facets_of, is_shared
from backcast.engine.context.module_symbols import (
    COLUMNS,
    Floats,
    Numbers,
    SymbolIndex,
    numbers_of,
)
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.history.legacies import Legacy
from backcast.projections import dependency_graph

States = Callable[[Legacy], dependency_graph.State]


class EarlierCode(NamedTuple):
    """A function or class that was there once, or is in another task."""

    task: str
    "The task that holds it; that of the prompt itself for what was taken out there."
    path: str
    name: str
    kind: str
    source: str
    "The blob of the module's text."
    first: int
    last: int
    stood: int
    "The version of its task that brought that text."
    removed: int
    "The version that took it out; 0 where it stands there still."
    facets: Map[str, Facet]
    "What its outline says of it, by `removed.PARTS`."

    @property
    def node(self) -> str:
        """Its node in its own task."""
        return node_id(self.kind, self.path, self.name)


class CodeRows(NamedTuple):
    """Some of it, and a row of `COLUMNS` for each."""

    codes: tuple[EarlierCode, ...] = ()
    numbers: Numbers = np.zeros((0, len(COLUMNS)), np.int64)


class RecalledCode:
    """All of it that is known at a moment."""

    def __init__(self, rows: CodeRows, known: SymbolIndex) -> None:
        self.codes = rows.codes
        self.numbers: dict[str, Numbers] = dict(zip(COLUMNS, rows.numbers.T, strict=True))
        self.known = known
        self._words: dict[str, CurrentWords] = {}

    @cached_property
    def by_path(self) -> Mapping[str, Sequence[int]]:
        """The rows of each path."""
        return _rows_by(code.path for code in self.codes)

    @cached_property
    def by_task(self) -> Mapping[str, Sequence[int]]:
        """The rows of each task."""
        return _rows_by(code.task for code in self.codes)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each task: the running one, then the one that ended last."""
        return {task: place for place, task in enumerate(self.by_task)}

    def words(self, column: str) -> CurrentWords:
        """Return the words of the texts of a column."""
        if column not in self._words:
            self._words[column] = CurrentWords(self.known.words, self.numbers[column])
        return self._words[column]

    def by_words(self, query: str, column: str) -> Floats:
        """Return how well each text answers a query, by BM25; the best is 1."""
        scores = self.words(column).scores(query)[self.numbers[column]]
        found: Floats = scores / (scores.max(initial=0.0) or 1.0)
        return found


class RecallIndex:
    """The earlier work of all moments."""

    def __init__(self, states: States | None = None, words: WordCounts | None = None) -> None:
        """`states` gives the code of other tasks; without it only the task's own counts.

        `words` are those of texts that were counted before.
        """
        self._states = states
        self._known = SymbolIndex(words)
        self._modules: dict[tuple[str, str], tuple[dependency_graph.ModuleNode, CodeRows]] = {}
        self._removed: dict[tuple[str, str], tuple[RemovedSymbol, CodeRows]] = {}
        self._tasks: dict[str, tuple[dependency_graph.State, list[CodeRows]]] = {}
        self._others: tuple[Sequence[Legacy], CodeRows] | None = None
        "What the tasks of the last moment left: most of it is the same at the next one."
        self._last: tuple[dependency_graph.State, Sequence[Legacy], RecalledCode] | None = None

    def at(self, own: dependency_graph.State, legacies: Sequence[Legacy]) -> RecalledCode:
        """Return the earlier work that a task knows at a moment: its own first, then that of the
        tasks in their order."""
        last = self._last
        if last is not None and last[1] == legacies and _left_alike(last[0], own):
            last = self._last = own, legacies, last[2]
        else:
            if self._others is None or self._others[0] != legacies:
                parts = [part for legacy in legacies if self._states for part in self._of(legacy)]
                self._others = legacies, _together(parts)
            parts = [*self._gone("", own), self._others[1]]
            if self._known.full(sum(len(part.codes) for part in parts)):
                self._known, self._others = SymbolIndex(), None
                self._modules, self._removed, self._tasks = {}, {}, {}
                return self.at(own, legacies)
            last = self._last = own, legacies, RecalledCode(_together(parts), self._known)
        return last[2]

    def _of(self, legacy: Legacy) -> list[CodeRows]:
        assert self._states is not None
        state = self._states(legacy)
        known = self._tasks.get(legacy.task)
        if known is None or known[0] is not state:
            parts = [
                self._module(legacy.task, path, module)
                for path in sorted(state.modules)
                if not (module := state.modules[path]).deleted
            ]
            known = self._tasks[legacy.task] = state, [*parts, *self._gone(legacy.task, state)]
        return known[1]

    def _gone(self, task: str, state: dependency_graph.State) -> Iterator[CodeRows]:
        """Yield what stands in deleted modules, and what was taken out of others."""
        for path in sorted(state.modules):
            if state.modules[path].deleted:
                yield self._module(task, path, state.modules[path])
        for key in sorted(state.removed):
            symbol, known = state.removed[key], self._removed.get((task, key))
            if known is None or known[0] is not symbol:
                known = self._removed[task, key] = symbol, self._row(task, symbol)
            yield known[1]

    def _module(self, task: str, path: str, module: dependency_graph.ModuleNode) -> CodeRows:
        known = self._modules.get((task, path))
        if known is None or known[0] is not module:
            known = self._modules[task, path] = module, self._rows(task, path, module)
        return known[1]

    def _rows(self, task: str, path: str, module: dependency_graph.ModuleNode) -> CodeRows:
        facets, stood = module.facets, module.source_version
        stands = module.deleted or module.source == module.outlined
        if is_test(path) or not module.outlined or not stands or "error" in facets:
            return CodeRows()
        places = lines_by_name(facets, module.lines)
        names = [name for name in names_in(facets) if name in places and is_shared(facets, name)]
        removed = module.version if module.deleted else 0
        codes = tuple(
            EarlierCode(
                task, path, name, _kind(facets[f"sig:{name}"]), module.outlined, *places[name],
                stood, removed, facets_of(facets, name),
            )
            for name in names
        )  # fmt: skip
        return CodeRows(codes, numbers_of(path, names, facets, self._known))

    def _row(self, task: str, symbol: RemovedSymbol) -> CodeRows:
        path, name = symbol.path, symbol.name
        parts: Facets = Map({f"{part}:{name}": facet for part, facet in symbol.facets.items()})
        if f"sig:{name}" not in parts:
            return CodeRows()
        code = EarlierCode(
            task, path, name, _kind(symbol.facets["sig"]), symbol.source, symbol.first,
            symbol.last, symbol.stood, symbol.version, symbol.facets,
        )  # fmt: skip
        return CodeRows((code,), numbers_of(path, [name], parts, self._known))


def _left_alike(before: dependency_graph.State, now: dependency_graph.State) -> bool:
    """Tell whether a task has removed at one moment what it has at another."""
    return before is now or (before.removed is now.removed and _deleted(before) == _deleted(now))


def _deleted(state: dependency_graph.State) -> dict[str, dependency_graph.ModuleNode]:
    return {path: module for path, module in state.modules.items() if module.deleted}


def _together(parts: Sequence[CodeRows]) -> CodeRows:
    numbers = np.concatenate([CodeRows().numbers, *(part.numbers for part in parts)])
    return CodeRows(tuple(code for part in parts for code in part.codes), numbers)


def _rows_by(keys: Iterable[str]) -> dict[str, list[int]]:
    rows = dict[str, list[int]]()
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows


def _kind(signature: Facet) -> str:
    return signature[0] if signature else "function"
