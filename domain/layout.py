"""Where do things stand in a repository? Its folders, central modules, entry points and tests.

Paths, the graph and a score for each node decide. The result only says where to look: the writers
of entries check each claim in the modules themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from posixpath import basename, dirname
from typing import NamedTuple

from backcast.domain.graph import Graph
from backcast.domain.imports import module_path
from backcast.domain.links import concept_of
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import PRESENT, Facet
from backcast.domain.paths import are_apart, begins, is_aside, is_code, is_test
from backcast.domain.reader import Reader

DECIMALS = 7
"Scores are rounded before they are compared: sums of floats differ in their last bits."


class Layout:
    """The modules of one moment by purpose, the most worth knowing first."""

    def __init__(
        self, modules: Mapping[str, Mapping[str, Facet]], graph: Graph, rank: Mapping[str, float]
    ) -> None:
        self.modules, self.graph, self.rank = modules, graph, rank
        self.paths: Sequence[str] = sorted(modules)
        self.reader = Reader(modules)
        "A reader for finding where to look; its reads are not recorded in any entry."

    def score(self, node: str) -> float:
        """Return how much a node matters, rounded for comparison."""
        return round(self.rank.get(node, 0.0), DECIMALS)

    def first(self, nodes: Iterable[str]) -> list[str]:
        """Return nodes by score, highest first; ties by id."""
        return sorted(nodes, key=lambda node: (-self.score(node), node))

    @cached_property
    def code(self) -> Sequence[str]:
        """The paths of modules of code without tests; examples and the like come last."""
        found = [path for path in self.paths if is_code(path)]
        return sorted(found, key=lambda path: (is_aside(path), -self.score(_module(path)), path))

    @cached_property
    def central(self) -> Sequence[str]:
        """The paths of modules of code that do more than begin a package or a program."""
        return [path for path in self.code if not begins(path)]

    @cached_property
    def tests(self) -> Sequence[str]:
        """The paths of test files."""
        return [path for path in self.paths if path.endswith(".py") and is_test(path)]

    @cached_property
    def folders(self) -> Mapping[str, Sequence[str]]:
        """The modules of code in each folder, folders by the sum of their scores."""
        found: dict[str, list[str]] = {}
        for path in self.code:
            found.setdefault(dirname(path), []).append(path)
        worth = {
            folder: sum(self.score(_module(path)) for path in paths)
            for folder, paths in found.items()
        }
        order = sorted(found, key=lambda name: (is_aside(f"{name}/"), -round(worth[name], 6), name))
        return {folder: found[folder] for folder in order}

    def telling(self, folder: str) -> list[str]:
        """Return the modules of a folder of the code that hold classes or functions."""
        if not folder or is_aside(f"{folder}/"):
            return []
        paths = (path for path in self.folders[folder] if not begins(path))
        return [path for path in paths if self.holds(path)]

    @cached_property
    def package(self) -> str:
        """The outermost package around the modules that matter most; empty for none."""
        for path in self.code:
            parts = path.split("/")[:-1]
            ends = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
            if found := [one for one in ends if one and f"{one}/__init__.py" in self.modules]:
                return found[0]
        return ""

    @property
    def introductions(self) -> list[str]:
        """The introductions of the repository: READMEs at the top, then the outermost package."""
        names = ("readme.md", "readme.markdown")
        found = [path for path in self.paths if path.lower() in names]
        return [*found, f"{self.package}/__init__.py"] if self.package else found

    def holds(self, path: str) -> list[str]:
        """Return the classes, then the functions at the top of a module; private ones last."""
        found = [
            node for node in self.held(_module(path)) if kind_of(node) in ("class", "function")
        ]
        return sorted(
            self.first(found),
            key=lambda node: (name_of(node).startswith("_"), kind_of(node) != "class"),
        )

    def held(self, node: str) -> list[str]:
        """Return the nodes directly in a module or a class."""
        edges = self.graph.out.get(node, ())
        return [one.target for one in edges if one.kind == "contains"]

    def public(self, path: str) -> list[str]:
        """Return the public classes and functions of a module, or all if none is public."""
        found = self.holds(path)
        return [one for one in found if not name_of(one).startswith("_")] or found

    def entries(self) -> list[str]:
        """Return where programs begin: `__main__` modules, then functions called main."""
        runs = [path for path in self.code if basename(path) == "__main__.py"]
        mains = [node_id("function", path, "main") for path in self.code if not is_aside(path)]
        existing = {edge.target for main in mains for edge in self.graph.into.get(main, ())}
        return [_module(path) for path in runs] + [main for main in mains if main in existing]

    @cached_property
    def imports(self) -> Mapping[str, Sequence[str]]:
        """The modules of the task that each module imports, by score."""
        found: dict[str, list[str]] = {}
        for path in self.paths:
            edges = self.graph.out.get(_module(path), ())
            imported = [edge.target for edge in edges if edge.kind == "imports"]
            own = self.first(one for one in imported if kind_of(one) == "module")
            found[path] = [other for other in map(path_of, own) if other in self.modules]
        return found

    def between(self) -> dict[str, dict[str, list[tuple[str, str]]]]:
        """Return, per folder, the folders that its modules import from, and the importing pairs."""
        found: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for folder, paths in self.folders.items():
            for path in paths if not is_aside(f"{folder}/") else ():
                for other in self.imports[path]:
                    if is_code(other) and are_apart(folder, dirname(other)):
                        to = found.setdefault(folder, {}).setdefault(dirname(other), [])
                        to.append((path, other))
        return found

    @cached_property
    def tested(self) -> Mapping[str, Mapping[str, int]]:
        """Per test file, how often it tests something in each module."""
        found: dict[str, dict[str, int]] = {}
        for edge in self.graph.edges:
            if edge.kind == "tests":
                of = found.setdefault(path_of(edge.source), {})
                of[path_of(edge.target)] = of.get(path_of(edge.target), 0) + 1
        return found

    def counted(self, test: str, path: str) -> int:
        """Return how often a test file tests something in a module."""
        return self.tested.get(test, {}).get(path, 0)

    def test_of(self, path: str) -> str | None:
        """Return a module's test file: the one named after it, else the one that tests it most."""
        files = [one for one in self.tests if self.counted(one, path) or path in self.imports[one]]
        named = {one: self.is_named_after(one, path) for one in files}
        order = sorted(files, key=lambda file: (not named[file], -self.counted(file, path), file))
        return order[0] if order else None

    def pairs(self, file: str, path: str) -> list[tuple[str, str]]:
        """Return the tests in a file, each with the node of the module that it tests."""
        top = self.held(_module(file))
        nodes = [*top, *(inner for node in top for inner in self.held(node))]
        found = (edge for node in nodes for edge in self.graph.out.get(node, ()))
        tests = [(one.source, one.target) for one in found if one.kind == "tests"]
        return sorted(pair for pair in tests if path_of(pair[1]) == path)

    def is_named_after(self, test: str, path: str) -> bool:
        """Return whether the name of a test file tells which module it tests."""
        stem = basename(path).removesuffix(".py").strip("_")
        return basename(test) in (f"test_{stem}.py", f"{stem}_test.py")

    def uses_of(self, node: str) -> list[str]:
        """Return the tests that use a class or function, those with the fewest other uses first."""
        edges = self.graph.into.get(node, ())
        tests = [edge.source for edge in edges if edge.kind == "tests"]
        return sorted(tests, key=lambda test: (len(self.graph.out.get(test, ())), len(test), test))

    def concepts(self) -> list[tuple[str, list[str]]]:
        """Return the concepts that are not names of files, each with the code that speaks of it."""
        found: dict[str, list[str]] = {}
        for concept in (node for node in self.graph.nodes if kind_of(node) == "concept"):
            edges = self.graph.out.get(concept, ())
            nodes = [one.target for one in edges if path_of(one.target) in self.imports]
            nodes = [one for one in nodes if is_code(path_of(one)) and _is_named(one, concept)]
            if nodes:
                found[concept] = self.first(nodes)
        return sorted(found.items(), key=lambda row: (-self.score(row[1][0]), row[0]))

    def headed(self, concept: str) -> list[str]:
        """Return the documents with a heading for a concept."""
        edges = self.graph.out.get(concept, ())
        paths = [path_of(edge.target) for edge in edges if kind_of(edge.target) == "module"]
        return [path for path in paths if self.modules.get(path, {}).get("heading")]


