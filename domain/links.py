"""Which edges begin in one module, and which facets were read to find them?

The edges hold as long as the module's own facets and the facets read in others do: so a graph can
be updated from the graph before one iteration.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from posixpath import basename
from types import MappingProxyType
from typing import NamedTuple

from backcast.domain.imports import module_path
from backcast.domain.names import resolve
from backcast.domain.node import Edge, node_id, plain_name
from backcast.domain.outline import LINK, Facet, Facets, names_in
from backcast.domain.reader import PastReader, Reader, Target
from backcast.domain.tree import TREE, Tree

_STANDARDS = re.compile(r"\b(RFC|PEP|ISO|IEEE|ECMA)[ -]?(\d{1,6})\b")
_QUOTED = re.compile(r"`+([A-Za-z_][\w.]{0,100})(?:\(\))?`+")
_SLUG = re.compile(r"[^a-z0-9]+")
NEVER: Mapping[str, int] = MappingProxyType({})
OWN = "own"
"The key under which a module notes that it took an import for a removed module of the task."


class Links(NamedTuple):
    """The edges that begin in one module."""

    edges: tuple[Edge, ...]
    "Edges, sorted, once each."
    unresolved: tuple[tuple[str, str], ...]
    "Node and the dotted name that could not be followed from it; sorted."
    libraries: tuple[tuple[str, str], ...]
    "Library and its origin: standard or third-party."
    reads: Mapping[str, tuple[str, ...]]
    "By path, the keys of the facets that were read in other modules, existing or not."


def links_of(
    modules: Mapping[str, Facets],
    path: str,
    since: Mapping[str, int] = NEVER,
    gone: Mapping[str, int] = NEVER,
    trees: tuple[Tree | None, Tree | None] = (None, None),
) -> Links:
    """Return the links of a module; `trees` are those of the modules, and with the removed ones.

    An import that is older (`since`) than the removal (`gone`) of a module of that name meant that
    module, and no library: it is unresolved. Both give versions of events, by the import as written
    and by the module's path.
    """
    reader = Reader(modules, trees[0])
    links = Linking(reader, PastReader(reader, gone, trees[1]), since, path, modules[path])
    links.collect(modules[path])
    reads: dict[str, list[str]] = {}
    for other, key in links.reader.seen:
        if other != path:
            reads.setdefault(other, []).append(key)
    return Links(
        tuple(sorted(links.edges)),
        tuple(sorted(links.unresolved)),
        tuple(sorted(links.libraries.items())),
        {other: tuple(keys) for other, keys in reads.items()},
    )


def concepts_in(text: str) -> list[str]:
    """Return the numbered concepts in a text: RFC 5322, PEP 8; sorted, once each."""
    return sorted({f"concept:{a.lower()}-{b}" for a, b in _STANDARDS.findall(text)})


def concept_of(heading: str) -> str:
    """Return the concept of a heading."""
    return f"concept:{_SLUG.sub('-', heading.lower()).strip('-')}"


class Linking:
    """A collector of the edges that begin in one module."""

    def __init__(
        self,
        reader: Reader,
        past: PastReader,
        since: Mapping[str, int],
        path: str,
        facets: Facets,
    ) -> None:
        self.reader, self.past, self.since, self.path = reader, past, since, path
        self._facets = facets
        self.module = node_id("module", path)
        self.edges: dict[Edge, None] = {}
        self.unresolved: dict[tuple[str, str], None] = {}
        self.libraries: dict[str, str] = {}

    def collect(self, facets: Facets) -> None:
        """Collect all edges of the module."""
        standard = facets.get("standard", ())
        self.own(facets, standard)
        for name in names_in(facets):
            self.symbol(facets, name, standard)

    def own(self, facets: Facets, standard: Facet) -> None:
        """Collect the edges of the module itself."""
        for linked in facets.get(LINK, ()):
            if self.reader.exists(linked):
                self._add(self.module, "imports", node_id("module", linked))
        for written in facets.get("imports", ()):
            self._imports(written, standard)
        for key in sorted(facets):
            if key.startswith("name:"):
                self._names_module(facets[key], standard)
        for heading in facets.get("heading", ()):
            self._both_ways(self.module, concept_of(heading))
        self._says(self.module, facets.get("doc", ()), "")

    def _add(self, source: str, kind: str, target: str) -> None:
        self.edges[Edge(source, kind, target)] = None

    def _both_ways(self, node: str, concept: str) -> None:
        if concept != "concept:":
            self._add(node, "references", concept)
            self._add(concept, "references", node)

    def _imports(self, written: str, standard: Facet) -> None:
        module = module_path(self.reader, self.path, written)
        if module:
            self._add(self.module, "imports", node_id("module", module))
        elif written.startswith(".") or self._meant_own(written, standard):
            if written.strip("."):
                self.unresolved[self.module, written] = None
        elif written not in self._folders:
            self._add(self.module, "imports", self._library(written, standard))

    def _names_module(self, binding: Facet, standard: Facet) -> None:
        """Link the module x of `from . import x`."""
        match binding:
            case ("from", written, original):
                within = module_path(self.reader, self.path, written)
                if within and not within.endswith("__init__.py"):
                    return
                if module := module_path(self.reader, self.path, _inner(written, original)):
                    self._add(self.module, "imports", node_id("module", module))

    @cached_property
    def _folders(self) -> frozenset[str]:
        """The own folders without `__init__.py` that modules are imported from, as written."""
        bindings = [self._facets[key] for key in sorted(self._facets) if key[:5] == "name:"]
        for key in sorted(self._facets):
            if key.startswith("locals:"):
                texts = (text.partition("=")[2] for text in self._facets[key])
                bindings += [tuple(text.split(" ")) for text in texts]
        found = set()
        for binding in bindings:
            match binding:
                case ("from", written, original) if written[:1] != ".":
                    if not module_path(self.reader, self.path, written) and module_path(
                        self.reader, self.path, _inner(written, original)
                    ):
                        found.add(written)
        return frozenset(found)

    def _meant_own(self, dotted: str, standard: Facet) -> bool:
        """Return whether an apparent library is one of the task's own, removed modules."""
        names = dotted.split(".")
        if names[0] in standard or not self.past.gone or not self.past.roots(names[0]):
            return False
        written = [".".join(names[:end]) for end in range(len(names), 0, -1)]
        own = next(filter(None, (module_path(self.past, self.path, one) for one in written)), None)
        stood = next((self.since[one] for one in written if one in self.since), None)
        if own is None or stood is None or stood >= self.past.gone.get(own, 0):
            return False
        self.reader.seen[TREE, OWN] = None
        return True

    def _library(self, dotted: str, standard: Facet) -> str:
        top = dotted.partition(".")[0]
        self.libraries[f"library:{top}"] = "standard" if top in standard else "third-party"
        return f"library:{top}"

    def node(self, facets: Facets, name: str) -> str:
        """Return the id of a function, method, class or test of the module."""
        return node_id((facets[f"sig:{name}"] or ("function",))[0], self.path, name)

    def symbol(self, facets: Facets, name: str, standard: Facet) -> None:
        """Collect the edges of a function, method, class or test."""
        node, kind = self.node(facets, name), (facets[f"sig:{name}"] or ("function",))[0]
        outer = name.rpartition(".")[0]
        self._add(self._outer(facets, outer), "contains", node)
        for dotted in facets.get(f"bases:{name}", ()):
            self._to(node, "inherits", dotted.partition("[")[0], "", standard)
        for dotted in facets.get(f"calls:{name}", ()):
            target = self._to(node, "calls", dotted, name, standard)
            if kind == "test" and target and not target.startswith(("test:", "library:")):
                self._add(node, "tests", target)
        for dotted in facets.get(f"uses:{name}", ()):
            self._to(node, "uses_attribute", dotted, name, standard)
        for setting in facets.get(f"config:{name}", ()):
            self._add(node, "reads_config", f"setting:{setting}")
        self._says(node, facets.get(f"doc:{name}", ()), name)

    def _outer(self, facets: Facets, outer: str) -> str:
        return node_id("class", self.path, outer) if f"sig:{outer}" in facets else self.module

    def _to(self, node: str, kind: str, dotted: str, scope: str, standard: Facet) -> str | None:
        """Add an edge to a name's target and return the target; note a name without one."""
        target = resolve(self.reader, self.path, dotted, scope)
        if target and target.kind == "library" and self._meant_own(target.path, standard):
            target = None
        if target is None:
            # An unknown name that is only read is a local one: a type variable, a builtin.
            if kind != "uses_attribute":
                self.unresolved[node, dotted] = None
            return None
        found = self._node(target, standard)
        if found == node and kind != "calls":
            return None
        if kind == "uses_attribute" and target.kind != "attribute":
            kind = "references"
        if not (kind == "references" and Edge(node, "calls", found) in self.edges):
            self._add(node, kind, found)
        return found

    def _node(self, target: Target, standard: Facet) -> str:
        match target.kind:
            case "library":
                return self._library(target.path, standard)
            case "symbol":
                kind = self.reader.facet(target.path, f"kind:{target.name}")
                return node_id(kind[0] if kind else "function", target.path, target.name)
            case "attribute":
                return node_id("attribute", target.path, target.name)
        return node_id("module", target.path)

    def _says(self, node: str, doc: Facet, scope: str) -> None:
        """Link the standards, and own nodes in backquotes, that a docstring names."""
        text = " ".join(doc)
        for concept in concepts_in(text):
            self._both_ways(node, concept)
        for dotted in _QUOTED.findall(text):
            target = resolve(self.reader, self.path, dotted, scope)
            if target and target.kind in ("module", "symbol", "attribute"):
                found = self._node(target, ())
                if found != node:
                    self._add(node, "references", found)


def _inner(written: str, original: str) -> str:
    """Return the module that `from written import original` would import."""
    return f"{written}{original}" if written[-1:] == "." else f"{written}.{original}"


def headed(modules: Mapping[str, Facets]) -> Iterator[Edge]:
    """Yield edges between headings of documents and the code that they name."""
    names: dict[str, list[str]] = {}
    for path in sorted(modules):
        stem = basename(path).rpartition(".")[0]
        names.setdefault(concept_of(stem), []).append(node_id("module", path))
        for name in names_in(modules[path]):
            kind = (modules[path][f"sig:{name}"] or ("function",))[0]
            if kind != "test" and "." not in name:
                concept = concept_of(plain_name(name))
                names.setdefault(concept, []).append(node_id(kind, path, name))
    for path in sorted(modules):
        for heading in modules[path].get("heading", ()):
            concept = concept_of(heading)
            for node in names.get(concept, ()):
                yield Edge(concept, "references", node)
                yield Edge(node, "references", concept)
