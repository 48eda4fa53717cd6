"""Which words does a project use as terms of its own, and which code do they stand for?

A term is the name of a public class or function of the code. It counts in how many files the code
behind it is used, in how many docstrings of other things it is named, in how many headings of
documents, and in how many names of other classes. What is spoken of in one of these ways only is
no term: helpers are used, and common words are written, but seldom both.
"""

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log1p
from typing import NamedTuple

from backcast.domain.layout import Layout
from backcast.domain.node import kind_of, name_of, path_of, plain_name
from backcast.domain.outline import names_in
from backcast.domain.paths import is_hidden, is_own

MOST = 20
"Terms that are told."
FEW = 2
"Files with functions of one name; those of more files are not one thing."
BUILTINS = frozenset([*(name for name in dir(builtins) if name.islower()), *keyword.kwlist])
"Words that stand in names and headings as words of the language."
LONGEST = 60
"Characters of a term's name."
USES = ("calls", "inherits", "references", "uses_attribute", "tests")
WEIGHTS = (1.0, 1.0, 1.5, 1.0)
"Of the four counts, in their order; a heading is written on purpose."
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORD = re.compile(r"[A-Za-z_]\w*")
_ENDS = (". ", ": ", "! ", "? ")
_MARKED = re.compile(r"`+~?(?:\w+\.)*(\w+)(?:\(\))?`+|(?<![\w.])(\w+)\(")
"A name in backquotes, or one that is called."


class KeyTerm(NamedTuple):
    """A term of the project, and the code that it stands for."""

    name: str
    nodes: tuple[str, ...]
    "Classes first, then functions, the most worth knowing first."
    files: int
    "Files that use one of them, but those that hold them."
    docstrings: int
    names: int
    "Classes whose names hold the term."
    headings: int

    @property
    def worth(self) -> float:
        """How much the project speaks of it; rounded for comparison."""
        counts = (self.files, self.docstrings, self.headings, self.names)
        parts = (weight * log1p(count) for weight, count in zip(WEIGHTS, counts, strict=True))
        return round(sum(parts), 6)


def key_terms(layout: Layout, headings: Iterable[str] = (), most: int = MOST) -> list[KeyTerm]:
    """Return the terms of a project, those that it speaks of most first.

    `headings` are those of documents that have no outline.
    """
    spoken = _Spoken(layout, headings)
    found = [_term(layout, spoken, phrase, nodes) for phrase, nodes in _held(layout).items()]
    terms = [one for one in found if one.files and one.docstrings + one.names + one.headings]
    terms = [one for one in terms if not _is_common(one)]
    return sorted(terms, key=lambda term: (-term.worth, term.name))[:most]


def _is_common(term: KeyTerm) -> bool:
    """Return whether a term is the name of functions that are not one thing."""
    homes = {path_of(node) for node in term.nodes}
    functions = all(kind_of(node) == "function" for node in term.nodes)
    return functions and len(homes) > FEW


def _held(layout: Layout) -> dict[str, list[str]]:
    """Return the public classes and functions of the code, by the words of their names."""
    found: dict[str, list[str]] = {}
    for path in filter(is_own, layout.code):
        for node in layout.holds(path):
            name = plain_name(name_of(node))
            if name.startswith("_") or name in BUILTINS or len(name) > LONGEST:
                continue
            if words := _words(name):
                found.setdefault(" ".join(words), []).append(node)
    return found


class _Spoken:
    """How often the words of names stand in docstrings, headings and names of classes."""

    def __init__(self, layout: Layout, headings: Iterable[str]) -> None:
        self.docs, self.marked = Counter[str](), Counter[str]()
        self.headings, self.whole = Counter[str](), Counter[str]()
        self.classes = Counter[str]()
        for path in layout.paths:
            facets = layout.modules[path] if not is_hidden(path) else {}
            for name in ("", *names_in(facets)):
                text = " ".join(facets.get(f"doc:{name}" if name else "doc", ()))
                own = plain_name(name.rpartition(".")[2])
                self.docs.update({*_inside(text)} - {own})
                self.marked.update({a or b for a, b in _MARKED.findall(text)} - {own})
            self._head(facets.get("heading", ()))
        self._head(headings)
        for path in filter(is_own, layout.code):
            for node in layout.held(f"module:{path}"):
                if kind_of(node) == "class":
                    words = _words(plain_name(name_of(node)))
                    self.classes.update({*_phrases(words)} - BUILTINS)

    def _head(self, headings: Iterable[str]) -> None:
        for heading in headings:
            words = [_singular(word.lower()) for word in _WORD.findall(heading)]
            self.headings.update({*_phrases(words)} - BUILTINS)
            self.whole[" ".join(words)] += 1


def _term(layout: Layout, spoken: _Spoken, phrase: str, nodes: Sequence[str]) -> KeyTerm:
    order = sorted(
        layout.first(nodes), key=lambda node: (kind_of(node) != "class", name_of(node).islower())
    )
    names = list(dict.fromkeys(plain_name(name_of(node)) for node in order))
    homes = {path_of(node) for node in nodes}
    edges = (edge for node in nodes for edge in layout.graph.into.get(node, ()))
    files = {path_of(edge.source) for edge in edges if edge.kind in USES} - homes
    # A word in small letters is a word like any other, unless it is marked as a name.
    plain = all(map(_is_plain, names))
    docs = sum((spoken.marked if _is_plain(one) else spoken.docs)[one] for one in names)
    headings = (spoken.whole if plain else spoken.headings)[phrase]
    classes = sum(kind_of(node) == "class" for node in nodes)
    others = 0 if plain else max(0, spoken.classes[phrase] - classes)
    count = sum(not is_hidden(path) for path in files)
    return KeyTerm(names[0], tuple(order), count, docs, others, headings)


def _inside(text: str) -> Iterator[str]:
    """Yield the words of a text but those that begin a sentence: `Apply` is mostly a verb there."""
    for match in _WORD.finditer(text):
        if match.start() and text[match.start() - 2 : match.start()] not in _ENDS:
            yield match[0]


def _is_plain(name: str) -> bool:
    return name.islower() and "_" not in name.strip("_")


def _words(name: str) -> list[str]:
    return [_singular(word.lower()) for word in _PIECE.findall(name)]


def _singular(word: str) -> str:
    """Return a word without the s of a plural.

    >>> _singular("headers"), _singular("class"), _singular("status")
    ('header', 'class', 'status')
    """
    ends = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if ends else word


def _phrases(words: Sequence[str], longest: int = 3) -> Iterator[str]:
    for size in range(1, longest + 1):
        for first in range(len(words) - size + 1):
            yield " ".join(words[first : first + size])


def counted(term: KeyTerm) -> str:
    """Return in words how often a project speaks of a term.

    >>> counted(KeyTerm("Cart", (), 3, 1, 0, 2))
    'used in 3 files, named in 1 docstring and 2 headings'
    """
    said = [_number(term.docstrings, "docstring"), _number(term.headings, "heading"),
            _number(term.names, "name of a class", "names of classes")]  # fmt: skip
    return f"used in {_number(term.files, 'file')}, named in {_joined(filter(None, said))}"


def _number(count: int, word: str, plural: str = "") -> str:
    return f"{count} {word if count == 1 else plural or f'{word}s'}" if count else ""


def _joined(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
