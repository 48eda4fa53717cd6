"""The project's own definitions that a new function uses, as jedi resolves them after the commit.

Only definitions count that existed before the commit: the same path and qualified name in the
parent's tree. The function itself is left out. Jedi is asked only about names that existed before.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jedi

from scripts.benches.context_source import Source, Symbol, code_of, imported, node_of
from scripts.benches.context_trees import Checkout, Repository

VERSION = 1
"A number that grows when the same task would have other gold."


class Gold(NamedTuple):
    """A definition of the project that the new function uses."""

    path: str
    name: str
    kind: str
    "function, method, class or variable."
    inside: bool
    "Whether it stands in the function's own module."
    near: bool
    "Whether the module imported its module directly before; true inside."
    lines: tuple[str, ...]
    "Its text before the commit from `def` on, blank lines and outer spaces left out."


class Asked(NamedTuple):
    """A function whose uses are resolved."""

    path: str
    symbol: Symbol
    source: Source
    before: Mapping[str, str]
    "The parent's tree: objects by path."
    after: Mapping[str, str]


class Resolver:
    """A resolver by jedi, on one tree of a repository after another."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        jedi.settings.cache_directory = str(folder / "jedi")
        self.checkout = Checkout(repository, folder / "after")

    def gold(self, asked: Asked, source_of: Callable[[str], Source]) -> tuple[Gold, ...]:
        """Return the definitions that a function uses, by path and name."""
        known = _Known(asked.before, source_of)
        wanted = list(_uses(asked, known))
        if not wanted:
            return ()
        folder = self.checkout.show(asked.after).resolve()
        added = [str(folder / "src"), str(folder / "lib")]
        script = jedi.Script(
            path=folder / asked.path, project=jedi.Project(folder, added_sys_path=added)
        )
        places = {place for use in wanted for place in _places(script, folder, *use)}
        names = set()
        for path, line in places:
            after = asked.after.get(path)
            symbols = source_of(after).symbols.values() if after else ()
            name = next((one.name for one in symbols if one.first == line), None)
            if name and (path, name) != (asked.path, asked.symbol.name) and known.has(path, name):
                names.add((path, name))
        return tuple(known.gold(asked.path, path, name) for path, name in sorted(names))


class _Known:
    """The definitions before the commit."""

    def __init__(self, tree: Mapping[str, str], source_of: Callable[[str], Source]) -> None:
        self.tree, self.source_of = tree, source_of

    def names(self) -> set[str]:
        """Return the last parts of all names."""
        sources = (self.source_of(oid) for oid in self.tree.values())
        return {name.rpartition(".")[2] for source in sources for name in source.symbols}

    def has(self, path: str, name: str) -> bool:
        return path in self.tree and name in self.source_of(self.tree[path]).symbols

    def gold(self, own: str, path: str, name: str) -> Gold:
        source = self.source_of(self.tree[path])
        symbol = source.symbols[name]
        text = source.between(symbol.first, symbol.last)
        lines = tuple(line.strip() for line in text.split("\n") if line.strip())
        return Gold(path, name, symbol.kind, path == own, self._near(own, path), lines)

    def _near(self, own: str, path: str) -> bool:
        if own not in self.tree:
            return False
        modules = imported(own, self.source_of(self.tree[own]), self.tree)
        for package in [place for place in modules if place.endswith("__init__.py")]:
            # A package may pass on a name of a module.
            source = self.source_of(self.tree[package])
            for place, names in imported(package, source, self.tree).items():
                if names & modules[package] or "*" in names | modules[package]:
                    modules.setdefault(place, set())
        return path == own or path in modules


def _uses(asked: Asked, known: _Known) -> Iterator[tuple[int, int]]:
    """Yield line and column of each name in the body that could be one of the project's own."""
    node = node_of(asked.source.tree, asked.symbol.first)
    if node is None:
        return
    names = known.names() | {
        alias.asname
        for statement in ast.walk(asked.source.tree)
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in statement.names
        if alias.asname
    }
    seen = set()
    for inner in (inner for statement in code_of(node) for inner in ast.walk(statement)):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            name, key, column = inner.id, inner.id, inner.col_offset
        elif isinstance(inner, ast.Attribute):
            name, key = inner.attr, ast.unparse(inner)
            column = (inner.end_col_offset or 0) - len(inner.attr.encode())
        else:
            continue
        if name in names and key not in seen:
            seen.add(key)
            line = inner.end_lineno or inner.lineno
            text = asked.source.lines[line - 1].encode()[:column].decode(errors="replace")
            yield line, len(text)


def _places(script: jedi.Script, folder: Path, line: int, column: int) -> Iterator[tuple[str, int]]:
    """Yield the places in the project where jedi finds a name defined."""
    try:
        names = script.goto(line, column, follow_imports=True)
    except Exception:  # jedi fails in many ways on odd code; such a name has no place
        return
    for name in names:
        path = name.module_path
        if name.type != "module" and name.line and path is not None and path.is_relative_to(folder):
            yield path.relative_to(folder).as_posix(), name.line
