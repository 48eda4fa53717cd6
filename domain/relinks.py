"""Updates the links of a changed module: keeps those that hold, makes the others anew.

The names that may mean something else now decide what is linked again. So a graph can be updated
from the one before a change, and equals the graph that is built from nothing.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.links import Linking, Links
from backcast.domain.node import Edge, node_id, plain_name
from backcast.domain.outline import Facets, changed, names_in
from backcast.domain.reader import PastReader, Reader
from backcast.domain.tree import Tree

_WORDS = re.compile(r"\w+")
_UNREAD = ("body:", "raises:", "effects:", "decorators:", "overloads:", "newer")
"Keys of facets that links never read."
_INSIDE = ("doc", "calls", "uses", "locals", "config")
"Facets that only affect the links of their own function or class, like a signature's text."


class Moved(NamedTuple):
    """The parts of a module whose links may no longer hold."""

    names: Collection[str]
    "Functions and classes to link again."
    gone: Collection[str]
    "Nodes that no longer exist."
    module: bool
    "Whether the module's own edges (imports, headings) are to be linked again too."


def relinked(
    modules: Mapping[str, Facets],
    path: str,
    since: Mapping[str, int],
    gone: Mapping[str, int],
    before: Links,
    moved: Moved,
    trees: tuple[Tree | None, Tree | None] = (None, None),
) -> Links:
    """Return the links of a module of which only the `moved` parts are made anew.

    All reads of the earlier links are kept, even those that only the new parts had needed.
    """
    reader, facets = Reader(modules, trees[0]), modules[path]
    links = Linking(reader, PastReader(reader, gone, trees[1]), since, path, facets)
    standard = facets.get("standard", ())
    if moved.module:
        links.own(facets, standard)
    for name in sorted(moved.names):
        links.symbol(facets, name, standard)
    nodes = {links.node(facets, name) for name in moved.names}.union(moved.gone)
    if moved.module:
        nodes.add(links.module)
    kept = [edge for edge in before.edges if not _is_of(edge, nodes)]
    needed = {edge.target for edge in kept}
    libraries = {one: origin for one, origin in before.libraries if one in needed}
    reads = {other: dict.fromkeys(keys) for other, keys in before.reads.items()}
    for other, key in reader.seen:
        if other != path:
            reads.setdefault(other, {})[key] = None
    return Links(
        tuple(sorted({*kept, *links.edges})),
        tuple(sorted({*(one for one in before.unresolved if one[0] not in nodes),
                      *links.unresolved})),
        tuple(sorted({**libraries, **links.libraries}.items())),
        {other: tuple(keys) for other, keys in reads.items()},
    )  # fmt: skip


def _is_of(edge: Edge, nodes: Collection[str]) -> bool:
    """Return whether an edge belongs to one of some nodes."""
    if edge.kind == "contains":
        return edge.target in nodes
    return edge.source in nodes or (edge.source.startswith("concept:") and edge.target in nodes)


def moved_inside(path: str, before: Facets, after: Facets) -> Moved | None:
    """Return the parts of a module whose links may have changed; None if it may be all of them.

    A name that is bound, defined or typed differently may matter wherever another name contains it.
    """
    names, gone, parts, module = set[str](), set[str](), set[str](), False
    for key in changed(before, after):
        old, new = before.get(key), after.get(key)
        if key.startswith(_UNREAD):
            continue
        head, _, name = key.partition(":")
        if head == "sig":
            names.update([name] if new is not None else [])
            if old is None or new is None or old[:1] != new[:1]:
                parts.add(plain_name(name.rpartition(".")[2]))
                gone.update([node_id(old[0] if old else "function", path, name)]
                            if old is not None else [])  # fmt: skip
                names.update(one for one in names_in(after) if one.startswith(f"{name}."))
        elif head in ("name", "other", "type"):
            parts.add(name)
        elif head == "attributes":
            parts.update(one.partition("=")[0] for one in {*(old or ())} ^ {*(new or ())})
        elif key in ("imports", "standard", "doc", "heading"):
            module = True
            parts.update({*(old or ())} ^ {*(new or ())} if key == "standard" else ())
        elif head in _INSIDE and name:
            names.add(name)
            module = module or head == "locals"
        else:
            return None
    if not parts:
        return Moved({one for one in names if f"sig:{one}" in after}, gone, module)
    meant = _meant(after, parts)
    if meant is None:
        return None
    names |= meant
    return Moved({one for one in names if f"sig:{one}" in after}, gone, module=True)


def _meant(facets: Facets, parts: set[str]) -> set[str] | None:
    """Return the functions and classes whose names contain one of some changed parts; None if a
    base class does, so that any member may be affected."""
    found = set[str]()
    for _ in facets:
        more = {name for name in _bound_by(facets, parts) if name not in parts}
        if not more:
            break
        parts |= more
    for key, texts in facets.items():
        head, _, name = key.partition(":")
        if head == "bases" and any(not parts.isdisjoint(_WORDS.findall(one)) for one in texts):
            return None
        says = head in ("calls", "uses", "locals", "doc") and name
        if says and any(not parts.isdisjoint(_WORDS.findall(one)) for one in texts):
            found.add(name)
    return found


def _bound_by(facets: Facets, parts: set[str]) -> Iterator[str]:
    """Yield names and attributes that are bound to something with one of some parts in its name."""
    for key, texts in facets.items():
        head, _, name = key.partition(":")
        if head in ("other", "type") or (
            head == "name" and texts[0] in ("alias", "from", "import")
        ):
            if any(not parts.isdisjoint(_WORDS.findall(one)) for one in texts):
                yield name
        elif head == "attributes":
            for text in texts:
                attribute, _, of = text.partition("=")
                if of and not parts.isdisjoint(_WORDS.findall(of)):
                    yield attribute
