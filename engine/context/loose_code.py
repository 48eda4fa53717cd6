"""The lines of a module that stand in no function: imports, constants, a class's own fields.

They say what the names in a body mean, and no function shows them.
"""

import ast
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Set
from functools import lru_cache
from typing import NamedTuple

NEAR = 60
"Lines from the place, within which a statement goes before the imports."


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
) -> tuple[str, str]:
    """Return the statements of a module in no function, as many as fit, in their order.

    Those up to a line `place`, and those below it: of the module, and of the class `owner` with its
    head. Imports from outside of the packages `tops` are left out where not all fit; then what is
    far from the place, then the other imports. Lines that are `shown` anyway are left out.

    >>> text = "import os\\nA = 1\\ndef f(): ...\\nB = 2\\n"
    >>> loose_code(text, "", 3, set(), lambda part: True)
    ('import os\\nA = 1', 'B = 2')
    >>> loose_code(text, "", 4, set(), lambda part: len(part) < 8)
    ('B = 2', '')
    """
    parts = [
        part for part in statements(text)
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


def statements(text: str) -> tuple[LooseLines, ...]:
    """Return the statements of a module in no function; none of one that cannot be parsed."""
    return _read(text)[0]


def starts(text: str) -> tuple[int, ...]:
    """Return the lines on which a statement of a module begins, rising; see `statements`."""
    return _read(text)[1]


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[tuple[LooseLines, ...], tuple[int, ...]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (), ()
    return tuple(_statements(tree.body, "")), tuple(sorted(set(_starts(tree.body))))


def _starts(body: list[ast.stmt]) -> Iterator[int]:
    for part in body:
        above = getattr(part, "decorator_list", None)
        yield above[0].lineno if above else part.lineno
        for name in ("body", "orelse", "finalbody"):
            yield from _starts(getattr(part, name, []))
        for inner in (*getattr(part, "handlers", ()), *getattr(part, "cases", ())):
            yield from _starts(inner.body)


def _statements(body: list[ast.stmt], owner: str) -> Iterator[LooseLines]:
    for part in body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        last = part.end_lineno or part.lineno
        if isinstance(part, ast.ClassDef):
            name = f"{owner}.{part.name}" if owner else part.name
            yield LooseLines(part.lineno, part.body[0].lineno - 1, name, ())
            yield from _statements(part.body, name)
        elif not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):
            yield LooseLines(part.lineno, last, owner, tuple(_packages(part)))


def _packages(part: ast.stmt) -> Iterator[str]:
    """Yield the packages that a statement imports from."""
    for inner in ast.walk(part):
        if isinstance(inner, ast.ImportFrom):
            yield "" if inner.level else (inner.module or "").partition(".")[0]
        elif isinstance(inner, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in inner.names)
