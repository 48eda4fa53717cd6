"""Reads facets of the modules of one moment, and keeps a record of what was read."""

from collections.abc import Mapping
from typing import NamedTuple

from backcast.domain.outline import EXISTS, Facet, part_of
from backcast.domain.tree import TOP, TREE, Root, Tree, root_of, tree_of


class Target(NamedTuple):
    """The thing that a name stands for."""

    kind: str
    "module, symbol, attribute or library."
    path: str
    "The module's path; a library's dotted name."
    name: str = ""
    "The qualified name within the module."


class Reader:
    """The facets of the modules of one moment, with a record of the ones read."""

    def __init__(
        self, modules: Mapping[str, Mapping[str, Facet]], tree: Tree | None = None
    ) -> None:
        self.modules = modules
        self._tree = tree
        self.seen: dict[tuple[str, str], Facet | None] = {}
        "Facets read, existing or not, by path and key."
        self.paths: dict[tuple[str, str], str | None] = {}
        "Results of `module_path`, by importer and name as written."
        self.names: dict[tuple[str, str], Target | None] = {}
        "Targets of names in namespaces, by module and name."
        self.resolved: dict[tuple[str, str, str], Target | None] = {}
        "Results of `resolve`, by module, dotted name, and the class of `self`."

    def facet(self, path: str, key: str) -> Facet | None:
        """Return a facet of a module, or a part of one; None for none."""
        place = path, key
        if place not in self.seen:
            if path == TREE:
                self.seen[place] = self.tree.facets.get(key)
            else:
                module = self.modules.get(path)
                self.seen[place] = None if module is None else part_of(module, key)
        return self.seen[place]

    @property
    def tree(self) -> Tree:
        """The tree of the modules."""
        if self._tree is None:
            self._tree = tree_of(self.modules)
        return self._tree

    def roots(self, name: str) -> tuple[Root, ...]:
        """Return the folders in which a name stands at the top."""
        return tuple(map(root_of, self.facet(TREE, TOP + name) or ()))

    def exists(self, path: str) -> bool:
        """Return whether a module exists."""
        return self.facet(path, EXISTS) is not None


class PastReader(Reader):
    """A reader that also finds removed modules.

    Its reads are recorded in the reader that it is made of.
    """

    def __init__(self, reader: Reader, gone: Mapping[str, int], tree: Tree | None = None) -> None:
        super().__init__(reader.modules, tree)
        self.seen, self.gone = reader.seen, gone

    def exists(self, path: str) -> bool:
        """Return whether a module exists, or did once."""
        return super().exists(path) or path in self.gone

    @property
    def tree(self) -> Tree:
        """The tree of the modules and of the removed ones."""
        if self._tree is None:
            self._tree = past_tree(self.modules, self.gone)
        return self._tree

    def roots(self, name: str) -> tuple[Root, ...]:
        """Return the folders in which a name stands or stood; the reader itself reads the name."""
        return tuple(map(root_of, self.tree.facets.get(TOP + name) or ()))


def past_tree(modules: Mapping[str, object], gone: Mapping[str, int]) -> Tree:
    """Return the tree of some modules and removed ones."""
    return tree_of(dict.fromkeys(sorted({*modules, *gone})))
