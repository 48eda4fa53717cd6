"""How are secrets masked? Equal secrets get equal masks, and no line is added or lost.

A mask is a word of letters, digits and underscores, so that a source parses with it as before,
wherever the secret stood: `MASKED_aws_key_1`.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple
from urllib.parse import quote, unquote

from backcast.engine.log.redaction import commands, formats, named, names, places
from backcast.engine.log.redaction.patterns import Patterns
from backcast.engine.log.redaction.rules import SecretSpan, is_mixed
from backcast.engine.log.redaction.veils import unveiled

KEPT = re.compile(r"MASKED(?:_[a-z]+)+_(?P<number>\d{1,9})|blob:[0-9a-f]{64}")
"Texts that are never masked: masks, and the names of bodies."
ENCODED = "encoded"
"The kind of a base64 text that holds a secret."
SPREAD_FROM = 8
"Letters of the shortest secret that is masked everywhere, also where nothing announces it."
LONGEST_LEAD = 24
"Letters that are read before a number."
FEW = 100
"Known secrets for which a text is searched one by one, which is quicker for few."
_LINES = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}+={0,2}")
_WORD = re.compile(r"[^\s\"'<>\\`]+")
_BARE_FIELD = re.compile(r"(?P<quote>\\*[\"'])\]?[ \t]{0,8}:[ \t]{0,8}\Z")
"The text between a quoted name and a value without quotes."


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
        self._lengths: dict[str, set[int]] = {}
        "The lengths of known secrets by their first letters."
        self._silent: set[tuple[int, int, str]] = set()
        "Texts, by their hashes, that were searched and show no secret by themselves."
        self.masks: dict[str, str] = {}
        self.last: Counter[str] = Counter()
        "The highest number of a mask, by kind."
        self.counts: Counter[str] = Counter()
        "The number of replacements, by kind."

    def learn(self, text: str, name: str = "") -> None:
        """Learn the secrets of a text, and the masks that it has already; `name` is its field's."""
        self.learn_masks(text)
        silent = True
        for found in self._announced(text, name):
            silent = False
            if found.sure:
                self._know(text[found.start : found.end], found.kind)
        plain = unveiled(text)
        for found in self._announced(plain.text, name) if plain else ():
            silent = False
            if found.sure and plain:
                self._know(plain.text[found.start : found.end], found.kind)
        if silent:
            self._silent.add((hash(text), len(text), name))

    def learn_masks(self, text: str) -> None:
        """Learn the masks that a text has already, so that no other secret gets one of them."""
        for match in KEPT.finditer(text):
            if match["number"]:
                stands = match[0].removeprefix("MASKED_").rpartition("_")[0]
                self.last[stands] = max(self.last[stands], int(match["number"]))

    def mask(self, text: str, name: str = "") -> str:
        """Return a text without its secrets; `name` is its field's."""
        while pieces := list(_pieces(text, self._all(text, name))):
            text = "".join(self._replaced(text, pieces))
        return text

    def _know(self, secret: str, kind: str) -> None:
        """Mask a secret everywhere from now on, if it is so unusual that others are no accident."""
        for held in names.login_in_base64(secret) if kind == names.HEADER else ():
            self._know(held, kind)
        if not _spreads(secret):
            return
        for written in _ways_of(secret):
            if written not in self.known:
                self.known[written] = kind
                self._lengths.setdefault(written[:SPREAD_FROM], set()).add(len(written))

    def _all(self, text: str, name: str) -> Iterator[SecretSpan]:
        if (hash(text), len(text), name) not in self._silent:
            yield from self._announced(text, name)
        yield from self._packed(text)
        yield from self._spread(text)
        if plain := unveiled(text):
            for found in chain(self._announced(plain.text, name), self._spread(plain.text)):
                yield plain.origin(found)

    def _announced(self, text: str, name: str) -> Iterator[SecretSpan]:
        yield from names.in_field(name, text)
        yield from _shown(text)
        yield from self.patterns.found_in(text)

    def _packed(self, text: str) -> Iterator[SecretSpan]:
        """Yield base64 texts that hold a secret."""
        yield from self._escaped(text) if "%" in text else ()
        for match in _BASE64.finditer(text):
            held = names.unpacked(match[0])
            if held and (any(_shown(held)) or any(self._spread(held))):
                yield SecretSpan(*match.span(), ENCODED)

    def _escaped(self, text: str) -> Iterator[SecretSpan]:
        """Yield secrets in percent-encoded texts."""
        for match in _WORD.finditer(text):
            if "%" not in match[0] or (held := unquote(match[0])) == match[0]:
                continue
            for found in _shown(held):
                written = quote(held[found.start : found.end], safe="")
                at = match[0].find(written)
                if found.kind == places.HOME:
                    continue
                if at >= 0:
                    at += match.start()
                    yield SecretSpan(at, at + len(written), found.kind)
                else:
                    yield SecretSpan(*match.span(), ENCODED)

    def _spread(self, text: str) -> Iterator[SecretSpan]:
        """Yield secrets that are known from elsewhere. However many are known, a text is read
        once: for the first letters of one of them, by each of their lengths."""
        lengths = self._lengths
        for start in self._starts(text):
            for length in lengths[text[start : start + SPREAD_FROM]]:
                kind = self.known.get(text[start : start + length])
                if kind:
                    yield SecretSpan(start, start + length, kind)

    def _starts(self, text: str) -> Iterator[int]:
        """Yield the places where a known secret may begin."""
        if len(self._lengths) > FEW:
            every = range(len(text) - SPREAD_FROM + 1)
            yield from [at for at in every if text[at : at + SPREAD_FROM] in self._lengths]
            return
        for first in self._lengths:
            start = text.find(first)
            while start >= 0:
                yield start
                start = text.find(first, start + 1)

    def _replaced(self, text: str, pieces: Iterable[MaskedPiece]) -> Iterator[str]:
        last = 0
        for start, end, kind in pieces:
            self.counts[kind] += 1
            yield text[last:start]
            mask = self._mask(kind, text[start:end])
            field = _bare_field(text, start, end)
            yield f"{field}{mask}{field}"
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
    finders = (formats, named, places, commands)
    return chain.from_iterable(finder.found_in(text) for finder in finders)


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


def _bare_field(text: str, start: int, end: int) -> str:
    """Return the quotes that a number needs where a text takes its place, if any."""
    if not text[start].isdigit():
        return ""
    before = _BARE_FIELD.search(text[max(0, start - LONGEST_LEAD) : start])
    return before["quote"] if before else ""
