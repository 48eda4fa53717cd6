"""The header of a module that will be changed: its imports, constants and type variables, whole.

A reader cannot know that `import typing as t` is there unless it is shown. Where not all fits, the
imports go first, then what the target reads, by itself or through what it needs, then what is near.
"""

import re
from collections.abc import Callable, Collection, Sequence, Set

from backcast.domain.node import name_of, node_id, path_of
from backcast.engine.context.loose_code import NEAR, Functions, LooseLines, statements
from backcast.engine.context.request_scope import RequestScope

SHARE = 0.08
"The share of the context that a header may take."
MORE = "# ... more imports"
_IMPORTED = re.compile(r"\bimport\b\s*(\([^)]*\)|[^#\n]*)")
WORD = re.compile(r"\w+")
_BOUND = re.compile(r"(\w+)\s*(?::[^=]*)?=")


def header_of(
    lines: Sequence[str], owner: str, place: int, tops: Set[str], values: Collection[str],
    limit: int, count: Callable[[str], int],
    shown: Callable[[int, int], bool] = lambda first, last: False, functions: Functions = (),
    near: Set[str] | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Return the statements of a module in no function, as many as have at most `limit` tokens.

    Those up to a line `place`, and those below it, each in the module's order: of the module, and
    of the class `owner` with its head. `values` are names that are needed, `tops` the packages of
    the project; `shown` tells which lines are shown anyway, `functions` are some whose lines are
    known. With `near`, words of the lines around, imports that bind one of them go before others,
    and a line tells where some are left out.

    >>> text = ["import os", "A = 1", "def f(): ...", "B = 2"]
    >>> header_of(text, "", 3, set(), (), 9, len), header_of(text, "", 3, set(), ("B",), 15, len)
    (('import os', ''), ('import os', 'B = 2'))
    >>> text = ["import re", "import os", "import statistics", "def f(): ..."]
    >>> header_of(text, "", 4, set(), (), 32, len, near={"os"})
    ('import os\\n# ... more imports', '')
    """
    parts = [
        part for part in statements("\n".join(lines), functions)
        if part.owner in ("", owner) and not shown(part.first, part.last)
    ]  # fmt: skip

    def late(part: LooseLines) -> tuple[int, bool, bool, int]:
        far = abs(part.first - place)
        if part.owner:
            return 0, False, False, far
        if part.imports:
            unused = near is not None and near.isdisjoint(_names(lines, part))
            return 1, unused, not any(not name or name in tops for name in part.imports), far
        bound = _BOUND.match(lines[part.first - 1])
        return (2 if bound and bound[1] in values else 3 + (far > NEAR)), False, False, far

    first = [part for part in parts if part.owner or part.imports]
    sizes = [count("\n".join(lines[part.first - 1 : part.last])) for part in first]
    tells = near is not None and sum(sizes) > limit
    chosen, free = list[LooseLines](), limit - (count(MORE) if tells else 0)
    for part in sorted(parts, key=late):
        if part.first > place and late(part)[0] > 2:
            continue  # what is read last is read best, so no mere neighbour stands there
        size = count("\n".join(lines[part.first - 1 : part.last]))
        if size <= free:
            chosen.append(part)
            free -= size
    above = sorted(part for part in chosen if part.first <= place)
    below = sorted(part for part in chosen if part.first > place)
    last = max((n for n, part in enumerate(above, 1) if part.imports), default=0)
    more = MORE if tells and last else ""
    texts = [_joined(lines, above[:last]), more, _joined(lines, above[last:])]
    return "\n".join(filter(None, texts)), _joined(lines, below)


def _names(lines: Sequence[str], part: LooseLines) -> set[str]:
    """Return the names that an import binds, and maybe some that it only renames."""
    named = _IMPORTED.findall("\n".join(lines[part.first - 1 : part.last]))
    return set(WORD.findall("\n".join(named)))


def _joined(lines: Sequence[str], parts: Sequence[LooseLines]) -> str:
    return "\n".join("\n".join(lines[part.first - 1 : part.last]) for part in parts).strip("\n")


def values_of(scope: RequestScope) -> list[str]:
    """Return the constants that a target reads, by itself or through what it needs, as nodes.

    For a new one those of what it will stand behind.
    """
    symbols, target = scope.symbols, scope.target
    if target not in symbols.places and scope.behind:
        kinds = scope.facets.get(scope.path, {}).get(f"sig:{scope.behind}", ("",))
        target = node_id(kinds[0], scope.path, scope.behind)
    found = dict.fromkeys(symbols.reads(target))
    for node in symbols.needs(target):
        found.update(dict.fromkeys(symbols.reads(node)))
    return list(found)


def names_in_module(nodes: Sequence[str], path: str) -> set[str]:
    """Return the names of those of some constants that are in a module."""
    return {name_of(node) for node in nodes if path_of(node) == path}
