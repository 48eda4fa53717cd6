"""The functions and classes of a moment, and what stands between them, ready to be ranked.

What one module brings is made once and kept until the module, or what its names stand for, has
changed. So the next moment costs what has changed, and a few arrays over all symbols.
"""

from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from itertools import accumulate, chain, pairwise, starmap
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from backcast.domain.graph import Graph
from backcast.domain.names import resolve
from backcast.domain.node import node_id, path_of
from backcast.domain.outline import Facets
from backcast.domain.reader import Reader
from backcast.engine.context.module_symbols import (
    COLUMNS,
    Floats,
    ModuleSymbols,
    Numbers,
    SymbolIndex,
    module_symbols,
    symbol_texts,
)
from backcast.engine.context.ranking import Ranking
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.projections import changes, dependency_graph

NONE = slice(0, 0)
FAR = 10**6
"The place of a module that never changed, among those that did."


class Symbols:
    """All symbols of one moment. Rows of every array are `nodes`."""

    def __init__(
        self, graph: Graph, parts: Mapping[str, ModuleSymbols], known: SymbolIndex
    ) -> None:
        self.graph, self.parts, self.known = graph, parts, known
        self.named = [*chain.from_iterable([part.symbols for part in parts.values()])]
        self.nodes = [*map(itemgetter(0), self.named)]
        self.places = dict(zip(self.nodes, range(len(self.nodes)), strict=True))
        self._constants: dict[str, list[str]] = {}
        self._lately: tuple[changes.State, Floats] | None = None
        self._together: tuple[changes.State, dict[str, Floats]] | None = None
        self._best: dict[tuple[str, bool], float] = {}
        "How well the best text answered each query."

    @classmethod
    def of(
        cls,
        state: dependency_graph.State,
        graph: Graph,
        before: "Symbols | None" = None,
        words: WordCounts | None = None,
    ) -> "Symbols":
        """Return the symbols of a moment, made of those of another where they still stand.

        `words` were counted before, for the first moment.
        """
        if before is None:
            known = SymbolIndex(words)
        else:
            known = SymbolIndex() if before.known.full(len(before.nodes)) else before.known
        kept = before.parts if before and before.known is known else {}
        parts: dict[str, ModuleSymbols] = {}
        for path, links in graph.links.items():
            facets, part = state.modules[path].facets, kept.get(path)
            if part is None or part.links is not links or part.facets is not facets:
                part = module_symbols(path, links, facets, known, part)
            parts[path] = part
        return cls(graph, parts, known)

    @cached_property
    def facets(self) -> Mapping[str, Facets]:
        """The facets of each module, by path."""
        return {path: part.facets for path, part in self.parts.items()}

    @cached_property
    def reader(self) -> Reader:
        """Resolves names in the modules; what it has found stands as long as they do."""
        return Reader(self.facets)

    def needs(self, node: str) -> Sequence[str]:
        """Return the functions and classes that a node needs."""
        part = self.parts.get(path_of(node))
        return part.needs.get(node, ()) if part else ()

    def reads(self, node: str) -> Sequence[str]:
        """Return the constants of modules that a node needs."""
        part = self.parts.get(path_of(node))
        return part.reads.get(node, ()) if part else ()

    def constants(self, path: str) -> list[str]:
        """Return the nodes of a module's constants, own and imported by name; sorted.

        A constant is any value bound in the module's namespace, unless its name is dunder-like.
        """
        if path not in self._constants:
            nodes: set[str] = set()
            part = self.parts.get(path)
            for key in part.facets if part else ():
                if key.startswith("name:") and not key.startswith("name:__"):
                    target = resolve(self.reader, path, key.removeprefix("name:"))
                    if target and target.kind == "attribute" and "." not in target.name:
                        nodes.add(node_id("attribute", target.path, target.name))
            nodes.update(*(part.reads.values() if part else ()))
            self._constants[path] = sorted(nodes)
        return self._constants[path]

    def tests(self, path: str, nodes: Set[str]) -> set[str]:
        """Return the tests of some nodes of a module."""
        found = set[str]()
        for part in self._tested.get(path, ()):
            for node in part.tests.keys() & nodes:
                found.update(part.tests[node])
        return found

    @cached_property
    def _tested(self) -> Mapping[str, Sequence[ModuleSymbols]]:
        """The modules with tests that are a module, or import it, by its path."""
        found = dict[str, list[ModuleSymbols]]()
        for own, part in self.parts.items():
            for path in {own, *part.imports} if part.tests else ():
                found.setdefault(path, []).append(part)
        return found

    @cached_property
    def rows(self) -> Mapping[str, slice]:
        """The rows of each module's symbols, by path."""
        ends = accumulate([len(part.symbols) for part in self.parts.values()], initial=0)
        return dict(zip(self.parts, starmap(slice, pairwise(ends)), strict=True))

    @cached_property
    def sizes(self) -> Numbers:
        """The number of each module's symbols, of (modules)."""
        return np.array([len(part.symbols) for part in self.parts.values()], np.int64)

    @cached_property
    def path_numbers(self) -> Numbers:
        """The number of each module's path among `SymbolIndex.paths`, of (modules)."""
        number = self.known.paths.number
        return np.array([number(path.replace("/", " ")) for path in self.parts], np.int64)

    @cached_property
    def folders(self) -> NDArray[np.str_]:
        """The folder of each module, of (modules)."""
        return np.array([path.rpartition("/")[0] for path in self.parts], np.str_)

    def by_module(self, values: Floats) -> Floats:
        """Return values of (modules) for each of their symbols."""
        return np.repeat(values, self.sizes)

    def lately(self, history: changes.State) -> Floats:
        """Return how lately each symbol's module changed, between 0 and 1."""
        if self._lately is None or self._lately[0] is not history:
            times = changes.lately(history)
            # Those paths are sorted, and the sort is stable, so ties stand by path.
            ordered = sorted(times, key=times.__getitem__, reverse=True)
            place = {path: number for number, path in enumerate(ordered)}
            late = np.array([1 / (1 + place.get(path, FAR) / 5) for path in self.parts])
            self._lately = history, self.by_module(late)
        return self._lately[1]

    def together(self, history: changes.State, path: str) -> Floats:
        """Return the logarithm of how often each symbol's module changed with another one."""
        if self._together is None or self._together[0] is not history:
            self._together = history, {}
        kept = self._together[1]
        if path not in kept:
            counts = changes.together(history, path)
            kept[path] = np.log1p([counts.get(other, 0.0) for other in self.parts])
        return self.by_module(kept[path])

    @cached_property
    def numbers(self) -> Mapping[str, Numbers]:
        """Each of `COLUMNS`, of (symbols)."""
        all = [part.numbers for part in self.parts.values()]
        table = np.concatenate(all) if all else np.zeros((0, len(COLUMNS)), np.int64)
        return dict(zip(COLUMNS, np.ascontiguousarray(table.T), strict=True))

    @cached_property
    def alike_named(self) -> Numbers:
        """How many symbols have each number for a last name."""
        return np.bincount(self.numbers["name"])

    def like_name(self, name: str) -> Floats:
        """Return how alike the last name of each symbol is to a name, between 0 and 1."""
        return self.known.names.likeness(name, self.alike_named)[self.numbers["name"]]

    def like_owner(self, name: str) -> Floats:
        """Return how alike the class of each method is to a class's name; else 0."""
        return self.known.names.likeness(name, self._owners)[self.numbers["owner"]]

    @cached_property
    def _owners(self) -> Numbers:
        """How many methods each class name has."""
        counts = np.bincount(self.numbers["owner"])
        nameless = self.known.names.number("")
        counts[nameless : nameless + 1] = 0
        return counts

    def like_path(self, path: str) -> Floats:
        """Return how alike the path of each symbol's module is to a path, between 0 and 1."""
        alike = self.known.paths.likeness(path.replace("/", " "), self._paths)
        return self.by_module(alike[self.path_numbers])

    @cached_property
    def _paths(self) -> Numbers:
        """How many modules have each number for a path."""
        return np.bincount(self.path_numbers)

    @cached_property
    def used(self) -> Floats:
        """In how many functions, tests apart, each symbol is used."""
        all = [part.used for part in self.parts.values()]
        nodes = self.numbers["node"]
        least = int(nodes.max(initial=-1)) + 1
        counts = np.bincount(np.concatenate([*all, np.zeros(0, np.int64)]), minlength=least)
        return counts[nodes].astype(float)

    def with_classes(self, scores: Floats, share: float, of: Floats | None = None) -> Floats:
        """Scores, where a class has at least a share of the best of its methods'.

        `of` are the methods' scores, where they are others.
        """
        methods, (rows, starts, classes) = scores if of is None else of, self._methods
        found = scores.copy()
        if len(rows):
            known, best = classes >= 0, np.maximum.reduceat(methods[rows], starts)
            found[classes[known]] = np.maximum(found[classes], share * best)[known]
        return found

    @cached_property
    def _methods(self) -> tuple[Numbers, Numbers, Numbers]:
        """The rows of methods, class by class; where in them each class begins; the rows of these
        classes, -1 for one that is no symbol."""
        outer, node = self.numbers["outer"], self.numbers["node"]
        rows = np.flatnonzero(outer != node)
        rows = rows[np.argsort(outer[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(outer[rows], prepend=-1))
        row_of = np.full(int(max(outer.max(initial=-1), node.max(initial=-1))) + 1, -1)
        row_of[node] = np.arange(len(node))
        return rows, starts, row_of[outer[rows[starts]]]

    @cached_property
    def ranking(self) -> Ranking:
        """The graph, ready for PageRank."""
        return Ranking.of(self.graph)

    def by_words(self, query: str, *, bodies: bool) -> Floats:
        """Return how well the texts of the symbols answer a query, by BM25; the best is 1."""
        current, numbers = self._bodies if bodies else self._signatures
        scores = current.scores(query)[numbers]
        best = self._best[query, bodies] = float(scores.max(initial=0.0))
        return scores / (best or 1.0)

    def best_by_words(self, query: str, *, bodies: bool) -> float:
        """Return how well the best of the texts answers a query that was asked."""
        return self._best.get((query, bodies), 0.0)

    def score(self, query: str, text: str, *, bodies: bool) -> float:
        """Return how well a text that is none of the symbols' answers a query, by BM25."""
        current, _ = self._bodies if bodies else self._signatures
        return current.score(query, text)

    @cached_property
    def tops(self) -> Set[str]:
        """The names of the project's packages and modules that stand at the top of a root."""
        found = set[str]()
        for path in self.parts:
            parts = path.removesuffix(".py").split("/")
            found.update(parts[1:2] if parts[0] in ("src", "lib") else parts[:1])
        return found

    def with_words(self, names: Sequence[str]) -> Floats:
        """Return how many of some names each symbol's interface holds."""
        current, numbers = self._signatures
        return current.holding([name.lower() for name in names])[numbers]

    @cached_property
    def _signatures(self) -> tuple[CurrentWords, Numbers]:
        return self._current("interface")

    @cached_property
    def _bodies(self) -> tuple[CurrentWords, Numbers]:
        return self._current("body")

    @property
    def interfaces(self) -> list[str]:
        """The text of each symbol's interface."""
        texts = self.known.interfaces
        for number, named in zip(self.numbers["interface"].tolist(), self.named, strict=True):
            if number not in texts:
                facets = self.facets[named.path]
                texts[number] = symbol_texts(named.path, named.name, facets)[0]
        return [texts[number] for number in self.numbers["interface"].tolist()]

    def _current(self, column: str) -> tuple[CurrentWords, Numbers]:
        """The words of the texts of a column, with their numbers."""
        numbers = self.numbers[column]
        return CurrentWords(self.known.words, numbers), numbers
