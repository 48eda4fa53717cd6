"""The source text of functions and classes as of a moment, whole or their own opening lines."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from difflib import unified_diff
from functools import cached_property
from typing import NamedTuple

from backcast.projections import dependency_graph

Read = Callable[[str], bytes]
_TOKEN = re.compile(
    r"""(\"{3}|'{3})(?:(?:[^\\]|\\.)*?\1)?"""
    r"""|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|\#[^\n]*|\\\n|[()\[\]{}\n]""",
    re.DOTALL,
)
"Strings, comments, joined lines, brackets and line ends: what is in the first three ends nothing."
_BINDS = re.compile(r"^([^\s:=]+)[^\S\n]*(?::[^=\n]*)?=(?!=)", re.MULTILINE)
"A line that binds a name, with or without telling its type."
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_MARK = re.compile(
    r"\s*@(property|classmethod|staticmethod|[\w.]*cached_property|[\w.]+\.setter)\s*"
)
"Decorators without which a signature would be read as something else."
KEPT = 1_024
"Texts of modules whose lines are kept."
SIGNATURES = 50_000
"Functions and classes whose signatures are kept; then all are read anew."
MOST_LINES = 12
"Of a constant that is shown with its value."


class SourcePiece(NamedTuple):
    """A function or class in its module's text."""

    text: str
    "From its decorators to its end."
    signature: str
    "Its `def` or `class` line, all of it where it goes over several."
    place: int
    "Its first line, counted from 1."


NOTHING = SourcePiece("", "", 0)


class SourceText:
    """A source text in lines, and the pieces cut out of it."""

    def __init__(self, body: bytes) -> None:
        text = body.decode(errors="replace")
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.places: tuple[int, ...] = ()
        "Where an outline says that its names stand."
        self.pieces: dict[str, SourcePiece] = {}
        "What was cut out by that, by name."
        self.by_name: Mapping[str, tuple[int, int]] | None = None
        "The first and last line of each name by that, once it was asked for."
        self._constants: dict[str, SourcePiece] = {}

    @cached_property
    def _bound(self) -> dict[str, list[int]]:
        """Line numbers, from 0, that bind each name; some may be inside long strings."""
        text, lines, line, end = "\n".join(self.lines), dict[str, list[int]](), 0, 0
        for match in _BINDS.finditer(text):
            line, end = line + text.count("\n", end, match.start()), match.start()
            lines.setdefault(match[1], []).append(line)
        return lines

    def constant(self, name: str) -> SourcePiece:
        """Return the lines that bind a name; empty where they are too many."""
        if name not in self._constants:
            lines, found = self.lines, self._bound.get(name, ())
            begin = next((n for n in found if not _quoted(lines[:n])), None)
            text = "" if begin is None else _closed(lines, begin, MOST_LINES)
            self._constants[name] = NOTHING if begin is None else SourcePiece(text, text, begin + 1)
        return self._constants[name]


