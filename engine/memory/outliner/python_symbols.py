"""Finds the functions and classes of a body: one symbol for each live definition of a name.

The last of two definitions of one name wins, and has the name as its own. An earlier one lives on
where a decorator has taken it (`@area.register`, `@app.route`), or where only one of the two runs
(`try` and `except`, `if` and `else`): it is `name#2`, the next one `name#3`. The accessors of a
property, and the variants of an overloaded function, form one symbol.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_branches import (
    Branch,
    always_after,
    definitions,
)
from backcast.engine.memory.outliner.python_conditions import NOTHING
from backcast.engine.memory.outliner.python_names import ACCESSORS
from backcast.engine.memory.outliner.python_texts import dotted_of

PASSING = frozenset(
    (
        *("abstractmethod", "abstractproperty", "cache", "cached_property", "classmethod"),
        *("contextmanager", "asynccontextmanager", "coroutine", "dataclass", "deprecated", "final"),
        *("fixture", "lru_cache", "no_type_check", "overload", "override", "parametrize", "patch"),
        *("property", "runtime_checkable", "singledispatch", "singledispatchmethod", "skip"),
        *("skipif", "staticmethod", "total_ordering", "wraps", "xfail"),
    )
)
"Decorators that keep nothing of what they are given."


class Symbol(NamedTuple):
    """A function or class."""

    name: str
    nodes: list[Any]
    "Its definitions, in order."
    kept: Any
    "The definition with signature and docstring: the getter, or the implementation."
    together: bool
    "Whether the definitions are adjacent."

    @property
    def lines(self) -> tuple[int, int]:
        """First and last line of all definitions if they are adjacent, else of the kept one.

        A definition begins with its first decorator.
        """
        first, last = (self.nodes[0], self.nodes[-1]) if self.together else (self.kept, self.kept)
        return first_line(first), last.end_lineno


class _Group:
    """The definitions of one name so far."""

    def __init__(self, ordinal: int, branch: Branch = None) -> None:
        self.branch = branch
        self.nodes: list[Any] = []
        self.kept: Any = None
        self.first = self.last = ordinal

    def joins(self, node: Any) -> bool:
        """Return whether a definition belongs to one symbol with the definitions before it."""
        if ast.ClassDef in (node.__class__, self.nodes[0].__class__):
            return False
        return self.kept is None or is_accessor(node)

    def outlives(self, branch: Branch) -> bool:
        """Return whether it is still there after a definition of its name in a branch."""
        if not always_after(branch, self.branch):
            return True
        return any(map(_is_taken, self.nodes))

    def add(self, ordinal: int, node: Any) -> None:
        """Add a definition."""
        self.nodes.append(node)
        self.last = ordinal
        is_variant = node.__class__ is not ast.ClassDef and (
            is_accessor(node) or _is_overload(node)
        )
        if self.kept is None and not is_variant:
            self.kept = node


def symbols_in(
    body: Sequence[Any], bound: Mapping[str, Facet] = NOTHING
) -> tuple[list[Symbol], list[Any]]:
    """Return the symbols of a module's or class's body, and the definitions that are gone.

    `bound` has the module's bindings.
    """
    groups: dict[str, _Group] = {}
    others: dict[str, list[_Group]] = {}
    overridden: list[Any] = []
    for ordinal, place in definitions(body, bound):
        node = place.statement
        if place.unrun or not place.takes(node.name):
            beside = others.setdefault(node.name, [])
            if not (beside and beside[-1].branch is place.branch and beside[-1].joins(node)):
                beside.append(_Group(ordinal, place.branch))
            beside[-1].add(ordinal, node)
            continue
        group = groups.get(node.name)
        if group is None or not group.joins(node):
            if group and group.outlives(place.branch):
                others.setdefault(node.name, []).append(group)
            elif group:
                overridden += group.nodes
            group = groups[node.name] = _Group(ordinal, place.branch)
        group.add(ordinal, node)
    symbols = [_symbol(name, group) for name, group in groups.items()]
    for name, beside in others.items():
        beside.sort(key=lambda group: group.first)
        if name not in groups:
            symbols.append(_symbol(name, beside.pop(0)))
        symbols += [_symbol(f"{name}#{n}", group) for n, group in enumerate(beside, 2)]
    return symbols, overridden


def first_line(node: Any) -> int:
    """Return the line of the first decorator, or of the definition."""
    line: int = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    return line


def _symbol(name: str, group: _Group) -> Symbol:
    together = group.last - group.first == len(group.nodes) - 1
    return Symbol(name, group.nodes, group.kept or group.nodes[0], together)


def is_accessor(node: Any) -> bool:
    """Return whether a function sets, deletes or gets the property of its name."""
    return any(
        decorator.__class__ is ast.Attribute
        and decorator.attr in ACCESSORS
        and dotted_of(decorator.value) == node.name
        for decorator in node.decorator_list
    )


def _is_taken(node: Any) -> bool:
    """Return whether a decorator may have kept a definition, so that it lives on without a name."""
    for decorator in () if is_accessor(node) else node.decorator_list:
        called = decorator.func if decorator.__class__ is ast.Call else decorator
        dotted = dotted_of(called)
        if dotted.rpartition(".")[2] not in PASSING:
            return True
    return False


def overloads_of(symbol: Symbol) -> list[Any]:
    """Return the variants of an overloaded function, besides the definition that is kept."""
    return [
        node
        for node in symbol.nodes
        if node is not symbol.kept and node.__class__ is not ast.ClassDef and _is_overload(node)
    ]


def _is_overload(node: Any) -> bool:
    names = (dotted_of(decorator) for decorator in node.decorator_list)
    return any(name.rpartition(".")[2] == "overload" for name in names)
