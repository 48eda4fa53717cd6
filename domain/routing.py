"""Which agent begins a task, which goes on where it failed, and why?

A policy names agents, the cheapest first. Rules look at what is known before anything is asked; the
first that holds says who begins, else the first agent does. After `tries` attempts that our checks
refused the next agent is asked, with what was found of them. A share `explore` of the tasks begins
with an agent drawn by chance, so that other policies can be judged by what was recorded.

>>> policy = RoutingPolicy(agents=("small", "large"), rules=(RoutingRule(agent="large", blast=5),))
>>> wide = TaskTraits(modules=("money.py",), blast=9)
>>> choice(policy, wide).agent, choice(policy, wide).why
('large', ('rule 1: 9 modules need money.py',))
>>> policy.after("small", 1), policy.after("small", 2), policy.after("large", 3)
('small', 'large', 'large')
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backcast.domain.dispatch_events import RoutedTo, TaskTraits

_PATH = re.compile(r"[\w./-]*\w\.[A-Za-z]\w*")
_WORD = re.compile(r"[a-z]{4,}")
ALIKE = 0.5
"The share of the words of two titles that they have in common, from which tasks are alike."


class RoutingRule(BaseModel):
    """A condition on what is known before, and the agent that begins where it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str
    modules: tuple[str, ...] = ()
    "Patterns; the task names a file that one of them matches."
    blast: int | None = Field(default=None, ge=0)
    "At least so many modules need those that the task names, directly or through others."
    tested: bool | None = None
    "Whether a test reaches a module that the task names."
    failed: float | None = Field(default=None, gt=0, le=1)
    "The first agent failed at this share of the attempts at tasks like it, or more."
    of: int = Field(default=2, ge=1)
    "The attempts that `failed` needs at the least."

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.modules and self.blast is self.tested is self.failed is None:
            raise ValueError("needed one of modules, blast, tested, failed")
        return self


class RoutingPolicy(BaseModel):
    """Who is asked about a task, and who after a failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agents: tuple[str, ...] = Field(min_length=1)
    "The cheapest first."
    rules: tuple[RoutingRule, ...] = ()
    tries: int = Field(default=1, ge=1)
    "Attempts of an agent before the next one is asked."
    explore: float = Field(default=0.0, ge=0, le=1)
    "The share of tasks that begin with an agent drawn by chance."

    @model_validator(mode="after")
    def _names_its_agents(self) -> Self:
        if len(set(self.agents)) < len(self.agents):
            raise ValueError("needed each agent once")
        for number, rule in enumerate(self.rules, 1):
            if rule.agent not in self.agents:
                raise ValueError(f"rule {number}: needed one of agents, found {rule.agent!r}")
        return self

    @property
    def digest(self) -> str:
        """Sixteen hex digits that identify the policy."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]

    @property
    def looks_around(self) -> bool:
        """Whether a rule asks for the dependency graph."""
        return any(rule.blast is not None or rule.tested is not None for rule in self.rules)

    def after(self, start: str, attempt: int) -> str:
        """Return who makes an attempt, counted from 1, where an agent began."""
        place = self.agents.index(start) + (attempt - 1) // self.tries
        return self.agents[min(place, len(self.agents) - 1)]


class RoutedStart(NamedTuple):
    """Who begins, and why."""

    agent: str
    why: tuple[str, ...]
    draw: float | None = None
    propensity: float | None = None
    "The chance with which the agent was chosen; None where nothing was left to chance."


def choice(policy: RoutingPolicy, traits: TaskTraits, seed: str = "") -> RoutedStart:
    """Return who begins a task; a draw is made of the seed, and so is the same again."""
    *_, (agent, why) = possible(policy, traits)
    if not policy.explore:
        return RoutedStart(agent, (why,))
    draw = drawn(seed)
    share = policy.explore / len(policy.agents)
    by_chance = draw < policy.explore
    found = policy.agents[min(int(draw / share), len(policy.agents) - 1)] if by_chance else agent
    chance = share + (1 - policy.explore if found == agent else 0)
    instead = f"in place of {agent}" if found != agent else "as the rules would have it"
    reasons = (f"drawn by chance ({draw:.4f} < {policy.explore:g}), {instead}", why)
    return RoutedStart(found, reasons if by_chance else (why,), draw, round(chance, 6))


