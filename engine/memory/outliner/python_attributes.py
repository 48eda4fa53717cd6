"""Finds the attributes of a Python class, with their types where the source shows them.

Attributes are names assigned in the class body, and on `self` in methods. Their types come from
annotations, from calls of names that look like classes, and from annotations of parameters.
"""

import ast
from collections.abc import Iterator
from typing import Any

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_branches import FUNCTIONS, statements
from backcast.engine.memory.outliner.python_names import ASSIGNING, assigned
from backcast.engine.memory.outliner.python_texts import dotted_of
from backcast.engine.memory.outliner.python_types import type_in, type_of
from backcast.engine.memory.outliner.texts import listed


def attributes_of(node: Any) -> Facet:
    """Return the attributes of a class as `name=dotted.type` or `name`; the first type wins."""
    types: dict[str, str] = {}
    for name, type_name in _assigned_in(node):
        types[name] = types.get(name) or type_name
    return listed(f"{name}={kind}" if kind else name for name, kind in types.items())


def first_parameter(node: Any) -> str:
    """Return the name of a method's own object; empty for a static method."""
    decorators = node.decorator_list
    if decorators and "staticmethod" in map(dotted_of, decorators):
        return ""
    parameters = node.args.posonlyargs or node.args.args
    return parameters[0].arg if parameters else ""


def _assigned_in(node: Any) -> Iterator[tuple[str, str]]:
    for statement in statements(node.body):
        if statement.__class__ in FUNCTIONS:
            yield from _kept(statement)
            continue
        for target, annotation, value in assigned(statement):
            if target.__class__ is ast.Name:
                yield target.id, type_in(annotation) or type_of(value, {})


def _kept(method: Any) -> list[tuple[str, str]]:
    """Return what a method assigns; it is asked again when another one of its class changed."""
    if not hasattr(method, "assigned"):
        own = first_parameter(method)
        method.assigned = list(_assigned_on(own, method)) if own else []
    found: list[tuple[str, str]] = method.assigned
    return found


def _assigned_on(own: str, method: Any) -> Iterator[tuple[str, str]]:
    """Yield the attributes, with types, that a method or a function inside it assigns."""
    waiting, parameters = [method], None
    while waiting:
        for statement in statements(waiting.pop().body):
            if statement.__class__ not in ASSIGNING:
                if statement.__class__ in FUNCTIONS and own not in _parameters(statement):
                    waiting.append(statement)
                continue
            if statement.__class__ is ast.Assign and _is_name(*statement.targets):
                continue
            for target, annotation, value in assigned(statement):
                if target.__class__ is ast.Attribute and dotted_of(target.value) == own:
                    parameters = _parameters(method) if parameters is None else parameters
                    yield target.attr, type_in(annotation) or type_of(value, parameters)


def _parameters(node: Any) -> dict[str, str]:
    """Return the parameters of a function, with the types in their annotations."""
    arguments = node.args
    plain = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return {argument.arg: type_in(argument.annotation) for argument in plain}


def _is_name(target: Any, *others: Any) -> bool:
    return target.__class__ is ast.Name and not others
