"""How is a summary told in so many tokens? Each field is shortened before any is left out.

A field has forms, from the whole text to the shortest that is still true. First each field gets
room for its shortest form, the most important field first; then, in the same order, each gets the
longest form for which there is room.

>>> modules = listed("Modules", ["[a.py]", "[b.py]", "[c.py]"])
>>> fields = [modules, worded("Goal", "Do it. Do it well.")]
>>> fitted(fields, 10, lambda text: len(text.split())).text
'Modules: [a.py], [b.py], [c.py]\\nGoal: Do it. Do it well.'
>>> fitted(fields, 8, lambda text: len(text.split())).text
'Modules: [a.py], [b.py], [c.py]\\nGoal: Do it.'
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

LESS = (24, 16, 10, 6)
"Words of a sentence that is cut, if its first clause alone is too long."
FEW = (12, 6, 3, 2, 1)
"Entries of a list that are named; the others are counted."
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[])")
_CLAUSE = re.compile(r"(?:[,;:]| - | -- | \u2013 | \u2014 )(?=\s|$)")
_PAIRS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_BY_RANK = 50

Tokens = Callable[[str], int]


class Field(NamedTuple):
    """A labelled part of a summary, in all the lengths in which it can be told."""

    label: str
    forms: tuple[str, ...]
    "From the whole text to the shortest one."
    rank: int = _BY_RANK
    "Fields of a lower rank get room first; of equal ranks the earlier one does."


class Fitted(NamedTuple):
    """The fields of a summary within a number of tokens, as lines."""

    text: str
    shortened: tuple[str, ...]
    "Labels of the fields that are not shown whole."
    left_out: tuple[str, ...]
    "Labels of the fields for which there is no room, however short."


def fitted(fields: Sequence[Field], limit: int | None, tokens: Tokens) -> Fitted:
    """Return the fields that fit a number of tokens, each in the longest form for which there is
    room; all of them whole where there is no limit."""
    chosen = dict.fromkeys(range(len(fields)), 0)
    if limit is None or tokens(_text(fields, chosen)) <= limit:
        return Fitted(_text(fields, chosen), (), ())
    by_rank = sorted(chosen, key=lambda place: (fields[place].rank, place))
    chosen = {}
    for place in by_rank:
        tried = {**chosen, place: len(fields[place].forms) - 1}
        if tokens(_text(fields, tried)) <= limit:
            chosen = tried
    for place in (place for place in by_rank if place in chosen):
        for form in range(chosen[place]):
            tried = {**chosen, place: form}
            if tokens(_text(fields, tried)) <= limit:
                chosen = tried
                break
    shortened = [field.label for place, field in enumerate(fields) if chosen.get(place)]
    left_out = [field.label for place, field in enumerate(fields) if place not in chosen]
    return Fitted(_text(fields, chosen), tuple(shortened), tuple(left_out))


def _text(fields: Sequence[Field], chosen: dict[int, int]) -> str:
    lines = ((fields[place].label, fields[place].forms[chosen[place]]) for place in sorted(chosen))
    return "\n".join(f"{label}: {text}" if label else text for label, text in lines)


def plain(label: str, text: str, rank: int = _BY_RANK) -> Field:
    """Return a field that can only be told as it is."""
    return Field(label, (text,), rank)


def worded(label: str, text: str, rank: int = _BY_RANK) -> Field:
    """Return a field of sentences: fewer of them, the first clause, or its first words."""
    return Field(label, distinct(sentence_forms(" ".join(text.split()))), rank)


def listed(label: str, entries: Sequence[str], rank: int = _BY_RANK, *, joint: str = ", ") -> Field:
    """Return a field of entries: all of them, or the first ones and how many more there are."""
    return Field(label, distinct(list_forms(entries, joint)), rank)


def sentence_forms(text: str) -> Iterable[str]:
    """Yield a text in ever fewer sentences, then ever fewer words; a cut is marked by `...`.

    >>> list(sentence_forms("Take off blanks, and more. Keep case."))
    ['Take off blanks, and more. Keep case.', 'Take off blanks, and more.', 'Take off blanks ...']
    """
    yield text
    sentences = _SENTENCE.split(text)
    for count in range(len(sentences) - 1, 0, -1):
        yield " ".join(sentences[:count])
    first = sentences[0]
    found = [m.start() for m in _CLAUSE.finditer(first) if _balanced(first[: m.start()])]
    for end in reversed(found):
        if len(first[:end].split()) > 1:
            yield f"{first[:end].rstrip()} ..."
    words = first.split(" ")
    for count in LESS:
        if count < len(words):
            yield f"{' '.join(words[:count]).rstrip(',;:')} ..."


def list_forms(entries: Sequence[str], joint: str = ", ") -> Iterable[str]:
    """Yield entries joined, then the first of them and a count of the others.

    >>> list(list_forms(["a", "b", "c"]))
    ['a, b, c', 'a, b and 1 more', 'a and 2 more']
    """
    yield joint.join(entries)
    for count in FEW:
        if count < len(entries):
            yield f"{joint.join(entries[:count])} and {len(entries) - count} more"


def split_list(text: str) -> list[str]:
    """Return the parts of a text between commas that stand in no brackets or quotes.

    >>> split_list("a: dict[str, int], b='x, y', *c")
    ['a: dict[str, int]', "b='x, y'", '*c']
    """
    parts, depth, quote, begin = list[str](), 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[place - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "," and not depth:
            parts.append(text[begin:place].strip())
            begin = place + 1
        else:
            depth += _PAIRS.get(letter, 0)
    return [part for part in (*parts, text[begin:].strip()) if part]


def _balanced(text: str) -> bool:
    return sum(_PAIRS.get(letter, 0) for letter in text) == 0 and text.count("`") % 2 == 0


def distinct(forms: Iterable[str]) -> tuple[str, ...]:
    """Return the forms that are shorter than every one before them."""
    kept = list[str]()
    for form in forms:
        if form and (not kept or len(form) < len(kept[-1])):
            kept.append(form)
    return tuple(kept)
