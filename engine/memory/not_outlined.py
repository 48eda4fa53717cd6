"""Which modules of a task cannot be outlined, and why? One line for each reason."""

import sys
from collections.abc import Iterator, Sequence
from posixpath import basename, splitext

from backcast.domain.outline import LINK, NEWER
from backcast.engine.memory.outliner import outliner_of
from backcast.projections import dependency_graph

NAMED = 5
"Modules that a line names."
KINDS = 6
"Kinds of files that a line names."


def not_outlined(state: dependency_graph.State) -> list[str]:
    """Return a line for each reason why modules of a state have no outline of their own text."""
    others: dict[str, int] = {}
    linked: list[str] = []
    newer: list[str] = []
    broken: list[str] = []
    for path in sorted(state.modules):
        module = state.modules[path]
        if module.deleted or module.source is None:
            continue
        if (link := module.facets.get(LINK)) and module.source == module.outlined:
            linked.append(f"{path} -> {link[0]}")
        elif outliner_of(path) is None:
            kind = splitext(basename(path))[1] or "no suffix"
            others[kind] = others.get(kind, 0) + 1
        elif module.source != module.outlined:
            continue
        elif error := module.facets.get("error"):
            line, message = (*error, "", "")[:2]
            broken.append(f"{path}{f':{line}' if line else ''} ({message})")
        elif needs := module.facets.get(NEWER):
            newer.append(f"{path} ({needs[0]}: {', '.join(needs[1:])})")
    return list(_lines(broken, newer, linked, others))


def _lines(
    broken: Sequence[str], newer: Sequence[str], linked: Sequence[str], others: dict[str, int]
) -> Iterator[str]:
    if broken:
        yield f"{_count(broken)} cannot be outlined: {_some(broken, '; ')}"
    if newer:
        version = ".".join(map(str, sys.version_info[:2]))
        needs = "needs" if len(newer) == 1 else "need"
        yield (
            f"{_count(newer)} {needs} a newer Python than this {version}; outlined as if in older"
            f" syntax: {_some(newer, '; ')}"
        )
    if linked:
        yield f"{_count(linked)} without an outline, since symbolic links: {_some(linked, '; ')}"
    if others:
        kinds = sorted(others, key=lambda kind: (-others[kind], kind))
        parts = [f"{others[kind]} {kind}" for kind in kinds[:KINDS]]
        more = sum(others[kind] for kind in kinds[KINDS:])
        listed = ", ".join([*parts, f"{more} others"] if more else parts)
        total = sum(others.values())
        yield (
            f"{total} module{'' if total == 1 else 's'} without an outline, since neither Python"
            f" nor Markdown: {listed}"
        )


def _count(modules: Sequence[str]) -> str:
    return f"{len(modules)} module{'' if len(modules) == 1 else 's'}"


def _some(modules: Sequence[str], joint: str) -> str:
    rest = len(modules) - NAMED
    return joint.join([*modules[:NAMED], f"and {rest} more"] if rest > 0 else modules)
