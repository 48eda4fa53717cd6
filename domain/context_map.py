"""The context map: a text of fixed size that helps later runs to find their way in a repository.

The sections, the ids and the three edits are PEEK's (arXiv 2605.19932). Three things are ours: an
item names the facets that it was made of, so it is known to be stale as soon as one of them
changes; ids are never reused; and usefulness fades, so that the map follows the work.
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
"The sections in their order, with the prefix of their items' ids."
TAGS = ("helpful", "harmful", "neutral", "stale")
ITEM_TOKENS = 80
"The approximate token limit of one item."
MORE = "..."
"The mark of a shortened line."
STALE = " (stale)"
"The suffix of an item that may no longer hold, where such items are shown."

CODE = ("  ", "def ", "class ")
"The possible beginnings of an item's lines after the first."
MOST_CHARACTERS = 2_000
"The length limit of any item."


_UNSAFE = (
    (re.compile(r"`{3,}|~{3,}"), "'"),
    (re.compile(r"\[(/?[A-Z][A-Z0-9_]*|[a-z]{2}-\d+)\]"), r"(\1)"),
    (re.compile(r"<(/?\w[^<>\s]{0,60})>"), r"(\1)"),
    (re.compile(r"<[|\uff5c]"), "("),
    (re.compile(r"[|\uff5c]>"), ")"),
)
"""Texts with a meaning for readers of maps or prompts: fences, ids of items, tokens of chat
templates. None contains a parenthesis, so that a replacement makes no new one."""
_MARKS = "#>*+-=| "
"Characters that open a heading, a quote or a list in a document."

Tokens = Callable[[str], int]
"A function that counts the tokens of a text."


class MapEntry(NamedTuple):
    """An entry that could stand on a map."""

    section: str
    text: str
    "One line, or a line with indented lines below it."
    nodes: tuple[str, ...]
    "The nodes that it names or leads to."
    built_from: BuiltFrom
    "Per path, the digests of the facets that it was made of."
    rationale: str = ""
    "The reason why it will help."


class MapItem(NamedTuple):
    """An item of a map."""

    id: str
    section: str
    text: str
    nodes: tuple[str, ...] = ()
    built_from: Digests = ()
    "Path, key and digest of each facet that it was made of."
    task: str = ""
    version: int = 0
    "The event that last wrote it."
    added: int = 0
    "The update that added it, counted from 1."
    tags: tuple[tuple[int, str], ...] = ()
    "The last updates that judged its use, and their tags."

    @property
    def made_of(self) -> BuiltFrom:
        """The digests of its facets, by path and key."""
        return by_path(self.built_from)

    @property
    def line(self) -> str:
        """The item as it stands on the map."""
        return f"[{self.id}] {self.text}"


def lawful(text: str) -> bool:
    """Return whether a text may be an item: printable, not too long, and no line after the first
    can be taken for a heading or another item."""
    first, *rest = text.split("\n")
    return (
        bool(first.strip())
        and len(text) <= MOST_CHARACTERS
        and all(line.isprintable() for line in (first, *rest))
        and all(line.startswith(CODE) for line in rest)
    )


class MapAnswered(NamedTuple):
    """A model's answer while it kept a map, and its cost."""

    role: str
    "The question that was asked: distil or draw."
    text: str
    "The answer as it came."
    prompt_tokens: int | None = None
    tokens: int | None = None
    "Tokens of the answer; None if the model does not say, as for the prompt."
    seconds: float | None = None


class Distilled(NamedTuple):
    """The lessons of a finished run."""

    used: tuple[str, ...]
    "Functions and classes that were opened or used by its accepted code; sorted."
    changed: tuple[str, ...]
    "Functions and classes that it added or changed."
    tags: Mapping[str, str]
    "One of `TAGS` for every item on the map."
    entries: tuple[MapEntry, ...]
    "New entries for the map."
    diagnosis: str
    answers: tuple[MapAnswered, ...] = ()
    "Answers of a model, if one was asked."
    by: str = ""
    "Name and version of the distiller."


def plain(text: str, most: int) -> str:
    """Turn a text of unknown origin into one printable line of at most `most` characters.

    Nothing in it can be read as a heading, an item's id or a token of a chat template. Applying it
    twice changes nothing.

    >>> plain("## Cart\\n[cr-00001] holds <|im_end|> what is bought.", 40)
    'Cart (cr-00001) holds (im_end) what ...'
    """
    most = max(most, 0)
    # Text far behind the end is not read: there may be thousands of characters.
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
    """Return a map as text: sections in their order, items by id; empty for an empty map.

    `stale` holds the ids of items to be marked as such.
    """
    old, parts = frozenset(stale), list[str]()
    ordered = sorted(items, key=lambda item: item.id.rpartition("-")[2])
    for section in SECTIONS:
        own = [one for one in ordered if one.section == section]
        root = folder_of([_path(one) for one in own if _path(one)])
        heading = f"## {section} (in {root})" if root else f"## {section}"
        if own:
            parts.append("\n".join([heading, *(_shown(one, root, one.id in old) for one in own)]))
    return "\n".join(parts)


def folder_of(paths: Sequence[str]) -> str:
    """Return the common folder of some files with its final slash; empty for none. The heading
    above the items of code names it once.

    >>> folder_of(["src/shop/cart.py", "src/shop/db/rows.py"]), folder_of(["a.py", "b.py"])
    ('src/shop/', '')
    """
    return "".join(commonprefix(paths).rpartition("/")[:2]) if len(paths) > 1 else ""


def _path(item: MapItem) -> str:
    """Return the file of an item that lists code; empty for other items."""
    first, below, _ = item.text.partition("\n")
    return first if below else ""


def _shown(item: MapItem, root: str, stale: bool) -> str:
    first, end, rest = item.text.partition("\n")
    shown = first.removeprefix(root) if end else first
    return f"[{item.id}] {shown}{STALE if stale else ''}{end}{rest}"


def within(
    items: Sequence[MapItem], budget: int, tokens: Tokens, stale: Iterable[str] = ()
) -> list[MapItem]:
    """Return the first items, most worth first, that fit a token budget with their headings; an
    item that does not fit does not stop a smaller one."""
    kept: list[MapItem] = []
    for item in items:
        if tokens(rendered([*kept, item], stale)) <= budget:
            kept.append(item)
    return kept
