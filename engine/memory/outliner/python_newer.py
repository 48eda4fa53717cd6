"""Rewrites Python that is newer than the interpreter, so that it can be parsed all the same.

Only what the new syntax adds is taken out or spelt in the older way, and every line keeps its
number: lists of type parameters, `type` statements, the quotes inside of f-strings, t-strings,
`except` without parentheses, lazy imports. Whether the result is right, the parser tells.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

PARAMETERS = "3.12", "type parameter lists"
STATEMENTS = "3.12", "type statements"
NESTED = "3.12", "quotes, backslashes or comments inside of f-strings"
DEFAULTS = "3.13", "defaults of type parameters"
TEMPLATES = "3.14", "t-strings"
BARE_EXCEPT = "3.14", "except without parentheses"
LAZY = "3.15", "lazy imports"
UNPACKED = "3.15", "unpacking in comprehensions"
DEEPEST = 20
"Levels of f-strings inside of each other that are read."

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<string>(?:[bBfFrRtTuU]{0,2})(?:\"{3}|'{3}|"|'))
    | (?P<name>[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<space>[ \t\f]+|\\\n)
    | (?P<line>\n)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "([{", ")]}"


class Lowered(NamedTuple):
    """A text in older syntax, and what was newer in it."""

    text: str
    needs: tuple[tuple[str, str], ...]
    "The first version that knows a construct, and the construct; sorted."


class Unreadable(Exception):
    """Text that ends inside of a string or bracket."""


class _Token(NamedTuple):
    kind: str
    text: str


def lowered(text: str) -> Lowered | None:
    """Return a text with its newer syntax spelt in the older way; None where there is none."""
    work = _Lowering(text)
    try:
        found = "".join(work.statements())
    except Unreadable:
        return None
    return Lowered(found, tuple(sorted(work.needs))) if work.needs else None


class _Lowering:
    """The state of rewriting one text."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.needs: set[tuple[str, str]] = set()

    def statements(self) -> Iterator[str]:
        """Yield the text in pieces, rewritten where it is newer."""
        depth, begins, defines = 0, True, False
        while token := self._next():
            kind, text = token
            if kind == "string":
                yield self._string(text)
            elif kind == "name" and begins and depth == 0:
                yield self._first(text)
                defines = text in ("def", "class")
            elif kind == "name" and defines:
                yield text + self._parameters()
                defines = False
            else:
                yield text
            if kind == "mark":
                depth += (text in _OPENING) - (text in _CLOSING)
            if kind == "name" and text == "async":
                continue
            if kind == "line" or (kind == "mark" and text in ";:" and depth == 0):
                begins = depth <= 0
            elif kind not in ("space", "comment"):
                begins = False
                if kind == "name" and text in ("def", "class"):
                    defines = True

    def _next(self) -> _Token | None:
        found = _TOKEN.match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        return _Token(str(found.lastgroup), found[0])

    def _first(self, word: str) -> str:
        """Return the first word of a statement, with what newer syntax follows it."""
        rest = self.text
        if word == "lazy" and (
            spaces := re.compile(r"[ \t]+(?=(?:import|from)\b)").match(rest, self.at)
        ):
            self.needs.add(LAZY)
            self.at = spaces.end()
            return ""
        if word == "type" and (found := re.compile(r"[ \t]+([^\W\d]\w*)\s*").match(rest, self.at)):
            before, self.at = self.at, found.end()
            parameters = self._parameters()
            if re.compile(r"\s*=(?!=)").match(rest, self.at):
                self.needs.add(STATEMENTS)
                return found[1] + parameters
            self.at = before
        if word == "except":
            return word + self._excepted()
        return word

    def _parameters(self) -> str:
        """Pass over a list of type parameters, and return its line ends."""
        found = re.compile(r"\s*\[").match(self.text, self.at)
        if not found:
            return ""
        before, self.at, depth, text = self.at, found.end(), 1, ""
        has_default = False
        while depth:
            token = self._next()
            if token is None:
                raise Unreadable
            if token.kind == "string":
                self._string(token.text)
            elif token.kind == "mark":
                depth += (token.text in _OPENING) - (token.text in _CLOSING)
                has_default |= token.text == "=" and depth == 1
        text = self.text[before : self.at]
        self.needs.add(PARAMETERS)
        if has_default:
            self.needs.add(DEFAULTS)
        lines = text.count("\n")
        return " \\\n" * lines

    def _excepted(self) -> str:
        """Return what stands between `except` and its colon, in parentheses if it needs them."""
        pieces: list[str] = []
        names: list[str] = [""]
        depth, is_named = 0, False
        before = self.at
        while token := self._next():
            kind, text = token
            if kind == "line" and depth == 0:
                break
            if kind == "mark":
                if text == ":" and depth == 0:
                    break
                depth += (text in _OPENING) - (text in _CLOSING)
                if text == "," and depth == 0:
                    names.append("")
            is_named |= kind == "name" and text == "as" and depth == 0
            names[-1] += text.strip(" \t,") if depth == 0 else "()"
            pieces.append(self._string(text) if kind == "string" else text)
        self.at -= 1 if self.at > before else 0  # the colon or line end is read again
        if len(names) == 1 or is_named or (len(names) == 2 and names[1].islower()):
            return "".join(pieces)  # two names, the second in small letters: as Python 2 has it
        self.needs.add(BARE_EXCEPT)
        inner = "".join(pieces).strip()
        star = "*" if inner.startswith("*") else ""
        return f"{star} ({inner[len(star) :].strip()})"

    def _string(self, start: str) -> str:
        """Return a string, whose beginning was read, in older syntax."""
        prefix = start.rstrip("\"'")
        quote = start[len(prefix) :]
        if not set("fFtT").intersection(prefix):
            return start + self._plain(quote)
        if set("tT").intersection(prefix):
            self.needs.add(TEMPLATES)
        before, fields = self.at, _Fields(self, prefix, quote)
        fields.read(0)
        if fields.is_newer:
            self.needs.add(NESTED)
            inner = "".join(f"{{({one})}}" for one in fields.found)
            lines = self.text.count("\n", before, self.at) - inner.count("\n")
            return f"f'''{inner}" + "\n" * max(lines, 0) + "'''"
        old = prefix.replace("t", "f").replace("T", "F")
        return old + quote + self.text[before : self.at]

    def _plain(self, quote: str) -> str:
        """Pass over the rest of a string without fields, and return it."""
        before, at = self.at, self.at
        while not self.text.startswith(quote, at):
            if at >= len(self.text) or (len(quote) == 1 and self.text[at] == "\n"):
                raise Unreadable
            at += 2 if self.text[at] == "\\" else 1
        self.at = at + len(quote)
        return self.text[before : self.at]


