"""The source text of functions and classes as of a moment, whole or their own opening lines."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from projections import dependency_graph

Read = Callable[[str], bytes]
_TOKEN = re.compile(
    r"""(\"{3}|'{3})(?:(?:[^\\]|\\.)*?\1)?"""
    r"""|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|\#[^\n]*|\\\n|[()\[\]{}\n]""",
    re.DOTALL,
)
"Strings, comments, joined lines, brackets and line ends: what is in the first three ends nothing."
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_MARK = re.compile(
    r"\s*@(property|classmethod|staticmethod|[\w.]*cached_property|[\w.]+\.setter)\s*"
)
"Decorators without which a signature would be read as something else."
KEPT = 4_096
"Modules whose lines are kept."
MOST_LINES = 12
"Of a constant that is shown with its value."


class Piece(NamedTuple):
    """A function or class in its module's text."""

    text: str
    "From its decorators to its end."
    signature: str
    "Its `def` or `class` line, all of it where it goes over several."
    place: int
    "Its first line, counted from 1."


NOTHING = Piece("", "", 0)


class Lines:
    """The lines of source texts by blob, and the pieces cut out of them, from moment to moment."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: OrderedDict[str, list[str]] = OrderedDict()
        self._pieces: dict[str, tuple[tuple[int, ...], dict[str, Piece]]] = {}
        "By blob: where an outline says that its names stand, and what was cut by that."

    def of(self, blob: str) -> list[str]:
        """The lines of a text; line endings of any kind end one."""
        lines = self._kept.get(blob)
        if lines is None:
            text = self._read(blob).decode(errors="replace")
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            self._kept[blob] = lines
            if len(self._kept) > KEPT:
                self._pieces.pop(self._kept.popitem(last=False)[0], None)
        self._kept.move_to_end(blob)
        return lines

    def pieces(self, blob: str, places: tuple[int, ...]) -> dict[str, Piece]:
        """What was cut out of a text already, by name; to be added to."""
        kept = self._pieces.get(blob)
        # Equal places are mostly the same ones, and long.
        if kept is None or (kept[0] is not places and kept[0] != places):
            kept = self._pieces[blob] = places, {}
        return kept[1]


class Sources:
    """The sources of the modules of a moment."""

    def __init__(self, state: dependency_graph.State, lines: Lines) -> None:
        self._state, self._lines = state, lines
        self._places: dict[str, Mapping[str, tuple[int, int]]] = {}

    def piece(self, path: str, name: str) -> Piece:
        """A function or class of a module; empty where its text is not known."""
        lines = self._of(path)
        if not lines:
            return NOTHING
        module = self._state.modules[path]
        known = self._lines.pieces(module.source or "", module.lines)
        if name not in known:
            if path not in self._places:
                self._places[path] = dependency_graph.lines_of(self._state, path)
            first, last = self._places[path].get(name, (1, 0))
            own = lines[first - 1 : last]
            known[name] = Piece("\n".join(own), _signature(own), first) if own else NOTHING
        return known[name]

    def text(self, path: str) -> str:
        """The whole latest text of a module, whether it can be outlined or not."""
        module = self._state.modules.get(path)
        if module is None or module.deleted or not module.source:
            return ""
        return "\n".join(self._lines.of(module.source)).strip("\n")

    def constant(self, path: str, name: str) -> Piece:
        """The lines that bind a name of a module; empty where they are too many."""
        lines = self._of(path)
        begins = re.compile(rf"{re.escape(name)}\s*(:[^=]*)?=(?!=)").match
        found = (n for n, line in enumerate(lines) if begins(line))
        begin = next((n for n in found if not _quoted(lines[:n])), None)
        if begin is None:
            return NOTHING
        text = _closed(lines, begin, MOST_LINES)
        return Piece(text, text, begin + 1)

    def _of(self, path: str) -> list[str]:
        module = self._state.modules.get(path)
        if module is None or module.deleted or module.source != module.outlined:
            return []
        return self._lines.of(module.source) if module.source else []


def _signature(lines: list[str]) -> str:
    begin = 0
    while begin < len(lines):
        line = _closed(lines, begin, len(lines))
        if _opens(lines[begin]):
            marks = [one for one in lines[:begin] if _MARK.fullmatch(one)]
            return "\n".join([*marks, line]) if line else ""
        begin += 1 + line.count("\n")
    return ""


def _closed(lines: list[str], begin: int, most: int) -> str:
    """The lines from one on until every bracket and string is closed; empty where that takes more
    than some."""
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
    """Whether a string that goes over several lines is open after some lines."""
    text = "\n".join(before)
    if text.count('"""') % 2 == text.count("'''") % 2 == 0:
        return False
    return any(found[0] == found[1] for found in _TOKEN.finditer(text))


def _opens(line: str) -> bool:
    return line.lstrip().startswith(("def ", "async def ", "class "))
