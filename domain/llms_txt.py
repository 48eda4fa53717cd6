"""A long description of a repository for people and other tools, in the form of llmstxt.org.

It has a name, a purpose, and sections: overview, key concepts, architecture, usage examples, how
the project writes its code, entry points, libraries; then links with a sentence each: modules by
folder with their classes and functions, tests, documents, and optional parts. Nothing here is an
entry of a map: the text is written anew for each moment, and everything that it names is there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from posixpath import basename
from typing import NamedTuple

from backcast.domain.architecture import FolderPart, architecture
from backcast.domain.context_map import MORE, plain
from backcast.domain.documents import STRUCTURED, headings, prose, unmarked
from backcast.domain.graph import Graph
from backcast.domain.key_terms import KeyTerm, counted, key_terms
from backcast.domain.layout import Layout
from backcast.domain.node import kind_of, name_of, path_of, plain_name
from backcast.domain.outline import Facets, Lines
from backcast.domain.paths import is_aside, is_hidden
from backcast.domain.project_file import NAME as PROJECT
from backcast.domain.project_file import Text, project_file
from backcast.domain.project_patterns import project_patterns
from backcast.domain.roadmap_lines import chosen
from backcast.domain.usage_examples import (
    UsageExample,
    readmes,
    tested_examples,
    written_examples,
)

PURPOSE = 500
"Characters of the purpose."
SENTENCE = 160
"Characters of a sentence about a module, a class or a function."
SIGNATURE = 160
NAME = 200
MODULES = 500
"The most lines of a section; a mark stands for the rest."
MOST = 60_000
"Characters of the whole text from which on no line of a list is added."
FOLDERS = 40
HELD = 8
"Classes and functions listed per module."
ALSO = 3
"Further places of a concept that are named."
LINKS = 4
"Folders that are named as imported by one."
_STOP = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bcf)\. ")
_CODE = re.compile(r"^[\w.]+ = \S|^>>> ")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"Characters that a link need not encode."


class StoredTexts(NamedTuple):
    """What is stored of a repository beside its outlines, as of a moment."""

    paths: tuple[str, ...] = ()
    "Every file, whether it has an outline or not; sorted."
    text: Text = lambda path: None
    lines: Callable[[str], Lines] = lambda path: {}
    "Gives the first and last line of each function and class of a module."


NOTHING = StoredTexts()


def llms_txt(
    name: str,
    modules: Mapping[str, Facets],
    graph: Graph,
    rank: Mapping[str, float],
    masked: Callable[[str], str] = str,
    stored: StoredTexts = NOTHING,
) -> str:
    """Return the whole text in Markdown; texts of unknown origin are made safe.

    `rank` tells by node how much it matters. `masked` removes secrets from a text.
    """
    return _Long(Layout(modules, graph, rank), masked, stored).text(name)


class _Long:
    """The writer of the sections; each text passes through `masked` before it is cut."""

    def __init__(self, layout: Layout, masked: Callable[[str], str], stored: StoredTexts) -> None:
        self.layout, self.masked, self.stored = layout, masked, stored
        self.project = project_file(stored.paths, stored.text)
        rst = (path for path in stored.paths if path.endswith(STRUCTURED))
        spoken = (line for path in rst for line in headings(stored.text(path) or ""))
        self.terms = key_terms(layout, spoken)

    def text(self, name: str) -> str:
        """Return all sections that have a line."""
        parts = [f"# {self.safe(name, NAME) or 'No name'}"]
        if purpose := self.purpose():
            parts.append(f"> {purpose}")
        room = MOST
        for title, lines in self.sections():
            shown = list(_bounded(lines, room))
            if shown:
                parts.append("\n".join([f"## {self.safe(title, NAME)}", "", *shown]))
                room -= sum(map(len, shown))
        return "\n\n".join(parts) + "\n"

    def safe(self, text: str, most: int) -> str:
        """Return a text that is safe in Markdown: it makes no link, image or tag."""
        shown = plain(self.masked(text), most)
        return "".join(f"\\{one}" if one in "\\[]<`" else one for one in shown)

    def code(self, text: str, most: int = SIGNATURE) -> str:
        """Return a text as code within a line."""
        shown = plain(self.masked(text), most).replace("`", "'")
        return f"`{shown}`"

    def link(self, path: str, shown: str = "", part: str = "") -> str:
        """Return a link to a module, or to lines of it."""
        return f"[{self.safe(shown or path, NAME)}]({_quoted(self.masked(path))}{part})"

    def place(self, node: str) -> str:
        """Return a link to the lines of a class or function."""
        path, name = path_of(node), name_of(node)
        first, last = self.stored.lines(path).get(name, (0, 0))
        part = f"#L{first}-L{last}" if last else ""
        return self.link(path, f"{path}{part}", part)

    def purpose(self) -> str:
        """Return the first paragraph of the README, or else of the outermost package."""
        docs = {path: self.doc(path) for path in self.layout.introductions}
        for path in readmes(self.stored.paths):
            if path.endswith(STRUCTURED):
                docs = {path: prose(self.stored.text(path) or ""), **docs}
        docs[PROJECT] = self.project.description
        found = chosen(docs)
        return self.safe(docs[found], PURPOSE) if found else ""

    def doc(self, path: str, name: str = "") -> str:
        """Return the first paragraph of a docstring, or of a document."""
        facets = self.layout.modules.get(path, {})
        return " ".join(facets.get(f"doc:{name}" if name else "doc", ()))

    def sentence(self, path: str, name: str = "") -> str:
        """Return the first sentence of that paragraph."""
        first, *_ = _STOP.split(unmarked(self.doc(path, name)), maxsplit=1)
        return self.safe(first.rstrip("."), SENTENCE)

    def sections(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield the title and the lines of each section."""
        parts = architecture(self.layout)
        yield "Overview", self.overview(parts)
        yield "Key concepts", self.concepts()
        yield "Architecture", self.folders(parts)
        yield "Usage examples", self.examples()
        patterns = project_patterns(self.layout.modules)
        yield "How the code is written", (f"- {self.safe(one.said(), 400)}" for one in patterns)
        yield "Entry points", self.entries()
        yield "Libraries", self.libraries()
        aside: list[str] = []
        for folder, paths in self.layout.folders.items():
            if is_aside(paths[0]):
                aside += paths
            else:
                lines = (line for path in paths for line in self.module(path))
                yield f"Modules in {folder}" if folder else "Modules at the top", lines
        yield "Tests", map(self.test, self.layout.tests)
        documents = [path for path in self.layout.paths if path.endswith((".md", ".markdown"))]
        yield "Documents", (self.line(path) for path in documents)
        yield "Optional", (self.line(path) for path in aside)

    def overview(self, parts: Iterable[FolderPart]) -> Iterator[str]:
        """Yield what the project says of itself, and how much there is."""
        project, counts = self.project, Counter[str]()
        for part in parts:
            counts[part.kind] += part.modules
            counts["test"] += part.tests
        version = f"version {project.version}" if project.version else ""
        python = f"Python {project.python}" if project.python else ""
        said = ", ".join(filter(None, [project.name, version, python]))
        if said:
            yield f"- {self.link(PROJECT)}: {self.safe(said, NAME)}"
        if project.fault:
            yield f"- {self.safe(project.fault, NAME)}"
        kinds = {"code": "of code", "tests": "of tests", "aside": "beside the code"}
        sizes = [f"{counts[kind]} {words}" for kind, words in kinds.items() if counts[kind]]
        if sizes:
            tests = f"; {_number(counts['test'], 'test')}" if counts["test"] else ""
            yield f"- modules of Python: {', '.join(sizes)}{tests}"
        documents = [one for one in self.stored.paths if one.endswith((".md", ".rst"))]
        if documents:
            yield f"- documents: {len(documents)}"
        files = self.stored.paths or self.layout.paths
        found = readmes(files)
        for path in found if self.stored.paths else ():
            if self.stored.text(path) is None:
                yield f"- {self.link(path)}: its text is not stored, or is no text"
        if files and not found:
            yield "- there is no README at this moment"

    def concepts(self) -> Iterator[str]:
        """Yield the terms that the project speaks of most, and the numbered standards."""
        for term in self.terms:
            yield from self.concept(term)
        for concept, nodes in self.layout.concepts():
            if concept.partition(":")[2].startswith(("rfc-", "pep-", "iso-", "ieee-", "ecma-")):
                title = concept.partition(":")[2].replace("-", " ").upper()
                yield f"- {title}: {', '.join(self.place(one) for one in nodes[:ALSO])}"

    def concept(self, term: KeyTerm) -> Iterator[str]:
        """Yield a term: what it stands for, where, and how much is spoken of it."""
        main, *others = term.nodes
        # Of one kind: what a function does is not what the class of its name is.
        alike = (node for node in term.nodes if kind_of(node) == kind_of(main))
        docs = (self.sentence(path_of(node), name_of(node)) for node in alike)
        doc = next((doc for doc in docs if doc and not _CODE.match(doc)), "")
        doc = doc or self.code(self.called(main))
        yield f"- **{self.safe(term.name, NAME)}**: {doc}"
        also = ", ".join(
            f"{kind_of(other)} {self.code(plain_name(name_of(other)))} in {self.place(other)}"
            for other in others[:ALSO]
        )
        also = f"; also {also}" if also else ""
        yield f"  - {kind_of(main)} in {self.place(main)}{also} ({counted(term)})"

    def called(self, node: str) -> str:
        """Return how a class or function is called, as its signature tells."""
        facets, name = self.layout.modules.get(path_of(node), {}), name_of(node)
        own = name if kind_of(node) == "function" else f"{name}.__init__"
        if kind_of(node) == "class" and f"sig:{own}" not in facets:
            bases = ", ".join(facets.get(f"bases:{name}", ()))
            return f"class {plain_name(name)}{f'({bases})' if bases else ''}"
        _, signature, *_ = (*facets.get(f"sig:{own}", ()), "", "")
        return plain_name(name) + signature.replace("(self, ", "(").replace("(self)", "()")

    def folders(self, parts: list[FolderPart]) -> Iterator[str]:
        """Yield the folders, what each holds, and what it imports."""
        parts = [part for part in parts if not part.is_bare]
        code = {part.folder for part in parts if part.kind == "code"}
        for part in parts[:FOLDERS]:
            doc = self.sentence(f"{part.folder}/__init__.py") if part.folder else ""
            what = {"code": "", "tests": "tests", "aside": "beside the code"}[part.kind]
            what += " within it: " if part.kind == "tests" and part.folder in code else ""
            what += ": " if what and not what.endswith(" ") else ""
            held = {"module": part.modules, "class": part.classes, "function": part.functions,
                    "test": part.tests}  # fmt: skip
            sizes = ", ".join(_number(count, word) for word, count in held.items() if count)
            yield (f"- {self.folder(part.folder)}: {what}{sizes}{f'. {doc}' if doc else ''}")
            if part.imports:
                counts = (f"{self.folder(to)} {count}x" for to, count in part.imports[:LINKS])
                rest = len(part.imports) - LINKS
                more = f" and {_number(rest, 'other')}" if rest > 0 else ""
                yield f"  - imports from {', '.join(counts)}{more}"
            if len(part.needed) > 1:
                most = (f"{self.safe(name, NAME)} ({count})" for name, count in part.needed[:4])
                yield f"  - imported by most modules: {', '.join(most)}"
        if len(parts) > FOLDERS:
            yield f"- {len(parts) - FOLDERS} more folders"

    def folder(self, folder: str) -> str:
        """Return the name of a folder as code."""
        return self.code(f"{folder}/") if folder else "the top"

    def examples(self) -> Iterator[str]:
        """Yield blocks of code as they stand in documents and tests."""
        stored = self.stored
        yield from self.quoted(written_examples(stored.paths, stored.text))
        tests = tested_examples(self.layout, self.terms, stored.text, stored.lines)
        yield from self.quoted(tests)

    def quoted(self, examples: Iterable[UsageExample]) -> Iterator[str]:
        """Yield examples, each under a link to its lines."""
        for shown in examples:
            part = f"#L{shown.first}-L{shown.last}"
            of = f"{self.safe(shown.of, NAME)} in a test: " if shown.of else ""
            code = self.masked(shown.text)
            where = self.link(shown.path, shown.path + part, part)
            yield f"{of}{where}\n\n```{shown.language}\n{code}\n```\n"

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
            doc = self.sentence(path, name)
            yield f"  - {self.code(shown)}: {doc}" if doc else f"  - {self.code(shown)}"

    def entry(self, node: str) -> str:
        """Return the line of an entry point."""
        return self.line(path_of(node), f"`{name_of(node)}`" if name_of(node) else "")

    def test(self, path: str) -> str:
        """Return the line of a test file, with the modules that it tests most."""
        counts = self.layout.tested.get(path, {})
        own = [one for one in counts if one != path and one in self.layout.modules]
        most = sorted(own, key=lambda other: (-counts[other], other))[:3]
        return self.line(path, "tests " + ", ".join(map(self.link, most)) if most else "")

    def entries(self) -> Iterator[str]:
        """Yield where programs begin."""
        for name, called in self.project.scripts:
            yield f"- command {self.code(name)} calls {self.code(called)}"
        shown = (node for node in self.layout.entries() if not is_hidden(path_of(node)))
        yield from map(self.entry, shown)

    def libraries(self) -> Iterator[str]:
        """Yield the third-party libraries, those that most modules import first."""
        graph, users = self.layout.graph, Counter[str]()
        for path in self.layout.paths:
            edges = graph.out.get(f"module:{path}", ())
            users.update({one.target for one in edges if one.kind == "imports"})
        own = {basename(path).removesuffix(".py") for path in self.layout.paths}
        others = [
            node
            for node, origin in graph.libraries.items()
            if origin == "third-party" and node.partition(":")[2] not in own
        ]
        for node in sorted(others, key=lambda node: (-users[node], node))[:100]:
            name = node.partition(":")[2]
            version = self.project.version_of(name)
            required = "" if version is None else f", required {version or 'in any version'}"
            counts = _number(users[node], "module") or "no module"
            yield f"- {self.safe(name, NAME)}: imported by {counts}{self.safe(required, NAME)}"


def _number(count: int, word: str) -> str:
    """Return a count with its word."""
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count} {word if count == 1 else plural}" if count else ""


def _bounded(lines: Iterable[str], room: int) -> Iterator[str]:
    """Yield lines within some characters, and no more than a section has."""
    for number, line in enumerate(lines):
        if number == MODULES or room <= 0:
            yield f"- {MORE}"
            return
        room -= len(line)
        yield line


def _quoted(path: str) -> str:
    """Return a path as a link encodes it."""
    encoded = path.encode(errors="replace")
    return "".join(chr(one) if chr(one) in _PLAIN else f"%{one:02X}" for one in encoded)
