"""Which functions and classes did a task have once, and has no more?

A function that was taken out may come back in another form: what it looked like is worth more then
than any that is only like it. So the last text of each stays known, by the outline it had.
"""

from collections.abc import Iterable
from typing import NamedTuple

from immutables import Map

from backcast.domain.cache import youngest
from backcast.domain.outline import Facet, Facets, lines_by_name, names_in
from backcast.domain.paths import is_test

REMOVED = 2_048
"Functions and classes that stay known; an eighth more may gather before the oldest are dropped."
KINDS = ("function", "method", "class")
PARTS = ("sig", "doc", "bases", "overloads", "calls", "uses", "raises", "config")
"The facets by which a function or class is found."


class RemovedSymbol(NamedTuple):
    """A function or class as it stood last in its module."""

    path: str
    name: str
    source: str
    "The blob of the module's text that held it last."
    first: int
    "Its first line there, counted from 1."
    last: int
    stood: int
    "The version of the event that brought that text."
    version: int
    "The version of the event that took it out."
    facets: Map[str, tuple[str, ...]] = Map()
    "What its outline said of it, by `PARTS`."


Removed = Map[str, RemovedSymbol]
"By the path and the name, divided by `::`."


class OutlinedText(NamedTuple):
    """A text of a module, and its outline."""

    source: str | None
    version: int
    "The version of the event that brought the text."
    facets: Facets
    lines: tuple[int, ...]


def moved_on(removed: Removed, path: str, before: OutlinedText, after: OutlinedText) -> Removed:
    """Return what is removed after a module's outline was followed by another one."""
    old, new = before.facets, after.facets
    if old is new:
        return removed
    names = [name for name in names_in(new) if f"sig:{name}" not in old] if removed else ()
    for key in [f"{path}::{name}" for name in names]:
        removed = removed.delete(key) if key in removed else removed
    gone = [name for name in names_in(old) if f"sig:{name}" not in new]
    if not gone or not before.source or is_test(path):
        return removed
    places = lines_by_name(old, before.lines)
    for name in gone:
        if name in places and is_shared(old, name):
            first, last = places[name]
            removed = removed.set(
                f"{path}::{name}",
                RemovedSymbol(
                    path, name, before.source, first, last, before.version, after.version,
                    facets_of(old, name),
                ),
            )  # fmt: skip
    return youngest(removed, REMOVED, lambda symbol: symbol.version, slack=REMOVED // 8)


def is_shared(facets: Facets, name: str) -> bool:
    """Tell whether a name is a function, method or class that others could use."""
    outer = facets.get(f"sig:{name.rpartition('.')[0]}")
    kind = (facets[f"sig:{name}"] or ("function",))[0]
    return kind in KINDS and ("." not in name or bool(outer and outer[0] == "class"))


def facets_of(facets: Facets, name: str, parts: Iterable[str] = PARTS) -> Map[str, Facet]:
    """Return what an outline says of one function or class, by parts."""
    found = ((part, facets.get(f"{part}:{name}")) for part in parts)
    return Map({part: facet for part, facet in found if facet})
