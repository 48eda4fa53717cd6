"""Contexts and differences as notebooks show them: the budget bar of the page, and a table."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.context import Context, Item, Omission
from backcast.domain.context_events import ContextItem, ContextOmission
from backcast.engine.interfaces.view.difference_panel import SIGNS
from backcast.engine.interfaces.view.markup import Markup, folded, joined, table, tag
from backcast.engine.interfaces.view.page import asset
from backcast.engine.interfaces.view.panels import bar, colour, ruler
from backcast.engine.models import Message
from backcast.engine.replay.diff import Diff

CLASS = "backcast-prompt"
NAMED = 200
"Items of a table."


class BudgetParts(NamedTuple):
    """What a budget bar shows."""

    tokens: int
    window: int
    reserve: int
    sections: Sequence[tuple[str, int]]


def prompt_html(
    title: str, parts: BudgetParts, items: Sequence[Item | ContextItem],
    omissions: Sequence[Omission | ContextOmission],
) -> str:  # fmt: skip
    """Return a prompt as HTML that stands by itself; every text of it is escaped."""
    around = max(parts.tokens - sum(tokens for _, tokens in parts.sections), 0)
    free = max(parts.window - parts.reserve - parts.tokens, 0)
    counts = [(tokens, colour(name), name) for name, tokens in parts.sections]
    counts += [(around, "around", "system prompt, headings and template"), (free, "free", "free"),
               (parts.reserve, "reserve", "kept for the answer")]  # fmt: skip
    whole = [(tokens, kind, f"{name}: {tokens:,} tokens") for tokens, kind, name in counts]
    keys = [tag("span", words, class_=f"key {kind}") for tokens, kind, words in whole if tokens]
    rows = [(item.section, item.node, item.level, f"{item.tokens:,}") for item in items[:NAMED]]
    lacks = [(one.section, one.node, one.reason) for one in omissions[:NAMED]]
    said = (f"{parts.tokens:,} of {parts.window - parts.reserve:,} tokens used, {free:,} free,"
            f" {parts.reserve:,} kept for the answer")  # fmt: skip
    return _standing(
        tag("p", tag("b", title), f": {said}"), bar(whole, parts.window),
        tag("p", *(part for key in keys for part in (key, " "))),
        folded(f"{len(items)} items", table(("section", "item", "level", "tokens"), rows)),
        folded(f"{len(omissions)} left out", table(("section", "item", "why"), lacks)),
    )  # fmt: skip


def difference_html(found: Diff) -> str:
    """Return the difference between two prompts as HTML that stands by itself."""
    kept = found.shared.tokens if found.shared else 0
    whole = found.shared.of if found.shared else found.tokens[1]
    rows = [(SIGNS[change.kind], change.section, change.node, change.before, change.after,
             f"{change.tokens:+,}" if change.tokens else "", change.why)
            for change in found.changes[:NAMED]]  # fmt: skip
    said = f"the first {kept:,} tokens are the same, {whole - kept:,} must be read again"
    return _standing(
        tag("p", tag("b", f"{found.before} → {found.after}"), f": {said};"
            f" {found.tokens[0]:,} → {found.tokens[1]:,} tokens"),
        ruler(kept, whole - kept),
        table(("", "section", "item", "before", "after", "tokens", "why"), rows),
    )  # fmt: skip


def _standing(*parts: object) -> str:
    return tag("div", tag("style", Markup(_style())), joined(parts), class_=CLASS)


@cache
def _style() -> str:
    """Return the colours of the page for the classes of a bar, and for these alone."""
    return "".join(_rules(asset("view.css")))


def _rules(css: str) -> Iterator[str]:
    light = css.partition("@media")[0]
    named = dict(re.findall(r"--(s\d+|around|free|reserve): (#\w+)", light))
    named |= {"kept": named["s5"], "again": named["s3"]}
    yield f".{CLASS} svg{{width:100%;height:26px}}"
    box = "content:'';display:inline-block;width:10px;height:10px;margin:0 4px"
    yield f".{CLASS} .key::before{{{{{box}}}}}"
    for name, value in named.items():
        yield f".{CLASS} rect.{name}{{fill:{value}}}"
        yield f".{CLASS} .key.{name}::before{{background:{value}}}"


class NotebookContext(Context):
    """A context that a notebook shows with its budget bar.

    `messages` have `role` and `content`. `items` are what it shows: `node`, `section`, `level`,
    `text`, `tokens`; `score` is the chance to be needed, from 0 to 1, `worth` what the level is
    worth per token (None for what must be shown), `because` the numbers of the events that it came
    from. `omissions` are what it leaves out, with the `reason`. `tokens` are those of the rendered
    prompt, `reserve` those of the `window` that are kept for the answer.
    """

    __slots__ = ()
    if TYPE_CHECKING:

        @property
        def messages(self) -> tuple[Message, ...]:
            """The messages, as `of` makes them."""

    @classmethod
    def of(cls, context: Context) -> "NotebookContext":
        """Return a context with messages as those of a recorded prompt are."""
        turns = tuple(Message(role, text) for role, text in context.messages)
        return cls._make(context._replace(messages=turns))

    def _repr_html_(self) -> str:
        sections = [(name, tokens) for name, _, tokens in self.sections]
        parts = BudgetParts(self.tokens, self.window, self.reserve, sections)
        return prompt_html("context", parts, self.items, self.omissions)


class NotebookDiff(Diff):
    """A difference that a notebook shows with its ruler."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return difference_html(self)
