"""A Python source by its functions, methods, classes, constants and imports."""

import ast
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

DEFS = ast.FunctionDef | ast.AsyncFunctionDef


class Symbol(NamedTuple):
    """A function, method, class or variable of a module."""

    name: str
    "Qualified within the module."
    kind: str
    "function, method, class or variable."
    first: int
    "The line of its `def`, `class` or assignment, counted from 1."
    last: int
    above: int
    "The line where its decorators begin."
    opened: int
    "The last line before its body."
    head: int
    "Of a class: the last line before its first method; else `last`."
    same: str
    "A text that is equal where two versions do the same."


class Source:
    """A module's text, parsed."""

    def __init__(self, body: bytes | None) -> None:
        self.text = (body or b"").decode(errors="replace").replace("\r\n", "\n")
        self.lines = self.text.split("\n")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError):
            self.tree = ast.Module([], [])
        self.symbols = {symbol.name: symbol for symbol in _symbols(self.tree, "", "")}

    def between(self, first: int, last: int) -> str:
        """Return some lines, both ends included."""
        return "\n".join(self.lines[first - 1 : last])

    def full(self, symbol: Symbol) -> str:
        """Return the text of a symbol, its decorators included."""
        return self.between(symbol.above, symbol.last)

    def signature(self, symbol: Symbol) -> str:
        """Return a symbol's whole `def` or `class` line, also over several lines."""
        return self.between(symbol.first, symbol.opened)

    def docstring(self, symbol: Symbol) -> str:
        """Return a symbol's docstring; empty where it has none."""
        node = node_of(self.tree, symbol.first)
        return (ast.get_docstring(node) or "") if node is not None else ""


def node_of(tree: ast.Module, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the function whose `def` stands on a line."""
    for node in ast.walk(tree):
        if isinstance(node, DEFS) and node.lineno == line:
            return node
    return None


def code_of(node: DEFS | ast.ClassDef) -> list[ast.stmt]:
    """Return the body of a function without its docstring."""
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return node.body[1:] if isinstance(first.value.value, str) else node.body
    return node.body


def _symbols(node: ast.AST, scope: str, around: str) -> Iterator[Symbol]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFS | ast.ClassDef):
            yield from _defined(child, scope, around)
        elif isinstance(child, ast.Assign | ast.AnnAssign) and not scope:
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                first, last = child.lineno, child.end_lineno or child.lineno
                yield Symbol(name, "variable", first, last, first, first, last, "")
        elif isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _symbols(child, scope, around)


def _defined(node: DEFS | ast.ClassDef, scope: str, around: str) -> Iterator[Symbol]:
    name = f"{scope}.{node.name}" if scope else node.name
    above = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    last = node.end_lineno or node.lineno
    opened = max(node.lineno, node.body[0].lineno - 1)
    if isinstance(node, ast.ClassDef):
        inner = [
            line.lineno
            for child in node.body
            if isinstance(child, DEFS | ast.ClassDef)
            for line in (child, *child.decorator_list[:1])
        ]
        head = min(inner) - 1 if inner else last
        yield Symbol(name, "class", node.lineno, last, above, opened, max(head, opened), "")
        yield from _symbols(node, name, "class")
        return
    kind = "method" if around == "class" else "function"
    same = ast.dump(ast.Module([*node.decorator_list, node.args, *code_of(node)], []))  # type: ignore[list-item]
    yield Symbol(name, kind, node.lineno, last, above, opened, last, same)


def imported(path: str, source: Source, tree: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the project's modules that a module imports directly, with the imported names."""
    modules: dict[str, set[str]] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if place := _place(alias.name, path, 0, tree):
                    modules.setdefault(place, set())
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if place := _place(module, path, node.level, tree):
                modules.setdefault(place, set()).update(alias.name for alias in node.names)
            for alias in node.names:
                dotted = f"{module}.{alias.name}" if module else alias.name
                if place := _place(dotted, path, node.level, tree):
                    modules.setdefault(place, set())
    return modules


def _place(dotted: str, path: str, level: int, tree: Mapping[str, str]) -> str | None:
    """Return the path of a module by its dotted name, seen from another."""
    tail = dotted.replace(".", "/")
    if level:
        folder = path.split("/")[:-level]
        stems = ["/".join([*folder, tail] if tail else folder)]
    else:
        parts = path.split("/")[:-1]
        stems = [tail, f"src/{tail}", f"lib/{tail}"]
        stems += ["/".join([*parts[:n], tail]) for n in range(1, len(parts) + 1)]
    for stem in stems:
        for place in (f"{stem}.py", f"{stem}/__init__.py".lstrip("/")):
            if place in tree:
                return place
    return None
