"""An agent's own prompt without each of its parts: messages, answers and results."""

from collections.abc import Iterator, Sequence

from backcast.domain.message_parts import Count
from backcast.engine.replay.actions import PERSON, joined
from backcast.engine.replay.prompt_variants import PromptPart, PromptVariant
from backcast.engine.replay.steps import SaidPart, SentAction


def said_items(action: SentAction, count: Count) -> list[PromptPart]:
    """Return the parts of an agent's prompt.

    The first words of a person are none: without them the action would be that of another task.
    """
    goal = next((part for part in action.parts if part.role == PERSON), None)
    return [
        PromptPart("item", part.name, f"{part.kind}s" if part.kind != "system" else part.kind, "",
                   count(part.text))
        for part in action.parts if part is not goal
    ]  # fmt: skip


def sections_and_largest(
    every: Sequence[PromptPart], most: int
) -> tuple[tuple[PromptPart, ...], int]:
    """Return the sections of some items, the largest of them, and how many more there are."""
    sums = dict[str, int]()
    for item in every:
        sums[item.section] = sums.get(item.section, 0) + item.tokens
    sections = [PromptPart("section", name, name, "", tokens) for name, tokens in sums.items()]
    largest = sorted(every, key=lambda item: (-item.tokens, item.name))[:most]
    return (*sections, *largest), len(every) - len(largest)


def said_variants(
    action: SentAction, parts: Sequence[PromptPart], every: Sequence[PromptPart],
    drawn: Sequence[Sequence[bool]],
) -> Iterator[PromptVariant]:  # fmt: skip
    """Yield the whole prompt, then it without each of some parts, then with each half of all."""
    yield PromptVariant("", action.messages)
    sections = {item.name: item.section for item in every}
    for part in parts:
        gone = {
            name for name, section in sections.items()
            if (section if part.kind == "section" else name) == part.name
        }  # fmt: skip
        yield PromptVariant(f" without {part.name}", _less(action.parts, gone), part)
    for number, half in enumerate(drawn, 1):
        gone = {item.name for item, held in zip(every, half, strict=True) if not held}
        yield PromptVariant(f", half {number}", _less(action.parts, gone))


def _less(parts: Sequence[SaidPart], gone: set[str]) -> tuple[tuple[str, str], ...]:
    return joined(part for part in parts if part.name not in gone)
