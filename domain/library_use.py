"""How does a project use the libraries that it imports? What it calls and reads of each.

Names are told by the library's own: `numpy.linalg.norm`, whatever the project calls it. Each use is
counted once a function. Only names that an import binds count, so nothing is guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.outline import Facet, names_in

DEPTH = 3
"Names of a dotted one that are told: those further in belong to values."
NAMED = 4
"Uses that are told of a library."


class LibraryUses(NamedTuple):
    """What one module, or several, use of libraries."""

    uses: Counter[str]
    "Functions by what they use of a library, by its full name."
    aliases: Counter[str]
    "Modules by `import LIBRARY as NAME`, for names that are not the library's."


class UseOfOne(NamedTuple):
    """A place where a library is used."""

    function: str
    "The qualified name; the use stands in its lines."
    written: str
    "The name as it is written there."


def uses_of(facets: Mapping[str, Facet]) -> LibraryUses:
    """Return what a module uses of the modules that it imports from elsewhere."""
    found = LibraryUses(Counter(), Counter())
    top = dict(_bound(facets))
    if not top and not any(key.startswith("locals:") for key in facets):
        return found
    for name, full in top.items():
        if "." not in full and name != full:
            found.aliases[f"import {full} as {name}"] += 1
    for name in names_in(facets):
        found.uses.update({full for full, _ in _used(facets, name, top)})
    return found


def places_of(facets: Mapping[str, Facet], use: str) -> list[UseOfOne]:
    """Return where a module uses something of a library, by the name of the function."""
    top = dict(_bound(facets))
    return [
        UseOfOne(name, written)
        for name in names_in(facets)
        for full, written in _used(facets, name, top)
        if full == use
    ]


def ranked(uses: Mapping[str, int], library: str) -> list[str]:
    """Return what is used of a library, the most used first; counts of about one size by name, so
    that the next commit seldom changes the order."""
    own = [use for use in uses if use.startswith(f"{library}.") and uses[use] > 0]
    return sorted(own, key=lambda use: (-uses[use].bit_length(), use))


def _used(
    facets: Mapping[str, Facet], name: str, top: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield what a function or class uses of libraries: the full name, and the written one."""
    local = facets.get(f"locals:{name}", ())
    bound = {**top, **dict(_bound_by(local))} if local else top
    if not bound:
        return
    bases = (base.partition("[")[0] for base in facets.get(f"bases:{name}", ()))
    for dotted in (*facets.get(f"calls:{name}", ()), *facets.get(f"uses:{name}", ()), *bases):
        first, _, rest = dotted.partition(".")
        full = bound.get(first)
        if full is not None:
            names = f"{full}.{rest}".rstrip(".").split(".")
            yield ".".join(names[:DEPTH]), dotted


def _bound(facets: Mapping[str, Facet]) -> Iterator[tuple[str, str]]:
    """Yield the names that a module binds by imports, and what of which module each stands for."""
    for key, binding in facets.items():
        if key[:5] == "name:":
            if binding[0] == "import":
                yield key[5:], binding[1]
            elif binding[0] == "from" and binding[1][:1] != ".":
                yield key[5:], f"{binding[1]}.{binding[2]}"


def _bound_by(local: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in local:
        name, _, said = text.partition("=")
        match said.split(" "):
            case ["import", module]:
                yield name, module
            case ["from", module, original] if module[:1] != ".":
                yield name, f"{module}.{original}"
