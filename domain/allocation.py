"""Which items are shown within a token budget, and at which level of detail?

CRITICAL candidates come first, at the best levels at which all of them fit: the last ranked is
lowered first, and any room this leaves is given back, first ranked first. The rest is a
multiple-choice knapsack: each candidate is shown at one of several sizes or not at all. Steps are
taken by gain per token: first the sections within their own budgets, by priority, then all sections
together in the remaining room, so that unused budget flows on. A step that does not fit does not
stop a smaller one, and the budget is never exceeded by a token.

Steps lie on a candidate's convex hull. So under a single budget the sum of gains is below the best
possible one by at most the gain of the largest step (Sinha and Zoltners, 1979, on the linear
relaxation); section budgets and priorities take precedence over the sum.

A level is a number: 0 is the most detailed one, and `OUT` stands for not being shown. To lower a
candidate is to give it a less detailed level, which has a higher number.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from backcast.domain.context import PRIORITIES, Candidate, Item, Omission
from backcast.domain.errors import BudgetExceededError

OVER, LOWER = "over budget", "worth less per token than the last one in"
DUPLICATE = "duplicate"
DECIMALS = 9
"Of a worth per token, as it is told."
OUT = -1
"The level of a candidate that is not shown; as a list index it is the last one."
_RANKS = {priority: number for number, priority in enumerate(PRIORITIES)}


class LevelStep(NamedTuple):
    """A step from one level of a candidate to a more detailed one."""

    ratio: float
    "The gain per token."
    candidate: int
    start: int
    end: int
    tokens: int
    "The size of the level that it leads to."
    gain: float
    "The gain of that level."


class Offer:
    """Candidates, ranked once, that can be allocated within different numbers of tokens."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        given = list(candidates)
        ranks = [(_RANKS[c.priority], c.rank, -c.score, c.node, n) for n, c in enumerate(given)]
        self.candidates = [given[rank[-1]] for rank in sorted(ranks)]
        self.places = {one.node: number for number, one in enumerate(self.candidates)}
        self.sizes = [[*[level.tokens for level in one.levels], 0] for one in self.candidates]
        "The tokens of each candidate by level."
        self.first = [steps(one, number) for number, one in enumerate(self.candidates)]
        "The steps of each candidate that begin with it not being shown."
        self.rising = _steepest([step for some in self.first for step in some])
        "All these steps, steepest first."
        by_number = [one.priority for one in self.candidates]
        self.by_priority = [
            [step for step in self.rising if by_number[step[1]] == priority]
            for priority in PRIORITIES[1:]
        ]
        "The same, of the candidates of each priority but CRITICAL."
        self.must = [n for n, priority in enumerate(by_number) if priority == "CRITICAL"]
        self.inner, self.outer = self._nested()
        self._items: dict[tuple[int, int], Item] = {}

    def _nested(self) -> tuple[list[Sequence[int]], list[int]]:
        """Return, per candidate, those inside its full text and the one around it, or `OUT`."""
        ranked = self.candidates
        full = [bool(one.levels) and one.levels[0].name in ("full", "part") for one in ranked]
        within: dict[str, list[int]] = {}
        for number, candidate in enumerate(ranked):
            if candidate.within:
                within.setdefault(candidate.within, []).append(number)
        inner: list[Sequence[int]]
        inner = [within.get(one.node, ()) if full[n] else () for n, one in enumerate(ranked)]
        outer = [self.places.get(one.within, OUT) if one.within else OUT for one in ranked]
        return inner, [number if number != OUT and full[number] else OUT for number in outer]

    def item(self, number: int, level: int) -> Item:
        """Return a candidate as an item at one of its levels."""
        made = self._items.get((number, level))
        if made is None:
            offered = self.candidates[number]
            made = self._items[number, level] = tuple.__new__(Item, (
                offered.node, offered.section, offered.priority, *offered.levels[level][:3],
                offered.score, offered.because, offered.place, offered.task, offered.version,
                self.worth(number, level),
            ))  # fmt: skip
        return made

    def worth(self, number: int, level: int) -> float | None:
        """Return the gain per token of a level; None for what must be shown.

        It is at least the smallest gain per token that was taken, and so above that of each
        candidate that is out for gaining less.
        """
        offered = self.candidates[number]
        if offered.priority == "CRITICAL":
            return None
        shown = offered.levels[level]
        return round(shown.gain / max(1, shown.tokens), DECIMALS)

    def allocated(
        self, budgets: Mapping[str, int], available: int, kept: Mapping[str, int] = {}
    ) -> tuple[list[Item], list[Omission]]:
        """Return the items shown within `available` tokens and the omissions; see `filled`."""
        filling = self.filled(budgets, available, kept)
        return filling.items(), filling.omissions()

    def filled(
        self, budgets: Mapping[str, int], available: int, kept: Mapping[str, int] = {}
    ) -> "Filling":
        """Return what is shown within `available` tokens.

        `budgets` gives the tokens of each section. `kept` gives nodes and the levels that they keep
        while there is room, the first ones longest, before anything is chosen anew. Raises
        `BudgetExceededError` if the CRITICAL candidates do not fit at their lowest levels.
        """
        filling, ranked = Filling(self, budgets, available), self.candidates
        must = self.must
        critical = [ranked[number] for number in must]
        wishes = _wishes(critical, budgets, kept)
        for number, level in zip(must, _lowered(critical, wishes, available), strict=True):
            if not filling.held(number):
                filling.show(number, level)
        filling.give_back(dict(zip(must, wishes, strict=True)))
        filling.keep(kept)
        for own in self.by_priority:
            filling.fill(own, own=True)
        others = [step for number in must for step in filling.beside(number)]
        filling.fill(_steepest([*self.rising, *others]) if others else self.rising, own=False)
        filling.top_up()
        return filling


