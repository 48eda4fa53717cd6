"""Decides conditions of Python that say which version, platform or reader a branch is for."""

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_texts import dotted_of

PYTHON = (3, 11, 0, "final", 0)
"The version that decides branches: the oldest that this program runs on, so that outlines are the \
same on all of them."
PLATFORM = "linux"
NAMES = (ast.Name, ast.Attribute)
NOTHING: Mapping[str, Facet] = MappingProxyType({})
_COMPARED: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_KNOWN: Mapping[str, bool] = {"TYPE_CHECKING": False, "PY2": False, "PY3": True}
_VALUES: Mapping[str, object] = {
    "sys.version_info": PYTHON,
    "sys.version_info.major": PYTHON[0],
    "sys.version_info.minor": PYTHON[1],
    "sys.platform": PLATFORM,
    "os.name": "posix",
}


def decided(test: Any, bound: Mapping[str, Facet] = NOTHING) -> bool | None:
    """Return whether a condition holds; None where it cannot be told.

    `bound` has the module's bindings: an import that may fail is taken to have gone well.

    >>> tests = ("sys.version_info < (3, 11)", "sys.version_info[:2] == (3, 11)", "not x", "0")
    >>> [decided(ast.parse(f"if {test}: ...").body[0].test) for test in tests]
    [False, True, None, False]
    """
    flips = False
    while test.__class__ is ast.UnaryOp and test.op.__class__ is ast.Not:
        test, flips = test.operand, not flips
    holds = _holds(test, bound)
    return None if holds is None else holds is not flips


def is_for_typing(test: Any) -> bool:
    """Return whether a condition asks if a type checker reads the source."""
    while test.__class__ is ast.UnaryOp:
        test = test.operand
    return dotted_of(test).rpartition(".")[2] == "TYPE_CHECKING"


def _holds(test: Any, bound: Mapping[str, Facet]) -> bool | None:
    if test.__class__ is not ast.BoolOp:
        return _plainly(test, bound)
    is_and = test.op.__class__ is ast.And
    parts = [_plainly(value, bound) for value in test.values]
    if is_and in [not part for part in parts if part is not None]:
        return not is_and
    return None if None in parts else is_and


def _plainly(test: Any, bound: Mapping[str, Facet]) -> bool | None:
    """Decide a condition without `and` and `or`."""
    kind = test.__class__
    if kind is ast.Constant:
        return bool(test.value)
    if kind is ast.UnaryOp and test.op.__class__ is ast.Not:
        inner = _plainly(test.operand, bound) if test.operand.__class__ in NAMES else None
        return None if inner is None else not inner
    if kind in NAMES:
        known = _KNOWN.get(dotted_of(test).rpartition(".")[2])
        return _is_true(test, bound) if known is None else known
    if kind is ast.Compare and len(test.ops) == 1:
        return _compared(test.left, test.ops[0].__class__, test.comparators[0], bound)
    if kind is ast.Call and dotted_of(test.func) == "sys.platform.startswith" and test.args:
        start = _literal(test.args[0])
        return PLATFORM.startswith(start) if isinstance(start, str) else None
    return None


def _is_true(node: Any, bound: Mapping[str, Facet]) -> bool | None:
    """Return whether a name of the module is bound to something true."""
    name = dotted_of(node)
    match bound.get(name, ()):
        case ("import" | "def", *_):
            return True
        case ("from", *_) if not name.isupper():  # which would be a setting
            return True
        case ("value", "True" | "False" | "None" as text, *_):
            return text == "True"
    return None


def _compared(asked: Any, op: type, right: Any, bound: Mapping[str, Facet]) -> bool | None:
    if op in (ast.Is, ast.IsNot) and right.__class__ is ast.Constant and right.value is None:
        binding = bound.get(dotted_of(asked), ())
        if binding[:1] in (("import",), ("from",), ("def",)):
            return op is ast.IsNot
        return op is ast.Is if binding[:2] == ("value", "None") else None
    compare, value, other = _COMPARED.get(op), _value(asked), _literal(right)
    if compare is None or value is None or value.__class__ is not other.__class__:
        return None
    try:
        return compare(value, other)
    except TypeError:
        return None


def _value(node: Any) -> object:
    """Return the value of what tells a version or platform; None for anything else."""
    if node.__class__ is not ast.Subscript:
        return _VALUES.get(dotted_of(node))
    whole, part = _VALUES.get(dotted_of(node.value)), node.slice
    if not isinstance(whole, tuple):
        return None
    if part.__class__ is ast.Slice and part.lower is None and part.step is None:
        end = _literal(part.upper)
        return whole[:end] if isinstance(end, int) and 0 < end <= len(whole) else None
    place = _literal(part)
    return whole[place] if isinstance(place, int) and 0 <= place < len(whole) else None


def _literal(node: Any) -> object:
    if node.__class__ is ast.Constant:
        return node.value
    if node.__class__ is ast.Tuple:
        values = [element.value for element in node.elts if isinstance(element, ast.Constant)]
        return tuple(values) if len(values) == len(node.elts) else None
    return None
