"""Does an entry that was made of modules still hold, and if not, why not?

An entry holds as long as every facet that it was made of is unchanged, and every facet that it
missed is still missing. That is sound: equal facets give equal entries.
"""

from collections.abc import Mapping
from typing import NamedTuple

from backcast.domain.outline import Facet, digest_of, part_of
from backcast.domain.summary import BuiltFrom
from backcast.domain.tree import TREE, Tree, tree_of


class Proof(NamedTuple):
    """The reason why an entry no longer holds."""

    since: int
    "The version, in the task, of the event that broke it first; 0 if unknown."
    clock: tuple[tuple[str, int], ...]
    "The iteration of each changed module as of that event; 0 for a removed one."
    way: tuple[str, ...]
    "The modules from the entry's own to the changed one, each needing the next."
    facets: tuple[str, ...]
    "The changed facets: `sig:clean`."

    def __str__(self) -> str:
        if not self.since:
            return "stale, by what the log does not tell any more (see 'backcast fsck')"
        moved = ", ".join(
            f"{path}={iteration}" if iteration else f"{path} is gone"
            for path, iteration in self.clock
        )
        return f"stale since event {self.since}: {moved}, path {' -> '.join(self.way)}"


class Modules:
    """The facets of one moment, with their digests computed once."""

    def __init__(self, modules: Mapping[str, Mapping[str, Facet]]) -> None:
        self.modules = modules
        self._digests: dict[tuple[str, str], str] = {}
        self._tree: Tree | None = None

    def digest(self, path: str, key: str) -> str:
        """Return the current digest of a facet."""
        found = self._digests.get((path, key))
        if found is None:
            if path == TREE:
                self._tree = self._tree or tree_of(self.modules)
                facet = self._tree.facets.get(key)
            else:
                module = self.modules.get(path)
                facet = None if module is None else part_of(module, key)
            found = digest_of(facet)
            self._digests[path, key] = found
        return found

    def changed(self, built_from: BuiltFrom) -> list[tuple[str, str]]:
        """Return the facets, by path and key, that have changed; sorted."""
        return [
            (path, key)
            for path, keys in sorted(built_from.items())
            for key, digest in sorted(keys.items())
            if self.digest(path, key) != digest
        ]

    def holds(self, built_from: BuiltFrom) -> bool:
        """Return whether every facet is unchanged."""
        return all(
            self.digest(path, key) == digest
            for path, keys in built_from.items()
            for key, digest in keys.items()
        )
