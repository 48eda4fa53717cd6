"""Goes through the statements of a Python body, also inside blocks, and tells branches apart."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_conditions import NOTHING, decided, is_for_typing
from backcast.engine.memory.outliner.texts import LONGEST

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor)
WITHS = (ast.With, ast.AsyncWith)
CHOICES = (ast.If, ast.Try, ast.TryStar)
STATEMENTS = ("body", "cases", "handlers", "orelse", "finalbody")
BLOCKS: frozenset[type[ast.AST]] = frozenset((*CHOICES, *LOOPS, ast.While, *WITHS, ast.Match))
BRANCHES: frozenset[type[ast.AST]] = frozenset((ast.ExceptHandler, ast.match_case))
PARTS = {kind: [part for part in kind._fields if part in STATEMENTS] for kind in BLOCKS | BRANCHES}
TYPING, NOBODY = "typing", "nobody"

Chain = tuple[set[str], "Chain"] | None
"Sets of names, the innermost first."


Branch = tuple[object, "Branch"] | None
"The branches around a statement, the innermost first, each with an identity of its own."


class BranchedStatement(NamedTuple):
    """A statement, with the branches around it."""

    statement: Any
    beside: Chain = None
    "Names bound by the bodies to which this is the other branch."
    within: Chain = None
    "Sets for the names bound here, which other branches look up."
    branch: Branch = None
    "The branches that may be passed over."
    unrun: str = ""
    "Who reads a branch that Python does not run: `TYPING` or `NOBODY`; empty for one that it runs."

    def takes(self, name: str) -> bool:
        """Return whether this statement binds a name, and note the name if so."""
        beside, within = self.beside, self.within
        while beside is not None:
            if name in beside[0]:
                return False
            beside = beside[1]
        while within is not None:
            within[0].add(name)
            within = within[1]
        return len(name) <= LONGEST


def always_after(later: Branch, earlier: Branch) -> bool:
    """Return whether all that runs an earlier statement runs a later one as well."""
    while earlier is not later:
        if earlier is None:
            return False
        earlier = earlier[1]
    return True


def places(
    body: Sequence[Any], bound: Mapping[str, Facet] = NOTHING
) -> Iterator[BranchedStatement]:
    """Yield the statements of a body in order, also inside blocks, but not inside definitions.

    `bound` has the module's bindings, which may decide conditions; it may grow on the way.
    """
    stack = [BranchedStatement(statement) for statement in reversed(body)]
    while stack:
        place = stack.pop()
        yield place
        if place.statement.__class__ in BLOCKS:
            stack.extend(_in_block(place, bound))


def definitions(
    body: Sequence[Any], bound: Mapping[str, Facet] = NOTHING
) -> Iterator[tuple[int, BranchedStatement]]:
    """Yield the functions and classes among the same statements, with their place among them."""
    place = 0
    for statement in body:
        kind = statement.__class__
        if kind in BLOCKS:
            for inner in places([statement], bound):
                if inner.statement.__class__ in DEFINITIONS:
                    yield place, inner
                place += 1
            continue
        if kind in DEFINITIONS:
            yield place, BranchedStatement(statement)
        place += 1


def _in_block(
    place: BranchedStatement, bound_before: Mapping[str, Facet]
) -> list[BranchedStatement]:
    """Return the statements of a block, the last first."""
    statement, beside, within, branch, unrun = place
    kind = statement.__class__
    runs = decided(statement.test, bound_before) if kind is ast.If else None
    parts: list[tuple[Sequence[Any], Chain, Chain, Branch, str]]
    if runs is not None:
        reader = TYPING if is_for_typing(statement.test) else NOBODY
        parts = [
            (statement.body, beside, within, branch, unrun or ("" if runs else reader)),
            (statement.orelse, beside, within, branch, unrun or (reader if runs else "")),
        ]
    elif kind in WITHS:
        parts = [(statement.body, beside, within, branch, unrun)]
    elif kind in CHOICES:
        bound: set[str] = set()
        other: Chain = (bound, beside)
        inside: Chain = (bound, within)
        own: Branch = (object(), branch)
        parts = [(statement.body, beside, inside, own, unrun)]
        for handler in getattr(statement, "handlers", ()):
            parts.append((handler.body, other, within, (object(), branch), unrun))
        # What follows a `try` that went well comes after all of it.
        if kind is ast.If:
            parts.append((statement.orelse, other, within, (object(), branch), unrun))
        else:
            parts.append((statement.orelse, beside, inside, own, unrun))
        parts.append((getattr(statement, "finalbody", ()), beside, within, branch, unrun))
    else:
        bodies = [
            getattr(statement, "body", ()),
            *(c.body for c in getattr(statement, "cases", ())),
        ]
        bodies.append(getattr(statement, "orelse", ()))
        parts = [(body, beside, within, (object(), branch), unrun) for body in bodies]
    return [
        BranchedStatement(inner, *rest) for body, *rest in reversed(parts) for inner in body[::-1]
    ]


def statements(body: Sequence[Any]) -> Iterator[Any]:
    """Yield the same statements and the branches of blocks, statements outside of blocks first."""
    waiting = [body]
    for block in waiting:  # which grows on the way
        for statement in block:
            yield statement
            for name in PARTS.get(statement.__class__, ()):
                waiting.append(getattr(statement, name))
