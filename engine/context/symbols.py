"""The functions and classes of a moment, and what stands between them, ready to be ranked.

What one module brings is made once and kept until the module, or what its names stand for, has
changed. So the next moment costs what has changed, and a few arrays over all symbols.
"""

from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from itertools import accumulate, pairwise, starmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.domain.graph import NEEDS, Graph
from backcast.domain.links import Links
from backcast.domain.names import resolve
from backcast.domain.node import node_id, path_of, plain_name
from backcast.domain.outline import Facets, names_in
from backcast.domain.paths import is_test
from backcast.domain.reader import Reader
from backcast.engine.context.likeness import NameWords
from backcast.engine.context.ranking import Ranking
from backcast.engine.context.search.words import CurrentWords, WordCounts
from backcast.projections import changes, dependency_graph

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
COLUMNS = (
    "node", "outer", "name", "owner", "interface", "body", "method", "special", "test file",
)  # fmt: skip
"""Per symbol: the numbers of its node, of the class around it (its own where there is none), of its
last name, of the class's and of the two texts by which it is found; then 1 for each kind that it
is, else 0."""
NONE = slice(0, 0)
FAR = 10**6
"The place of a module that never changed, among those that did."
KINDS = ("function", "method", "class")
SPARE, TIMES = 10_000, 6
"Texts whose words stay counted when they are gone: so many, and so many times the current ones. \
Then counting begins anew: what is gone is passed over at every moment."


class Named(NamedTuple):
    """A function, method or class, by its parts."""

    node: str
    path: str
    name: str
    outer: str
    "The class around a method; empty for all else."


class ModuleSymbols(NamedTuple):
    """What one module brings."""

    links: Links
    facets: Facets
    symbols: tuple[Named, ...]
    "Its functions, methods and classes, tests apart; sorted."
    needs: Mapping[str, tuple[str, ...]]
    "The functions and classes that each of its nodes needs."
    reads: Mapping[str, tuple[str, ...]]
    "The constants of modules that each of its nodes needs."
    tests: tuple[tuple[str, str], ...]
    "Its tests, and what each of them tests."
    imports: frozenset[str]
    "The paths of the modules that it needs."
    numbers: Numbers
    "Of (symbols, `COLUMNS`): each symbol in numbers."
    used: Numbers
    "The numbers of the nodes that its functions need, tests apart, each as often as it is needed."


class SymbolIndex:
    """Texts, nodes and names by number, and the words in the texts, for all moments."""

    def __init__(self, words: WordCounts | None = None) -> None:
        """`words` are those of texts that were counted before."""
        self.words = WordCounts() if words is None else words
        self.texts: dict[int, str] = {}
        self._nodes: dict[str, int] = {}
        self.names, self.paths = NameWords(), NameWords()

    def node(self, node: str) -> int:
        """Return the number of a node."""
        return self._nodes.setdefault(node, len(self._nodes))

    def number(self, text: str) -> int:
        """Return the number of a text."""
        number = self.words.number(text)
        self.texts.setdefault(number, text)
        return number

    def full(self, symbols: int) -> bool:
        """Tell whether too many texts are held for a number of current symbols."""
        return len(self.words) > SPARE + TIMES * symbols


class Symbols:
    """All symbols of one moment. Rows of every array are `nodes`."""

    def __init__(
        self, graph: Graph, parts: Mapping[str, ModuleSymbols], known: SymbolIndex
    ) -> None:
        self.graph, self.parts, self.known = graph, parts, known
        self.named = [one for part in parts.values() for one in part.symbols]
        self.nodes = [one.node for one in self.named]
        self.places = {node: number for number, node in enumerate(self.nodes)}
        self._constants: dict[str, list[str]] = {}
        self._lately: tuple[changes.State, Floats] | None = None

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
                own = part if part is not None and _alike(part.facets, facets) else None
                if own is None or part is None or part.links is not links:
                    part = _part(path, links, facets, known, own)
                else:
                    part = part._replace(facets=facets)
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

    def tests(self, path: str) -> list[tuple[str, str]]:
        """Tests and what each of them tests: those of all that is in a module, and of more."""
        return [
            pair
            for own, part in self.parts.items()
            if own == path or path in part.imports
            for pair in part.tests
        ]

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

    @cached_property
    def numbers(self) -> Mapping[str, Numbers]:
        """Each of `COLUMNS`, of (symbols)."""
        all = [part.numbers for part in self.parts.values()]
        table = np.concatenate(all) if all else np.zeros((0, len(COLUMNS)), np.int64)
        return dict(zip(COLUMNS, table.T, strict=True))

    @cached_property
    def alike_named(self) -> Numbers:
        """How many symbols have each number for a last name."""
        return np.bincount(self.numbers["name"])

    def like_name(self, name: str) -> Floats:
        """Return how alike the last name of each symbol is to a name, between 0 and 1."""
        return self.known.names.likeness(name, self.alike_named)[self.numbers["name"]]

    def like_owner(self, name: str) -> Floats:
        """Return how alike the class of each method is to a class's name; else 0."""
        counts = np.bincount(self.numbers["owner"])
        nameless = self.known.names.number("")
        counts[nameless : nameless + 1] = 0
        return self.known.names.likeness(name, counts)[self.numbers["owner"]]

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
        methods = scores if of is None else of
        outer, node = self.numbers["outer"], self.numbers["node"]
        best = np.zeros(int(max(outer.max(initial=-1), node.max(initial=-1))) + 1)
        np.maximum.at(best, outer[outer != node], methods[outer != node])
        return np.maximum(scores, share * best[node])

    @cached_property
    def ranking(self) -> Ranking:
        """The graph, ready for PageRank."""
        return Ranking.of(self.graph)

    def by_words(self, query: str, *, bodies: bool) -> Floats:
        """Return how well the texts of the symbols answer a query, by BM25; the best is 1."""
        current, numbers = self._bodies if bodies else self._signatures
        scores = current.scores(query)[numbers]
        return scores / (scores.max(initial=0.0) or 1.0)

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
        return [self.known.texts[number] for number in self.numbers["interface"]]

    def _current(self, column: str) -> tuple[CurrentWords, Numbers]:
        """The words of the texts of a column, with their numbers."""
        numbers = self.numbers[column]
        return self.known.words.current(numbers), numbers


