"""Finds the attributes of a Python class, with their types where the source shows them.

Attributes are names assigned in the class body, and on `self` in methods. Their types come from
annotations, from calls of names that look like classes, and from annotations of parameters.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_names import ASSIGNING, FUNCTIONS, assigned, statements
from backcast.engine.memory.outliner.python_texts import dotted_of
from backcast.engine.memory.outliner.texts import LONGEST, listed

DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


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
            if own := first_parameter(statement):
                yield from _assigned_on(own, statement)
            continue
        for target, annotation, value in assigned(statement):
            if target.__class__ is ast.Name:
                yield target.id, _type_in(annotation) or _type_of(value, {})


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
                    yield target.attr, _type_in(annotation) or _type_of(value, parameters)


def _parameters(node: Any) -> dict[str, str]:
    """Return the parameters of a function, with the types in their annotations."""
    arguments = node.args
    plain = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return {argument.arg: _type_in(argument.annotation) for argument in plain}


def _type_in(annotation: Any) -> str:
    """Return the only class in an annotation, besides None; empty where there are several."""
    kind = annotation.__class__
    if kind is ast.Constant and isinstance(annotation.value, str):
        return _type_written(annotation.value)
    if kind is ast.BinOp and annotation.op.__class__ is ast.BitOr:
        sides = [annotation.left, annotation.right]
        named = [side for side in sides if not _is_none(side)]
        return dotted_of(named[0]) if len(named) == 1 else ""
    if kind is ast.Subscript and dotted_of(annotation.value).rpartition(".")[2] == "Optional":
        return dotted_of(annotation.slice)
    return dotted_of(annotation)


def _type_written(text: str) -> str:
    named = [part.strip() for part in text[:LONGEST].split("|") if part.strip() != "None"]
    return named[0] if len(named) == 1 and DOTTED.fullmatch(named[0]) else ""


def _type_of(value: Any, parameters: Mapping[str, str]) -> str:
    """Return the class of a value: a called class, or the type of a parameter; else empty."""
    if value.__class__ is ast.Name:
        return parameters.get(value.id, "")
    if value.__class__ is not ast.Call:
        return ""
    dotted = dotted_of(value.func)
    looks_like_class = dotted.rpartition(".")[2].lstrip("_")[:1].isupper()
    return dotted if looks_like_class and dotted.partition(".")[0] not in parameters else ""


def _is_name(target: Any, *others: Any) -> bool:
    return target.__class__ is ast.Name and not others


def _is_none(node: Any) -> bool:
    return node.__class__ is ast.Constant and node.value is None
