"""Where may an import begin? The folders of a task's tree in which a name stands at the top.

Python looks for the first part of `import a.b` in the folders of its path, which a log does not
tell. They are read off the tree: a folder that is no package itself may be one of them. A reader
asks for a name under the key `top:a` of the path `TREE`, so that its answer is a read like others.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from posixpath import basename, dirname, split
from typing import NamedTuple

from backcast.domain.outline import Facet

TREE = ""
"The path under which readers ask about the tree itself."
TOP = "top:"
KINDS = PACKAGE, MODULE, FOLDER = ("package", "module", "folder")
"Where several stand in one folder, Python takes the first."
MARKERS = ("pyproject.toml", "setup.py", "setup.cfg")
"Files at the top of a project."
SOURCES = ("src", "lib", "python")
"Folders of a project that are often on Python's path."
SUFFIXES = (".py", ".pyi")


class Root(NamedTuple):
    """A folder in which an imported name stands."""

    folder: str
    kind: str
    "What stands there: a package, a module, or a folder with modules that is no package."
    declared: bool
    "Whether the folder is the top of a project, or its folder of sources."

    @property
    def text(self) -> str:
        """The root as a text of a facet."""
        return f"{self.kind}{'!' if self.declared else ''} {self.folder}"


def root_of(text: str) -> Root:
    """Return the root that a text of a facet tells.

    >>> root_of(Root("a/src", "package", True).text)
    Root(folder='a/src', kind='package', declared=True)
    """
    kind, _, folder = text.partition(" ")
    return Root(folder, kind.rstrip("!"), kind.endswith("!"))


class Tree:
    """The names at the top of each folder that is no package."""

    def __init__(self, paths: Iterable[str]) -> None:
        files = [_split(path) for path in paths]
        packages = {folder for folder, name in files if name.startswith("__init__.py")}
        # A program at the top, or in `src`, is run from there even if it is a package as well.
        self._packages = packages - {"", "src"}
        self._projects = {folder for folder, name in files if name in MARKERS}
        self._regular = packages
        found: dict[str, set[tuple[str, str]]] = {}
        seen: set[str] = set()
        for folder, name in files:
            if name.endswith(SUFFIXES) or name.isidentifier():
                self._take(folder, name, found, seen)
        self.facets: Mapping[str, Facet] = {
            TOP + name: tuple(
                Root(*place, self._is_declared(place[0])).text for place in sorted(places)
            )
            for name, places in found.items()
        }
        "By the key of a name, the roots that hold it; sorted."

    def _take(
        self, folder: str, name: str, found: dict[str, set[tuple[str, str]]], seen: set[str]
    ) -> None:
        stem = name.partition(".")[0]
        if stem != "__init__" and folder not in self._packages:
            # A file without a suffix may be a symbolic link to a folder; readers ask it.
            found.setdefault(stem, set()).add((folder, MODULE if stem != name else FOLDER))
        while stem != name and folder and folder not in seen:
            seen.add(folder)
            outer = dirname(folder)
            if outer not in self._packages:
                kind = PACKAGE if folder in self._regular else FOLDER
                found.setdefault(basename(folder), set()).add((outer, kind))
            folder = outer

    def _is_declared(self, folder: str) -> bool:
        if folder in self._projects or basename(folder) == "src":
            return True
        return basename(folder) in SOURCES and dirname(folder) in self._projects


def tree_of(modules: Mapping[str, object]) -> Tree:
    """Return the tree of the modules of a moment."""
    return _tree(tuple(modules))


def moved_tops(before: Tree, after: Tree) -> set[str]:
    """Return the keys of the names that stand elsewhere in another tree."""
    if before is after:
        return set()
    old, new = before.facets, after.facets
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def tells_roots(path: str) -> bool:
    """Return whether a file decides which folders are packages or projects."""
    return basename(path) in ("__init__.py", "__init__.pyi", *MARKERS)


def tops_in(paths: Iterable[str]) -> set[str]:
    """Return the keys of all names that a path could begin with, wherever its root is."""
    parts = {part for path in paths for part in path.split("/")}
    return {TOP + part.partition(".")[0] for part in parts}


@lru_cache(maxsize=50_000)
def _split(path: str) -> tuple[str, str]:
    """Return the folder and the name of a file; most paths are there at the next moment too."""
    return split(path)


@lru_cache(maxsize=8)
def _tree(paths: tuple[str, ...]) -> Tree:
    return Tree(paths)
