"""Finds the bindings of a Python module's names, and its statements.

Statements inside `if`, `try`, `with`, `for`, `while` and `match` count like statements outside. The
last definition wins, except that an `except` or `else` branch does not override a name that the
body beside it binds: the first of two alternatives is the preferred one.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_texts import (
    LONGEST_ALL,
    dotted_of,
    exported_of,
    literal_of,
)
from backcast.engine.memory.outliner.texts import LONGEST

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor)
WITHS = (ast.With, ast.AsyncWith)
CHOICES = (ast.If, ast.Try, ast.TryStar)
STATEMENTS = ("body", "cases", "handlers", "orelse", "finalbody")
BLOCKS: frozenset[type[ast.AST]] = frozenset((*CHOICES, *LOOPS, ast.While, *WITHS, ast.Match))
BRANCHES: frozenset[type[ast.AST]] = frozenset((ast.ExceptHandler, ast.match_case))
PARTS = {kind: [part for part in kind._fields if part in STATEMENTS] for kind in BLOCKS | BRANCHES}
ASSIGNING = frozenset((ast.Assign, ast.AnnAssign, ast.AugAssign, *LOOPS, *WITHS))
SEQUENCES = (ast.Tuple, ast.List)
ACCESSORS = ("getter", "setter", "deleter")

Chain = tuple[set[str], "Chain"] | None
"Sets of names, the innermost first."


class BranchedStatement(NamedTuple):
    """A statement, with the branches around it."""

    statement: Any
    beside: Chain = None
    "Names bound by the bodies to which this is the other branch."
    within: Chain = None
    "Sets for the names bound here, which other branches look up."

    def takes(self, name: str) -> bool:
        """Return whether this statement binds a name, and note the name if so."""
        beside, within = self.beside, self.within
        while beside is not None:
            if name in beside[0]:
                return False
            beside = beside[1]
        while within is not None:
            within[0].add(name)
            within = within[1]
        return len(name) <= LONGEST


def places(body: Sequence[Any]) -> Iterator[BranchedStatement]:
    """Yield the statements of a body in order, also inside blocks, but not inside definitions."""
    stack = [BranchedStatement(statement) for statement in reversed(body)]
    while stack:
        place = stack.pop()
        yield place
        if place.statement.__class__ in BLOCKS:
            stack.extend(_in_block(place))


def _in_block(place: BranchedStatement) -> list[BranchedStatement]:
    """Return the statements of a block, the last first."""
    statement, beside, within = place
    other, inside = beside, within
    if statement.__class__ in CHOICES:
        bound: set[str] = set()
        other, inside = (bound, beside), (bound, within)
    branches = [(getattr(statement, "body", ()), beside, inside)]
    for name in ("cases", "handlers"):
        branches += [(branch.body, other, within) for branch in getattr(statement, name, ())]
    branches.append((getattr(statement, "orelse", ()), other, within))
    branches.append((getattr(statement, "finalbody", ()), beside, within))
    return [
        BranchedStatement(inner, beside, within)
        for body, beside, within in reversed(branches)
        for inner in reversed(body)
    ]


def statements(body: Sequence[Any]) -> Iterator[Any]:
    """Yield the same statements and the branches of blocks, statements outside of blocks first."""
    waiting = [body]
    for block in waiting:  # which grows on the way
        for statement in block:
            yield statement
            for name in PARTS.get(statement.__class__, ()):
                waiting.append(getattr(statement, name))


class Assigned(NamedTuple):
    """One target of an assignment, with its annotation and value."""

    target: Any
    annotation: Any = None
    value: Any = None


def assigned(statement: Any) -> Iterator[Assigned]:
    """Yield the single targets that a statement assigns, also from tuples."""
    kind = statement.__class__
    if kind is ast.Assign:
        for target in statement.targets:
            yield from _leaves(target, statement.value)
    elif kind is ast.AnnAssign:
        yield Assigned(statement.target, statement.annotation, statement.value)
    elif kind is ast.AugAssign:
        yield Assigned(statement.target)
    elif kind in LOOPS:
        yield from _leaves(statement.target)
    elif kind in WITHS:
        for item in statement.items:
            if item.optional_vars is not None:
                yield from _leaves(item.optional_vars)


def _leaves(target: Any, value: Any = None) -> Iterator[Assigned]:
    stack = [(target, value)]
    while stack:
        target, value = stack.pop()
        if target.__class__ is ast.Starred:
            stack.append((target.value, None))
        elif target.__class__ not in SEQUENCES:
            yield Assigned(target, None, value)
        else:
            stack.extend(reversed(list(_pairs(target.elts, value))))


def _pairs(targets: list[Any], value: Any) -> Iterable[tuple[Any, Any]]:
    """Return targets with their own values, where a tuple is assigned to as many targets."""
    values: list[Any] = value.elts if value.__class__ in SEQUENCES else []
    starred = any(node.__class__ is ast.Starred for node in [*targets, *values])
    if starred or len(values) != len(targets):
        values = [None] * len(targets)
    return zip(targets, values, strict=True)


class Namespace:
    """The bindings of a module, and the imports of its own statements."""

    def __init__(self, body: Sequence[Any], walrus: bool) -> None:
        """Read a module's body; `walrus` tells whether it contains `:=`."""
        self.bound: dict[str, Facet] = {}
        self.imports: set[str] = set()
        self.stars: set[str] = set()
        for place in places(body):
            self._take(place)
            if walrus or place.statement.__class__ is ast.Match:
                for name, value in _bound_within(place.statement):
                    self._bind(place, name, binding_of(value))

    def _take(self, place: BranchedStatement) -> None:
        statement = place.statement
        kind = statement.__class__
        if kind in DEFINITIONS:
            self._bind(place, statement.name, ("def",))
        elif kind in (ast.Import, ast.ImportFrom):
            self.imports.update(modules_of(statement))
            for name, binding in imported(statement):
                if name == "*":
                    self.stars.add(binding[1])
                else:
                    self._bind(place, name, binding)
        elif statement.__class__.__name__ == "TypeAlias":  # not before Python 3.12
            self._bind(place, statement.name.id, ("value", ""))
        else:
            for target, _, value in assigned(statement):
                if target.__class__ is ast.Name:
                    self._assign(place, target.id, value)

    def _assign(self, place: BranchedStatement, name: str, value: Any) -> None:
        if name != "__all__":
            self._bind(place, name, binding_of(value))
        elif place.statement.__class__ is ast.AugAssign:
            texts = [*self.bound.get(name, ("",))[1:], exported_of(place.statement.value)]
            self._bind(place, name, ("value", " + ".join(filter(None, texts))[:LONGEST_ALL]))
        else:
            self._bind(place, name, ("value", exported_of(value) if value is not None else ""))

    def _bind(self, place: BranchedStatement, name: str, binding: Facet) -> None:
        if place.takes(name):
            longest = LONGEST_ALL if name == "__all__" else LONGEST
            self.bound[name] = tuple(text[:longest] for text in binding)


