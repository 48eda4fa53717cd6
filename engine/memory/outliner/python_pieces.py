"""Reads a Python module in pieces, so that only the pieces that changed are parsed.

A piece is one statement of a module, or of one of its classes, with the blank lines and comments in
front of it. The next version is laid over the pieces of the one before: what stands there to the
letter keeps its tree, and each stretch between is parsed on its own. That is sound since the parser
begins each of these statements at a line's start in one and the same state. Where a stretch does
not parse on its own, the whole has to be parsed.
"""

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backcast.engine.memory.outliner.python_branches import DEFINITIONS, FUNCTIONS, statements
from backcast.engine.memory.outliner.python_symbols import first_line

BLANK = re.compile(r"(?:[ \t\f]*(?:#[^\n]*)?\n)*")
"Lines that hold no statement."
GOES_ON = re.compile(r"[ \t\f\\]|(?:elif|else|except|finally)\b")
"What may go on with the statement in front of it."
REFUSED = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)
"What stands in the way of reading a text."
UNCUT = "barry_as_FLUFL"
"The one import after which the parser reads in another way."
FARTHEST = 40
"Known pieces that are looked for, where the next one is gone."
AROUND = "class _:\n"
"A line that members of a class are read behind."


class Piece:
    """Some whole lines with one statement, or with several that share a line."""

    __slots__ = (
        "at", "definitions", "end", "head", "lines", "members", "prefix", "statements", "text",
    )  # fmt: skip

    def __init__(self, text: str, statements: list[Any], at: int) -> None:
        self.text, self.statements = text, statements
        self.lines = text.count("\n")
        self.at = at
        "How many lines stand in front of it, by the line numbers of its trees."
        self.end = statements[-1].end_lineno - at if statements else 0
        "The line in it that its statements end on, from 1."
        self.head, self.prefix = "", ""
        "Of a class its lines in front of the first member, and how members are indented."
        self.members: list[Piece] = []
        "Of a class the pieces behind the head; empty where it is not divided."
        self.definitions: list[Any] = []
        "Its functions and classes that are asked for their lines, besides those of its members."

    def place(self, at: int) -> None:
        """Let so many lines stand in front of it."""
        shift, self.at = at - self.at, at
        if shift:
            for node in self.definitions:
                node.lineno += shift
                node.end_lineno += shift
                if node.decorator_list:
                    node.decorator_list[0].lineno += shift
        if self.members:
            at += self.head.count("\n")
            for member in self.members:
                member.place(at)
                at += member.lines

    def divide(self) -> None:
        """Divide a class into its members, if each of them has lines of its own."""
        node = self.statements[0]
        lines = self.text.split("\n")
        first = _first(node.body[0]) - self.at - 1
        begin = lines[first].lstrip(" \t")
        prefix = lines[first][: len(lines[first]) - len(begin)]
        decorated = getattr(node.body[0], "decorator_list", ())
        begins = begin[:1] == "@" if decorated else node.body[0].col_offset == len(prefix)
        if first and prefix and begins and not lines[first - 1].endswith("\\"):
            self.head, self.prefix = "\n".join(lines[:first]) + "\n", prefix
            self.members = cut(node.body, lines[first:], self.at + first)
            self.definitions = [node]

    def forget(self) -> None:
        """Drop the trees that its outline does not need again."""
        for node in self.statements:
            if node.__class__ in FUNCTIONS and hasattr(node, "part"):
                kept: Any = node
                kept.body, kept.args, kept.returns = [], None, None


class Pieces:
    """The pieces of the latest version of a module."""

    def __init__(self) -> None:
        self.known: list[Piece] = []
        self.fresh: list[Piece] = []
        "Those that were parsed for this version."
        self.names: Any = None
        "What was made of the statements that bind the module's names."

    def body(self, text: str) -> list[Any] | None:
        """Return the statements of the next version; None where it is to be parsed as a whole."""
        known, self.known, self.fresh = self.known, [], []
        text = _ended(text)
        if not known or UNCUT in text or "\0" in text:
            return None
        found = _laid(known, text, 0, "", self._read)
        if found is None:
            return None
        self.known = found
        at, body = 0, list[Any]()
        for piece in found:
            piece.place(at)
            at += piece.lines
            body += piece.statements
        return body

    def take(self, tree: ast.Module, text: str) -> None:
        """Take the pieces of a module that was parsed as a whole."""
        self.fresh = []
        self.known = [] if UNCUT in text else self._cut(tree.body, _ended(text), 0)

    def drop(self) -> None:
        """Drop all pieces, so that the next text is parsed as a whole."""
        self.known = []

    def forget(self) -> None:
        """Drop the trees that no later outline needs."""
        for piece in self.fresh:
            piece.forget()
        self.fresh = []

    def _cut(self, body: list[Any], text: str, at: int) -> list[Piece]:
        found = cut(body, text.split("\n"), at)
        self.fresh += found
        for piece in found:
            if len(piece.statements) == 1 and piece.statements[0].__class__ is ast.ClassDef:
                piece.divide()
                self.fresh += piece.members
        return found

    def _read(self, text: str, before: Sequence[Piece]) -> list[Piece] | None:
        """Return the pieces of a stretch of the module in the place of others."""
        for known in before:
            if known.members and text.startswith(known.head):
                piece = self._read_class(text, known)
                if piece is not None:
                    return [piece]
                break
        tree = _tree(text)
        return None if tree is None else self._cut(tree.body, text, 0)

    def _read_class(self, text: str, before: Piece) -> Piece | None:
        """Return a class of which only members changed."""
        fresh: list[Piece] = []

        def read(text: str, before: Sequence[Piece]) -> list[Piece] | None:
            tree = _tree(AROUND + text)
            match tree.body if tree else []:
                case [ast.ClassDef(body=body)]:
                    found = cut(body, text.split("\n"), 1)
                    fresh.extend(found)
                    return found
            return None

        members = _laid(before.members, text, len(before.head), before.prefix, read)
        if not members or not members[-1].statements:
            return None
        old, last = before.statements[0], members[-1]
        node = ast.ClassDef(
            name=old.name, bases=old.bases, keywords=old.keywords,
            body=[statement for member in members for statement in member.statements],
            decorator_list=old.decorator_list,
        )  # fmt: skip
        node.lineno = old.lineno
        node.end_lineno = before.at + text.count("\n") - last.lines + last.end
        piece = Piece(text, [node], before.at)
        piece.head, piece.prefix, piece.members = before.head, before.prefix, members
        piece.definitions = [node]
        self.fresh += [*fresh, piece]
        return piece