def last_name(node: str) -> str:
    """Return the last part of a symbol's name."""
    return plain_name(node.rpartition("::")[2].rpartition(".")[2])


_READ = ("sig:", "doc:", "bases:", "calls:", "uses:", "raises:", "config:", "overloads:")
"Keys of facets that a part is made of, beside the links."


def _alike(before: Facets, after: Facets) -> bool:
    """Tell whether two outlines give the same symbols, found by the same words."""
    return before is after or (
        all(before.get(key) == facet for key, facet in after.items() if key.startswith(_READ))
        and all(key in after for key in before if key.startswith(_READ))
    )


def _part(
    path: str, links: Links, facets: Facets, known: SymbolIndex, own: ModuleSymbols | None
) -> ModuleSymbols:
    """Return what a module brings; `own` is what it brought before, by facets that say the same."""
    needs: dict[str, list[str]] = {}
    reads: dict[str, list[str]] = {}
    tests: list[tuple[str, str]] = []
    imports: dict[str, None] = {}
    for source, kind, target in links.edges:
        if kind == "tests":
            tests.append((source, target))
        if kind not in NEEDS:
            continue
        what, _, where = target.partition(":")
        other, _, name = where.partition("::")
        if what in KINDS:
            needs.setdefault(source, []).append(target)
        elif what == "attribute" and "." not in name:
            reads.setdefault(source, []).append(target)
        if what in KINDS or what in ("module", "attribute"):
            imports[other] = None
    imports.pop(path, None)
    if own is not None:
        symbols, numbers = own.symbols, own.numbers
    else:
        names = [name for name in names_in(facets) if _shown(facets, name)]
        symbols = tuple(_named(path, name, facets) for name in names)
        numbers = _numbers(path, names, facets, known)
    used = (known.node(n) for s, all in needs.items() if not s.startswith("test:") for n in all)
    return ModuleSymbols(
        links,
        facets,
        symbols,
        {source: tuple(targets) for source, targets in needs.items()},
        {source: tuple(targets) for source, targets in reads.items()},
        tuple(tests),
        frozenset(imports),
        numbers,
        np.fromiter(used, np.int64),
    )


def _shown(facets: Facets, name: str) -> bool:
    """Whether a name is one that others could use; what is inside a function is a part of it."""
    outer = facets.get(f"sig:{name.rpartition('.')[0]}")
    kind = (facets[f"sig:{name}"] or ("function",))[0]
    return kind in KINDS and ("." not in name or bool(outer and outer[0] == "class"))


def _named(path: str, name: str, facets: Facets) -> Named:
    node, outer = _node(path, name, facets), name.rpartition(".")[0]
    method = node.startswith("method:")
    return Named(node, path, name, node_id("class", path, outer) if method else "")


def _node(path: str, name: str, facets: Facets) -> str:
    return node_id((facets[f"sig:{name}"] or ("function",))[0], path, name)


def _numbers(path: str, names: Sequence[str], facets: Facets, known: SymbolIndex) -> Numbers:
    """Return the symbols of a module in numbers."""
    rows = []
    for name in names:
        node, outer = _node(path, name, facets), name.rpartition(".")[0]
        around = known.node(node_id("class", path, outer)) if outer else known.node(node)
        interface, whole = _texts(path, name, facets)
        last = last_name(node)
        rows.append(
            (known.node(node), around, known.names.number(last),
             known.names.number(last_name(outer) if outer else ""),
             known.number(interface), known.number(whole), node.startswith("method:"),
             last.startswith("__"), is_test(path))
        )  # fmt: skip
    return np.array(rows, np.int64).reshape(-1, len(COLUMNS))


def _texts(path: str, name: str, facets: Facets) -> tuple[str, str]:
    """The words by which a symbol is found: those of its interface, and with them its body's."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    texts = [*facets.get(f"sig:{name}", ())[1:], *facets.get(f"doc:{name}", ())]
    texts += [*facets.get(f"bases:{name}", ()), *facets.get(f"overloads:{name}", ())]
    interface = " ".join([stem, plain_name(name), *texts])
    keys = (f"calls:{name}", f"uses:{name}", f"raises:{name}", f"config:{name}")
    inside = [text for key in keys for text in facets.get(key, ())]
    return interface, " ".join([interface, *inside])
