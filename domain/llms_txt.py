"""A repository told at length, for people and other tools, as llmstxt.org has it.

A name, what it is for, and sections of links with a sentence each: modules by folder with their
classes and functions, tests, documents, what depends on what, and what may be skipped. Nothing
here is an entry of a map: it is written anew for each moment.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from backcast.domain.context_map import MORE, plain
from backcast.domain.graph import Graph
from backcast.domain.layout import Layout
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.outline import Facets
from backcast.domain.paths import is_aside
from backcast.domain.roadmap_lines import chosen

PURPOSE = 500
"Characters of what it is all for."
SENTENCE = 160
"Characters of what a module, a class or a function says of itself."
SIGNATURE = 160
NAME = 200
MODULES = 500
"Lines of a section at most; what is left out is told."
HELD = 8
"Classes and functions of a module."
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"What stands for itself in a link."


def llms_txt(
    name: str,
    modules: Mapping[str, Facets],
    graph: Graph,
    rank: Mapping[str, float],
    masked: Callable[[str], str] = str,
) -> str:
    """The text, whole lines of Markdown; all that is of unknown origin is made safe.

    `rank` tells by node how much it matters. `masked` takes what is secret out of each text.
    """
    return _Long(Layout(modules, graph, rank), masked).text(name)


class _Long:
    """Writes the sections; each text passes through `masked` before it is cut."""

    def __init__(self, layout: Layout, masked: Callable[[str], str]) -> None:
        self.layout, self.masked = layout, masked

    def text(self, name: str) -> str:
        """All sections that have a line."""
        parts = [f"# {self.told(name, NAME) or 'No name'}"]
        if purpose := self.purpose():
            parts.append(f"> {purpose}")
        for title, lines in self.sections():
            shown = list(_bounded(lines))
            if shown:
                parts.append("\n".join([f"## {self.told(title, NAME)}", "", *shown]))
        return "\n\n".join(parts) + "\n"

    def told(self, text: str, most: int) -> str:
        """A text as it may stand in Markdown: no link, no image and no tag is made of it."""
        safe = plain(self.masked(text), most)
        return "".join(f"\\{one}" if one in "\\[]<`" else one for one in safe)

    def link(self, path: str) -> str:
        """A link to a module."""
        return f"[{self.told(path, NAME)}]({_quoted(self.masked(path))})"

    def purpose(self) -> str:
        """What the README says first, or else the outermost package."""
        told = {path: self.said(path) for path in self.layout.introductions}
        path = chosen(told)
        return self.told(told[path], PURPOSE) if path else ""

    def said(self, path: str, name: str = "") -> str:
        """The first paragraph of what something says of itself."""
        facets = self.layout.modules.get(path, {})
        return " ".join(facets.get(f"doc:{name}" if name else "doc", ()))

    def sentence(self, path: str, name: str = "") -> str:
        """The first sentence of it."""
        return self.told(self.said(path, name).partition(". ")[0].rstrip("."), SENTENCE)

    def sections(self) -> Iterator[tuple[str, Iterable[str]]]:
        """The title and the lines of each section."""
        aside: list[str] = []
        for folder, paths in self.layout.folders.items():
            if is_aside(paths[0]):
                aside += paths
            else:
                lines = (line for path in paths for line in self.module(path))
                yield f"Modules in {folder}" if folder else "Modules at the top", lines
        yield "Entry points", map(self.entry, self.layout.entries())
        yield "Tests", map(self.test, self.layout.tests)
        yield "Dependencies", self.dependencies()
        documents = [path for path in self.layout.paths if path.endswith((".md", ".markdown"))]
        yield "Documents", (self.line(path) for path in documents)
        yield "Optional", (self.line(path) for path in aside)

    def line(self, path: str, more: str = "") -> str:
        """A link and what it leads to."""
        told = more or self.sentence(path)
        return f"- {self.link(path)}: {told}" if told else f"- {self.link(path)}"

    def module(self, path: str) -> Iterator[str]:
        """A module, and below it the classes and functions of it that matter most."""
        yield self.line(path)
        for node in self.layout.public(path)[:HELD]:
            name = name_of(node)
            _, signature, *_ = (*self.layout.modules[path].get(f"sig:{name}", ()), "", "")
            shown = f"class {name}" if kind_of(node) == "class" else f"{name}{signature}"
            code = plain(self.masked(shown), SIGNATURE).replace("`", "'")
            doc = self.sentence(path, name)
            yield f"  - `{code}`: {doc}" if doc else f"  - `{code}`"

    def entry(self, node: str) -> str:
        """Where a program begins."""
        return self.line(path_of(node), f"`{name_of(node)}`" if name_of(node) else "")

    def test(self, path: str) -> str:
        """A test file, and what it tests most."""
        counts = self.layout.tested.get(path, {})
        own = [one for one in counts if one != path and one in self.layout.modules]
        most = sorted(own, key=lambda one: (-counts[one], one))[:3]
        return self.line(path, "tests " + ", ".join(map(self.link, most)) if most else "")

    def dependencies(self) -> Iterator[str]:
        """Which folder imports from which, and the libraries of others that are used."""
        for folder, needs in self.layout.between().items():
            names = ", ".join(self.told(other or "the top", NAME) for other in sorted(needs))
            yield f"- {self.told(folder or 'the top', NAME)} needs {names}"
        libraries = self.layout.graph.libraries
        others = [one.partition(":")[2] for one in libraries if libraries[one] == "third-party"]
        if others:
            yield "- libraries: " + ", ".join(self.told(one, NAME) for one in sorted(others)[:100])


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == MODULES:
            yield f"- {MORE}"
            return
        yield line


def _quoted(path: str) -> str:
    """A path as a link has it."""
    encoded = path.encode(errors="replace")
    return "".join(chr(one) if chr(one) in _PLAIN else f"%{one:02X}" for one in encoded)