def cut(body: Sequence[Any], lines: Sequence[str], at: int) -> list[Piece]:
    """Return the pieces of some lines; `at` is the line number of the trees in front of them."""
    pieces: list[Piece] = []
    begin, together = 0, list[Any]()
    for number, statement in enumerate(body, 1):
        together.append(statement)
        end = statement.end_lineno - at
        if number < len(body):
            if lines[end - 1].endswith("\\") or _first(body[number]) - at <= end:
                continue
        elif lines[end - 1].endswith("\\"):
            end = len(lines) - 1
        pieces.append(Piece("\n".join(lines[begin:end]) + "\n", together, at + begin))
        pieces[-1].definitions = list(_definitions(together))
        begin, together = end, []
    if begin < len(lines) - 1:
        pieces.append(Piece("\n".join(lines[begin:]), [], at + begin))
    return pieces


def _laid(
    known: Sequence[Piece],
    text: str,
    at: int,
    prefix: str,
    read: Callable[[str, Sequence[Piece]], list[Piece] | None],
) -> list[Piece] | None:
    """Return the pieces of a text from a place on; those known stay where they stand in order.

    `read` returns the pieces of a stretch that is not known, given the pieces that are gone there.
    """
    known = [piece for piece in known if piece.statements]
    found: list[Piece] = []
    done = 0
    while True:
        begun = done
        while done < len(known) and text.startswith(known[done].text, at):
            found.append(known[done])
            at += len(known[done].text)
            done += 1
        if at == len(text):
            return found
        search = done
        if done > begun and not _begins(text, at, prefix):
            done -= 1
            at -= len(found.pop().text)
        elif not _begins(text, at, prefix):
            return None
        place, later = _next(known, search, text, at)
        if place > at:
            pieces = _read(text[at:place], known[done:later], read)
            if pieces is None:
                return None
            found += pieces
        at, done = place, later


def _read(
    stretch: str,
    gone: Sequence[Piece],
    read: Callable[[str, Sequence[Piece]], list[Piece] | None],
) -> list[Piece] | None:
    return [Piece(stretch, [], 0)] if BLANK.fullmatch(stretch) else read(stretch, gone)


def _next(known: Sequence[Piece], done: int, text: str, at: int) -> tuple[int, int]:
    """Return where the next known piece stands, and which it is; the ends where there is none."""
    for number in range(done, min(done + FARTHEST, len(known))):
        place = text.find(known[number].text, at)
        while place > 0 and text[place - 1] != "\n":
            place = text.find(known[number].text, place + 1)
        if place >= 0:
            return place, number
    return len(text), len(known)


def _begins(text: str, at: int, prefix: str) -> bool:
    """Return whether a statement begins at a place, behind blank lines, or none is left."""
    blank = BLANK.match(text, at)
    at = blank.end() if blank else at
    if at == len(text):
        return True
    return text.startswith(prefix, at) and not GOES_ON.match(text, at + len(prefix))


def _first(node: Any) -> int:
    """Return the line of a statement, from its first decorator on."""
    line: int = first_line(node) if node.__class__ in DEFINITIONS else node.lineno
    return line


def _definitions(body: Sequence[Any]) -> Iterator[Any]:
    """Yield the functions and classes of a body, also inside blocks and classes."""
    for statement in statements(body):
        if statement.__class__ in DEFINITIONS:
            yield statement
            if statement.__class__ is ast.ClassDef:
                yield from _definitions(statement.body)


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _tree(text: str) -> ast.Module | None:
    """Return the tree of some statements; None where they do not parse on their own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except REFUSED:
        return None