def allocated(
    candidates: Iterable[Candidate],
    budgets: Mapping[str, int],
    available: int,
    kept: Mapping[str, int] = {},
) -> tuple[list[Item], list[Omission]]:
    """Allocate some candidates once: see `Offer.allocated`."""
    return Offer(candidates).allocated(budgets, available, kept)


class Filling:
    """The levels of the candidates so far, and the remaining room."""

    def __init__(self, offer: Offer, budgets: Mapping[str, int], available: int) -> None:
        self.offer, self.candidates, self.sizes = offer, offer.candidates, offer.sizes
        self.free, self.rooms = available, {one.section: 0 for one in self.candidates} | {**budgets}
        self.levels = [OUT] * len(self.candidates)
        self.lowest = float("inf")
        "The smallest gain per token that was taken."
        self.fixed: set[int] = set()
        "Candidates that keep their level."

    def show(self, number: int, level: int) -> None:
        """Show a candidate at a level, whatever room there is."""
        inner = self.offer.inner[number] if level == 0 else ()
        for changed, shown in ((number, level), *[(changed, OUT) for changed in inner]):
            freed = self.sizes[changed][self.levels[changed]] - self.sizes[changed][shown]
            self.levels[changed] = shown
            self.free += freed
            self.rooms[self.candidates[changed].section] += freed

    def take(self, number: int, level: int) -> None:
        """Show a candidate at a level for its gain per token."""
        levels, before = self.candidates[number].levels, self.levels[number]
        gain = levels[level].gain - (0.0 if before == OUT else levels[before].gain)
        more = self.sizes[number][level] - self.sizes[number][before]
        self.lowest = min(self.lowest, gain / max(1, more))
        self.show(number, level)

    def fits(self, number: int, level: int, room: int) -> bool:
        """Return whether a candidate fits at a level, in place of the candidates that its text
        contains.

        A fixed candidate is never replaced.
        """
        sizes, levels = self.sizes, self.levels
        more = sizes[number][level] - sizes[number][levels[number]]
        inner = self.offer.inner[number] if level == 0 else ()
        if not inner:
            return more <= room
        more -= sum([sizes[one][levels[one]] for one in inner])
        return more <= room and self.fixed.isdisjoint(inner)

    def fill(self, rising: Sequence[LevelStep], *, own: bool) -> None:
        """Take the steps that fit, in the order given.

        With `own`, each step must also fit the budget of its section.
        """
        levels, sizes = self.levels, self.sizes
        inner, outer = self.offer.inner, self.offer.outer
        for _, number, start, end, tokens, _ in rising:
            around = outer[number]
            if levels[number] != start or (around != OUT and levels[around] == 0):
                continue
            room = self.free
            if own:
                own_room = self.rooms[self.candidates[number].section]
                room = own_room if own_room < room else room
            # A text that is too large by itself may still fit in place of the texts inside it.
            if tokens - sizes[number][start] > room and not inner[number]:
                continue
            if number not in self.fixed and self.fits(number, end, room):
                self.take(number, end)

    def beside(self, number: int) -> list[LevelStep]:
        """Return the steps up from a shown level that the steps from `OUT` pass over."""
        level, first = self.levels[number], self.offer.first[number]
        if level == OUT or level in [step.end for step in first]:
            return []
        return steps(self.candidates[number], number, level)

    def give_back(self, wishes: Mapping[int, int]) -> None:
        """Raise candidates in order to the best level that fits, at most the wished one."""
        for number, wish in wishes.items():
            if not self.held(number):
                better = range(wish, self.levels[number])
                level = next((n for n in better if self.fits(number, n, self.free)), OUT)
                if level != OUT:
                    self.show(number, level)

    def keep(self, kept: Mapping[str, int]) -> None:
        """Show nodes at the levels at which they were shown before, and fix them there."""
        for node, level in kept.items():
            number = self.offer.places.get(node, OUT)
            if number == OUT or self.held(number):
                continue
            if self.levels[number] == OUT and self.fits(number, level, self.free):
                self.show(number, level)
            if self.levels[number] == level:
                self.fixed.add(number)

    def held(self, number: int) -> bool:
        """Return whether the shown full text of another candidate contains this one."""
        outer = self.offer.outer[number]
        return outer != OUT and self.levels[outer] == 0

    def top_up(self) -> None:
        """Use the remaining room for any level that fits, best candidates first."""
        levels, sizes, inner = self.levels, self.sizes, self.offer.inner
        some = [number for number, one in enumerate(self.candidates) if one.levels]
        freed = True
        while freed:
            freed = False
            for number in some:
                now = levels[number]
                # If the next level, which is the smallest step, does not fit, no other does.
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
        """Return the more detailed levels of a candidate that lose no gain."""
        levels, level = self.candidates[number].levels, self.levels[number]
        if level == OUT:
            return range(len(levels))
        return [n for n in range(level) if levels[n].gain >= levels[level].gain]

    def items(self) -> list[Item]:
        """Return the shown items, in the order of the candidates."""
        item = self.offer.item
        return [item(number, level) for number, level in enumerate(self.levels) if level != OUT]

    @property
    def is_whole(self) -> bool:
        """Whether every candidate is shown."""
        return OUT not in self.levels

    def omissions(self) -> list[Omission]:
        """Return the omissions and their reasons, in the order of the candidates."""
        return [self.omission(number) for number, level in enumerate(self.levels) if level == OUT]

    def omission(self, number: int) -> Omission:
        """Return a candidate that is not shown, why, and what it would have been worth."""
        offered, first = self.candidates[number], self.offer.first[number]
        worth = round(first[0].ratio, DECIMALS) if first else 0.0
        return Omission(offered.node, offered.section, self.reason(number), offered.score, worth)

    def reason(self, number: int) -> str:
        """Return why a candidate is not shown."""
        if self.held(number):
            return DUPLICATE
        first = self.offer.first[number]
        ratio = first[0].ratio if first else 0.0
        return LOWER if ratio < self.lowest < float("inf") else OVER


