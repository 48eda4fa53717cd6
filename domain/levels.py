"""How is a summary told in so many tokens? Each field is shortened before any is left out.

A field has forms, from the whole text to the shortest that is still true. First each of the most
important fields gets room for its shortest form, and then for one that is good enough; next the
other fields do; what room is left lengthens them all, the most important first.

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
_MARKS = re.compile(r"[,'\"()\[\]{}]")
OTHERS = 50
"The rank from which on a field waits until those before it are good enough."

Tokens = Callable[[str], int]


class Field(NamedTuple):
    """A labelled part of a summary, in all the lengths in which it can be told."""

    label: str
    forms: tuple[str, ...]
    "From the whole text to the shortest one."
    rank: int = OTHERS
    "Fields of a lower rank get room first; of equal ranks the earlier one does."
    good: int = 0
    "The place of the form that is good enough, so that others get room before a longer one does."


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

    def fits(place: int, form: int) -> bool:
        if tokens(_text(fields, {**chosen, place: form})) > limit:
            return False
        chosen[place] = form
        return True

    first = [place for place in by_rank if fields[place].rank < OTHERS]
    for group in (first, [place for place in by_rank if place not in first]):
        for place in group:
            fits(place, len(fields[place].forms) - 1)
        for place in group:
            _lengthen(chosen, place, fields[place].good, fits)
    for place in by_rank:
        _lengthen(chosen, place, 0, fits)
    shortened = [field.label for place, field in enumerate(fields) if chosen.get(place)]
    left_out = [field.label for place, field in enumerate(fields) if place not in chosen]
    return Fitted(_text(fields, chosen), tuple(shortened), tuple(left_out))


def _lengthen(
    chosen: dict[int, int], place: int, longest: int, fits: Callable[[int, int], bool]
) -> None:
    """Give a chosen field the longest form for which there is room, none above `longest`."""
    any(fits(place, form) for form in range(longest, chosen.get(place, 0)))


def cut(text: str, limit: int | None, tokens: Tokens) -> str:
    """Return as many whole lines of a text as fit, else whole sentences of its first line.

    >>> cut("Keep it. Use it.\\nMore.", 3, lambda text: len(text.split()))
    'Keep it.'
    """
    if limit is None or tokens(text) <= limit:
        return text
    lines = text.splitlines()
    for count in range(len(lines) - 1, 0, -1):
        if tokens(shorter := "\n".join(lines[:count])) <= limit:
            return shorter
    sentences = _SENTENCE.split(lines[0])
    for count in range(len(sentences) - 1, 0, -1):
        if tokens(shorter := " ".join(sentences[:count])) <= limit:
            return shorter
    return ""


def _text(fields: Sequence[Field], chosen: dict[int, int]) -> str:
    lines = ((fields[place].label, fields[place].forms[chosen[place]]) for place in sorted(chosen))
    return "\n".join(f"{label}: {text}" if label else text for label, text in lines)


def plain(label: str, text: str, rank: int = OTHERS) -> Field:
    """Return a field that can only be told as it is."""
    return Field(label, (text,), rank)


def worded(label: str, text: str, rank: int = OTHERS) -> Field:
    """Return a field of sentences: fewer of them, the first clause, or its first words."""
    forms = distinct(sentence_forms(" ".join(text.split())))
    good = max((n for n, form in enumerate(forms) if not form.endswith(" ...")), default=0)
    return Field(label, forms, rank, good)


def listed(label: str, entries: Sequence[str], rank: int = OTHERS, *, joint: str = ", ") -> Field:
    """Return a field of entries: all of them, or the first ones and how many more there are."""
    forms = distinct(list_forms(entries, joint))
    return Field(label, forms, rank, max(0, len(forms) - 2))


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


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without its full stop."""
    return _SENTENCE.split(" ".join(text.split()))[0].rstrip(".")


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
    for found in _MARKS.finditer(text):
        place, letter = found.start(), found[0]
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
    return (
        sum(by * text.count(mark) for mark, by in _PAIRS.items()) == 0 and text.count("`") % 2 == 0
    )


def distinct(forms: Iterable[str]) -> tuple[str, ...]:
    """Return the forms that are shorter than every one before them."""
    kept = list[str]()
    for form in forms:
        if form and (not kept or len(form) < len(kept[-1])):
            kept.append(form)
    return tuple(kept)
