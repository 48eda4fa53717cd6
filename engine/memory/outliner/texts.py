"""What every outliner does with text from outside: it is bounded, and fit to be stored."""

import re
from collections.abc import Iterable, Mapping

from backcast.domain.outline import Facet, Outline

LONGEST_SOURCE = 4 * 2**20
"Bytes of a source that is still read."
LONGEST = 500
"Characters of a text in a facet."
MOST = 300
"Texts in a facet."
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"Controls, and halves of surrogate pairs, which no encoding takes."
BLANK = re.compile(r"\n[ \t]*\n")


def fit(text: str, longest: int = LONGEST) -> str:
    """The beginning of a text, with a mark in place of each character that cannot be stored."""
    text = text[:longest]
    return text if text.isprintable() else UNFIT.sub("\ufffd", text)


def listed(texts: Iterable[str]) -> Facet:
    """A facet of texts in no order: sorted, once each, the first ones."""
    return tuple(sorted({text[:LONGEST] for text in texts})[:MOST])


def first_paragraph(text: str) -> str:
    """What stands before the first blank line, with single spaces.

    >>> first_paragraph("    Clean up\\n    the cart.\\n\\n    Later more.")
    'Clean up the cart.'
    """
    return fit(" ".join(BLANK.split(text.strip(), maxsplit=1)[0].split()))


def broken(before: Outline | None, line: int | None, message: str) -> Outline:
    """The outline of what cannot be read: that of the last good version, and why."""
    return stood_in(before, (str(line) if line else "", fit(" ".join(message.split()))))


def stood_in(before: Outline | None, error: Facet) -> Outline:
    """The outline of the last good version with the error of one that cannot be read."""
    facets: Mapping[str, Facet] = before.facets if before else {}
    kept = {key: facets[key] for key in sorted(facets)}
    return Outline(kept | {"error": error}, dict(before.lines) if before else {})


def oversized(source: bytes) -> str:
    """What to say of a source that is too large; empty where it is not."""
    if len(source) <= LONGEST_SOURCE:
        return ""
    return f"needed a source of at most {LONGEST_SOURCE:,} bytes, found {len(source):,}"
