"""How are secrets masked? Equal secrets get equal masks, and no line is added or lost.

A mask is a word of letters, digits and underscores, so that a source parses with it as before,
wherever the secret stood: `MASKED_aws_key_1`.
"""

import json
import re
from base64 import b64decode
from binascii import Error
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple
from urllib.parse import quote

from backcast.engine.log.redaction import formats, named, places
from backcast.engine.log.redaction.patterns import Patterns
from backcast.engine.log.redaction.rules import SecretSpan, is_mixed

KEPT = re.compile(r"MASKED(?:_[a-z]+)+_(?P<number>\d{1,9})|blob:[0-9a-f]{64}")
"Texts that are never masked: masks, and the names of bodies."
ENCODED = "encoded"
"The kind of a base64 text that holds a secret."
SPREAD_FROM = 8
"Letters of the shortest secret that is masked everywhere, also where nothing announces it."
_LINES = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}+={0,2}")


class MaskedPiece(NamedTuple):
    """A part of one line that a mask replaces."""

    start: int
    end: int
    kind: str


class Masks:
    """A masker that first learns the secrets, text by text, and then masks them, text by text."""

    def __init__(self, patterns: Patterns | None = None) -> None:
        self.patterns = patterns or Patterns()
        self.known: dict[str, str] = {}
        "Secrets that are masked everywhere, and their kinds."
        self.masks: dict[str, str] = {}
        self.last: Counter[str] = Counter()
        "The highest number of a mask, by kind."
        self.counts: Counter[str] = Counter()
        "The number of replacements, by kind."

    def learn(self, text: str, kind: str = "") -> None:
        """Learn the secrets of a text, and the masks that it has already; with a kind, the whole
        text is a secret."""
        for match in KEPT.finditer(text):
            if match["number"]:
                stands = match[0].removeprefix("MASKED_").rpartition("_")[0]
                self.last[stands] = max(self.last[stands], int(match["number"]))
        whole = [SecretSpan(0, len(text), kind, sure=True)] if kind else []
        for found in chain(whole, self._found(text)):
            secret = text[found.start : found.end]
            if found.sure and _spreads(secret):
                for written in _ways_of(secret):
                    self.known.setdefault(written, found.kind)

    def mask(self, text: str, kind: str = "") -> str:
        """Return a text without its secrets; with a kind, the whole text is one."""
        while pieces := list(_pieces(text, self._all(text, kind))):
            text = "".join(self._replaced(text, pieces))
        return text

    def _all(self, text: str, kind: str) -> Iterator[SecretSpan]:
        yield from self._found(text)
        yield from self._spread(text)
        if kind:
            yield SecretSpan(0, len(text), kind)

    def _found(self, text: str) -> Iterator[SecretSpan]:
        yield from _shown(text)
        yield from self._packed(text)
        yield from self.patterns.found_in(text)

    def _packed(self, text: str) -> Iterator[SecretSpan]:
        """Yield base64 texts that hold a secret."""
        for match in _BASE64.finditer(text):
            held = _unpacked(match[0])
            if held and (any(_shown(held)) or any(self._spread(held))):
                yield SecretSpan(*match.span(), ENCODED)

    def _spread(self, text: str) -> Iterator[SecretSpan]:
        """Yield secrets that are known from elsewhere."""
        for secret, kind in self.known.items():
            start = text.find(secret)
            while start >= 0:
                yield SecretSpan(start, start + len(secret), kind)
                start = text.find(secret, start + len(secret))

    def _replaced(self, text: str, pieces: Iterable[MaskedPiece]) -> Iterator[str]:
        last = 0
        for start, end, kind in pieces:
            self.counts[kind] += 1
            yield text[last:start]
            yield self._mask(kind, text[start:end])
            # Else the digit would become part of the mask's number.
            yield "_" if kind != places.HOME and text[end : end + 1].isdigit() else ""
            last = end
        yield text[last:]

    def _mask(self, kind: str, secret: str) -> str:
        if kind == places.HOME:
            return places.USER
        if secret not in self.masks:
            self.last[kind] += 1
            mask = f"MASKED_{kind}_{self.last[kind]}"
            for written in _ways_of(secret):
                self.masks.setdefault(written, mask)
        return self.masks[secret]


def _shown(text: str) -> Iterator[SecretSpan]:
    """Yield secrets that the text itself shows, and people's names in paths."""
    return chain(formats.found_in(text), named.found_in(text), places.found_in(text))


def _pieces(text: str, found: Iterable[SecretSpan]) -> Iterator[MaskedPiece]:
    """Yield the parts to mask, without overlaps, line by line, except kept texts."""
    kept = [match.span() for match in KEPT.finditer(text)]
    for span in _merged(sorted(found)):
        for start, end in _without(kept, span.start, span.end):
            for line in _LINES.finditer(text, start, end):
                secret = line[0].strip()
                at = line.start() + line[0].find(secret)
                if secret and not (span.kind == places.HOME and secret == places.USER):
                    yield MaskedPiece(at, at + len(secret), span.kind)


def _merged(found: list[SecretSpan]) -> Iterator[SecretSpan]:
    """Yield overlapping spans as one, of the kind of the longest; a name in a path ranks last."""
    whole: SecretSpan | None = None
    rank = (False, 0)
    for span in found:
        worth = (span.kind != places.HOME, span.end - span.start)
        if whole is None or span.start >= whole.end:
            if whole is not None:
                yield whole
            whole, rank = span, worth
            continue
        kind = span.kind if worth > rank else whole.kind
        whole, rank = SecretSpan(whole.start, max(whole.end, span.end), kind), max(worth, rank)
    if whole is not None:
        yield whole


def _without(kept: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a span without the kept spans in it."""
    for first, last in islice(kept, bisect_right(kept, start, key=lambda span: span[1]), None):
        if first >= end:
            break
        if first > start:
            yield start, first
        start = last
    if start < end:
        yield start, end


def _ways_of(secret: str) -> list[str]:
    """Return a secret as it is written in a text, in a URL and in JSON."""
    return list(dict.fromkeys([secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]))


def _spreads(secret: str) -> bool:
    """Return whether a secret is so unusual that equal texts are no coincidence."""
    return (
        len(secret) >= SPREAD_FROM
        and is_mixed(secret)
        and not KEPT.search(secret)
        and len(_LINES.findall(secret)) == 1
    )


def _unpacked(text: str) -> str:
    """Return the text that base64 holds; empty for none."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        body = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (Error, ValueError):
        return ""
    return body.decode() if body.isascii() else ""
