"""What does a document of a repository hold? Blocks of code, headings and prose, as written.

Markdown and reStructuredText are read line by line. Nothing is rendered or run.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import dedent
from typing import NamedTuple

LINES = 5_000
"Lines of a document that are read."
MARKDOWN, STRUCTURED = (".md", ".markdown"), (".rst",)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^`]*)$")
_LANGUAGE = re.compile(r"\{?\.?([\w+-]*)")
_DIRECTIVE = re.compile(r"[ \t]*\.\. (?:code-block|code|sourcecode|ipython):: *([\w+-]*)[ \t]*$")
_OPTION = re.compile(r"[ \t]+:[\w-]+:")
_UNDERLINE = re.compile(r"([=\-~^\"'#*+`.:])\1{2,}[ \t]*$")
_NO_PROSE = re.compile(r"[ \t]*(?:\.\. |\||[-*+] |:[\w-]+:|\d+\. |>>>|#|<)")
_ROLE = re.compile(r":[\w:]+:`~?([^`<]*?)(?: *<[^`>]*>)?`\\?|`+([^`<]*?)(?: *<[^`>]*>)?`+_{0,2}")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^*\s][^*]*)\*{1,2}(?![\w*])")
_TARGET = re.compile(r"(?<=\w)_(?=\W|$)")


class CodeBlock(NamedTuple):
    """A block of code in a document."""

    language: str
    "As the document says, in small letters; empty where it does not."
    text: str
    "Its lines, less the margin that they have in common."
    first: int
    "Its first line in the document, counted from 1."
    last: int


def code_blocks(path: str, text: str) -> list[CodeBlock]:
    """Return the blocks of code in a document, in order.

    >>> code_blocks("README.md", "Use it:\\n```python\\nshop.open()\\n```")
    [CodeBlock(language='python', text='shop.open()', first=3, last=3)]
    """
    lines = text.splitlines()[:LINES]
    if path.lower().endswith(MARKDOWN):
        return list(_fenced(lines))
    return list(_indented(lines)) if path.lower().endswith(STRUCTURED) else []


def headings(text: str) -> list[str]:
    """Return the headings of a reStructuredText document, in order.

    >>> headings("Shops\\n=====\\n\\nThey sell.")
    ['Shops']
    """
    lines = text.splitlines()[:LINES]
    return [
        unmarked(line)
        for line, below in pairwise(lines)
        if line.strip() and line[:1].strip() and not _UNDERLINE.match(line)
        and _UNDERLINE.match(below) and len(below.rstrip()) >= len(line.rstrip()) - 1
    ]  # fmt: skip


def prose(text: str) -> str:
    """Return the first paragraph of prose in a reStructuredText document; empty for none.

    >>> prose("Shops\\n=====\\n\\n|Build|\\n\\nThey `sell <x>`_ things,\\nsee docs_.\\n\\nMore.")
    'They sell things, see docs.'
    """
    paragraph = list[str]()
    lines = text.splitlines()[:LINES]
    for number, line in enumerate([*lines, ""]):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        title = _UNDERLINE.match(line) or (line.strip() and _UNDERLINE.match(below))
        if line.strip() and not title:
            paragraph.append(line)
            continue
        first = paragraph[0] if paragraph else ""
        if first[:1].strip() and not _NO_PROSE.match(first) and len(paragraph) < LINES:
            return unmarked(" ".join(map(str.strip, paragraph)))
        paragraph = []
    return ""


def unmarked(text: str) -> str:
    r"""Return a text of reStructuredText without roles, quotes and targets.

    >>> unmarked(r"The ``Path`` is like :class:`~a.File`\s, see docs_.")
    'The Path is like a.Files, see docs.'
    """
    shown = _ROLE.sub(lambda match: match[1] or match[2] or "", text)
    return _EMPHASIS.sub(r"\1", _TARGET.sub("", shown)).strip()


def _fenced(lines: Sequence[str]) -> Iterator[CodeBlock]:
    mark, language, begin = "", "", 0
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if not mark:
            if fence:
                found = _LANGUAGE.match(fence[2].strip())
                mark, begin = fence[1], number + 1
                language = found[1].lower() if found else ""
        elif fence and fence[1].startswith(mark) and not fence[2].strip():
            yield from _block(lines, language, begin, number)
            mark = ""


def _indented(lines: Sequence[str]) -> Iterator[CodeBlock]:
    number = 0
    while number < len(lines):
        found = _DIRECTIVE.match(lines[number])
        number += 1
        if not found:
            continue
        margin = _margin(lines[number - 1])
        while number < len(lines) and (_OPTION.match(lines[number]) or not lines[number].strip()):
            number += 1
        begin = number
        while number < len(lines) and (
            not lines[number].strip() or _margin(lines[number]) > margin
        ):
            number += 1
        yield from _block(lines, found[1].lower(), begin, number)


def _block(lines: Sequence[str], language: str, begin: int, end: int) -> Iterator[CodeBlock]:
    while begin < end and not lines[begin].strip():
        begin += 1
    while begin < end and not lines[end - 1].strip():
        end -= 1
    if begin < end:
        yield CodeBlock(language, dedent("\n".join(lines[begin:end])), begin + 1, end)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())
