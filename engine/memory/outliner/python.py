"""Outlines Python modules, with the language's own parser.

The facets of a function or class depend on its text, on whether it stands in a class and among
tests, and on the few names with another meaning in its module; `body:Q` is a digest of all these.
A symbol with the same body as in the previous version keeps its facets and is not walked, unless it
imports something, since its imports are not among its facets.

A text that does not parse, for example since its nesting is too deep, has the reason in `error`.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backcast.domain.outline import NEWER, Facet, Outline, digest_of
from backcast.engine.memory.outliner.python_attributes import attributes_of
from backcast.engine.memory.outliner.python_effects import ROOTS
from backcast.engine.memory.outliner.python_names import Namespace, imports_below
from backcast.engine.memory.outliner.python_parse import decoded, other_encoding, parsed, reason_of
from backcast.engine.memory.outliner.python_scopes import context_of
from backcast.engine.memory.outliner.python_symbols import (
    Symbol,
    first_line,
    overloads_of,
    symbols_in,
)
from backcast.engine.memory.outliner.python_texts import doc_of, signature_of, text_of
from backcast.engine.memory.outliner.python_walk import Walk
from backcast.engine.memory.outliner.texts import LONGEST, MOST, broken, listed, stood_in, unread

NAME = "python"
VERSION = 2
SUFFIXES: tuple[str, ...] = (".py", ".pyi")
TEST_FOLDERS = ("test", "tests")
OF_SYMBOL = (
    "sig", "doc", "decorators", "bases", "attributes", "calls", "locals", "raises", "effects",
    "uses", "config", "overloads",
)  # fmt: skip
"Facets of a function or class that depend only on its body."


def outline(path: str, source: bytes, before: Outline | None = None) -> Outline:
    """Return the outline of a module; the last good one, with the error, if it does not parse."""
    if reason := unread(source) or other_encoding(source):
        return broken(before, None, reason)
    try:
        text = decoded(source.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        tree, newer = parsed(text)
    except SyntaxError as error:
        return broken(before, error.lineno, reason_of(error))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return broken(before, line, f"bytes that are not {error.encoding}: {error.reason}")
    except (RecursionError, MemoryError):
        return broken(before, None, "needed a module that can be parsed, found too deep nesting")
    except (ValueError, LookupError) as error:
        return broken(before, None, str(error))
    made = _Outlining(path, text, tree, before.facets if before else {}).outline()
    return Outline({**made.facets, NEWER: newer}, made.lines) if newer else made


def place_of(path: str) -> str:
    """Return the part of a path that outlines depend on: whether it holds tests."""
    return "tests" if is_test_file(path) else ""


def after(outline: Outline, before: Outline | None) -> Outline:
    """Return the outline of the same text after another previous version, with new body counts."""
    if error := outline.facets.get("error"):
        return stood_in(before, error)
    facets = before.facets if before else {}
    counted = {
        key: _counted(facet[0], facets.get(key, ()))
        for key, facet in outline.facets.items()
        if key.startswith("body:")
    }
    return Outline({**outline.facets, **counted}, outline.lines)


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


class _Outlining:
    """The state of outlining one module."""

    def __init__(self, path: str, text: str, tree: ast.Module, before: Mapping[str, Facet]) -> None:
        self.tree, self.before = tree, before
        self.texts = text.split("\n")
        "The text of each line."
        self.is_test = is_test_file(path)
        self.namespace = Namespace(tree.body, walrus=":=" in text)
        self.context = context_of(self.namespace.bound, ROOTS)
        self.imports = self.namespace.imports
        self.facets: dict[str, Facet] = {}
        self.lines: dict[str, tuple[int, int]] = {}

    def outline(self) -> Outline:
        """Return the outline."""
        bodies: list[tuple[str, Sequence[Any]]] = [("", self.tree.body)]
        while bodies:
            prefix, body = bodies.pop()
            symbols, overridden = symbols_in(body, self.namespace.bound)
            for symbol in symbols:
                name = prefix + symbol.name
                if len(name) <= LONGEST:
                    self._take(name, symbol, in_class=bool(prefix))
                    if symbol.kept.__class__ is ast.ClassDef:
                        bodies.append((f"{name}.", symbol.kept.body))
            self._import_from(overridden)
        self._of_module()
        return Outline(self.facets, self.lines)

    def _take(self, name: str, symbol: Symbol, in_class: bool) -> None:
        """Add the facets and lines of one function or class."""
        self.lines[name] = symbol.lines
        kind = self._kind(symbol, in_class)
        segments = [self._segment(node) for node in symbol.nodes]
        place = "in a class" if in_class else "in a module"
        digest = digest_of((*segments, kind, place, *self._context(segments)))
        last = self.before.get(f"body:{name}", ())
        self.facets[f"body:{name}"] = _counted(digest, last)
        if digest in last[:1] and not any("import" in segment for segment in segments):
            facets = self._facets_before(name)
        else:
            facets = self._facets(symbol, kind, in_class)
        self.facets.update((f"{key}:{name}", facet) for key, facet in facets)

    def _facets(self, symbol: Symbol, kind: str, in_class: bool) -> Iterator[tuple[str, Facet]]:
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
        self.imports |= walk.imports
        yield from walk.facets().items()

    def _facets_before(self, name: str) -> Iterator[tuple[str, Facet]]:
        for key in OF_SYMBOL:
            facet = self.before.get(f"{key}:{name}")
            if facet is not None:
                yield key, facet

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

    def _import_from(self, overridden: list[Any]) -> None:
        """Add the imports of definitions that other definitions override."""
        for node in overridden:
            if "import" in self._segment(node):
                self.imports |= imports_below(node)

    def _of_module(self) -> None:
        """Add the facets of the module itself."""
        for name, binding in self.namespace.bound.items():
            self.facets[f"name:{name}"] = binding
            if others := self._others(name, binding):
                self.facets[f"other:{name}"] = others
            if binding[0] == "value" and name in self.namespace.types:
                self.facets[f"type:{name}"] = (self.namespace.types[name],)
        tops = {module.partition(".")[0] for module in self.imports}
        facets = {
            "doc": (doc,) if (doc := doc_of(self.tree)) else (),
            "imports": listed(self.imports),
            "standard": listed(tops & sys.stdlib_module_names),
            "stars": tuple(self.namespace.stars)[:MOST],
        }
        self.facets.update((key, facet) for key, facet in facets.items() if facet)

    def _others(self, name: str, binding: Facet) -> Facet:
        """Return the other bindings of a name as texts, without repeats."""
        found = self.namespace.others.get(name, ())
        return tuple(dict.fromkeys(" ".join(one)[:LONGEST] for one in found if one != binding))[
            :MOST
        ]


def _counted(digest: str, before: Facet) -> Facet:
    """Return the facet of a body: its digest, and the number of versions that changed it.

    `before` is the same facet in the previous version.

    >>> _counted("a1", ()), _counted("a1", ("a1", "3")), _counted("b2", ("a1", "3"))
    (('a1', '1'), ('a1', '3'), ('b2', '4'))
    """
    match before:
        case (last, count) if count.isascii() and count.isdigit() and len(count) < 10:
            return digest, str(max(int(count), 1) if digest == last else int(count) + 1)
    return digest, "1"


def _base(node: Any) -> str:
    if node.__class__ is not ast.keyword:
        return text_of(node)
    return f"{node.arg}={text_of(node.value)}" if node.arg else f"**{text_of(node.value)}"
