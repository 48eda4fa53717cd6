"""What a model is shown, as a value; and how it is chosen to fit: whole items, hard budgets.

What must be shown comes first, at the best level of detail at which all of it fits. The rest
follows by priority and score, each at the best level that there is room for. What a section does
not use flows on to the others. An item that does not fit stops no smaller one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.errors import BudgetExceededError

PRIORITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW")


class Level(NamedTuple):
    """One way to show something."""

    name: str
    "full, summary, signature or name."
    text: str
    tokens: int


class Candidate(NamedTuple):
    """Something that could be shown."""

    node: str
    section: str
    priority: str
    levels: tuple[Level, ...]
    "The most detailed first; each takes fewer tokens than the one before."
    score: float = 0.0
    "Within a priority the highest come first; ties by node."
    because: tuple[int, ...] = ()
    "The versions of the events that it came from."


class Item(NamedTuple):
    """Something that is shown."""

    node: str
    section: str
    priority: str
    level: str
    text: str
    tokens: int
    score: float
    because: tuple[int, ...]


class Omission(NamedTuple):
    """Something that is not shown, and why."""

    node: str
    section: str
    reason: str


class Context(NamedTuple):
    """What a model is shown."""

    messages: tuple[tuple[str, str], ...]
    "Role and text."
    items: tuple[Item, ...]
    "In the order in which they are shown."
    omissions: tuple[Omission, ...]
    tokens: int
    "Of the whole rendered prompt, the chat template's control tokens included."
    window: int
    reserve: int
    "Tokens kept free for the answer."
    sections: tuple[tuple[str, int, int], ...]
    "Section, its budget, and the tokens that its items take."
    digest: str
    "SHA-256 of the rendered prompt."


def allocated(
    candidates: Sequence[Candidate], budgets: Mapping[str, int], available: int
) -> tuple[list[Item], list[Omission]]:
    """The candidates that are shown within some tokens, each at its level, and those that are not.

    `budgets` holds the tokens of each section. Raises `BudgetExceededError` where what is CRITICAL
    does not fit at its lowest levels.
    """
    ranked = sorted(
        candidates, key=lambda one: (PRIORITIES.index(one.priority), -one.score, one.node)
    )
    must = [one for one in ranked if one.priority == "CRITICAL"]
    levels = dict(zip(must, _lowered(must, budgets, available), strict=True))
    used = dict.fromkeys(budgets, 0)
    for one, number in levels.items():
        used[one.section] = used.get(one.section, 0) + one.levels[number].tokens
    rest = [one for one in ranked if one.priority != "CRITICAL"]
    # First within each section's own budget, then with what the others have left.
    for flowing in (False, True):
        for one in ranked if flowing else rest:
            free = available - sum(used.values())
            own = free if flowing else min(free, budgets.get(one.section, 0) - used[one.section])
            before = one.levels[levels[one]].tokens if one in levels else 0
            best = levels.get(one, len(one.levels))
            for number, level in enumerate(one.levels[:best]):
                if level.tokens - before <= own:
                    levels[one] = number
                    used[one.section] += level.tokens - before
                    break
    items = [_item(one, levels[one]) for one in ranked if one in levels]
    omissions = [
        Omission(one.node, one.section, "over budget") for one in rest if one not in levels
    ]
    return items, omissions


def _lowered(must: Sequence[Candidate], budgets: Mapping[str, int], available: int) -> list[int]:
    """The best levels at which all of some candidates fit, the last ranked lowered first."""
    levels = [0] * len(must)
    for section in dict.fromkeys(one.section for one in must):
        among = [n for n, one in enumerate(must) if one.section == section]
        _lower(must, levels, among, budgets.get(section, 0))
    if _lower(must, levels, list(range(len(must))), available):
        return levels
    needed = sum(one.levels[level].tokens for one, level in zip(must, levels, strict=True))
    raise BudgetExceededError(needed, available, tuple(one.node for one in must))


def _lower(must: Sequence[Candidate], levels: list[int], among: list[int], limit: int) -> bool:
    """Lower levels until some candidates fit, and tell whether they do."""
    while True:
        taken = sum(must[n].levels[levels[n]].tokens for n in among)
        if taken <= limit:
            return True
        lower = [n for n in among if levels[n] + 1 < len(must[n].levels)]
        if not lower:
            return False
        levels[lower[-1]] += 1


def _item(one: Candidate, level: int) -> Item:
    name, text, tokens = one.levels[level]
    return Item(one.node, one.section, one.priority, name, text, tokens, one.score, one.because)