class Import(NamedTuple):
    """The statement by which a module imports another."""

    path: str
    key: str
    "The key of its facet."
    written: str
    "The imported module, as it could be written: `.x` for `from . import x`."

    def holds(self, reader: Reader) -> str | None:
        """Return the module that is imported, if it still is."""
        found = reader.facet(self.path, self.key)
        if not found or (found != PRESENT and _inner(found) != self.written):
            return None
        return module_path(reader, self.path, self.written)


def import_of(reader: Reader, path: str, other: str) -> Import | None:
    """Return the statement by which a module imports another; None for none."""
    facets = reader.modules.get(path, {})
    ways = [(f"import:{written}", written) for written in facets.get("imports", ())]
    names = sorted(key for key in facets if key.startswith("name:"))
    ways += [(key, inner) for key in names if (inner := _inner(facets[key]))]
    found = (Import(path, key, written) for key, written in ways)
    return next((one for one in found if one.holds(reader) == other), None)


def _inner(binding: Facet) -> str:
    """Return the module that `from x import y` would import; empty for any other binding."""
    match binding:
        case ("from", written, name):
            return f"{written}{name}" if written[-1:] == "." else f"{written}.{name}"
    return ""


def _is_named(node: str, concept: str) -> bool:
    """Return whether a node has a concept that the name of its file does not tell."""
    return concept != concept_of(basename(path_of(node)).removesuffix(".py"))


def _module(path: str) -> str:
    return node_id("module", path)
