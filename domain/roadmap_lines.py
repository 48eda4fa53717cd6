"""What does each line of a roadmap say, as read off the facets of modules?

Every fact and name on a line is read through the reader, which records its digest. A line begins
with a word on what it lists, and lists it in parts, the most worthwhile first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from posixpath import basename, dirname
from typing import NamedTuple

from backcast.domain.context_map import MORE, plain
from backcast.domain.layout import Layout, import_of
from backcast.domain.links import concept_of, concepts_in
from backcast.domain.names import resolve
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.reader import Reader

PURPOSE = 140
"Characters of the purpose."
SENTENCE = 70
"Characters of a sentence about a module."
NAMES = 50
"Characters of the names of a module's contents."
NAME = 60
"Characters of a name or a path."
CENTRAL = 4
"Modules with a line of their own."
LISTED = 3
"The most parts of a line."
WORDS = 4
"The least words of a purpose; a shorter paragraph is a title or a logo."


class LinePart(NamedTuple):
    """A piece of a line, which is shown whole or not at all; of at most 200 characters."""

    text: str
    nodes: tuple[str, ...]


Writer = Callable[[Layout, Reader], tuple[str, Iterable[LinePart]]]
"Returns the beginning of a line, and the parts that follow."


def purpose(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """Return the README's first paragraph, or else that of the outermost package."""
    docs = {path: _doc(reader, path, "") for path in layout.introductions}
    path = chosen(docs)
    parts = [LinePart(plain(docs[path], PURPOSE), (node_id("module", path),))] if path else []
    return "Purpose: ", parts


def chosen(texts: Mapping[str, str]) -> str | None:
    """Return the name of the text that is most likely a purpose; None for none.

    It is the first whole sentence, else the first text of some words: a README may begin with a
    logo, or with links to itself in other languages.
    """
    texts = {name: text.strip() for name, text in texts.items() if len(text.split()) >= WORDS}
    whole = (name for name, text in texts.items() if text.endswith((".", "!", ":")))
    return next(whole, None) or next(iter(texts), None)


