"""A prompt of named sections, brought to a number of tokens by levels.

What is kept stands whole at every stage: rules, the objective, what must be fixed. The rest is
lowered in stages: first the delta is pruned, then the surroundings of the task, then all of it has
its least level. No stage cuts within a line.

>>> rule, output = PromptSection("rules", ("Do no harm.",)), PromptSection(
...     "output", ("a long line of output, which says much", "a line", ""), DELTA)
>>> [compacted([rule, output], room, len).text for room in (99, 30, 11)]
['Do no harm.\\n\\na long line of output, which says much\\n', 'Do no harm.\\n\\na line\\n', '']
>>> compacted([rule, output], 12, len).stage, compacted([rule, output], 11, len).lacks
('rules and objective', 'needed 12 tokens for what must stand whole (rules 11), found 11')
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

KEPT, DELTA, SURROUNDINGS = "kept", "delta", "surroundings"
WHOLE, LEAST = "whole", "rules and objective"
STAGES = (WHOLE, DELTA, SURROUNDINGS, LEAST)
"What a prompt was brought to; those of the groups name what was lowered last."


class PromptSection(NamedTuple):
    """A named part of a prompt."""

    name: str
    texts: tuple[str, ...]
    "Its levels, the most detailed first; an empty text leaves it out."
    group: str = KEPT


class CompactedPrompt(NamedTuple):
    """A prompt whose sections are lowered as far as its tokens ask for."""

    text: str
    "Empty where it does not fit."
    tokens: int
    stage: str
    levels: tuple[int, ...]
    "Of each section, counted from 0."
    lacks: str = ""
    "Why it does not fit at any stage."


def compacted(
    sections: Sequence[PromptSection], room: int, count: Callable[[str], int]
) -> CompactedPrompt:
    """Return the prompt at the first stage that fits, lowered no further than it must be."""
    tokens, stage, levels = 0, WHOLE, tuple[int, ...]()
    for stage, levels in _lowered(sections):
        text = joined(sections, levels)
        tokens = count(text)
        if tokens <= room:
            return CompactedPrompt(text, tokens, stage, levels)
    whole = [section for section in sections if section.group == KEPT and section.texts[0]]
    kept = ", ".join(f"{section.name} {count(section.texts[0]):,}" for section in whole)
    lacks = f"needed {tokens:,} tokens for what must stand whole ({kept}), found {room:,}"
    return CompactedPrompt("", tokens, stage, levels, lacks)


def joined(sections: Sequence[PromptSection], levels: Sequence[int]) -> str:
    """Return the sections at their levels as one text."""
    texts = (section.texts[level] for section, level in zip(sections, levels, strict=True))
    return "\n\n".join(text for text in texts if text) + "\n"


def _lowered(sections: Sequence[PromptSection]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the stages with the levels of all sections, each step one section further."""
    levels = [0] * len(sections)
    yield WHOLE, tuple(levels)
    for stage in (DELTA, SURROUNDINGS, LEAST):
        # What stands last changes most often, and is lowered first.
        for at in reversed(range(len(sections))):
            last = len(sections[at].texts) - 1
            if stage == LEAST and sections[at].group != KEPT:
                wanted = last
            else:
                wanted = min(1, last) if sections[at].group == stage else levels[at]
            if wanted != levels[at]:
                levels[at] = wanted
                yield stage, tuple(levels)


def pruned(text: str, most: int) -> str:
    """Return the leading lines or words of a text that fit a number of characters.

    >>> pruned("one line\\nanother", 12), pruned("some words in a row", 12)
    ('one line [...]', 'some words [...]')
    """
    if len(text) <= most:
        return text
    head = text[: most + 1]
    end = max(head.rfind("\n"), 0) or max(head.rfind(" "), 0) or most
    return f"{text[:end].rstrip()} [...]"
