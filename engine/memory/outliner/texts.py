"""Bounds foreign text and makes it fit to be stored, for every outliner."""

import re
from collections.abc import Iterable, Mapping
from posixpath import dirname, join, normpath

from backcast.domain.outline import LINK, Facet, Outline

LONGEST_SOURCE = 4 * 2**20
"Most bytes of a source that is read."
LONGEST = 500
"Characters of a text in a facet."
LFS = b"version https://git-lfs.github.com/spec/"
LONGEST_POINTER = 1024
MOST = 300
"Texts in a facet."
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"Control characters, and halves of surrogate pairs, which no encoding takes."
BLANK = re.compile(r"\n[ \t]*\n")


def fit(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a text, with a mark for each character that cannot be stored."""
    text = text[:longest]
    return text if text.isprintable() else UNFIT.sub("\ufffd", text)


def listed(texts: Iterable[str]) -> Facet:
    """Return a facet of unordered texts: sorted, without repeats, the first `MOST`."""
    return tuple(sorted({text[:LONGEST] for text in texts})[:MOST])


def first_paragraph(text: str) -> str:
    """Return the text before the first blank line, with single spaces.

    >>> first_paragraph("    Clean up\\n    the cart.\\n\\n    Later more.")
    'Clean up the cart.'
    """
    return fit(" ".join(BLANK.split(text.strip(), maxsplit=1)[0].split()))


def broken(before: Outline | None, line: int | None, message: str) -> Outline:
    """Return the outline of an unreadable text: the last good one, with the error."""
    return stood_in(before, (str(line) if line else "", fit(" ".join(message.split()))))


def stood_in(before: Outline | None, error: Facet) -> Outline:
    """Return the last good outline with the error of an unreadable version."""
    facets: Mapping[str, Facet] = before.facets if before else {}
    kept = {key: facets[key] for key in sorted(facets)}
    return Outline(kept | {"error": error}, dict(before.lines) if before else {})


def unread(source: bytes) -> str:
    """Return why a source is not read at all; empty where it is."""
    return oversized(source) or pointer(source)


def pointer(source: bytes) -> str:
    """Return the error message for a pointer of Git LFS, which stands for another file."""
    if not source.startswith(LFS) or len(source) > LONGEST_POINTER:
        return ""
    size = re.search(rb"^size (\d{1,20})$", source, re.MULTILINE)
    whole = f" of {int(size[1]):,} bytes" if size else ""
    return f"a Git LFS pointer: the file itself{whole} is not in the history"


def linked(path: str, source: bytes) -> Outline:
    """Return the outline of a symbolic link: the path that it leads to, as seen from the top."""
    written = fit(source[:LONGEST].decode(errors="replace"))
    target = normpath(join(dirname(path), written))
    return Outline({LINK: (target,)}, {})


def oversized(source: bytes) -> str:
    """Return the error message for a source that is too large; else empty."""
    if len(source) <= LONGEST_SOURCE:
        return ""
    return f"needed a source of at most {LONGEST_SOURCE:,} bytes, found {len(source):,}"
