"""Finds the functions and classes of a body: one symbol for each name, with all its definitions.

The last of two definitions of one name wins. The accessors of a property, and the variants of an
overloaded function, form one symbol.
"""

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from backcast.engine.memory.outliner.python_names import ACCESSORS, DEFINITIONS, places
from backcast.engine.memory.outliner.python_texts import dotted_of


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

    def __init__(self, ordinal: int) -> None:
        self.nodes: list[Any] = []
        self.kept: Any = None
        self.first = self.last = ordinal

    def joins(self, node: Any) -> bool:
        """Return whether a definition belongs to one symbol with the definitions before it."""
        if ast.ClassDef in (node.__class__, self.nodes[0].__class__):
            return False
        return self.kept is None or is_accessor(node)

    def add(self, ordinal: int, node: Any) -> None:
        """Add a definition."""
        self.nodes.append(node)
        self.last = ordinal
        is_variant = node.__class__ is not ast.ClassDef and (
            is_accessor(node) or _is_overload(node)
        )
        if self.kept is None and not is_variant:
            self.kept = node


def symbols_in(body: Sequence[Any]) -> tuple[list[Symbol], list[Any]]:
    """Return the symbols of a module's or class's body, and the overridden definitions."""
    groups: dict[str, _Group] = {}
    overridden: list[Any] = []
    for ordinal, place in enumerate(places(body)):
        node = place.statement
        if node.__class__ not in DEFINITIONS:
            continue
        if not place.takes(node.name):
            overridden.append(node)
            continue
        group = groups.get(node.name)
        if group is None or not group.joins(node):
            overridden += group.nodes if group else []
            group = groups[node.name] = _Group(ordinal)
        group.add(ordinal, node)
    return [_symbol(name, group) for name, group in groups.items()], overridden


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


def _is_overload(node: Any) -> bool:
    names = (dotted_of(decorator) for decorator in node.decorator_list)
    return any(name.rpartition(".")[2] == "overload" for name in names)