def binding_of(value: Any) -> Facet:
    """Return the binding of a name by an assignment."""
    dotted = dotted_of(value)
    if dotted:
        return ("alias", dotted)
    return ("value", literal_of(value) if value is not None else "")


def imported(statement: Any) -> Iterator[tuple[str, Facet]]:
    """Yield the names that an import binds, with their bindings; `*` for all names of a module."""
    if statement.__class__ is ast.ImportFrom:
        module = from_of(statement)
        for alias in statement.names:
            yield alias.asname or alias.name, ("from", module, alias.name)
        return
    for alias in statement.names:
        name = alias.asname or alias.name.partition(".")[0]
        yield name, ("import", alias.name if alias.asname else name)


def modules_of(statement: Any) -> list[str]:
    """Return the modules that an import names, as written."""
    if statement.__class__ is ast.ImportFrom:
        return [from_of(statement)]
    return [alias.name for alias in statement.names]


def from_of(statement: Any) -> str:
    """Return the module that names are imported from, as written: `..pkg.mod`."""
    return "." * min(statement.level or 0, LONGEST) + (statement.module or "")


def imports_below(definition: Any) -> set[str]:
    """Return the modules that a function or class imports, nested definitions included."""
    modules: set[str] = set()
    waiting = [definition]
    while waiting:
        for statement in statements(waiting.pop().body):
            if statement.__class__ in DEFINITIONS:
                waiting.append(statement)
            elif statement.__class__ in (ast.Import, ast.ImportFrom):
                modules.update(modules_of(statement))
    return modules


def _bound_within(statement: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names that `:=` and patterns bind in a statement's expressions, with values."""
    if statement.__class__ in DEFINITIONS:
        return
    stack = [statement]
    while stack:
        node = stack.pop()
        if node.__class__ is ast.NamedExpr:
            yield node.target.id, node.value
        for name in (getattr(node, "name", None), getattr(node, "rest", None)):
            if isinstance(name, str) and isinstance(node, ast.pattern):
                yield name, None
        stack.extend(
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.stmt, ast.excepthandler, ast.Lambda))
        )