class SourceLines:
    """Source texts by blob, from moment to moment."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: OrderedDict[str, SourceText] = OrderedDict()
        self._changes: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._signatures: dict[str, str] = {}
        "The signatures of functions and classes, by their text."

    def of(self, blob: str) -> list[str]:
        """Return the lines of a text; any kind of line ending ends one."""
        return self.text(blob).lines

    def whole(self, blob: str) -> str:
        """Return a text as it was printed, with the line ends that it has."""
        return self._read(blob).decode(errors="replace")

    def text(self, blob: str) -> SourceText:
        """Return a text, and keep it for the next call."""
        text = self._kept.get(blob)
        if text is None:
            text = self._kept[blob] = SourceText(self._read(blob))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(blob)
        return text

    def piece(self, own: list[str], first: int) -> SourcePiece:
        """Return the function or class of some lines, the first of which is line `first`."""
        text = "\n".join(own)
        signature = self._signatures.get(text)
        if signature is None:
            if len(self._signatures) > SIGNATURES:
                self._signatures.clear()
            signature = self._signatures[text] = signature_of(own)
        return SourcePiece(text, signature, first)

    def changed(self, before: str, after: str) -> str:
        """Return a unified diff between two texts, without its head."""
        found = self._changes.get((before, after))
        if found is None:
            lines = unified_diff(self.of(before), self.of(after), n=1, lineterm="")
            found = self._changes[before, after] = "\n".join([*lines][2:])
            if len(self._changes) > KEPT:
                self._changes.popitem(last=False)
        return found


class Sources:
    """The sources of the modules of a moment."""

    def __init__(self, state: dependency_graph.State, lines: SourceLines) -> None:
        self._state, self._lines = state, lines
        self._texts: dict[str, tuple[SourceText | None, dict[str, SourcePiece]]] = {}
        "By path, with the pieces as the module's outline cuts them."

    def piece(self, path: str, name: str) -> SourcePiece:
        """Return a function or class of a module; empty where its text is not known."""
        text, pieces = self._texts[path] if path in self._texts else self._of(path)
        if text is None:
            return NOTHING
        if name not in pieces:
            if text.by_name is None:
                text.by_name = dependency_graph.lines_of(self._state, path)
            first, last = text.by_name.get(name, (1, 0))
            own = text.lines[first - 1 : last]
            pieces[name] = self._lines.piece(own, first) if own else NOTHING
        return pieces[name]

    def text(self, path: str) -> str:
        """Return the latest text of a module, whether it can be outlined or not."""
        module = self._state.modules.get(path)
        if module is None or module.deleted or not module.source:
            return ""
        return "\n".join(self._lines.of(module.source)).strip("\n")

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of a module's text where its outline tells of that text."""
        text, _ = self._texts[path] if path in self._texts else self._of(path)
        return text.lines if text else ()

    def constant(self, path: str, name: str) -> SourcePiece:
        """Return the lines that bind a name of a module; empty where they are too many."""
        text, _ = self._texts[path] if path in self._texts else self._of(path)
        return NOTHING if text is None else text.constant(name)

    def _of(self, path: str) -> tuple[SourceText | None, dict[str, SourcePiece]]:
        """Return the text of a module, ready to be cut along its present outline."""
        module, text = self._state.modules.get(path), None
        if module and not module.deleted and module.source and module.source == module.outlined:
            text = self._lines.text(module.source)
            # Equal places are mostly the same ones, and long.
            if text.places is not module.lines and text.places != module.lines:
                text.places, text.pieces, text.by_name = module.lines, {}, None
        self._texts[path] = text, text.pieces if text else {}
        return self._texts[path]


def signature_of(lines: list[str]) -> str:
    """Return the first `def` or `class` line of some lines, all of it, and what it is marked as."""
    begin = 0
    while begin < len(lines):
        line = _closed(lines, begin, len(lines))
        if _opens(lines[begin]):
            marks = [one for one in lines[:begin] if _MARK.fullmatch(one)]
            return "\n".join([*marks, line]) if line else ""
        begin += 1 + line.count("\n")
    return ""


def _closed(lines: list[str], begin: int, most: int) -> str:
    """Return the lines from `begin` until all brackets and strings are closed; empty where more
    than `most` are needed."""
    text, depth = "\n".join([*lines[begin : begin + most], ""]), 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        depth += _DEPTH.get(token, 0)
        if token == found[1]:
            return ""
        if token == "\n" and depth <= 0:
            return text[: found.start()]
    return ""


def _quoted(before: list[str]) -> bool:
    """Tell whether a multi-line string is open after some lines."""
    text = "\n".join(before)
    if text.count('"""') % 2 == text.count("'''") % 2 == 0:
        return False
    return any(found[0] == found[1] for found in _TOKEN.finditer(text))


def _opens(line: str) -> bool:
    return line.lstrip().startswith(("def ", "async def ", "class "))
