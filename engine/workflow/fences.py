r"""The fenced blocks of an answer: where each begins and, where it holds Python, truly ends.

By CommonMark the first fence that is long enough ends a block. Models write fences of three
backticks into docstrings all the same, so a block of Python ends at the first fence outside a
string: there backticks are no Python, and so nothing of the file can follow.

>>> [block.body for block in blocks_of("```python\n'''\n```\nf()\n```\n'''\n```\n")]
["'''\n```\nf()\n```\n'''\n"]
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from backcast.engine.workflow.refusals import RefusedError

PYTHON = ("python", "py", "python3", "py3")
"Languages by which a block says that it holds Python."
_OPENS = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\n`]*)$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})(.*)$")
_GLUED = re.compile(r"(`{3,}|~{3,})[ \t]*$")
LANGUAGES = (
    *PYTHON, "bash", "c", "console", "diff", "html", "ini", "javascript", "js", "json", "markdown",
    "md", "output", "patch", "pycon", "sh", "shell", "show", "sql", "text", "toml", "txt", "xml",
    "yaml",
)  # fmt: skip
"First words on a line of backticks that tell the beginning of a block from the end of one."
_QUOTE = re.compile(r"#|\"\"\"|'''|\"|'")
_CLOSING = {quote: re.compile(rf"\\.|{quote}") for quote in ('"""', "'''", '"', "'")}
NEVER = "needed blocks that end, found one whose fence is never closed"
DOUBTS = 3
"Blocks of one answer whose ends may be doubtful."
HIDDEN = (
    "a line of three backticks stands inside the file, in a string that does not end, so nobody"
    " can tell where the file ends: close that string, and put the file between lines of four"
    " backticks (````)"
)


class FencedBlock(NamedTuple):
    """A block between two fences."""

    label: str
    "What stands on its opening fence."
    body: str
    before: str = ""
    "The last line with text before it."
    doubt: str = ""
    "Why nobody can tell whether it is whole; empty where it is."

    @property
    def language(self) -> str:
        """The language on the fence, in small letters; empty for none."""
        return language_of(self.label)


def language_of(label: str) -> str:
    """Return the language that a label begins with, in small letters.

    >>> language_of('{.python title="a.py"}')
    'python'
    """
    first = label.split()[0] if label.split() else ""
    return re.split(r"[:=,{]", first.strip("{}.,").lower())[0]


def quote_after(line: str, quote: str = "") -> str:
    """Return the quotes of the string that is open behind a line of Python; empty for none.

    `quote` are those of the string that is open before it.

    >>> quote_after("x = '''a"), quote_after("b'''  # '''", "'''"), quote_after("it = 'x")
    ("'''", '', '')
    """
    return without_strings(line, quote)[1]


def without_strings(line: str, quote: str = "") -> tuple[str, str]:
    """Return a line of Python without its strings and its comment, and the quotes that are open
    behind it.

    >>> without_strings("x = f('a', 3)  # c")
    ('x = f(, 3)  ', '')
    """
    at, code = 0, ""
    while True:
        if not quote:
            found = _QUOTE.search(line, at)
            code += line[at : found.start() if found else len(line)]
            if found is None or found[0] == "#":
                return code, ""
            quote, at = found[0], found.end()
        found = _CLOSING[quote].search(line, at)
        while found is not None and found[0] != quote:
            found = _CLOSING[quote].search(line, found.end())
        if found is None:  # a line end ends a string in single quotes, unless it is escaped
            escaped = (len(line) - len(line.rstrip("\\"))) % 2
            return code, quote if len(quote) == 3 or escaped else ""
        quote, at = "", found.end()


def blocks_of(text: str) -> list[FencedBlock]:
    """Return the blocks of a text; `RefusedError` where one does not end."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    ends = _Ends(lines)
    blocks: list[FencedBlock] = []
    at, before = 0, ""
    while at < len(lines):
        opened = _OPENS.match(lines[at])
        if opened is None:
            before = lines[at] if lines[at].strip() else before
            at += 1
            continue
        indent, fence, label = opened[1], opened[2], opened[3].strip()
        end = ends.of(at + 1, fence, label)
        body = [_outdented(line, len(indent)) for line in lines[at + 1 : end.line]]
        if end.rest:
            body.append(_outdented(end.rest, len(indent)))
        whole = "\n".join(body) + "\n" if body else ""
        blocks.append(FencedBlock(label, whole, before, end.doubt))
        at, before = end.line + 1, ""
    return blocks


class BlockEnd(NamedTuple):
    """The end of a block."""

    line: int
    rest: str = ""
    "Code before the fence, on its line."
    doubt: str = ""


class _Ends:
    """The ends of the blocks among some lines."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines, self.doubts = lines, 0
        self.last = -1
        "The last line that is nothing but a fence."
        for number, line in enumerate(lines):
            fence = _FENCE.match(line)
            if fence and not fence[2].strip():
                self.last = number

    def of(self, start: int, fence: str, label: str) -> BlockEnd:
        """Return where the block ends whose body begins at a line."""
        python = language_of(label) in ("", *PYTHON) or ".py" in label
        if python and (found := self._of_python(start, fence, label)):
            return found
        end = self._by_rule(start, fence)
        if not python or not any(line.strip() for line in self.lines[end.line + 1 :]):
            return end  # where nothing follows, the string has no end in the whole of the file
        self.doubts += 1
        if label or self.doubts > DOUBTS:
            raise RefusedError(HIDDEN)
        return end._replace(doubt=HIDDEN)

    def _by_rule(self, start: int, fence: str) -> BlockEnd:
        for number in range(start, self.last + 1):
            closing = _FENCE.match(self.lines[number])
            if closing and closing[1].startswith(fence) and not closing[2].strip():
                return BlockEnd(number)
        raise RefusedError(NEVER)

    def _of_python(self, start: int, fence: str, label: str) -> BlockEnd | None:
        """Return the first end outside the strings of Python: by a fence that is long enough, else
        by a shorter one."""
        quote, short, commented = "", None, None
        for number in range(start, len(self.lines)):
            line = self.lines[number]
            if fence[0] * 3 not in line:
                quote = quote_after(line, quote)
                continue
            closing = _FENCE.match(line)
            if closing and not quote and closing[1][0] == fence[0]:
                clean, long = not closing[2].strip(), closing[1].startswith(fence)
                if clean and long:
                    return BlockEnd(number)
                if not clean:  # text goes on behind the fence, or the next block begins
                    if short or not _begins(closing[2]) or self.last <= number:
                        return short or BlockEnd(number)
                    if label:
                        raise RefusedError(NEVER)
                    return None
                short = short or BlockEnd(number)
                continue
            glued = _GLUED.search(line)
            before = line[: glued.start()] if glued else ""
            if glued and glued[1].startswith(fence) and not quote_after(before, quote):
                if not _is_comment(before, quote):
                    return BlockEnd(number, before.rstrip())
                commented = commented or BlockEnd(number, before.rstrip())
            quote = quote_after(line, quote)
        return short or commented


def _begins(label: str) -> bool:
    """Return whether a fence with a label begins a block."""
    words = label.split()
    return language_of(label) in LANGUAGES or any(word.endswith(".py") for word in words[:1])


def _is_comment(line: str, quote: str) -> bool:
    """Return whether a line of Python, behind an open string, ends in a comment."""
    return quote_after(f"{line} '''", quote) != "'''"


def _outdented(line: str, indent: int) -> str:
    """Return a line without the blanks that its fence has too."""
    blanks = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, blanks) :]
