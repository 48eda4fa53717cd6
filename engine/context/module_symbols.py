"""The functions and classes that one module brings, in words and numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.domain.graph import NEEDS
from backcast.domain.links import Links
from backcast.domain.node import node_id, plain_name
from backcast.domain.outline import Facet, Facets, changed, names_in
from backcast.domain.paths import is_test
from backcast.domain.removed import KINDS, is_shared
from backcast.engine.context.likeness import NameWords
from backcast.engine.context.search.word_counts import WordCounts

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
COLUMNS = (
    "node", "outer", "name", "owner", "interface", "body", "method", "special", "test file",
)  # fmt: skip
"""Per symbol: the numbers of its node, of the class around it (its own where there is none), of its
last name, of the class's and of the two texts by which it is found; then 1 for each kind that it
is, else 0."""
OUTSIDE = ("doc", "bases", "overloads")
"Parts of an outline that say, beside the signature, what is seen of it from outside."
INSIDE = ("calls", "uses", "raises", "config")
"Parts of an outline that say what is in a body."
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
    callers: Mapping[str, list[str]]
    "Its nodes that need a function or class, tests apart, by what they need."
    reads: Mapping[str, tuple[str, ...]]
    "The constants of modules that each of its nodes needs."
    tests: Mapping[str, tuple[str, ...]]
    "Its tests, by what they test."
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
        self.interfaces: dict[int, str] = {}
        "Texts of interfaces that were asked for as texts."
        self._nodes: dict[str, int] = {}
        self.names, self.paths = NameWords(), NameWords()

    def node(self, node: str) -> int:
        """Return the number of a node."""
        return self._nodes.setdefault(node, len(self._nodes))

    def full(self, symbols: int) -> bool:
        """Tell whether too many texts are held for a number of current symbols."""
        return len(self.words) > SPARE + TIMES * symbols


def last_name(node: str) -> str:
    """Return the last part of a symbol's name."""
    return plain_name(node.rpartition("::")[2].rpartition(".")[2])


_READ = ("sig:", "doc:", "bases:", "calls:", "uses:", "raises:", "config:", "overloads:")
"Keys of facets that a part is made of, beside the links."


def differing(before: Facets, after: Facets) -> Set[str]:
    """Return the names of the symbols of which two outlines do not say the same."""
    return {key.partition(":")[2] for key in changed(before, after) if key.startswith(_READ)}


def module_symbols(
    path: str, links: Links, facets: Facets, known: SymbolIndex, before: ModuleSymbols | None
) -> ModuleSymbols:
    """Return what a module brings; `before` is what it brought at another moment."""
    symbols, numbers = _symbols(path, facets, known, before)
    if before is not None and before.links is links:
        return before._replace(facets=facets, symbols=symbols, numbers=numbers)
    needs: dict[str, list[str]] = {}
    callers: dict[str, list[str]] = {}
    reads: dict[str, list[str]] = {}
    tests: dict[str, list[str]] = {}
    imports: dict[str, None] = {}
    for source, kind, target in links.edges:
        if kind == "tests":
            tests.setdefault(target, []).append(source)
        if kind not in NEEDS:
            continue
        what, _, where = target.partition(":")
        other, _, name = where.partition("::")
        if what in KINDS:
            needs.setdefault(source, []).append(target)
            if not source.startswith("test:"):
                callers.setdefault(target, []).append(source)
        elif what == "attribute" and "." not in name:
            reads.setdefault(source, []).append(target)
        if what in KINDS or what in ("module", "attribute"):
            imports[other] = None
    imports.pop(path, None)
    used = (known.node(n) for s, all in needs.items() if not s.startswith("test:") for n in all)
    return ModuleSymbols(
        links,
        facets,
        symbols,
        {source: tuple(targets) for source, targets in needs.items()},
        callers,
        {source: tuple(targets) for source, targets in reads.items()},
        {target: tuple(sources) for target, sources in tests.items()},
        frozenset(imports),
        numbers,
        np.fromiter(used, np.int64),
    )


def _symbols(
    path: str, facets: Facets, known: SymbolIndex, before: ModuleSymbols | None
) -> tuple[tuple[Named, ...], Numbers]:
    """Return the symbols of a module, and these in numbers; what has not changed is kept."""
    kept = dict[str, tuple[Named, Sequence[int]]]()
    if before is not None:
        moved = differing(before.facets, facets)
        if not moved:
            return before.symbols, before.numbers
        rows = zip(before.symbols, before.numbers.tolist(), strict=True)
        kept = {named.name: (named, row) for named, row in rows if named.name not in moved}
    found = [
        kept.get(name) or (_named(path, name, facets), _row(path, name, facets, known))
        for name in names_in(facets) if is_shared(facets, name)
    ]  # fmt: skip
    return tuple(named for named, _ in found), _table(row for _, row in found)


def _named(path: str, name: str, facets: Facets) -> Named:
    node, outer = _node(path, name, facets), name.rpartition(".")[0]
    method = node.startswith("method:")
    return Named(node, path, name, node_id("class", path, outer) if method else "")


def _node(path: str, name: str, facets: Facets) -> str:
    return node_id((facets[f"sig:{name}"] or ("function",))[0], path, name)


def numbers_of(path: str, names: Sequence[str], facets: Facets, known: SymbolIndex) -> Numbers:
    """Return the symbols of a module in numbers, of (names, `COLUMNS`)."""
    return _table(_row(path, name, facets, known) for name in names)


def _table(rows: Iterable[Sequence[int]]) -> Numbers:
    return np.array([*rows], np.int64).reshape(-1, len(COLUMNS))


def _row(path: str, name: str, facets: Facets, known: SymbolIndex) -> Sequence[int]:
    node, outer = _node(path, name, facets), name.rpartition(".")[0]
    number = known.node(node)
    interface, whole = symbol_texts(path, name, facets)
    last = last_name(name)
    return (
        number, known.node(node_id("class", path, outer)) if outer else number,
        known.names.number(last), known.names.number(last_name(outer) if outer else ""),
        known.words.number(interface), known.words.number(whole), node.startswith("method:"),
        last.startswith("__"), is_test(path),
    )  # fmt: skip


def symbol_texts(path: str, name: str, facets: Mapping[str, Facet]) -> tuple[str, str]:
    """Return the words by which a symbol of a module is found, see `symbol_words`."""
    return symbol_words(path, name, lambda part: facets.get(f"{part}:{name}"))


def symbol_words(path: str, name: str, part: Callable[[str], Facet | None]) -> tuple[str, str]:
    """The words by which a symbol is found: those of its interface, and with them its body's.

    `part` returns what its outline says of it, by `PARTS`.
    """
    texts = [path.rpartition("/")[2].rpartition(".")[0], plain_name(name), *(part("sig") or ())[1:]]
    for key in OUTSIDE:
        texts += part(key) or ()
    interface = " ".join(texts)
    inside = [interface]
    for key in INSIDE:
        inside += part(key) or ()
    return interface, " ".join(inside) if len(inside) > 1 else interface
