"""The functions and classes of a moment, and what stands between them, ready to be ranked.

What one module brings is made once and kept until the module, or what its names stand for, has
changed. So the next moment costs what has changed, and a few arrays over all symbols.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.graph import NEEDS, Graph
from domain.links import Links
from domain.node import node_id, path_of
from domain.outline import Facets, names_in
from engine.context.ranking import Ranking
from engine.context.search.words import CurrentWords, WordCounts
from projections import dependency_graph

Floats = NDArray[np.float64]
NONE = slice(0, 0)
KINDS = ("function", "method", "class")
KEPT = 200_000
"Texts whose words are counted at once; then counting begins anew, so that memory has a bound."


class Part(NamedTuple):
    """What one module brings."""

    links: Links
    facets: Facets
    symbols: tuple[str, ...]
    "Its functions, methods and classes, tests apart; sorted."
    needs: Mapping[str, tuple[str, ...]]
    "The functions and classes that each of its nodes needs."
    imports: frozenset[str]
    "The paths of the modules that it needs."
    signatures: tuple[int, ...]
    "Of each symbol, the number of the text of its interface."
    bodies: tuple[int, ...]
    "Of each symbol, the number of that text with all that it names."


class Texts:
    """Texts by number, and the words in them, for all moments."""

    def __init__(self) -> None:
        self.words = WordCounts()
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of a text."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self._numbers)
            self.words.add(text)
        return found

    @property
    def full(self) -> bool:
        """Whether it is time to begin anew."""
        return len(self._numbers) > KEPT


class Symbols:
    """All symbols of one moment. Rows of every array are `nodes`."""

    def __init__(self, graph: Graph, parts: Mapping[str, Part], texts: Texts) -> None:
        self.graph, self.parts, self.texts = graph, parts, texts
        self.nodes = [node for path in parts for node in parts[path].symbols]
        self.places = {node: number for number, node in enumerate(self.nodes)}

    @classmethod
    def of(
        cls, state: dependency_graph.State, graph: Graph, before: "Symbols | None" = None
    ) -> "Symbols":
        """The symbols of a moment, made of those of another where they still stand."""
        texts = Texts() if before is None or before.texts.full else before.texts
        kept = before.parts if before and before.texts is texts else {}
        parts: dict[str, Part] = {}
        for path, links in graph.links.items():
            facets, part = state.modules[path].facets, kept.get(path)
            same = part is not None and part.links is links and part.facets is facets
            parts[path] = part if same and part else _part(path, links, facets, texts)
        return cls(graph, parts, texts)

    @cached_property
    def facets(self) -> Mapping[str, Facets]:
        """The facets of each module, by path."""
        return {path: part.facets for path, part in self.parts.items()}

    def needs(self, node: str) -> Sequence[str]:
        """The functions and classes that a node needs."""
        part = self.parts.get(path_of(node))
        return part.needs.get(node, ()) if part else ()

    @cached_property
    def rows(self) -> Mapping[str, slice]:
        """The rows of each module's symbols, by path."""
        found, begin = {}, 0
        for path, part in self.parts.items():
            found[path] = slice(begin, begin + len(part.symbols))
            begin += len(part.symbols)
        return found

    @cached_property
    def named(self) -> Mapping[str, list[int]]:
        """The rows of the symbols of each last name."""
        found: dict[str, list[int]] = {}
        for row, node in enumerate(self.nodes):
            found.setdefault(last_name(node), []).append(row)
        return found

    @cached_property
    def used(self) -> Floats:
        """In how many functions, tests apart, each symbol is used."""
        count: Counter[str] = Counter()
        for part in self.parts.values():
            for source, targets in part.needs.items():
                if not source.startswith("test:"):
                    count.update(targets)
        return np.array([count[node] for node in self.nodes], float)

    @cached_property
    def users(self) -> Mapping[str, list[str]]:
        """The modules that need each module, by path."""
        found: dict[str, list[str]] = {}
        for path, part in self.parts.items():
            for other in sorted(part.imports):
                found.setdefault(other, []).append(path)
        return found

    @cached_property
    def ranking(self) -> Ranking:
        """The graph, ready for PageRank."""
        return Ranking.of(self.graph)

    def by_words(self, query: str, *, bodies: bool) -> Floats:
        """How well the texts of the symbols answer a query, by BM25; the best is 1."""
        current, rows = self._bodies if bodies else self._signatures
        scores = current.scores(query)[rows] if len(self.nodes) else np.zeros(0)
        return scores / (scores.max(initial=0.0) or 1.0)

    @cached_property
    def _signatures(self) -> tuple[CurrentWords, NDArray[np.int64]]:
        return self._current([row for part in self.parts.values() for row in part.signatures])

    @cached_property
    def _bodies(self) -> tuple[CurrentWords, NDArray[np.int64]]:
        return self._current([row for part in self.parts.values() for row in part.bodies])

    def _current(self, numbers: Sequence[int]) -> tuple[CurrentWords, NDArray[np.int64]]:
        rows, inverse, many = np.unique(
            np.array(numbers, np.int64), return_inverse=True, return_counts=True
        )
        return self.texts.words.current(rows, many), inverse


def last_name(node: str) -> str:
    """The last part of a symbol's name."""
    return node.rpartition("::")[2].rpartition(".")[2]


def _part(path: str, links: Links, facets: Facets, texts: Texts) -> Part:
    needs: dict[str, list[str]] = {}
    imports: dict[str, None] = {}
    for source, kind, target in links.edges:
        if kind not in NEEDS:
            continue
        if target.startswith(("function:", "method:", "class:")):
            needs.setdefault(source, []).append(target)
        if target.startswith(("module:", "function:", "method:", "class:", "attribute:")):
            imports[path_of(target)] = None
    imports.pop(path, None)
    symbols, names = [], []
    for name in names_in(facets):
        kind = (facets[f"sig:{name}"] or ("function",))[0]
        outer = facets.get(f"sig:{name.rpartition('.')[0]}")
        # What is defined inside a function is a part of it, and nothing that others could use.
        if kind in KINDS and ("." not in name or (outer and outer[0] == "class")):
            symbols.append(node_id(kind, path, name))
            names.append(name)
    told = [_texts(path, name, facets) for name in names]
    return Part(
        links,
        facets,
        tuple(symbols),
        {source: tuple(targets) for source, targets in needs.items()},
        frozenset(imports),
        tuple(texts.number(interface) for interface, _ in told),
        tuple(texts.number(whole) for _, whole in told),
    )


def _texts(path: str, name: str, facets: Facets) -> tuple[str, str]:
    """The words by which a symbol is found: those of its interface, and with them its body's."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    told = [*facets.get(f"sig:{name}", ())[1:], *facets.get(f"doc:{name}", ())]
    interface = " ".join([stem, name, *told, *facets.get(f"bases:{name}", ())])
    keys = (f"calls:{name}", f"uses:{name}", f"raises:{name}", f"config:{name}")
    inside = [text for key in keys for text in facets.get(key, ())]
    return interface, " ".join([interface, *inside])
