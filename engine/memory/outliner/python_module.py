"""Outlines the statements of a Python module, symbol by symbol.

The facets of a function or class depend on its text, on whether it stands in a class and among
tests, and on the few names with another meaning in its module; `body:Q` is a digest of all these.
What was found of a symbol stays at its tree, and serves again in the next version of the module if
all these are the same.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backcast.domain.outline import Facet, Outline, digest_of
from backcast.engine.memory.outliner.python_attributes import attributes_of
from backcast.engine.memory.outliner.python_branches import BLOCKS, DEFINITIONS, statements
from backcast.engine.memory.outliner.python_effects import ROOTS
from backcast.engine.memory.outliner.python_names import Namespace, imports_below
from backcast.engine.memory.outliner.python_scopes import context_of
from backcast.engine.memory.outliner.python_symbols import (
    Symbol,
    first_line,
    overloads_of,
    symbols_in,
)
from backcast.engine.memory.outliner.python_texts import doc_of, signature_of, text_of
from backcast.engine.memory.outliner.python_walk import Walk
from backcast.engine.memory.outliner.texts import LONGEST, MOST, listed

TEST_FOLDERS = ("test", "tests")


class ModuleNames:
    """The names that a module binds, and the statements that say so."""

    def __init__(self, body: Sequence[Any], walrus: bool) -> None:
        self.said_by = _binding(body)
        self.namespace = Namespace(body, walrus)
        self.context = context_of(self.namespace.bound, ROOTS)
        self.facets = dict(self._facets())

    def said_again(self, body: Sequence[Any]) -> bool:
        """Return whether a module binds the same names by the same statements."""
        return self.said_by == _binding(body)

    def _facets(self) -> Iterator[tuple[str, Facet]]:
        """Yield the facets of names, with their keys."""
        for name, binding in self.namespace.bound.items():
            yield f"name:{name}", binding
            if others := self._others(name, binding):
                yield f"other:{name}", others
            if binding[0] == "value" and name in self.namespace.types:
                yield f"type:{name}", (self.namespace.types[name],)

    def _others(self, name: str, binding: Facet) -> Facet:
        """Return the other bindings of a name as texts, without repeats."""
        found = self.namespace.others.get(name, ())
        return tuple(dict.fromkeys(" ".join(one)[:LONGEST] for one in found if one != binding))[
            :MOST
        ]


def _binding(body: Sequence[Any]) -> list[Any]:
    """Return what of a module's statements binds names: definitions do so only by their own."""
    return [one.name if one.__class__ in DEFINITIONS else one for one in body]


def outlined(
    path: str, text: str, body: Sequence[Any], before: ModuleNames | None = None
) -> tuple[Outline, ModuleNames]:
    """Return the outline of a module, and its names; every symbol of it has changed once.

    `before` has the names of another version. `ForgottenError` where a tree was dropped.
    """
    names = before if before and before.said_again(body) else ModuleNames(body, ":=" in text)
    return _Outlining(path, text, body, names).outline(), names


def is_test_file(path: str) -> bool:
    """Return whether functions in a file whose names begin with `test` are tests.

    >>> is_test_file("tests/shop.py"), is_test_file("shop/test_cart.py"), is_test_file("test.py")
    (True, True, False)
    """
    *folders, name = path.split("/")
    stem = name.rpartition(".")[0]
    if any(folder in TEST_FOLDERS for folder in folders):
        return True
    return stem.startswith("test_") or stem.endswith("_test")


class ForgottenError(Exception):
    """A tree is needed that was dropped after its outline."""


class SymbolPart:
    """The part of an outline that comes from one symbol, and what it depends on besides its text.

    It stands at the symbol's first definition, as `part`, and serves as long as that stands.
    """

    __slots__ = (
        "bound", "context", "facets", "imports", "line", "lines", "name", "near", "others",
    )  # fmt: skip

    def __init__(
        self, name: str, symbol: Symbol, context: Mapping[str, str], near: list[str]
    ) -> None:
        self.name, self.others = name, symbol.nodes[1:]
        self.context, self.near = context, near
        "The module's meanings of names, and of those in its text."
        self.line = symbol.lines[0]
        self.facets: dict[str, Facet] = {}
        self.lines: dict[str, tuple[int, int]] = {}
        "The lines of what is in a class, while its first line is `line`."
        self.imports: set[str] = set()
        self.bound: Mapping[str, Facet] | None = None
        "The module's bindings, where a condition in a class may depend on them."

    def add(self, part: "SymbolPart", lines: tuple[int, int]) -> None:
        """Add what comes from a member, which stands on these lines."""
        self.facets.update(part.facets)
        self.imports |= part.imports
        self.lines[part.name] = lines
        self.lines.update(part.lines_from(lines[0]))
        self.bound = self.bound if part.bound is None else part.bound

    def lines_from(self, first: int) -> dict[str, tuple[int, int]]:
        """Return the lines of what is in the class, which begins on this line."""
        shift, self.line = first - self.line, first
        if shift and self.lines:
            moved = {name: (a + shift, b + shift) for name, (a, b) in self.lines.items()}
            self.lines = moved
        return self.lines


