"""Which slot of a server has read which beginning, and which of its slots reads which call next.

llama-server keeps in each slot what that has read last, and no slot knows what another has read.
Calls whose prompts begin alike are therefore made one after the other in a slot that has their
beginning, or, where the server can copy a slot, side by side in slots that were all given it.

Pure: what was sent and what the server said of it go in, a plan comes out. What a slot holds is
believed only until the server tells otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from immutables import Map

LEAST = 256
"Tokens that prompts must share before it pays to place them: a slot reads fewer in no time."
WRITTEN = 8
"Tokens that a model reads in the time in which it writes one."


class PrefixCall(NamedTuple):
    """A call that is about to be made."""

    id: int
    text: str
    "All that its model reads, as one text: what two of them share is told by its characters."
    tokens: int
    "Of the prompt."
    answer: int
    "Tokens of the answer, as far as they can be foretold."


class SharedPrefix(NamedTuple):
    """A beginning that is read once, and copied to slots of calls that share it."""

    calls: tuple[int, ...]
    tokens: int
    "As foretold."
    slot: int
    copies: tuple[int, ...]
    "The other slots."


class SlotPlan(NamedTuple):
    """Where each of some calls is read, and what is read before them."""

    order: tuple[int, ...] = ()
    "Prompts that begin alike stand beside each other."
    slots: Mapping[int, int] = {}
    "By call; none for a call whose slot the server chooses. Calls of a slot follow each other."
    read_first: tuple[SharedPrefix, ...] = ()


class SlotTexts(NamedTuple):
    """The registry of what each slot of one server has read last, as far as that is known."""

    texts: Map[int, str] = Map()
    sent: Map[int, int] = Map()
    "When that was, counted in prompts."
    prompts: int = 0

    def after(self, slot: int, text: str) -> "SlotTexts":
        """Return the registry after a slot was sent a text."""
        number = self.prompts + 1
        return SlotTexts(self.texts.set(slot, text), self.sent.set(slot, number), number)

    def told(self, slot: int, call: PrefixCall, cached: int | None) -> "SlotTexts":
        """Return the registry after the server told how much of a call its slot had.

        A slot that had far less than it was sent belongs to a server that has started again, or
        is asked by others too: whatever else is believed of it is dropped.
        """
        believed = shared(self.texts.get(slot, ""), call.text)
        expected = tokens_of(call, believed)
        if cached is not None and expected >= LEAST and 2 * cached < expected:
            return SlotTexts(prompts=self.prompts).after(slot, call.text)
        return self.after(slot, call.text)


def shared(before: Sequence[Any], after: Sequence[Any]) -> int:
    """Return how many leading tokens two prompts share, or characters two texts.

    >>> shared("abcd", "abx")
    2
    """
    # Slices are compared in C: halving them takes a fiftieth of the time of a walk in Python.
    low, high = 0, min(len(before), len(after))
    if before[:high] == after[:high]:
        return high
    while low + 1 < high:  # the first `low` are the same, the first `high` are not
        middle = (low + high) // 2
        if before[low:middle] == after[low:middle]:
            low = middle
        else:
            high = middle
    return low


def tokens_of(call: PrefixCall, characters: int) -> int:
    """Return how many tokens so many leading characters of a call are, about."""
    return call.tokens * characters // max(1, len(call.text))


def planned(
    calls: Sequence[PrefixCall],
    known: SlotTexts,
    slots: int,
    *,
    copies: bool = False,
    least: int = LEAST,
    written: float = WRITTEN,
) -> SlotPlan:
    """Return which slot reads which call; empty where the server had better choose itself.

    `copies` tells whether the server can copy what a slot has read to another.
    """
    groups = _groups(calls, least)
    order = tuple(call.id for group in groups for call in group)
    if slots < 2 or all(len(group) == 1 for group in groups):
        return SlotPlan(order)
    lanes = [
        min(len(group), slots) if copies or len(group) == 1 else _lanes(group, slots, written)
        for group in groups
    ]
    while sum(lanes) > max(slots, len(groups)):
        lanes[lanes.index(max(lanes))] -= 1
    free, placed, first = list(range(slots)), dict[int, int](), list[SharedPrefix]()
    for group, count in zip(groups, lanes, strict=True):
        begins = _begins(group)
        # Where one has the beginning already it comes first; else whatever was sent longest ago.
        free = free or list(range(slots))
        free.sort(key=lambda slot: (
            -shared(known.texts.get(slot, ""), begins), known.sent.get(slot, 0), slot
        ))  # fmt: skip
        own, free = free[:count], free[count:]
        for number, call in enumerate(group):
            placed[call.id] = own[number % len(own)]
        if copies and len(own) > 1:
            tokens = tokens_of(group[0], len(begins))
            ids = tuple(call.id for call in group)
            first.append(SharedPrefix(ids, tokens, own[0], tuple(own[1:])))
    return SlotPlan(order, placed, tuple(first))


def _groups(calls: Sequence[PrefixCall], least: int) -> list[list[PrefixCall]]:
    """Return calls by what they begin with, the largest group first."""
    groups = list[list[PrefixCall]]()
    for call in sorted(calls, key=lambda call: (call.text, call.id)):
        last = groups[-1] if groups else []
        if last and tokens_of(call, shared(_begins(last), call.text)) >= least:
            last.append(call)
        else:
            groups.append([call])
    return sorted(groups, key=lambda group: -len(group))


def _begins(group: Sequence[PrefixCall]) -> str:
    """Return what all calls of a group begin with: they are sorted, so its ends tell."""
    return group[0].text[: shared(group[0].text, group[-1].text)]


def _lanes(group: Sequence[PrefixCall], slots: int, written: float) -> int:
    """Return in how many slots a group ends first, where each slot reads the beginning itself.

    Reading is a matter of the machine's arithmetic, and takes as long in one slot as in several;
    answers are written side by side in the time of one.
    """
    begins = tokens_of(group[0], len(_begins(group)))
    own = sum(max(0, call.tokens - begins) for call in group)
    answer = max(call.answer for call in group)

    def time(lanes: int) -> float:
        return lanes * begins + own + -(-len(group) // lanes) * answer * written

    return min(range(1, min(len(group), slots) + 1), key=lambda lanes: (time(lanes), lanes))
