"""What all panels share: the log behind them, and how texts and links go into them."""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from backcast.engine.interfaces.view.markup import Keep, Markup, as_it_is, joined, tag
from backcast.engine.interfaces.view.reading import RunReader

LIVE_LINK = "?e={}"
FILE_LINK = "#e={}"
CHUNK = 20
"Parts of a prompt that a file keeps together: prompts of a run mostly begin the same."
MADE = 20_000
"Parts that are held at once."
SECTIONS = (
    "system prompt", "context map", "task description", "current module", "related functions",
    "related modules", "dependencies", "recent errors", "test results", "historical patterns",
)  # fmt: skip
"Sections in the order of their colours; others come behind them."
KINDS = (
    "system", "tool calls", "user messages", "files", "tool results", "assistant messages",
    "thinking", "unread", "reminders", "tools",
)  # fmt: skip
"Kinds of parts of other programs' prompts in the order of their colours; others share the next."


class PanelMaker:
    """A maker of panels about one task.

    Numbers are computed from `reader`, texts are shown from `shown`: that is the same log, or a
    copy of it without its secrets, and `mask` then takes them out of what is computed.
    """

    def __init__(
        self, reader: RunReader, shown: RunReader | None = None, keep: Keep = as_it_is,
        mask: Callable[[str], str] = str, *, live: bool = True, log: str = "", store_url: str = "",
        policies: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Commands name the run by its `log`, or its task in the store of a URL; `policies` are
        those of which a file tells what they would have shown."""
        self.log, self.store_url, self.policies = log, store_url, policies
        self.reader, self.shown = reader, shown or reader
        self.keep, self.mask, self.live = keep, mask, live
        self._last: dict[str, tuple[tuple[object, ...], Markup]] = {}
        self._made: dict[object, Markup] = {}
        self.redacted = shown is not None

    def made(self, key: object, make: Callable[[], Markup]) -> Markup:
        """Return a part that is made once, whatever panels it stands in."""
        if key not in self._made:
            if len(self._made) > MADE:
                self._made.clear()
            self._made[key] = make()
        return self._made[key]

    def unless_same(
        self, name: str, inputs: tuple[object, ...], make: Callable[[], Markup]
    ) -> Markup:
        """Return a part as it was made last, where all that it is made of is the same value."""
        before = self._last.get(name)
        if before is None or any(a is not b for a, b in zip(before[0], inputs, strict=True)):
            self._last[name] = before = inputs, self.keep(make())
        return before[1]

    def href(self, version: int) -> str:
        """Return the address of an event in the page."""
        if not self.live:
            return FILE_LINK.format(version)
        return LIVE_LINK.format(version) + self.suffix

    def pair_href(self, before: int, after: int) -> str:
        """Return the address of the difference between two prompts."""
        if not self.live:
            return f"#d={before}..{after}"
        return f"?d={before}..{after}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What names the task in an address of the server."""
        return f"&task={quote(self.reader.task, safe='')}"

    def link(self, version: int, words: object = "") -> Markup:
        """Return a link to an event."""
        return tag("a", words or f"#{version}", href=self.href(version), data_e=version)

    def links(self, versions: tuple[int, ...]) -> Markup:
        """Return links to events, in a row."""
        parts = [self.link(version) for version in versions[:8]]
        more = f" and {len(versions) - 8} more" if len(versions) > 8 else ""
        return tag("span", Markup(" ".join(parts)), more)


def in_chunks(maker: PanelMaker, parts: Sequence[Markup]) -> Markup:
    """Return the parts of a prompt in a row, so many together that a file keeps them once."""
    starts = range(0, len(parts), CHUNK)
    return joined(maker.keep(joined(parts[start : start + CHUNK])) for start in starts)


def colour(section: str) -> str:
    """Return the class of a section's colour."""
    return f"s{SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)}"


def shade(kind: str) -> str:
    """Return the class of a kind's colour, the same one in all prompts and runs."""
    return f"s{KINDS.index(kind) if kind in KINDS else len(KINDS)}"


def bar(parts: list[tuple[int, str, str]], whole: int, class_: str = "bar") -> Markup:
    """Return a bar of parts: tokens, class and words of each."""
    x, shown = 0.0, []
    for tokens, kind, words in parts:
        width = 1000 * tokens / max(whole, 1)
        if width > 0:
            place = {"x": f"{x:.1f}", "y": 0, "width": f"{width:.1f}", "height": 20}
            shown.append(tag("rect", tag("title", words), class_=kind, **place))
        x += width
    label = ", ".join(words for tokens, _, words in parts if tokens)
    return tag(
        "svg", Markup("".join(shown)), viewBox="0 0 1000 20", preserveAspectRatio="none",
        class_=class_, role="img", aria_label=label,
    )  # fmt: skip


def ruler(kept: int, again: int) -> Markup:
    """Return a bar of the tokens that are the same from the beginning, and of the rest."""
    parts = [(kept, "kept", f"{kept:,} tokens are the same"),
             (again, "again", f"{again:,} tokens must be read again")]  # fmt: skip
    return bar(parts, kept + again, "bar ruler")


def legend(parts: list[tuple[int, str, str]]) -> Markup:
    """Return what the colours of a bar stand for."""
    keys = [tag("span", words.removesuffix(" tokens"), class_=f"key {kind}")
            for tokens, kind, words in parts if tokens]  # fmt: skip
    return tag("p", *keys, class_="legend")
