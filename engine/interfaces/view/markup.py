"""Make HTML of which every text from a log is escaped: only `Markup` goes in as it is.

>>> tag("b", "<script>", class_="x")
'<b class="x">&lt;script&gt;</b>'
"""

import html
import re
from collections.abc import Callable, Iterable

VOID = frozenset({"input", "link", "meta"})
UNSEEN = re.compile(
    "(?![\n\t]|\r\n)[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)
"Characters that no reader sees, or by which others are shown in another order."
LONGEST = 60_000
"Characters of one text that are shown; the rest is counted."
BLOCK = 4_000
"""Characters after which a long text goes on in another block. A browser lays out each block by
itself, and only those in sight: the lines of one block of two megabytes take it twenty seconds."""


class Markup(str):
    """A text that is HTML already."""

    __slots__ = ()


Keep = Callable[[Markup], Markup]
"A function that may put a part aside, and returns what stands for it."


def as_it_is(part: Markup) -> Markup:
    """Return a part itself: a page of a server keeps nothing aside."""
    return part


def escape(text: object) -> Markup:
    """Return a text as HTML, with what cannot be seen as `\\x1b`; of markup, itself."""
    if isinstance(text, Markup):
        return text
    return Markup(UNSEEN.sub(_shown, html.escape(str(text))))


def _shown(match: re.Match[str]) -> str:
    return f'<i class="unseen">{repr(match[0])[1:-1]}</i>'


def plain(text: object) -> str:
    """Return a text for an attribute: what cannot be seen is escaped without marks."""
    return UNSEEN.sub(lambda match: repr(match[0])[1:-1], str(text))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element. An attribute of None or False is left out; `class_` is `class`, and `_`
    within a name is `-`."""
    opened = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(plain(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{opened}>")
    return Markup(f"<{name}{opened}>{joined(children)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Return parts in a row, each escaped unless it is markup; None is nothing."""
    return Markup("".join(escape(part) for part in parts if part is not None))


def table(
    head: Iterable[str], rows: Iterable[Iterable[object]], class_: str | None = None,
    keep: Keep = as_it_is,
) -> Markup:  # fmt: skip
    """Return a table without its empty columns; nothing where there are no rows."""
    cells = [list(row) for row in rows]
    titles = list(head)
    shown = [at for at in range(len(titles)) if any(row[at] not in ("", None) for row in cells)]
    if not shown:
        return Markup("")
    first = tag("tr", *(tag("th", titles[at], scope="col") for at in shown))
    body = (
        keep(tag("tr", *(tag("td", row[at], data_h=titles[at] or None) for at in shown)))
        for row in cells
    )
    return tag(
        "div", tag("table", tag("thead", first), tag("tbody", *body), class_=class_), class_="wide"
    )


def long_text(text: str, class_: str = "text", most: int = LONGEST) -> Markup:
    """Return a text in its lines, up to its first `most` characters."""
    return tag("pre", *cut(text, most), class_=class_)


def cut(text: str, most: int = LONGEST) -> list[object]:
    """Return a text up to its first `most` characters, in blocks, and how many more it has."""
    if len(text) <= most:
        return blocks(text)
    more = tag("em", f" … {len(text) - most:,} characters more", class_="more")
    return [*blocks(text[:most]), more]


def blocks(text: str) -> list[object]:
    """Return a text in blocks of whole lines; what follows its last line end stays as it is, so
    that other text can go on in the same line."""
    found, done = list[object](), 0
    while len(text) - done > 2 * BLOCK and (end := text.find("\n", done + BLOCK)) >= 0:
        found.append(block(text[done : end + 1]))
        done = end + 1
    return [*found, text[done:]]


def block(*children: object) -> Markup:
    """Return what ends with the end of a line as a part that a browser lays out by itself."""
    return tag("span", *children, class_="block")


def folded(
    title: object, *children: object, is_open: bool = False, class_: str = "", key: str = ""
) -> Markup:
    """Return a part that opens on a click; by its key the page knows it again at other events."""
    return tag("details", tag("summary", title), *children, open=is_open, class_=class_ or None,
               data_k=key or None)  # fmt: skip
