"""Which modules import each third-party library? Followed from graph to graph by what changed."""

from collections import Counter
from collections.abc import Mapping

from backcast.domain.graph import Graph
from backcast.domain.links import Links


class LibraryUsers:
    """The modules that import each library, of the graph that was followed last."""

    def __init__(self) -> None:
        self._links: Mapping[str, Links] = {}
        self._own = Counter[str]()
        "How many modules have a name for a part of their path."
        self._standard = Counter[str]()
        "How many modules say of a library that it is the language's own."
        self._users: dict[str, set[str]] = {}

    def follow(self, graph: Graph) -> None:
        """Go on to another graph."""
        before, now = self._links, graph.links
        if now is before:
            return
        self._links = now
        for path, links in before.items():
            if path not in now:
                self._count_path(path, -1)
                self._count(path, links, -1)
        for path, links in now.items():
            known = before.get(path)
            if known is None:
                self._count_path(path, 1)
            if known is not links:
                if known is not None:
                    self._count(path, known, -1)
                self._count(path, links, 1)

    def names(self, path: str = "") -> list[str]:
        """Return the libraries that a module imports, or any without a path; sorted."""
        links = self._links.get(path)
        some = [_name(library) for library, _ in links.libraries] if links else []
        every = sorted(some if path else self._users)
        return [name for name in every if self._is_foreign(name)]

    def of(self, name: str) -> list[str]:
        """Return the modules that import a third-party library, sorted."""
        return sorted(self._users.get(name, ())) if self._is_foreign(name) else []

    def _is_foreign(self, name: str) -> bool:
        # A module outlined elsewhere may not know what is the language's own.
        known = self._own[name] or self._standard[name] or name.startswith("_")
        return not known and bool(self._users.get(name))

    def _count_path(self, path: str, sign: int) -> None:
        for part in {part.removesuffix(".py") for part in path.split("/")}:
            self._own[part] += sign

    def _count(self, path: str, links: Links, sign: int) -> None:
        for library, origin in links.libraries:
            name = _name(library)
            self._standard[name] += sign * (origin == "standard")
            if sign > 0:
                self._users.setdefault(name, set()).add(path)
            else:
                self._users.get(name, set()).discard(path)


def _name(library: str) -> str:
    return library.partition(":")[2]
