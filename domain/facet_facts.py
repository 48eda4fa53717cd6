"""Which facts does an outline show?

An outline of a text that does not parse is that of the last good version: then only that it does
not parse is a fact.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backcast.domain.node import node_id
from backcast.domain.outline import Facets

HEADS = frozenset(("doc", "error", "imports", "name", "sig", "bases", "raises", "config"))
OF_NAME = ("sig", "doc", "bases", "raises", "config")
ERROR = "error"
LONGEST = 500
"Characters after which outlines cut a text: a fact says so."


class Statement(NamedTuple):
    """What is said of a subject; without an object, that nothing is any more."""

    subject: str
    relation: str
    object: str | None
    found: bool = True


def relevant(key: str) -> bool:
    """Return whether facts are made of a facet."""
    return key.partition(":")[0] in HEADS


def statements(path: str, facets: Facets, keys: Iterable[str] | None = None) -> Iterator[Statement]:
    """Yield the facts of a module's facets: of all, or of those that changed keys concern."""
    node = node_id("module", path)
    if keys is not None:
        keys = [key for key in keys if relevant(key)]
    if ERROR in facets or keys is None or ERROR in keys:
        keys = sorted(facets)
    if ERROR in facets:
        yield Statement(node, "does not parse", " ".join(facets[ERROR]))
        return
    names = (f"{head}:{key[4:]}" for key in keys if key[:4] == "sig:" for head in OF_NAME)
    for key in dict.fromkeys((*keys, *names)):
        if (facet := facets.get(key)) is not None:
            yield from _of_facet(path, node, facets, key, facet)


def _of_facet(
    path: str, node: str, facets: Facets, key: str, facet: tuple[str, ...]
) -> Iterator[Statement]:
    head, _, name = key.partition(":")
    own = node_id(facets[f"sig:{name}"][0], path, name) if facets.get(f"sig:{name}") else node
    match head:
        case "imports":
            yield from (Statement(node, "imports", written) for written in facet)
        case "sig" if facet:
            yield Statement(own, "signature", _whole("".join(facet[1:])) or facet[0])
        case "doc":
            yield Statement(own, "doc", " ".join(_whole(" ".join(facet)).split()))
        case "bases":
            yield from (Statement(own, "inherits", base) for base in facet)
        case "raises":
            yield from (Statement(own, "raises", raised) for raised in facet)
        case "config":
            yield from (Statement(own, "reads setting", setting) for setting in facet)
        case "name" if facet[:1] == ("value",) and "".join(facet[1:]):
            yield Statement(node_id("attribute", path, name), "value", facet[1])


def _whole(text: str) -> str:
    """Return a text as it stands; one that was cut says so."""
    return f"{text}…" if len(text) >= LONGEST else text
