"""What is shown within a budget, and at which level of detail? Whole items, never one token more.

What is CRITICAL comes first, at the best levels at which all of it fits: what ranks last is lowered
first, and what that leaves is given back, the first ranked first. The rest is a knapsack
with several sizes of each thing, of which one may be taken. It is filled by what each step up
gains per token: first the sections within their own budgets, by priority, then all together in
what is left, so that what a section does not use flows on. A step that does not fit stops no
smaller one.

Steps lie on a candidate's convex hull. So where one budget holds, the sum of gains is at most what
the largest single step gains below the best possible one (Sinha and Zoltners, 1979, on the linear
relaxation); budgets of sections and priorities go before the sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.context import PRIORITIES, Candidate, Item, Omission
from domain.errors import BudgetExceededError

OVER, LOWER, DUPLICATE = "over budget", "lower score than the last one in", "duplicate"
OUT = -1
"The level of what is not shown."


class Step(NamedTuple):
    """From one level of a candidate to a more detailed one."""

    ratio: float
    "What it gains per token."
    candidate: int
    start: int
    end: int
    tokens: int
    "Of the level that it leads to."


class Offer:
    """Candidates, ranked once, to be allocated within different numbers of tokens."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates = sorted(
            candidates,
            key=lambda one: (PRIORITIES.index(one.priority), one.rank, -one.score, one.node),
        )
        self.places = {one.node: number for number, one in enumerate(self.candidates)}
        self.first = [steps(one, number) for number, one in enumerate(self.candidates)]
        "The steps of each from not being shown."
        self.within: dict[str, list[int]] = {}
        "The candidates whose text another's full text holds, by that one's node."
        for number, one in enumerate(self.candidates):
            if one.within:
                self.within.setdefault(one.within, []).append(number)
        self.full = [bool(one.levels) and one.levels[0].name == "full" for one in self.candidates]
        "Whether a candidate can be shown in full."

    def allocated(
        self, budgets: Mapping[str, int], available: int, kept: Mapping[str, int] = {}
    ) -> tuple[list[Item], list[Omission]]:
        """The candidates that are shown within some tokens, each at its level, and those that are
        not.

        `budgets` holds the tokens of each section. `kept` are nodes that are shown at a level as
        long as there is room, the first ones longest, before anything is chosen anew. Raises
        `BudgetExceededError` where what is CRITICAL does not fit at its lowest levels.
        """
        filling, ranked = _Filling(self, dict(budgets), available), self.candidates
        must = [n for n, one in enumerate(ranked) if one.priority == "CRITICAL"]
        those = [ranked[number] for number in must]
        wishes = _wishes(those, budgets, kept)
        for number, level in zip(must, _lowered(those, wishes, available), strict=True):
            if not filling.held(number):
                filling.show(number, level)
        filling.give_back(dict(zip(must, wishes, strict=True)))
        filling.keep(kept)
        for priority in PRIORITIES[1:]:
            filling.fill([n for n, one in enumerate(ranked) if one.priority == priority], own=True)
        filling.fill(range(len(ranked)), own=False)
        filling.top_up()
        return filling.items(), filling.omissions()


def allocated(
    candidates: Iterable[Candidate],
    budgets: Mapping[str, int],
    available: int,
    kept: Mapping[str, int] = {},
) -> tuple[list[Item], list[Omission]]:
    """What is shown of some candidates, once: see `Offer.allocated`."""
    return Offer(candidates).allocated(budgets, available, kept)


