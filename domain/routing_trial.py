"""What would another policy of routing have cost, and come to, on tasks that were recorded?

What was run is known exactly: a task whose agents, one attempt after the other, are those that the
policy would have asked, or one that somebody else's run gave the same first prompt. Where the
policy asks an agent that nobody asked, only bounds are known: at best its next attempt holds, for
the least that such an attempt has ever cost, at worst none does, for the most. An estimate is made
only of tasks that began with an agent drawn by chance, each weighed by the chance that it had.

>>> cheap = Try(frozenset({"small"}), "p", Amounts(tokens=10))
>>> large = Try(frozenset({"large"}), "q", Amounts(tokens=90))
>>> told = Episode("run", "1", "", TaskTraits(), (cheap, large), done=True)
>>> tried(RoutingPolicy(agents=("small", "large")), told, [told])
TriedOutcome(asked=('small', 'large'), exact=True, done=(True, True), least=..., most=...)
>>> tried(RoutingPolicy(agents=("large",)), told, [told])[1:3]
(False, (False, True))
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

from backcast.domain.dispatch_events import TaskTraits
from backcast.domain.routing import RoutingPolicy, possible
from backcast.domain.spending import Amounts

ATTEMPTS = 3
"Attempts that a policy is given where it was not run, unless more were made."
FEWEST = 2
"Tasks by chance that an estimate needs."


class Try(NamedTuple):
    """One attempt at a task, with what followed from it: repairs of its result, and reviews."""

    agents: frozenset[str]
    "The names under which a policy may mean its agent."
    prompt: str
    "The digest of its first prompt, and its commit."
    cost: Amounts


class Episode(NamedTuple):
    """A task from where it was begun until it was done, halted, or the log ends."""

    run: str
    item: str
    title: str
    traits: TaskTraits | None
    "None where they were not recorded: then no rule is known to hold, or not to."
    tries: tuple[Try, ...]
    done: bool = False
    halted: bool = False
    start: str = ""
    "Who began it, as its policy names the agent; empty without a policy."
    propensity: float | None = None
    "The chance that this agent had to begin; None where nothing was by chance."
    drawn_of: tuple[str, ...] = ()
    "The agents that chance may have chosen."

    @property
    def cost(self) -> Amounts:
        """What all of it cost."""
        total = Amounts()
        for made in self.tries:
            total = total.plus(made.cost)
        return total


class TriedOutcome(NamedTuple):
    """What a policy would have come to on one task."""

    asked: tuple[str, ...]
    "Who, as far as it is known, and then who would be next."
    exact: bool
    "Whether all of it was run."
    done: tuple[bool, bool]
    "At worst, and at best."
    least: Amounts
    most: Amounts | None
    "None where an agent would be asked that no log has."


class Estimate(NamedTuple):
    """What was found where chance had chosen, weighed by how likely each choice was."""

    done: float
    "The share of tasks that would be done."
    low: float
    high: float
    "Between these it lies with a confidence of 95 % (Wilson), at the effective number of tasks."
    tokens: float
    "Of a task."
    seconds: float
    random: int
    "Tasks that began by chance."
    matched: int
    "Those that began as the policy would have."
    effective: float
    "As many as they are worth, with their weights."


class RoutingResult(NamedTuple):
    """What a policy would have come to on all tasks."""

    name: str
    outcomes: tuple[TriedOutcome, ...]
    estimate: Estimate | None
    why: str
    "Why there is no estimate."

    @property
    def exact(self) -> int:
        """Tasks of which all is known."""
        return sum(outcome.exact for outcome in self.outcomes)

    @property
    def done(self) -> tuple[int, int]:
        """Tasks done, at worst and at best."""
        return (sum(found.done[0] for found in self.outcomes),
                sum(found.done[1] for found in self.outcomes))  # fmt: skip

    @property
    def least(self) -> Amounts:
        """What they would have cost at the least."""
        return _sum(found.least for found in self.outcomes)

    @property
    def most(self) -> Amounts | None:
        """What they would have cost at the most; None where that is not known."""
        known = [found.most for found in self.outcomes if found.most is not None]
        return _sum(known) if len(known) == len(self.outcomes) else None


def recorded(episodes: Sequence[Episode]) -> RoutingResult:
    """Return what was run, as a result beside those of policies."""
    outcomes = tuple(
        TriedOutcome(tuple(min(made.agents, key=len) for made in one_task.tries), exact=True,
                done=(one_task.done, one_task.done), least=one_task.cost, most=one_task.cost)
        for one_task in episodes
    )  # fmt: skip
    return RoutingResult("recorded", outcomes, None, "")


def result(name: str, policy: RoutingPolicy, episodes: Sequence[Episode]) -> RoutingResult:
    """Return what a policy would have come to on recorded tasks."""
    outcomes = tuple(tried(policy, episode, episodes) for episode in episodes)
    estimate, why = estimated(policy, episodes)
    return RoutingResult(name, outcomes, estimate, why)


def tried(policy: RoutingPolicy, episode: Episode, known: Sequence[Episode]) -> TriedOutcome:
    """Return what a policy would have come to on one task."""
    starts = dict.fromkeys(agent for agent, _ in possible(policy, episode.traits))
    found = [_walked(policy, start, episode, known) for start in starts]
    if len(found) == 1:
        return found[0]
    most = [outcome.most for outcome in found]
    dearest = [amount for amount in most if amount is not None]
    return TriedOutcome(
        (" or ".join(starts),), exact=False,
        done=(all(one_way.done[0] for one_way in found), any(way.done[1] for way in found)),
        least=_each(min, [outcome.least for outcome in found]),
        most=_each(max, dearest) if len(dearest) == len(most) else None,
    )  # fmt: skip


def _walked(
    policy: RoutingPolicy, start: str, episode: Episode, known: Sequence[Episode]
) -> TriedOutcome:
    """Follow a policy along what was run; where it leaves that, only bounds are left."""
    first = episode.tries[0].prompt if episode.tries else ""
    same = [other for other in known if other is not episode and other.tries
            and other.tries[0].prompt == first]  # fmt: skip
    ways = [episode, *same]
    attempts = max(ATTEMPTS, *(len(way.tries) for way in ways))
    spent, asked = Amounts(), list[str]()
    for attempt in range(1, attempts + 1):
        agent = policy.after(start, attempt)
        asked.append(agent)
        ways = [way for way in ways if len(way.tries) >= attempt
                and agent in way.tries[attempt - 1].agents]  # fmt: skip
        if not ways:
            return _bounded(policy, start, attempt, attempts, spent, asked, known)
        way = ways[0]
        spent = spent.plus(way.tries[attempt - 1].cost)
        if len(way.tries) == attempt and (way.done or way.halted):
            return TriedOutcome(tuple(asked), True, (way.done, way.done), spent, spent)
    return TriedOutcome(tuple(asked), exact=False, done=(False, False), least=spent, most=spent)


def _bounded(
    policy: RoutingPolicy, start: str, attempt: int, attempts: int, spent: Amounts,
    asked: list[str], known: Sequence[Episode],
) -> TriedOutcome:  # fmt: skip
    """Return the bounds from an attempt on that nobody made."""
    costs = _costs(known, policy.agents)
    rest = [policy.after(start, number) for number in range(attempt, attempts + 1)]
    least = _each(min, costs[rest[0]]) if costs[rest[0]] else Amounts()
    most: Amounts | None = spent
    for agent in rest:
        dearest = _each(max, costs[agent]) if costs[agent] else None
        most = most.plus(dearest) if most is not None and dearest is not None else None
    return TriedOutcome(tuple(asked), False, (False, True), spent.plus(least), most)


def _costs(known: Sequence[Episode], agents: Sequence[str]) -> Mapping[str, list[Amounts]]:
    made = [attempt for episode in known for attempt in episode.tries]
    return {agent: [attempt.cost for attempt in made if agent in attempt.agents]
            for agent in agents}  # fmt: skip


# Where chance had chosen


def estimated(policy: RoutingPolicy, known: Sequence[Episode]) -> tuple[Estimate | None, str]:
    """Return an estimate from tasks that began by chance, or why there is none."""
    random = [episode for episode in known if episode.propensity is not None and episode.tries]
    if not random:
        return None, "no task began with an agent drawn by chance"
    rows = list[tuple[float, Episode, TriedOutcome]]()
    for episode in random:
        starts = dict.fromkeys(agent for agent, _ in possible(policy, episode.traits))
        if len(starts) > 1:
            return None, f"it is not known who would begin {episode.run} {episode.item}"
        start = next(iter(starts))
        if start not in episode.drawn_of:
            return None, f"chance could not choose {start}"
        if start != episode.start:
            continue
        found = _walked(policy, start, episode, [episode])
        if not found.exact:
            return None, f"{episode.run} {episode.item} goes on otherwise after a failure"
        rows.append((1 / (episode.propensity or 1.0), episode, found))
    if len(rows) < FEWEST:
        return None, f"{len(rows)} of {len(random)} tasks by chance began as it would"
    weight = sum(part for part, _, _ in rows)

    def mean(values: Iterable[float]) -> float:
        return sum(part * value for (part, _, _), value in zip(rows, values, strict=True)) / weight

    done = mean(float(found.done[0]) for _, _, found in rows)
    effective = weight**2 / sum(part**2 for part, _, _ in rows)
    low, high = _wilson(done, effective)
    tokens = mean(float(found.least.tokens) for _, _, found in rows)
    seconds = mean(found.least.seconds for _, _, found in rows)
    return Estimate(
        round(done, 4), round(low, 4), round(high, 4), round(tokens, 1), round(seconds, 3),
        len(random), len(rows), round(effective, 1),
    ), ""  # fmt: skip


def _wilson(share: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Return the interval in which a share lies that was seen in so many."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _each(pick: Callable[[tuple[float, ...]], float], amounts: Sequence[Amounts]) -> Amounts:
    """Return the least, or the most, of each amount."""
    calls, tokens, seconds, money = (pick(column) for column in zip(*amounts, strict=True))
    return Amounts(int(calls), int(tokens), seconds, money)


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for amount in amounts:
        total = total.plus(amount)
    return total
