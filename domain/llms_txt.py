"""A long description of a repository for people and other tools, in the form of llmstxt.org.

It has a name, a purpose, and sections of links with a sentence each: modules by folder with their
classes and functions, tests, documents, dependencies, and optional parts. Nothing here is an entry
of a map: the text is written anew for each moment.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from backcast.domain.context_map import MORE, plain
from backcast.domain.graph import Graph
from backcast.domain.layout import Layout
from backcast.domain.node import kind_of, name_of, path_of, plain_name
from backcast.domain.outline import Facets
from backcast.domain.paths import is_aside
from backcast.domain.roadmap_lines import chosen

PURPOSE = 500
"Characters of the purpose."
SENTENCE = 160
"Characters of a sentence about a module, a class or a function."
SIGNATURE = 160
NAME = 200
MODULES = 500
"The most lines of a section; a mark stands for the rest."
HELD = 8
"Classes and functions listed per module."
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"Characters that a link need not encode."


def llms_txt(
    name: str,
    modules: Mapping[str, Facets],
    graph: Graph,
    rank: Mapping[str, float],
    masked: Callable[[str], str] = str,
) -> str:
    """Return the whole text in Markdown; texts of unknown origin are made safe.

    `rank` tells by node how much it matters. `masked` removes secrets from a text.
    """
    return _Long(Layout(modules, graph, rank), masked).text(name)


class _Long:
    """The writer of the sections; each text passes through `masked` before it is cut."""

    def __init__(self, layout: Layout, masked: Callable[[str], str]) -> None:
        self.layout, self.masked = layout, masked

    def text(self, name: str) -> str:
        """Return all sections that have a line."""
        parts = [f"# {self.safe(name, NAME) or 'No name'}"]
        if purpose := self.purpose():
            parts.append(f"> {purpose}")
        for title, lines in self.sections():
            shown = list(_bounded(lines))
            if shown:
                parts.append("\n".join([f"## {self.safe(title, NAME)}", "", *shown]))
        return "\n\n".join(parts) + "\n"

    def safe(self, text: str, most: int) -> str:
        """Return a text that is safe in Markdown: it makes no link, image or tag."""
        shown = plain(self.masked(text), most)
        return "".join(f"\\{one}" if one in "\\[]<`" else one for one in shown)

    def link(self, path: str) -> str:
        """Return a link to a module."""
        return f"[{self.safe(path, NAME)}]({_quoted(self.masked(path))})"

    def purpose(self) -> str:
        """Return the first paragraph of the README, or else of the outermost package."""
        docs = {path: self.doc(path) for path in self.layout.introductions}
        path = chosen(docs)
        return self.safe(docs[path], PURPOSE) if path else ""

    def doc(self, path: str, name: str = "") -> str:
        """Return the first paragraph of a docstring, or of a document."""
        facets = self.layout.modules.get(path, {})
        return " ".join(facets.get(f"doc:{name}" if name else "doc", ()))

    def sentence(self, path: str, name: str = "") -> str:
        """Return the first sentence of that paragraph."""
        return self.safe(self.doc(path, name).partition(". ")[0].rstrip("."), SENTENCE)

    def sections(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield the title and the lines of each section."""
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
        """Return a link with a description."""
        description = more or self.sentence(path)
        return f"- {self.link(path)}: {description}" if description else f"- {self.link(path)}"

    def module(self, path: str) -> Iterator[str]:
        """Yield a module's line, and lines for its classes and functions that matter most."""
        yield self.line(path)
        for node in self.layout.public(path)[:HELD]:
            name = name_of(node)
            _, signature, *_ = (*self.layout.modules[path].get(f"sig:{name}", ()), "", "")
            written = plain_name(name)
            shown = f"class {written}" if kind_of(node) == "class" else f"{written}{signature}"
            code = plain(self.masked(shown), SIGNATURE).replace("`", "'")
            doc = self.sentence(path, name)
            yield f"  - `{code}`: {doc}" if doc else f"  - `{code}`"

    def entry(self, node: str) -> str:
        """Return the line of an entry point."""
        return self.line(path_of(node), f"`{name_of(node)}`" if name_of(node) else "")

    def test(self, path: str) -> str:
        """Return the line of a test file, with the modules that it tests most."""
        counts = self.layout.tested.get(path, {})
        own = [one for one in counts if one != path and one in self.layout.modules]
        most = sorted(own, key=lambda other: (-counts[other], other))[:3]
        return self.line(path, "tests " + ", ".join(map(self.link, most)) if most else "")

    def dependencies(self) -> Iterator[str]:
        """Yield which folder imports from which, and the third-party libraries."""
        for folder, needs in self.layout.between().items():
            names = ", ".join(self.safe(other or "the top", NAME) for other in sorted(needs))
            yield f"- {self.safe(folder or 'the top', NAME)} needs {names}"
        libraries = self.layout.graph.libraries
        others = [one.partition(":")[2] for one in libraries if libraries[one] == "third-party"]
        if others:
            yield "- libraries: " + ", ".join(self.safe(one, NAME) for one in sorted(others)[:100])


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == MODULES:
            yield f"- {MORE}"
            return
        yield line


def _quoted(path: str) -> str:
    """Return a path as a link encodes it."""
    encoded = path.encode(errors="replace")
    return "".join(chr(one) if chr(one) in _PLAIN else f"%{one:02X}" for one in encoded)