def central(path: str) -> Writer:
    """Return a writer of a module's purpose and contents."""

    def write(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
        if not reader.exists(path):
            return "", ()
        shown = _existing(reader, _short(layout.public(path)[:LISTED]))
        says = [sentence(reader, path), *(sentence(reader, path, name_of(n)) for n in shown[:1])]
        names = ", ".join(_name(name_of(node)) for node in shown)
        text = f"{_path(path)}: {next(filter(None, says), '')}".rstrip(": ")
        text += f" ({names})" if names else ""
        return "", [LinePart(text, (node_id("module", path), *shown))]

    return write


def _short(nodes: list[str]) -> list[str]:
    """Return the first nodes whose names fit, at least one."""
    lengths = accumulate(len(name_of(node)) + 2 for node in nodes)
    return nodes[: max(1, sum(length <= NAMES for length in lengths))]


def sentence(reader: Reader, path: str, name: str = "") -> str:
    """Return the first sentence of the docstring of a module, or of something in it."""
    return plain(_doc(reader, path, name).partition(". ")[0].rstrip("."), SENTENCE)


def _existing(reader: Reader, nodes: Iterable[str]) -> list[str]:
    """Return the modules, classes, functions and tests that exist."""
    return [node for node in nodes if _is_there(reader, path_of(node), node)]


def _is_there(reader: Reader, path: str, node: str) -> bool:
    if name := name_of(node):
        return reader.facet(path, f"kind:{name}") == (kind_of(node),)
    return reader.exists(path)


def folders(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List the folders, each with the modules that matter most.

    The line does not claim that there are no others.
    """
    found = [(one, paths) for one in layout.folders if (paths := layout.telling(one))]
    return "Folders: ", _tell_folders(reader, found[:LISTED] if len(found) > 1 else [])


def _tell_folders(reader: Reader, folders: Iterable[tuple[str, list[str]]]) -> Iterator[LinePart]:
    for folder, paths in folders:
        existing = [path for path in paths[:2] if reader.exists(path)]
        if existing:
            names = ", ".join(_name(basename(path)) for path in existing)
            nodes = tuple(node_id("module", path) for path in existing)
            yield LinePart(f"{_folder(folder)}: {names}", nodes)


def imports(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List which folder's modules import from which, each proved by one import."""
    return "Imports: ", _needs(layout, reader)


def _needs(layout: Layout, reader: Reader) -> Iterator[LinePart]:
    for folder, needs in islice(layout.between().items(), LISTED):
        most = sorted(needs, key=lambda other: (-len(needs[other]), other))[:2]
        shown = {other: _shown(layout, reader, *needs[other][0]) for other in most}
        nodes = [node for pair in shown.values() for node in pair]
        names = ", ".join(_folder(other) for other in most if shown[other])
        if names:
            yield LinePart(f"{_folder(folder)} -> {names}", tuple(dict.fromkeys(nodes)))


def _shown(layout: Layout, reader: Reader, path: str, other: str) -> tuple[str, ...]:
    """Return two modules as nodes if the one imports the other."""
    found = import_of(layout.reader, path, other)
    if found is None or found.holds(reader) != other:
        return ()
    return node_id("module", path), node_id("module", other)


def programs(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List where programs begin."""
    return "Entry points: ", _begins(layout, reader)


def _begins(layout: Layout, reader: Reader) -> Iterator[LinePart]:
    for node in layout.entries()[:2]:
        path = path_of(node)
        if kind_of(node) == "module" and reader.exists(path):
            package = _name(dirname(path).replace("/", "."))
            runs = f"python -m {package} ({_path(path)})" if package else _path(path)
            yield LinePart(runs, (node,))
        elif _existing(reader, [node]):
            yield LinePart(f"main in {_path(path)}", (node,))


def tests(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List the test files of the most important modules, which they import or call."""
    folders = [dirname(path) for path in layout.tests]
    folder = max(sorted(dict.fromkeys(folders)), key=folders.count, default="")
    head = f"Tests in {_folder(folder)}: " if folder else "Tests: "
    return head, islice(_tested(layout, reader, folder), LISTED)


def _tested(layout: Layout, reader: Reader, folder: str) -> Iterator[LinePart]:
    for path in layout.central[: 3 * LISTED]:
        test = layout.test_of(path)
        if test and (nodes := _tests(layout, reader, test, path)):
            shown = test.removeprefix(f"{folder}/") if folder else test
            named = layout.is_named_after(test, path)
            yield LinePart(_path(shown) if named else f"{_path(shown)} for {_path(path)}", nodes)


def _tests(layout: Layout, reader: Reader, file: str, path: str) -> tuple[str, ...]:
    """Return a test file and a module as nodes if the one tests the other."""
    if path in layout.imports[file]:
        return _shown(layout, reader, file, path)
    shown = any(_calls(reader, test, node) for test, node in layout.pairs(file, path)[:1])
    return (node_id("module", file), node_id("module", path)) if shown else ()


def examples(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List small tests that use the classes that matter most."""
    return "Examples: ", islice(_used(layout, reader), 2)


def _used(layout: Layout, reader: Reader) -> Iterator[LinePart]:
    for path in layout.central[:CENTRAL]:
        shown = (one for node in layout.public(path)[:LISTED] for one in _use(layout, reader, node))
        yield from islice(shown, 1)


def _use(layout: Layout, reader: Reader, node: str) -> Iterator[LinePart]:
    tests = [test for test in layout.uses_of(node) if len(name_of(test)) <= NAME]
    for test in tests[:1]:
        if _existing(reader, [node, test]) == [node, test] and _calls(reader, test, node):
            place = f"{_path(path_of(test))}::{_name(name_of(test))}"
            yield LinePart(f"{_name(name_of(node))} in {place}", (node, test))


def _calls(reader: Reader, test: str, node: str) -> bool:
    path, name = path_of(test), name_of(test)
    for dotted in reader.facet(path, f"follows:{name}") or ():
        target = resolve(reader, path, dotted, name)
        if target and (target.path, target.name) == (path_of(node), name_of(node)):
            return True
    return False


def concepts(layout: Layout, reader: Reader) -> tuple[str, Iterable[LinePart]]:
    """List where to find things that documents and docstrings call by another name."""
    return "Concepts: ", islice(_spoken_of(layout, reader), 2)


def _spoken_of(layout: Layout, reader: Reader) -> Iterator[LinePart]:
    for concept, nodes in layout.concepts():
        node = nodes[0]
        if _existing(reader, [node]) and _names_concept(layout, reader, concept, node):
            yield LinePart(f"{_name(concept.partition(':')[2])} -> {_place(node)}", (node,))


def _names_concept(layout: Layout, reader: Reader, concept: str, node: str) -> bool:
    """Return whether an existing heading, or the node's docstring, names the concept."""
    for path in layout.headed(concept)[:1]:
        headings = sorted(layout.modules.get(path, {}).get("heading", ()))
        found = [one for one in headings if concept_of(one) == concept][:1]
        if any(reader.facet(path, f"heading:{one}") for one in found):
            return True
    return concept in concepts_in(_doc(reader, path_of(node), name_of(node)))


def _doc(reader: Reader, path: str, name: str) -> str:
    return " ".join(reader.facet(path, f"doc:{name}" if name else "doc") or ())


def _place(node: str) -> str:
    name, path = _name(name_of(node)), _path(path_of(node))
    return f"{name} in {path}" if name else path


def _name(text: str) -> str:
    return plain(text, NAME)


def _path(path: str) -> str:
    """Return a path, a long one shortened to its last folders."""
    folders = path.split("/")
    while len(folders) > 1 and len(path) > NAME:
        folders = folders[1:]
        path = "/".join([MORE, *folders])
    return _name(path)


def _folder(folder: str) -> str:
    return _path(folder) if folder else "the top"