def drawn(seed: str) -> float:
    """Return a number from 0 up to 1 that a seed stands for."""
    return int.from_bytes(sha256(seed.encode(errors="replace")).digest()[:6]) / 2**48


def possible(policy: RoutingPolicy, traits: TaskTraits | None) -> Iterator[tuple[str, str]]:
    """Yield who may begin, with the reason: several where it is not known whether a rule holds."""
    for number, rule in enumerate(policy.rules, 1):
        if traits is None:
            yield rule.agent, f"rule {number}: it is not known whether it holds"
            continue
        holds = [found for found, _ in _conditions(policy, rule, traits)]
        if False in holds:
            continue
        why = "; ".join(text for _, text in _conditions(policy, rule, traits))
        yield rule.agent, f"rule {number}: {why}"
        if None not in holds:
            return
    name = "no rule holds" if policy.rules else "no rules"
    yield policy.agents[0], f"{name}: the first of {len(policy.agents)} agents"


def _conditions(
    policy: RoutingPolicy, rule: RoutingRule, traits: TaskTraits
) -> Iterator[tuple[bool | None, str]]:
    """Yield whether each condition of a rule holds, None where it is not known, and what holds."""
    named = ", ".join(traits.modules[:3])
    if rule.modules:
        found = [path for path in traits.modules
                 if any(fnmatchcase(path, pattern) for pattern in rule.modules)]  # fmt: skip
        yield bool(found), f"it names {', '.join(found[:3])}"
    if rule.blast is not None:
        wide = traits.blast is None or traits.blast >= rule.blast
        known = None if traits.modules and traits.blast is None else bool(traits.modules) and wide
        count = "it is not known how many" if traits.blast is None else traits.blast
        yield known, f"{count} modules need {named}"
    if rule.tested is not None:
        fits = traits.tested is rule.tested
        known = None if traits.modules and traits.tested is None else bool(traits.modules) and fits
        yield known, f"{'a' if rule.tested else 'no'} test reaches {named}"
    if rule.failed is not None:
        held, tried = traits.alike.get(policy.agents[0], (0, 0))
        often = tried >= rule.of and tried - held >= rule.failed * tried
        yield often, f"{policy.agents[0]} failed at {tried - held} of {tried} like it"


# What is known before


def named_paths(text: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Return the files that a text names, by path or by the end of one; sorted.

    >>> named_paths("see cart.py, and shop/money.py.", ["shop/cart.py", "shop/money.py", "a.py"])
    ('shop/cart.py', 'shop/money.py')
    """
    words = {word.removeprefix("./") for word in _PATH.findall(text)}
    return tuple(sorted(
        path for path in paths
        if any(path == word or path.endswith(f"/{word}") for word in sorted(words))
    ))  # fmt: skip


def alike(title: str, modules: Iterable[str], other: str, its: Iterable[str]) -> bool:
    """Return whether two tasks are alike: they name a file in common, or have words in common."""
    if set(modules) & set(its):
        return True
    mine, yours = set(_WORD.findall(title.lower())), set(_WORD.findall(other.lower()))
    return bool(mine and yours) and len(mine & yours) >= ALIKE * len(mine | yours)


def labels(
    agent: str | None, model: str | None, routed: RoutedTo | None, command: Iterable[str]
) -> frozenset[str]:
    """Return the names under which a policy may mean a recorded agent."""
    named = f"{agent}:{model}" if model else f"{agent}"
    found = {named, f"cmd: {shlex.join(command)}"}
    return frozenset({*found, routed.agent} if routed and routed.agent else found)


def held_of(rows: Iterable[tuple[str, bool]]) -> Mapping[str, tuple[int, int]]:
    """Return, by agent, how many of its attempts held, and how many it made."""
    counted: dict[str, tuple[int, int]] = {}
    for agent, held in rows:
        before = counted.get(agent, (0, 0))
        counted[agent] = (before[0] + held, before[1] + 1)
    return dict(sorted(counted.items()))
