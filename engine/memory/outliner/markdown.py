"""Outlines Markdown documents: their headings, and their first paragraph of prose.

It reads line by line: code fences, front matter, headings with `#` or underlined, and paragraphs.
Lists, quotes, tables and HTML are not prose; a link stands as its text.
"""

import re
from collections.abc import Iterator

from backcast.domain.outline import Facet, Outline
from backcast.engine.memory.outliner.texts import (
    LONGEST,
    broken,
    first_paragraph,
    stood_in,
    unread,
)

NAME = "markdown"
VERSION = 2
SUFFIXES: tuple[str, ...] = (".md", ".markdown")
MOST_HEADINGS = 200
LONGEST_LINE = 1000
"Characters of a line that are read."
LONGEST_PROSE = 8 * LONGEST

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+|$)")
CLOSING = re.compile(r"(?:^|[ \t]+)#+$")
UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
NO_PROSE = re.compile(r" {0,3}(?:[-+*>|<]|\d{1,9}[.)])(?:[ \t]|$|(?<=[>|<]))|(?: {4}|\t)|!?\[!?\[")
LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
MARKS = re.compile(r"(?<!\\)(?:[*`]+|~~|(?<!\w)_+|_+(?!\w))")
ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def outline(
    path: str, source: bytes, before: Outline | None = None, memory: object = None
) -> Outline:
    """Return the outline of a document; bytes that are not UTF-8 are replaced."""
    if reason := unread(source):
        return broken(before, None, reason)
    headings: list[str] = []
    prose: list[str] = []
    for kind, text in _parts(_lines(source.decode("utf-8-sig", errors="replace"))):
        if kind == "heading" and len(headings) < MOST_HEADINGS and (plain := _plain(text)):
            headings.append(plain)
        elif kind == "prose" and not prose and (plain := _plain(text)):
            prose.append(plain)
    texts = {"heading": tuple(headings), "doc": tuple(prose)}
    facets: dict[str, Facet] = {key: facet for key, facet in texts.items() if facet}
    return Outline(facets, {})


def memory() -> None:
    """Return a memory for the versions of one document: nothing is remembered."""


def place_of(path: str) -> str:
    """Return the part of a path that outlines depend on: nothing."""
    return ""


def after(outline: Outline, before: Outline | None) -> Outline:
    """Return the outline of the same document after another previous version."""
    error = outline.facets.get("error")
    return stood_in(before, error) if error else outline


def _lines(text: str) -> Iterator[str]:
    """Yield the shortened lines outside of code fences and front matter; fences become blank."""
    lines = [line[:LONGEST_LINE] for line in re.split(r"\r\n|\r|\n", text)]
    fence, start = "", _after_front_matter(lines)
    for line in lines[start:]:
        mark = FENCE.match(line)
        if not fence:
            fence = mark[1] if mark else ""
            yield "" if mark else line
        elif mark and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = ""


def _after_front_matter(lines: list[str]) -> int:
    """Return the index of the first line after front matter between lines of `---`."""
    if lines[0].rstrip() != "---":
        return 0
    ends = (n for n, line in enumerate(lines) if n and line.rstrip() in ("---", "..."))
    return next(ends, -1) + 1


def _parts(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield the headings and the paragraphs of prose, in order, with their kinds."""
    paragraph: list[str] = []
    for line in lines:
        if paragraph and UNDERLINE.match(line):
            yield "heading", " ".join(paragraph)
            paragraph = []
        elif HEADING.match(line):
            yield from _prose(paragraph)
            paragraph = []
            yield "heading", CLOSING.sub("", HEADING.sub("", line, count=1).rstrip())
        elif not line.strip() or RULE.match(line):
            yield from _prose(paragraph)
            paragraph = []
        else:
            paragraph.append(line)
    yield from _prose(paragraph)


def _prose(paragraph: list[str]) -> Iterator[tuple[str, str]]:
    if paragraph and not NO_PROSE.match(paragraph[0]):
        yield "prose", "\n".join(paragraph)


def _plain(text: str) -> str:
    """Return a text without the marks of links, emphasis and code."""
    text = MARKS.sub("", LINK.sub(r"\1", LINK.sub(r"\1", text[:LONGEST_PROSE])))
    return first_paragraph(ESCAPE.sub(r"\1", text))
