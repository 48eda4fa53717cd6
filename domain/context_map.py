"""The context map: what helps any later run to find its way in a repository or a corpus, in a
fixed number of tokens.

The sections, the ids and the three edits are PEEK's (arXiv 2605.19932). What is ours: an item tells
which facets it was made of, so it is known to be stale at once when one of them moves on; numbers
are never given twice; and what was found useful fades, so that the map follows the work.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from posixpath import commonprefix
from typing import NamedTuple

from backcast.domain.summary import BuiltFrom, Digests, by_path

SECTIONS: Mapping[str, str] = {
    "CONTEXT ROADMAP": "cr",
    "CONTEXT UNDERSTANDING": "cu",
    "DOMAIN CONSTANTS": "dc",
    "PARSING SCHEMA": "ps",
    "REUSABLE RESULTS": "rr",
    "ERROR PATTERNS": "ep",
}
"The sections in the order in which they stand, and the first part of their items' ids."
TAGS = ("helpful", "harmful", "neutral", "stale")
ITEM_TOKENS = 80
"The most tokens that one item may have, about."
MORE = "..."
"What stands in place of what did not fit on a line."
STALE = " (stale)"
"What is put behind an item that may not hold any more, where such items are shown."

CODE = ("  ", "def ", "class ")
"How the lines of an item begin, but the first."
MOST_CHARACTERS = 2_000
"Of an item, whatever wrote it."


_UNSAFE = (
    (re.compile(r"`{3,}|~{3,}"), "'"),
    (re.compile(r"\[(/?[A-Z][A-Z0-9_]*|[a-z]{2}-\d+)\]"), r"(\1)"),
    (re.compile(r"<(/?\w[^<>\s]{0,60})>"), r"(\1)"),
    (re.compile(r"<[|\uff5c]"), "("),
    (re.compile(r"[|\uff5c]>"), ")"),
)
"""What begins or ends something where a map or a prompt is read: fences, ids of items, tokens of
chat templates. Parentheses stand in none of them, so that what is replaced makes no new one."""
_MARKS = "#>*+-=| "
"What a line of a document may begin with to be a heading, a quote or a list."

Tokens = Callable[[str], int]
"How many tokens a text is."


class MapEntry(NamedTuple):
    """Something that could stand on a map."""

    section: str
    text: str
    "One line, or a line and more below it that belong to it."
    nodes: tuple[str, ...]
    "What it names or leads to."
    built_from: BuiltFrom
    "Per path, the digests of the facets that it was made of."
    rationale: str = ""
    "Why it will help."


class MapItem(NamedTuple):
    """Something that stands on a map."""

    id: str
    section: str
    text: str
    nodes: tuple[str, ...] = ()
    built_from: Digests = ()
    "Path, key and digest of each facet that it was made of."
    task: str = ""
    version: int = 0
    "The event that wrote it as it is."
    added: int = 0
    "The update by which it came, counted from 1."
    tags: tuple[tuple[int, str], ...] = ()
    "The last updates that said whether it was of use, and what they said."

    @property
    def made_of(self) -> BuiltFrom:
        """The digests of what it was made of, by path and key."""
        return by_path(self.built_from)

    @property
    def line(self) -> str:
        """As it stands on the map."""
        return f"[{self.id}] {self.text}"


def lawful(text: str) -> bool:
    """Whether a text may stand on a map: printable and not too long, and no line of it can be
    taken for a heading or for another item: all but the first are set in, or lines of code."""
    first, *rest = text.split("\n")
    return (
        bool(first.strip())
        and len(text) <= MOST_CHARACTERS
        and all(line.isprintable() for line in (first, *rest))
        and all(line.startswith(CODE) for line in rest)
    )


class MapAnswered(NamedTuple):
    """What a model answered while it kept a map, and what that cost."""

    role: str
    "Which was asked: distil or draw."
    text: str
    "As it came."
    prompt_tokens: int | None = None
    tokens: int | None = None
    "Of the answer; None where the model does not say, as of the prompt."
    seconds: float | None = None


class Distilled(NamedTuple):
    """What a finished run tells for later ones."""

    used: tuple[str, ...]
    "The functions and classes that its accepted code used, or that were opened; sorted."
    changed: tuple[str, ...]
    "The functions and classes that it added or changed."
    tags: Mapping[str, str]
    "One of `TAGS` for every item that stood on the map."
    entries: tuple[MapEntry, ...]
    "What it found that could stand there."
    diagnosis: str
    answers: tuple[MapAnswered, ...] = ()
    "Of a model, where one was asked."
    by: str = ""
    "Whose work this is: a name and a version."


def plain(text: str, most: int) -> str:
    """A text of unknown origin as one printable line of at most `most` characters.

    Nothing in it is read as a heading, an id of an item or a token of a chat template. What was
    made so once stays as it is.

    >>> plain("## Cart\\n[cr-00001] holds <|im_end|> what is bought.", 40)
    'Cart (cr-00001) holds (im_end) what ...'
    """
    most = max(most, 0)
    # What is far behind the end is not looked at: a text may have thousands of characters.
    text = "".join(one if one.isprintable() else " " for one in text[: 8 * most + 64])
    text = " ".join(text.split())
    for pattern, instead in _UNSAFE:
        text = pattern.sub(instead, text)
    text = text.lstrip(_MARKS).rstrip()
    if len(text) <= most:
        return text
    room = max(most - len(MORE) - 1, 0)
    words, _, _ = text[: room + 1].rpartition(" ")
    return f"{words.rstrip() or text[:room].rstrip()} {MORE}".lstrip(_MARKS)[:most].rstrip()


def rendered(items: Iterable[MapItem], stale: Iterable[str] = ()) -> str:
    """A map as text: sections in their order, in them items by id; empty for an empty map.

    `stale` are the ids of items that are shown as such.
    """
    old, parts = frozenset(stale), list[str]()
    there = sorted(items, key=lambda one: one.id.rpartition("-")[2])
    for section in SECTIONS:
        own = [one for one in there if one.section == section]
        root = folder_of([_path(one) for one in own if _path(one)])
        heading = f"## {section} (in {root})" if root else f"## {section}"
        if own:
            parts.append("\n".join([heading, *(_told(one, root, one.id in old) for one in own)]))
    return "\n".join(parts)


def folder_of(paths: Sequence[str]) -> str:
    """The folder that all of some files are in, with the stroke behind it; empty for none. It
    stands once, above the items of lines of code.

    >>> folder_of(["src/shop/cart.py", "src/shop/db/rows.py"]), folder_of(["a.py", "b.py"])
    ('src/shop/', '')
    """
    return "".join(commonprefix(paths).rpartition("/")[:2]) if len(paths) > 1 else ""


def _path(one: MapItem) -> str:
    """The file of an item of lines of code; empty for all else."""
    first, below, _ = one.text.partition("\n")
    return first if below else ""


def _told(one: MapItem, root: str, stale: bool) -> str:
    first, end, rest = one.text.partition("\n")
    shown = first.removeprefix(root) if end else first
    return f"[{one.id}] {shown}{STALE if stale else ''}{end}{rest}"


def within(
    items: Sequence[MapItem], budget: int, tokens: Tokens, stale: Iterable[str] = ()
) -> list[MapItem]:
    """The first of some items, the most worth first, that fit a number of tokens, headings
    counted; what does not fit stops no smaller one."""
    kept: list[MapItem] = []
    for one in items:
        if tokens(rendered([*kept, one], stale)) <= budget:
            kept.append(one)
    return kept