class _Outlining:
    """The state of outlining one module."""

    def __init__(self, path: str, text: str, body: Sequence[Any], names: ModuleNames) -> None:
        self.body, self.names = body, names
        self.texts = text.split("\n")
        "The text of each line."
        self.is_test = is_test_file(path)
        self.namespace, self.context = names.namespace, names.context
        self.imports = set(self.namespace.imports)
        self.facets: dict[str, Facet] = {}
        self.lines: dict[str, tuple[int, int]] = {}

    def outline(self) -> Outline:
        """Return the outline."""
        for name, symbol, part in self._parts("", self.body, self.imports):
            first, last = symbol.lines
            self.lines[name] = first, last
            if part.lines:
                self.lines.update(part.lines_from(first))
            self.facets.update(part.facets)
            self.imports |= part.imports
        self._of_module()
        return Outline(self.facets, self.lines)

    def _parts(
        self, prefix: str, body: Sequence[Any], imports: set[str]
    ) -> Iterator[tuple[str, Symbol, SymbolPart]]:
        """Yield the symbols of a body with their parts; add the imports of overridden ones."""
        symbols, overridden = symbols_in(body, self.namespace.bound)
        for symbol in symbols:
            name = prefix + symbol.name
            if len(name) <= LONGEST:
                yield name, symbol, self._part(name, symbol, in_class=bool(prefix))
        for node in overridden:
            if "import" in self._segment(node):
                imports |= imports_below(_whole(node))

    def _part(self, name: str, symbol: Symbol, in_class: bool) -> SymbolPart:
        first = symbol.nodes[0]
        part: SymbolPart | None = getattr(first, "part", None)
        if part is None or not self._serves(part, name, symbol):
            part = first.part = self._made(name, symbol, in_class)
        return part

    def _serves(self, part: SymbolPart, name: str, symbol: Symbol) -> bool:
        """Return whether what a part depends on is the same."""
        if part.name != name or part.others != symbol.nodes[1:]:
            return False
        if part.bound is not None and part.bound != self.namespace.bound:
            return False
        if part.context != self.context:
            if part.near != self._context([self._segment(node) for node in symbol.nodes]):
                return False
            part.context = self.context
        return True

    def _made(self, name: str, symbol: Symbol, in_class: bool) -> SymbolPart:
        """Return the part of one function or class."""
        if not all(node.body for node in symbol.nodes):
            raise ForgottenError
        kind = self._kind(symbol, in_class)
        segments = [self._segment(node) for node in symbol.nodes]
        place = "in a class" if in_class else "in a module"
        near = self._context(segments)
        part = SymbolPart(name, symbol, self.context, near)
        part.facets[f"body:{name}"] = digest_of((*segments, kind, place, *near)), "1"
        for key, facet in self._facets(symbol, kind, in_class, part.imports):
            part.facets[f"{key}:{name}"] = facet
        if kind == "class":
            body = symbol.kept.body
            for _, member, inner in self._parts(f"{name}.", body, part.imports):
                part.add(inner, member.lines)
            if any(statement.__class__ in BLOCKS for statement in body):
                part.bound = self.namespace.bound
        return part

    def _facets(
        self, symbol: Symbol, kind: str, in_class: bool, imports: set[str]
    ) -> Iterator[tuple[str, Facet]]:
        """Yield the facets of a symbol, each with the first part of its key."""
        node, is_class = symbol.kept, kind == "class"
        yield "sig", (kind, "" if is_class else signature_of(node))
        if doc := doc_of(node):
            yield "doc", (doc,)
        if variants := overloads_of(symbol):
            yield "overloads", tuple(map(signature_of, variants[:MOST]))
        if node.decorator_list:
            yield "decorators", tuple(map(text_of, node.decorator_list[:MOST]))
        if is_class:
            if bases := tuple(map(_base, [*node.bases, *node.keywords][:MOST])):
                yield "bases", bases
            if attributes := attributes_of(node):
                yield "attributes", attributes
        walk = Walk(symbol.nodes, self.context, in_class)
        imports |= walk.imports
        yield from walk.facets().items()

    def _kind(self, symbol: Symbol, in_class: bool) -> str:
        if symbol.kept.__class__ is ast.ClassDef:
            return "class"
        if self.is_test and symbol.name.startswith("test"):
            return "test"
        return "method" if in_class else "function"

    def _segment(self, node: Any) -> str:
        return "\n".join(self.texts[first_line(node) - 1 : node.end_lineno])

    def _context(self, segments: list[str]) -> list[str]:
        """Return the module's meanings of the names in a text."""
        return [
            f"{name}={self.context[name]}"
            for name in sorted(self.context)
            if any(name in segment for segment in segments)
        ]

    def _of_module(self) -> None:
        """Add the facets of the module itself."""
        self.facets.update(self.names.facets)
        tops = {module.partition(".")[0] for module in self.imports}
        facets = {
            "doc": (doc,) if (doc := doc_of(self)) else (),
            "imports": listed(self.imports),
            "standard": listed(tops & sys.stdlib_module_names),
            "stars": tuple(self.namespace.stars)[:MOST],
        }
        self.facets.update((key, facet) for key, facet in facets.items() if facet)


def _whole(node: Any) -> Any:
    """Return a definition of which no tree was dropped, in classes neither."""
    if not node.body:
        raise ForgottenError
    if node.__class__ is ast.ClassDef:
        for statement in statements(node.body):
            if statement.__class__ in DEFINITIONS:
                _whole(statement)
    return node


def _base(node: Any) -> str:
    if node.__class__ is not ast.keyword:
        return text_of(node)
    return f"{node.arg}={text_of(node.value)}" if node.arg else f"**{text_of(node.value)}"
