"""What somebody wants of a text, by the words, paths and symbols of a request."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from backcast.domain.action_evidence import PATH, SYMBOL, evidence_in

HOPS = 4
"Imports between what is asked about and what is still near it."
_WORD = re.compile(r"[A-Za-z_]\w+")
_QUOTED = re.compile(r"""[`'"]([A-Za-z_]\w*)(?:\(\))?[`'"]""")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SOUNDLESS = frozenset((
    "and", "are", "but", "can", "for", "from", "has", "have", "not", "that", "the", "this", "was",
    "what", "when", "where", "which", "will", "with", "you", "your", "should", "does", "its",
))  # fmt: skip


class TextRequest(NamedTuple):
    """What somebody wants of a text.

    >>> request = request_of("Why does add_item fail in shop/till.py?")
    >>> sorted(request.paths), sorted(request.symbols)
    (['shop/till.py'], ['add_item'])
    """

    words: frozenset[str] = frozenset()
    "Words in small letters, and the parts of those that have some."
    paths: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    "Names in quotes, of which only the definitions are asked for."
    near: tuple[tuple[str, int], ...] = ()
    "Paths that lie near, each with its distance from 1 to `HOPS`, sorted."


def request_of(text: str, near: Mapping[str, int] | None = None, task: str = "") -> TextRequest:
    """Return what a text asks for; `near` has the distance of paths that lie near, and of a `task`
    that was set before the words count, not what it names."""
    evidence = evidence_in(text)
    distances = sorted((near or {}).items())
    return TextRequest(
        _words(f"{task}\n{text}"),
        frozenset(thing.text for thing in evidence if thing.kind == PATH),
        frozenset(thing.text for thing in evidence if thing.kind == SYMBOL),
        frozenset(_QUOTED.findall(text)),
        tuple((path, hops) for path, hops in distances if 0 < hops <= HOPS),
    )


def _words(text: str) -> frozenset[str]:
    """Return the words of a text that tell something, and the parts of those that have some."""
    found = set[str]()
    for word in _WORD.findall(text):
        found.update(part for part in word_parts(word) if len(part) > 2)
    return frozenset(found - _SOUNDLESS)


def word_parts(word: str) -> Iterable[str]:
    """Yield a word in small letters, and the parts of one that has some."""
    yield word.lower()
    if "_" in word or (word != word.lower() and word != word.upper()):
        yield from (part.lower() for part in _PART.findall(word))
