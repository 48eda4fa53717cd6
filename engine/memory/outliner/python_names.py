"""Finds the bindings of a Python module's names, and its statements.

Statements inside `if`, `try`, `with`, `for`, `while` and `match` count like statements outside. The
last definition wins, except that an `except` or `else` branch does not override a name that the
body beside it binds: the first of two alternatives is the preferred one. A branch that Python does
not run (`TYPE_CHECKING`, another version or platform) binds only what nothing else does.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_branches import (
    DEFINITIONS,
    LOOPS,
    TYPING,
    WITHS,
    Branch,
    BranchedStatement,
    always_after,
    places,
    statements,
)
from backcast.engine.memory.outliner.python_texts import (
    LONGEST_ALL,
    dotted_of,
    exported_of,
    literal_of,
)
from backcast.engine.memory.outliner.python_types import type_in, type_of
from backcast.engine.memory.outliner.texts import LONGEST

ASSIGNING = frozenset((ast.Assign, ast.AnnAssign, ast.AugAssign, *LOOPS, *WITHS))
DEEPEST_WRAPPING = 10
SEQUENCES = (ast.Tuple, ast.List)
ADDING = ("__all__.extend", "__all__.append")
ACCESSORS = ("getter", "setter", "deleter")


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
        self.types: dict[str, str] = {}
        "The types of values, where the source shows them."
        self.others: dict[str, list[Facet]] = {}
        "What else a name may be bound to, the likeliest first."
        self.imports: set[str] = set()
        self.stars: dict[str, None] = {}
        "The modules that all names are imported from, in order."
        self._unrun: dict[str, list[tuple[str, Facet]]] = {}
        self._branches: dict[str, Branch] = {}
        for place in places(body, self.bound):
            self._take(place)
            if walrus or place.statement.__class__ is ast.Match:
                for name, value in _bound_within(place.statement):
                    self._bind(place, name, binding_of(value))
        for name, bindings in self._unrun.items():
            self._bind_unrun(name, bindings)

    def _take(self, place: BranchedStatement) -> None:
        statement = place.statement
        kind = statement.__class__
        if kind in DEFINITIONS:
            self._bind(place, statement.name, ("def",))
        elif kind in (ast.Import, ast.ImportFrom):
            self.imports.update(modules_of(statement))
            for name, binding in imported(statement):
                if name == "*":
                    self.stars.pop(binding[1], None)
                    self.stars[binding[1]] = None
                else:
                    self._bind(place, name, binding)
        elif statement.__class__.__name__ == "TypeAlias":  # not before Python 3.12
            self._bind(place, statement.name.id, ("value", ""))
        elif kind is ast.Expr:
            self._extend(place, statement.value)
        else:
            for target, annotation, value in assigned(statement):
                if target.__class__ is ast.Name:
                    self._assign(place, target.id, value)
                    self._type(target.id, annotation, value)

    def _type(self, name: str, annotation: Any, value: Any) -> None:
        """Note the type of a value, if that is what the name is bound to."""
        if self.bound.get(name, ())[:1] == ("value",) and len(name) <= LONGEST:
            kind = type_in(annotation) or (value is not None and type_of(value, {}))
            if kind:
                self.types[name] = kind[:LONGEST]

    def _assign(self, place: BranchedStatement, name: str, value: Any) -> None:
        if name != "__all__":
            if not (name in self.bound and wraps(value, name)):
                self._bind(place, name, binding_of(value))
        elif place.statement.__class__ is ast.AugAssign:
            self._export(place, place.statement.value)
        else:
            self._bind(place, name, ("value", exported_of(value) if value is not None else ""))

    def _extend(self, place: BranchedStatement, call: Any) -> None:
        """Take `__all__.extend(...)` and its like as additions."""
        if call.__class__ is ast.Call and dotted_of(call.func) in ADDING:
            for value in call.args:
                self._export(place, value)

    def _export(self, place: BranchedStatement, value: Any) -> None:
        texts = [*self.bound.get("__all__", ("",))[1:], exported_of(value)]
        self._bind(place, "__all__", ("value", " + ".join(filter(None, texts))[:LONGEST_ALL]))

    def _bind(self, place: BranchedStatement, name: str, binding: Facet) -> None:
        longest = LONGEST_ALL if name == "__all__" else LONGEST
        binding = tuple(text[:longest] for text in binding)
        if place.unrun:
            self._unrun.setdefault(name, []).append((place.unrun, binding))
            return
        before = self.bound.get(name)
        if not place.takes(name):
            self._bind_otherwise(name, binding, last=True)
            return
        if before and place.branch is not self._branches.get(name):
            if not always_after(place.branch, self._branches.get(name)):
                self._bind_otherwise(name, before)
            else:
                self.others.pop(name, None)
        self._branches[name] = place.branch
        self.bound[name] = binding

    def _bind_otherwise(self, name: str, binding: Facet, *, last: bool = False) -> None:
        """Note another binding; a value is none that a name could be followed to."""
        if binding[0] != "value" and len(name) <= LONGEST:
            found = self.others.setdefault(name, [])
            found.insert(len(found) if last else 0, binding)

    def _bind_unrun(self, name: str, bindings: list[tuple[str, Facet]]) -> None:
        """Take what only readers of the source see, where the program says nothing better.

        A value, such as None, is no better than what a type checker sees in its place.
        """
        *others, (reader, shown) = bindings
        if len(name) > LONGEST:
            return
        ran = self.bound.get(name)
        if ran is None or (ran[0] == "value" and reader == TYPING):
            self.bound[name] = shown
        else:
            others.append((reader, shown))
        for _, binding in others:
            self._bind_otherwise(name, binding, last=True)


def wraps(value: Any, name: str) -> bool:
    """Return whether a value is a name in calls: `f = first(second(f))`, as decorators do it."""
    for _ in range(DEEPEST_WRAPPING):
        if value.__class__ is not ast.Call or not value.args:
            return False
        if any(one.__class__ is ast.Name and one.id == name for one in value.args):
            return True
        value = value.args[0]
    return False


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
