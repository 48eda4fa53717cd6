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
from operator import itemgetter
from typing import NamedTuple

from backcast.domain.context import PRIORITIES, Candidate, Item, Omission
from backcast.domain.errors import BudgetExceededError

OVER, LOWER, DUPLICATE = "over budget", "lower score than the last one in", "duplicate"
OUT = -1
"The level of what is not shown: in lists by level it stands behind the last one."
_RANKS = {priority: number for number, priority in enumerate(PRIORITIES)}


class LevelStep(NamedTuple):
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
        given = list(candidates)
        ranks = [(_RANKS[one.priority], one.rank, -one.score, one.node, number)
                 for number, one in enumerate(given)]  # fmt: skip
        self.candidates = [given[rank[-1]] for rank in sorted(ranks)]
        self.places = {one.node: number for number, one in enumerate(self.candidates)}
        self.sizes = [[*[level.tokens for level in one.levels], 0] for one in self.candidates]
        "The tokens of each by its level."
        self.first = [steps(one, number) for number, one in enumerate(self.candidates)]
        "The steps of each from not being shown."
        self.rising = _steepest([step for some in self.first for step in some])
        "All of these."
        self.inner, self.outer = self._nested()

    def _nested(self) -> tuple[list[Sequence[int]], list[int]]:
        """For each candidate those whose text its full text holds, and the one that holds its own;
        `OUT` where none does."""
        ranked = self.candidates
        full = [bool(one.levels) and one.levels[0].name == "full" for one in ranked]
        within: dict[str, list[int]] = {}
        for number, one in enumerate(ranked):
            if one.within:
                within.setdefault(one.within, []).append(number)
        inner: list[Sequence[int]]
        inner = [within.get(one.node, ()) if full[n] else () for n, one in enumerate(ranked)]
        outer = [self.places.get(one.within, OUT) if one.within else OUT for one in ranked]
        return inner, [number if number != OUT and full[number] else OUT for number in outer]

    def allocated(
        self, budgets: Mapping[str, int], available: int, kept: Mapping[str, int] = {}
    ) -> tuple[list[Item], list[Omission]]:
        """The candidates that are shown within some tokens, each at its level, and those that are
        not.

        `budgets` holds the tokens of each section. `kept` are nodes that are shown at a level as
        long as there is room, the first ones longest, before anything is chosen anew. Raises
        `BudgetExceededError` where what is CRITICAL does not fit at its lowest levels.
        """
        filling, ranked = _Filling(self, budgets, available), self.candidates
        must = [n for n, one in enumerate(ranked) if one.priority == "CRITICAL"]
        those = [ranked[number] for number in must]
        wishes = _wishes(those, budgets, kept)
        for number, level in zip(must, _lowered(those, wishes, available), strict=True):
            if not filling.held(number):
                filling.show(number, level)
        filling.give_back(dict(zip(must, wishes, strict=True)))
        filling.keep(kept)
        for priority in PRIORITIES[1:]:
            own = [step for step in self.rising if ranked[step[1]].priority == priority]
            filling.fill(own, own=True)
        others = [step for number in must for step in filling.beside(number)]
        filling.fill(_steepest([*self.rising, *others]) if others else self.rising, own=False)
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

    def __init__(self, offer: Offer, budgets: Mapping[str, int], available: int) -> None:
        self.offer, self.candidates, self.sizes = offer, offer.candidates, offer.sizes
        self.free, self.left = available, {one.section: 0 for one in self.candidates} | {**budgets}
        self.levels = [OUT] * len(self.candidates)
        self.lowest = float("inf")
        "The least gain per token that came in."
        self.fixed: set[int] = set()
        "Candidates that stay as they are."

    def show(self, number: int, level: int) -> None:
        """Show a candidate at a level, whatever room there is."""
        inner = self.offer.inner[number] if level == 0 else ()
        for one, then in ((number, level), *[(one, OUT) for one in inner]):
            freed = self.sizes[one][self.levels[one]] - self.sizes[one][then]
            self.levels[one] = then
            self.free += freed
            self.left[self.candidates[one].section] += freed

    def take(self, number: int, level: int) -> None:
        """Show a candidate at a level for what it gains per token."""
        levels, before = self.candidates[number].levels, self.levels[number]
        gain = levels[level].gain - (0.0 if before == OUT else levels[before].gain)
        more = self.sizes[number][level] - self.sizes[number][before]
        self.lowest = min(self.lowest, gain / max(1, more))
        self.show(number, level)

    def fits(self, number: int, level: int, room: int) -> bool:
        """Whether a candidate can be shown at a level, in place of what it makes needless.

        Nothing that stays as it is can be made needless.
        """
        sizes, levels = self.sizes, self.levels
        more = sizes[number][level] - sizes[number][levels[number]]
        inner = self.offer.inner[number] if level == 0 else ()
        if not inner:
            return more <= room
        more -= sum([sizes[one][levels[one]] for one in inner])
        return more <= room and self.fixed.isdisjoint(inner)

    def fill(self, rising: Sequence[LevelStep], *, own: bool) -> None:
        """Take the steps that fit, of some in the order in which they shall be taken.

        `own` for steps within the own budget of each one's section.
        """
        levels, sizes = self.levels, self.sizes
        inner, outer = self.offer.inner, self.offer.outer
        for _, number, start, end, tokens in rising:
            around = outer[number]
            if levels[number] != start or (around != OUT and levels[around] == 0):
                continue
            room = self.free
            if own:
                left = self.left[self.candidates[number].section]
                room = left if left < room else room
            # What is larger by itself may still fit in place of what it holds.
            if tokens - sizes[number][start] > room and not inner[number]:
                continue
            if number not in self.fixed and self.fits(number, end, room):
                self.take(number, end)

    def beside(self, number: int) -> list[LevelStep]:
        """The steps up from where a candidate is shown, if its steps from nothing miss that."""
        level, first = self.levels[number], self.offer.first[number]
        if level == OUT or level in [step.end for step in first]:
            return []
        return steps(self.candidates[number], number, level)

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
            number = self.offer.places.get(node, OUT)
            if number == OUT or self.held(number):
                continue
            if self.levels[number] == OUT and self.fits(number, level, self.free):
                self.show(number, level)
            if self.levels[number] == level:
                self.fixed.add(number)

    def held(self, number: int) -> bool:
        """Whether another's full text, which is shown, holds that of a candidate."""
        outer = self.offer.outer[number]
        return outer != OUT and self.levels[outer] == 0

    def top_up(self) -> None:
        """Use what room is left for any level that fits, the best candidates first."""
        levels, sizes, inner = self.levels, self.sizes, self.offer.inner
        some = [number for number, one in enumerate(self.candidates) if one.levels]
        freed = True
        while freed:
            freed = False
            for number in some:
                now = levels[number]
                # The next level is the smallest one that there is more to be seen of.
                if now == 0 or (
                    sizes[number][now - 1] - sizes[number][now] > self.free and not inner[number]
                ):
                    continue
                if number in self.fixed or self.held(number):
                    continue
                before = self.free
                level = next((n for n in self.better(number) if self.fits(number, n, before)), OUT)
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
        first = self.offer.first[number]
        ratio = first[0].ratio if first else 0.0
        return LOWER if ratio < self.lowest < float("inf") else OVER


def _steepest(some: Iterable[LevelStep]) -> list[LevelStep]:
    """Steps by what they gain per token, the most first; of equal ones that of the first ranked."""
    return sorted(sorted(some, key=itemgetter(1)), key=itemgetter(0), reverse=True)


def steps(one: Candidate, number: int = 0, start: int = OUT) -> list[LevelStep]:
    """The steps up from a level along the convex hull of a candidate's levels, the steepest first.

    Levels that lie below the hull, where a bigger step gains more per token, are passed over.
    """
    levels, gain = one.levels, 0.0 if start == OUT else one.levels[start].gain
    hull = [(float("inf"), number, OUT, start, 0 if start == OUT else levels[start].tokens, gain)]
    for level in range((len(levels) if start == OUT else start) - 1, -1, -1):
        _, _, tokens, gain = levels[level]
        if gain <= hull[-1][-1]:
            continue
        while True:
            steepest, _, _, end, size, least = hull[-1]
            more = tokens - size
            ratio = (gain - least) / (more if more > 1 else 1)
            if ratio < steepest:
                break
            hull.pop()
        hull.append((ratio, number, end, level, tokens, gain))
    return [LevelStep(*one[:-1]) for one in hull[1:]]


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
