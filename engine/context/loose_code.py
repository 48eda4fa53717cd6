"""The lines of a module that stand in no function: imports, constants, a class's own fields.

They say what the names in a body mean, and no function shows them. Most of a module stands in its
functions, and where those stand is known: so they are cut out of the text before it is parsed.
"""

import ast
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

NEAR = 60
"Lines from the place, within which a statement goes before the imports."
Functions = tuple[tuple[int, int], ...]
"The first and last lines of functions that are in no other function, rising; counted from 1."
_DEF = re.compile(r"(\s*)(?:async\s+)?def\s")
_CUT = "def f(): 0"


class LooseLines(NamedTuple):
    """A statement in no function."""

    first: int
    "Its first line, counted from 1."
    last: int
    owner: str
    "The class that it stands in; empty for none."
    imports: tuple[str, ...]
    "The packages that it imports from; an empty name for its own."


def loose_code(
    text: str,
    owner: str,
    place: int,
    tops: Set[str],
    fits: Callable[[str], bool],
    shown: Callable[[int, int], bool] = lambda first, last: False,
    functions: Functions = (),
) -> tuple[str, str]:
    """Return the statements of a module in no function, as many as fit, in their order.

    Those up to a line `place`, and those below it: of the module, and of the class `owner` with its
    head. Imports from outside of the packages `tops` are left out where not all fit; then what is
    far from the place, then the other imports. Lines that are `shown` anyway are left out.
    `functions` are some whose lines are known.

    >>> text = "import os\\nA = 1\\ndef f(): ...\\nB = 2\\n"
    >>> loose_code(text, "", 3, set(), lambda part: True)
    ('import os\\nA = 1', 'B = 2')
    >>> loose_code(text, "", 4, set(), lambda part: len(part) < 8)
    ('B = 2', '')
    """
    parts = [
        part for part in statements(text, functions)
        if part.owner in ("", owner) and not shown(part.first, part.last)
    ]  # fmt: skip
    lines = text.split("\n")

    def late(part: LooseLines) -> tuple[int, int]:
        far = abs(part.first - place)
        return (1 if part.imports else 2 * (far > NEAR)), far

    if not fits(_joined(lines, parts)):
        near = sorted((part for part in parts if not part.imports or _own(part, tops)), key=late)
        counts = range(1, len(near) + 1)
        most = bisect_left(counts, True, key=lambda n: not fits(_joined(lines, sorted(near[:n]))))
        parts = sorted(near[:most])
    above = [part for part in parts if part.first <= place]
    return _joined(lines, above), _joined(lines, parts[len(above) :])


def _own(part: LooseLines, tops: Set[str]) -> bool:
    return any(not name or name in tops for name in part.imports)


def _joined(lines: list[str], parts: list[LooseLines]) -> str:
    shown = ["\n".join(lines[part.first - 1 : part.last]) for part in parts]
    return "\n".join(shown).strip("\n")


def statements(text: str, functions: Functions = ()) -> tuple[LooseLines, ...]:
    """Return the statements of a module in no function; none of one that cannot be parsed."""
    return _read(text, functions).statements


def starts(text: str, functions: Functions = (), near: Sequence[int] = ()) -> list[int]:
    """Return the lines on which a statement of a module begins, rising; see `statements`.

    Of `functions`, only those in the last one that begins at or before each of the lines `near`.
    """
    read = _read(text, functions)
    found = set(read.starts)
    for line in near if read.functions else ():
        place = bisect_right(read.functions, (line, len(text))) - 1
        if place >= 0:
            first, last = read.functions[place]
            inner = _inside("\n".join(text.split("\n")[first - 1 : last]))
            if inner is None:
                return starts(text)
            found.update(first - 1 + start for start in inner)
    return sorted(found)


class StatementLines(NamedTuple):
    """Where the statements of a module stand."""

    statements: tuple[LooseLines, ...] = ()
    starts: frozenset[int] = frozenset()
    functions: Functions = ()
    "The functions that were not read."


class _InnerFunctionError(Exception):
    """A function in a statement that is no class: what it imports counts for the statement."""


@lru_cache(maxsize=256)
def _read(text: str, functions: Functions) -> StatementLines:
    if functions:
        shorter, cut = _without(text, functions)
        tree = _parsed(shorter)
        try:
            if tree is not None:
                found = tuple(_statements(tree.body, "", whole=False))
                return StatementLines(found, frozenset(_starts(tree.body, cut)), functions)
        except _InnerFunctionError:
            pass
    tree = _parsed(text)
    if tree is None:
        return StatementLines()
    return StatementLines(tuple(_statements(tree.body, "")), frozenset(_starts(tree.body)))


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _without(text: str, functions: Functions) -> tuple[str, Set[int]]:
    """Return a text in which functions have no bodies, and the lines of their `def`s."""
    lines, cut = text.split("\n"), set[int]()
    for first, last in functions:
        for number in range(first, last + 1):
            if found := _DEF.match(lines[number - 1]):
                lines[number - 1 : last] = [found[1] + _CUT, *[""] * (last - number)]
                cut.add(number)
                break
    return "\n".join(lines), cut


@lru_cache(maxsize=1024)
def _inside(text: str) -> tuple[int, ...] | None:
    """Return the lines on which the statements of a function begin, itself among them; None where
    it cannot be parsed alone."""
    tree = _parsed("if 1:\n" + text if text[:1].isspace() else text)
    if tree is None:
        return None
    match tree.body:
        case [ast.If(body=body)]:
            return tuple(line - 1 for line in _starts(body))
        case body:
            return tuple(_starts(body))


def _starts(body: Sequence[ast.stmt], cut: Set[int] = frozenset()) -> Iterator[int]:
    for part in body:
        above = getattr(part, "decorator_list", None)
        yield above[0].lineno if above else part.lineno
        if part.lineno in cut:
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _starts(getattr(part, name, []), cut)
        for inner in (*getattr(part, "handlers", ()), *getattr(part, "cases", ())):
            yield from _starts(inner.body, cut)


def _statements(
    body: Sequence[ast.stmt], owner: str, *, whole: bool = True
) -> Iterator[LooseLines]:
    """Yield statements; `_InnerFunctionError` where one holds functions that are not `whole`."""
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        last = part.end_lineno or part.lineno
        if isinstance(part, ast.ClassDef):
            name = f"{owner}.{part.name}" if owner else part.name
            yield LooseLines(part.lineno, part.body[0].lineno - 1, name, ())
            yield from _statements(part.body, name, whole=whole)
        elif not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):
            # Most of a tree is expressions, which hold no statements.
            holds = hasattr(part, "body") or hasattr(part, "cases")
            inner = [*ast.walk(part)] if holds else [part]
            functions = ast.FunctionDef | ast.AsyncFunctionDef
            if not whole and any(isinstance(one, functions) for one in inner):
                raise _InnerFunctionError
            yield LooseLines(part.lineno, last, owner, tuple(_packages(inner)))


def _packages(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the packages from which some statements import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield "" if node.level else (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