class _Filling:
    """Levels of candidates, and the room that is left."""

    def __init__(self, offer: Offer, budgets: dict[str, int], available: int) -> None:
        self.candidates, self.free, self.left = offer.candidates, available, budgets
        self.within, self.places, self.first = offer.within, offer.places, offer.first
        self.full = offer.full
        self.levels = [OUT] * len(self.candidates)
        self.lowest = float("inf")
        "The least gain per token that came in."
        self.fixed: set[int] = set()
        "Candidates that stay as they are."

    def steps(self, number: int) -> list[Step]:
        """The steps up from the level at which a candidate is shown."""
        level = self.levels[number]
        return self.first[number] if level == OUT else steps(self.candidates[number], number, level)

    def tokens(self, number: int) -> int:
        """What a candidate takes as it is shown now."""
        level = self.levels[number]
        return 0 if level == OUT else self.candidates[number].levels[level].tokens

    def show(self, number: int, level: int) -> None:
        """Show a candidate at a level, whatever room there is."""
        one, before = self.candidates[number], self.tokens(number)
        self.levels[number] = level
        more = self.tokens(number) - before
        self.free -= more
        self.left[one.section] = self.left.get(one.section, 0) - more
        for inner in self.inside(number, level):
            freed, section = self.tokens(inner), self.candidates[inner].section
            self.levels[inner] = OUT
            self.free += freed
            self.left[section] = self.left.get(section, 0) + freed

    def take(self, number: int, level: int) -> None:
        """Show a candidate at a level for what it gains per token."""
        levels, before = self.candidates[number].levels, self.levels[number]
        gain = levels[level].gain - (0.0 if before == OUT else levels[before].gain)
        more = levels[level].tokens - self.tokens(number)
        self.lowest = min(self.lowest, gain / max(1, more))
        self.show(number, level)

    def inside(self, number: int, level: int) -> Sequence[int]:
        """The candidates whose text a candidate's holds at a level."""
        if level != 0 or not self.full[number]:
            return ()
        return self.within.get(self.candidates[number].node, ())

    def fits(self, number: int, level: int, room: int) -> bool:
        """Whether a candidate can be shown at a level, in place of what it makes needless.

        Nothing that stays as it is can be made needless.
        """
        inside = self.inside(number, level)
        more = self.candidates[number].levels[level].tokens - self.tokens(number)
        more -= sum(self.tokens(inner) for inner in inside)
        return more <= room and self.fixed.isdisjoint(inside)

    def fill(self, numbers: Sequence[int], *, own: bool) -> None:
        """Take the steps of some candidates that fit, those that gain most per token first.

        `own` for steps within the own budget of each one's section.
        """
        some = [step for number in numbers for step in self.steps(number)]
        for step in sorted(some, key=lambda step: (-step.ratio, step.candidate, step.start)):
            number = step.candidate
            if self.levels[number] != step.start or number in self.fixed or self.held(number):
                continue
            room = self.free
            if own:
                room = min(room, self.left.get(self.candidates[number].section, 0))
            if self.fits(number, step.end, room):
                self.take(number, step.end)

    def give_back(self, wishes: Mapping[int, int]) -> None:
        """Show candidates at better levels where there is room, up to those that they should have.

        Each as well as it can be before the next one.
        """
        for number, wish in wishes.items():
            if not self.held(number):
                better = range(wish, self.levels[number])
                level = next((n for n in better if self.fits(number, n, self.free)), OUT)
                if level != OUT:
                    self.show(number, level)

    def keep(self, kept: Mapping[str, int]) -> None:
        """Show what was shown before, as it was, and let it stay so."""
        for node, level in kept.items():
            number = self.places.get(node, OUT)
            if number == OUT or self.held(number):
                continue
            if self.levels[number] == OUT and self.fits(number, level, self.free):
                self.show(number, level)
            if self.levels[number] == level:
                self.fixed.add(number)

    def held(self, number: int) -> bool:
        """Whether another's full text, which is shown, holds that of a candidate."""
        within = self.candidates[number].within
        outer = self.places.get(within) if within else None
        return outer is not None and self.levels[outer] == 0 and self.full[outer]

    def top_up(self) -> None:
        """Use what room is left for any level that fits, the best candidates first."""
        freed = True
        while freed:
            freed = False
            for number in range(len(self.candidates)):
                if number in self.fixed or self.held(number):
                    continue
                before, better = self.free, self.better(number)
                level = next((n for n in better if self.fits(number, n, before)), OUT)
                if level != OUT:
                    self.take(number, level)
                    freed = freed or self.free > before

    def better(self, number: int) -> Sequence[int]:
        """The more detailed levels of a candidate by which nothing is lost."""
        levels, level = self.candidates[number].levels, self.levels[number]
        if level == OUT:
            return range(len(levels))
        return [n for n in range(level) if levels[n].gain >= levels[level].gain]

    def items(self) -> list[Item]:
        """What is shown, in the order of the candidates."""
        return [
            Item(one.node, one.section, one.priority, *one.levels[level][:3], one.score,
                 one.because, one.place, one.task, one.version)
            for one, level in zip(self.candidates, self.levels, strict=True)
            if level != OUT
        ]  # fmt: skip

    def omissions(self) -> list[Omission]:
        """What is not shown, and why, in the order of the candidates."""
        return [
            Omission(one.node, one.section, self.reason(number))
            for number, one in enumerate(self.candidates)
            if self.levels[number] == OUT
        ]

    def reason(self, number: int) -> str:
        """Why a candidate is not shown."""
        if self.held(number):
            return DUPLICATE
        ratio = max((step.ratio for step in self.first[number]), default=0.0)
        return LOWER if ratio < self.lowest < float("inf") else OVER