class _Fields:
    """The replacement fields of one f-string or t-string."""

    def __init__(self, work: _Lowering, prefix: str, quote: str) -> None:
        self.work, self.quote = work, quote
        self.is_raw = bool(set("rR").intersection(prefix))
        self.found: list[str] = []
        "Expressions of fields, without strings and comments."
        self.is_newer = False

    def read(self, level: int, end: str = "") -> None:
        """Read up to the closing quote, or to `end` in the format of a field."""
        work = self.work
        text = work.text
        while not text.startswith(end or self.quote, work.at):
            at = work.at
            if at >= len(text) or level > DEEPEST:
                raise Unreadable
            if len(self.quote) == 1 and text[at] == "\n":
                raise Unreadable
            if text[at] == "\\" and not (end or text[at + 1 : at + 2] in "{}"):
                named = re.compile(r"\\N\{[^}\n]*\}").match(text, at)
                work.at = named.end() if named and not self.is_raw else at + 2
            elif text.startswith(("{{", "}}"), at) and not end:
                work.at += 2
            elif text[at] == "{":
                work.at += 1
                self._field(level)
            else:
                work.at += 1
        work.at += len(end or self.quote)

    def _field(self, level: int) -> None:
        work, depth = self.work, 0
        pieces: list[str] = []
        place = len(self.found)
        self.found.append("")
        while True:
            token = work._next()
            if token is None:
                raise Unreadable
            kind, text = token
            if kind == "string":
                self._within(text, pieces, level)
                continue
            if kind == "comment" or text.startswith("\\"):
                self.is_newer = True
                continue
            if kind == "line" and len(self.quote) == 1:
                self.is_newer = True
            if depth == 0 and text == "}":
                break
            if depth == 0 and (text == ":" or self._converts(text)):
                if text == "!":
                    converted = re.compile(r"\s*\w+\s*").match(work.text, work.at)
                    work.at = converted.end() if converted else work.at
                    continue
                self.read(level + 1, "}")
                break
            if kind == "mark":
                depth += (text in _OPENING) - (text in _CLOSING)
            pieces.append(text)
        inner = "".join(pieces).strip()
        self.found[place] = inner[:-1].rstrip() if inner[-1:] == "=" else inner

    def _converts(self, text: str) -> bool:
        return text == "!" and not self.work.text.startswith("=", self.work.at)

    def _within(self, start: str, pieces: list[str], level: int) -> None:
        """Read a string inside of a field."""
        work, before = self.work, self.work.at
        prefix = start.rstrip("\"'")
        quote = start[len(prefix) :]
        if set("fFtT").intersection(prefix):
            fields = _Fields(work, prefix, quote)
            fields.read(level + 1)
            self.is_newer |= fields.is_newer
            pieces.append("(" + "".join(f"({one})," for one in fields.found) + ")")
        else:
            work._plain(quote)
            pieces.append("()")
        whole = quote + work.text[before : work.at]
        if self.quote in whole or "\\" in whole or "#" in whole:
            self.is_newer = True
