"""A prompt without each of its parts: sections, items, and sentences of our own words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.context import Context, Item
from backcast.domain.policy import Policy
from backcast.engine.context.builder import TASK
from backcast.engine.context.rendering import RenderItem
from backcast.engine.replay.instructions import Messages, text_parts, without_part, worded


class PromptPart(NamedTuple):
    """A section of a prompt, an item, or a sentence of our own words."""

    kind: str
    "section, item or instruction."
    name: str
    "The section, the node, or the sentence behind the name of its text."
    section: str
    level: str
    "How the item is shown; empty for a section."
    tokens: int


class PromptVariant(NamedTuple):
    """The prompt of a step, whole or without something."""

    name: str
    "Of its setting, behind the name of the policy."
    messages: Messages
    part: PromptPart | None = None
    "The part that is left out; None for the whole and for a half."


def without_parts(
    context: Context, policy: Policy, parts: Sequence[PromptPart], *, texts: bool
) -> Iterator[PromptVariant]:
    """Yield a whole prompt, then it without each part; with `texts` without each sentence that
    changes it, too."""
    items = [_rendered(item) for item in context.items]
    whole = worded(items, policy, policy)
    yield PromptVariant("", whole)
    for part in parts:
        messages = worded([*map(_rendered, _without(context, part))], policy, policy)
        yield PromptVariant(f" without {part.name}", messages, part)
    for sentence in text_parts(policy) if texts else ():
        messages = worded(items, policy, without_part(policy, sentence))
        if messages != whole:
            part = PromptPart("instruction", sentence.label, "", "", 0)
            yield PromptVariant(f" without {part.name}", messages, part)


def with_halves(
    context: Context, policy: Policy, every: Sequence[Item], drawn: Sequence[Sequence[bool]]
) -> Iterator[PromptVariant]:
    """Yield a prompt with each half of its items."""
    for number, half in enumerate(drawn, 1):
        messages = worded([*map(_rendered, _held(context, every, half))], policy, policy)
        yield PromptVariant(f", half {number}", messages)


def parts_of(context: Context, most: int) -> tuple[tuple[PromptPart, ...], int]:
    """Return the sections of a prompt, its largest items, and how many more there are.

    The words of the task are no part: without them the outcome would be that of another task.
    """
    known = [item for item in context.items if item.section != TASK]
    sums: dict[str, int] = {}
    for item in known:
        sums[item.section] = sums.get(item.section, 0) + item.tokens
    sections = [PromptPart("section", name, name, "", sums[name]) for name in sums]
    largest = sorted(known, key=lambda item: (-item.tokens, item.node))[:most]
    items = [PromptPart("item", i.node, i.section, i.level, i.tokens) for i in largest]
    return (*sections, *items), len(known) - len(largest)


def _held(context: Context, every: Sequence[Item], half: Sequence[bool]) -> list[Item]:
    """Return a prompt's items without those that are not in a half."""
    out = {(item.node, item.section) for item, held in zip(every, half, strict=True) if not held}
    return [item for item in context.items if (item.node, item.section) not in out]


def _rendered(item: Item) -> RenderItem:
    return RenderItem(item.node, item.section, item.text, item.level)


def _without(context: Context, part: PromptPart) -> Sequence[Item]:
    if part.kind == "section":
        return [item for item in context.items if item.section != part.name]
    gone = (part.name, part.section)
    return [item for item in context.items if (item.node, item.section) != gone]