def _steepest(some: Iterable[LevelStep]) -> list[LevelStep]:
    """Return the steps by gain per token, highest first; ties by rank."""
    return sorted(sorted(some, key=itemgetter(1)), key=itemgetter(0), reverse=True)


def steps(candidate: Candidate, number: int = 0, start: int = OUT) -> list[LevelStep]:
    """Return the steps up from a level along the convex hull of the candidate's levels, steepest
    first.

    Levels below the hull, where a bigger step gains more per token, are skipped.
    """
    levels = candidate.levels
    gain = 0.0 if start == OUT else levels[start].gain
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
    # Every allocation makes a thousand of them, and their own constructor takes as long as this.
    return [tuple.__new__(LevelStep, one) for one in hull[1:]]


def _wishes(
    candidates: Sequence[Candidate], budgets: Mapping[str, int], kept: Mapping[str, int]
) -> list[int]:
    """Return the best levels that fit the sections; `wanted` candidates are not lowered."""
    levels = [0 if one.wanted else kept.get(one.node, 0) for one in candidates]
    for section in dict.fromkeys(one.section for one in candidates):
        among = [n for n, one in enumerate(candidates) if one.section == section and not one.wanted]
        _lower(candidates, levels, among, budgets.get(section, 0))
    return levels


def _lowered(candidates: Sequence[Candidate], wishes: Sequence[int], available: int) -> list[int]:
    """Return the best levels at which all candidates fit, lowering the last ranked first."""
    levels = list(wishes)
    if _lower(candidates, levels, range(len(candidates)), available, alone=True):
        return levels
    needed = sum(one.levels[level].tokens for one, level in zip(candidates, levels, strict=True))
    raise BudgetExceededError(needed, available, tuple(one.node for one in candidates))


def _lower(
    candidates: Sequence[Candidate], levels: list[int], among: Sequence[int], limit: int, *,
    alone: bool = False,
) -> bool:  # fmt: skip
    """Lower levels until the candidates fit, and return whether they do.

    With `alone`, prefer one candidate whose lowering is enough over many others of its rank.
    """
    taken = [candidates[n].levels[levels[n]].tokens for n in among]
    over = sum(taken) - limit
    least = (candidates[n].levels[-1].tokens for n in among)
    spare = {n: has - needs for n, has, needs in zip(among, taken, least, strict=True)}
    spare = dict(reversed(spare.items()))
    while over > 0 and spare:
        number = next(iter(spare))
        if alone:
            rank = candidates[number].rank
            enough = (n for n in spare if candidates[n].rank == rank and spare[n] >= over)
            number = next(enough, number)
        sizes = [level.tokens for level in candidates[number].levels]
        most = sizes[levels[number]] - min(over, spare.pop(number))
        over -= sizes[levels[number]]
        levels[number] = next(n for n in range(levels[number], len(sizes)) if sizes[n] <= most)
        over += sizes[levels[number]]
    return over <= 0
