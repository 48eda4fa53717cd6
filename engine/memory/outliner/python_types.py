"""Reads the type of a Python value off its annotation, or off the class that makes it."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from backcast.engine.memory.outliner.python_texts import dotted_of
from backcast.engine.memory.outliner.texts import LONGEST

DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def type_in(annotation: Any) -> str:
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


def type_of(value: Any, parameters: Mapping[str, str]) -> str:
    """Return the class of a value: a called class, or the type of a parameter; else empty."""
    if value.__class__ is ast.Name:
        return parameters.get(value.id, "")
    if value.__class__ is not ast.Call:
        return ""
    dotted = dotted_of(value.func)
    looks_like_class = dotted.rpartition(".")[2].lstrip("_")[:1].isupper()
    return dotted if looks_like_class and dotted.partition(".")[0] not in parameters else ""


def _is_none(node: Any) -> bool:
    return node.__class__ is ast.Constant and node.value is None
