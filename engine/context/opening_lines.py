"""How a module begins: the lines above its first function or class, as many as fit."""

import ast
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence, Set


def opening_of(lines: Sequence[str], tops: Set[str], limit: int, size: Callable[[str], int]) -> str:
    """Return a module's opening lines, or as many of them as take `limit` tokens.

    Where they are more, those go first that bind nothing of the project, then the last ones.
    `tops` are the names at the top of the project's roots.
    """

    def taken(lines: Sequence[str]) -> int:
        return size("\n".join(lines).strip("\n"))

    if taken(lines) > limit:
        lines = own_lines(lines, tops)
    if taken(lines) > limit:
        ends = range(len(lines) + 1)
        fit = bisect_right(ends, limit, key=lambda end: taken(lines[:end]))
        lines = lines[: max(0, fit - 1)]
    return "\n".join(lines).strip("\n")


def own_lines(lines: Sequence[str], tops: Set[str]) -> list[str]:
    """Return the statements of a module's opening lines that concern the project itself.

    Those are imports from packages in `tops`, or relative ones, and what is neither an import nor a
    text that stands alone.

    >>> own_lines(["import os", "from shop import (", "    till,", ")", "", "A = 1"], {"shop"})
    ['from shop import (', '    till,', ')', 'A = 1']
    """
    text = "\n".join(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return list(lines)
    kept = list[str]()
    for part in body:
        foreign = isinstance(part, ast.Import) and not any(
            alias.name.partition(".")[0] in tops for alias in part.names
        )
        if isinstance(part, ast.ImportFrom) and not part.level:
            foreign = (part.module or "").partition(".")[0] not in tops
        alone = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        if not foreign and not alone:
            kept += lines[part.lineno - 1 : part.end_lineno]
    return kept
