"""Writes Python expressions as text: dotted names, literals, signatures, docstrings.

The text equals that of `ast.unparse`. The commonest expressions are written here, in a tenth of its
time; deep or large ones become `...`, since `ast.unparse` recurses.
"""

import ast
from ast import Attribute, BinOp, Call, Constant, Name, Subscript
from typing import Any

from backcast.engine.memory.outliner.texts import LONGEST, first_paragraph, fit

DEEPEST, LARGEST = 40, 2000
"Most levels and nodes of an expression that is written out."
LONGEST_DEFAULT = 40
LONGEST_LITERAL = 80
LONGEST_ALL = 2000
"Characters kept of `__all__`."
ELLIPSIS = "..."
LITERALS = (Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Load)


def dotted_of(node: Any) -> str:
    """Return an expression's dotted name; empty where it is something else."""
    parts: list[str] = []
    while node.__class__ is Attribute:
        parts.append(node.attr)
        node = node.value
    if node.__class__ is not Name:
        return ""
    parts.append(node.id)
    parts.reverse()
    return ".".join(parts)


def chain_of(node: Any, stack: list[Any]) -> str:
    """Return an attribute as a dotted name; a root that is no name is `?` and goes on the stack."""
    parts = [node.attr]
    node = node.value
    while node.__class__ is Attribute:
        parts.append(node.attr)
        node = node.value
    if node.__class__ is Name:
        parts.append(node.id)
    else:
        stack.append(node)
        is_super = node.__class__ is Call and dotted_of(node.func) == "super"
        parts.append("super" if is_super else "?")
    parts.reverse()
    return ".".join(parts)


def text_of(node: Any, longest: int = LONGEST) -> str:
    """Return an expression as text."""
    if node.__class__ is Name:
        name: str = node.id
        return name[:longest]
    text = _quickly(node)
    return fit(_unparsed(node) if text is None else text, longest)


def literal_of(node: Any) -> str:
    """Return the text of a literal; empty for other expressions and long literals."""
    is_signed = node.__class__ is ast.UnaryOp and node.operand.__class__ is Constant
    stack, seen = [node.operand if is_signed else node], 0
    while stack and seen <= 2 * LONGEST_LITERAL:
        item, seen = stack.pop(), seen + 1
        if item.__class__ not in LITERALS:
            return ""
        if item.__class__ is not Constant:
            stack.extend(ast.iter_child_nodes(item))
    text = "" if stack else text_of(node, LONGEST_LITERAL + 1)
    return text if len(text) <= LONGEST_LITERAL and text != ELLIPSIS else ""


def exported_of(node: Any) -> str:
    """Return the text of a value of `__all__`: the first entries of a long list."""
    if node.__class__ not in (ast.List, ast.Tuple):
        return text_of(node, LONGEST_ALL)
    texts, room = [], LONGEST_ALL - 2
    for element in node.elts:
        text = text_of(element)
        room -= len(text) + 2
        if room < 0:
            break
        texts.append(text)
    return f"[{', '.join(texts)}]"


def signature_of(node: Any) -> str:
    """Return the parameters and result of a function: `(text: str, *, strict: bool = False)`."""
    arguments = node.args
    plain = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    written = list(map(_parameter, plain, defaults))
    if arguments.posonlyargs:
        written.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        written.append("*" + _parameter(arguments.vararg))
    elif arguments.kwonlyargs:
        written.append("*")
    written.extend(map(_parameter, arguments.kwonlyargs, arguments.kw_defaults))
    if arguments.kwarg:
        written.append("**" + _parameter(arguments.kwarg))
    result = f" -> {text_of(node.returns)}" if node.returns else ""
    before = "async " if node.__class__ is ast.AsyncFunctionDef else ""
    return f"{before}({', '.join(written)}){result}"[:LONGEST]


def doc_of(node: Any) -> str:
    """Return the first paragraph of a docstring; empty where there is none."""
    first = node.body[0] if node.body else None
    if first.__class__ is not ast.Expr or first.value.__class__ is not Constant:
        return ""
    text = first.value.value
    return first_paragraph(text) if isinstance(text, str) else ""


def _parameter(argument: Any, default: Any = None) -> str:
    text: str = argument.arg
    if argument.annotation is not None:
        text += ": " + text_of(argument.annotation)
    if default is None:
        return text
    value = text_of(default, LONGEST_DEFAULT + 1)
    value = value if len(value) <= LONGEST_DEFAULT else ELLIPSIS
    return f"{text} = {value}" if argument.annotation is not None else f"{text}={value}"


def _quickly(node: Any, room: int = DEEPEST) -> str | None:
    """Return the text of a name, a plain constant or a usual annotation; None for all else."""
    kind = node.__class__
    if kind is Name or kind is Attribute:
        return dotted_of(node) or None
    if kind is Constant:
        return _constant(node)
    if room == 0:
        return None
    if kind is Subscript:
        value, inner = dotted_of(node.value), _inside(node.slice, room - 1)
        return f"{value}[{inner}]" if value and inner is not None else None
    if kind is BinOp and node.op.__class__ is ast.BitOr and node.right.__class__ is not BinOp:
        if node.left.__class__ is BinOp and node.left.op.__class__ is not ast.BitOr:
            return None
        sides = _quickly(node.left, room - 1), _quickly(node.right, room - 1)
        return None if None in sides else f"{sides[0]} | {sides[1]}"
    if kind is ast.List:
        items = _joined(node.elts, room - 1)
        return None if items is None else f"[{items}]"
    return None


def _inside(node: Any, room: int) -> str | None:
    """Return the text between brackets, where a tuple needs no parentheses."""
    if node.__class__ is ast.Tuple:
        return _joined(node.elts, room) if len(node.elts) > 1 else None
    return _quickly(node, room)


def _joined(nodes: list[Any], room: int) -> str | None:
    texts = [_quickly(node, room) for node in nodes]
    return None if None in texts else ", ".join(filter(None, texts))


def _constant(node: Any) -> str | None:
    value = node.value
    if value is None or value is True or value is False:
        return str(value)
    if value.__class__ is str and node.kind is None:
        return repr(value)
    # Python refuses to write integers of thousands of digits, and floats may be infinite.
    return repr(value) if value.__class__ is int and value.bit_length() < 1000 else None


def _unparsed(node: Any) -> str:
    if not _is_small(node):
        return ELLIPSIS
    try:
        return ast.unparse(node)
    except ValueError:
        return ELLIPSIS


def _is_small(node: Any) -> bool:
    level, seen = [node], 0
    for _ in range(DEEPEST):
        seen += len(level)
        if seen > LARGEST:
            return False
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
        if not level:
            return True
    return False