def steps(one: Candidate, number: int = 0, start: int = OUT) -> list[Step]:
    """The steps up from a level along the convex hull of a candidate's levels, the steepest first.

    Levels that lie below the hull, where a bigger step gains more per token, are passed over.
    """
    level, tokens, gain = start, 0, 0.0
    if start != OUT:
        _, _, tokens, gain = one.levels[start]
    hull = [Step(float("inf"), number, OUT, level, tokens)]
    gains = [gain]
    for level in range((len(one.levels) if start == OUT else start) - 1, -1, -1):
        _, _, tokens, gain = one.levels[level]
        if gain <= gains[-1]:
            continue
        ratio = (gain - gains[-1]) / max(1, tokens - hull[-1].tokens)
        while ratio >= hull[-1].ratio:
            hull.pop()
            gains.pop()
            ratio = (gain - gains[-1]) / max(1, tokens - hull[-1].tokens)
        hull.append(Step(ratio, number, hull[-1].end, level, tokens))
        gains.append(gain)
    return hull[1:]


def _wishes(
    those: Sequence[Candidate], budgets: Mapping[str, int], kept: Mapping[str, int]
) -> list[int]:
    """The best levels at which candidates fit their sections; what is wanted is not lowered."""
    levels = [0 if one.wanted else kept.get(one.node, 0) for one in those]
    for section in dict.fromkeys(one.section for one in those):
        among = [n for n, one in enumerate(those) if one.section == section and not one.wanted]
        _lower(those, levels, among, budgets.get(section, 0))
    return levels


def _lowered(those: Sequence[Candidate], wishes: Sequence[int], available: int) -> list[int]:
    """The best levels at which all of some candidates fit, the last ranked lowered first."""
    levels = list(wishes)
    if _lower(those, levels, range(len(those)), available, alone=True):
        return levels
    needed = sum(one.levels[level].tokens for one, level in zip(those, levels, strict=True))
    raise BudgetExceededError(needed, available, tuple(one.node for one in those))


def _lower(
    those: Sequence[Candidate], levels: list[int], among: Sequence[int], limit: int, *,
    alone: bool = False,
) -> bool:  # fmt: skip
    """Lower levels until some candidates fit, and tell whether they do.

    `alone` for one whose lowering is enough before others of its rank, of which many would be.
    """
    taken = [those[n].levels[levels[n]].tokens for n in among]
    over = sum(taken) - limit
    spare = {n: tokens - those[n].levels[-1].tokens for n, tokens in zip(among, taken, strict=True)}
    spare = dict(reversed(spare.items()))
    while over > 0 and spare:
        number = next(iter(spare))
        if alone:
            enough = (n for n in spare if those[n].rank == those[number].rank and spare[n] >= over)
            number = next(enough, number)
        sizes = [level.tokens for level in those[number].levels]
        least = sizes[levels[number]] - min(over, spare.pop(number))
        over -= sizes[levels[number]]
        levels[number] = next(n for n in range(levels[number], len(sizes)) if sizes[n] <= least)
        over += sizes[levels[number]]
    return over <= 0
