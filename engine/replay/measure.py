"""Measures a prompt without a model (tokens, items, evidence), beside another policy's."""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple

from backcast.domain.context import LEVELS
from backcast.domain.errors import BackcastError, BudgetExceededError
from backcast.domain.node import path_of
from backcast.engine.context.builder import TASK
from backcast.engine.context.prefix import Token, encoded
from backcast.engine.models.prefixes import shared
from backcast.engine.models.templates import pieces
from backcast.engine.replay.derive import PolicyReplay
from backcast.engine.replay.stale_items import stale_items
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.replay.used import Used, showing, used


class Figures(NamedTuple):
    """The measurements of one prompt under one policy."""

    digest: str
    "Empty where the mandatory items do not fit, so that there is no prompt."
    tokens: int
    room: int
    "Tokens that the prompt may have."
    context: int
    "Tokens of the context part: `tokens` without the task and the frame."
    budget: int
    "Tokens that the context part may have."
    sections: dict[str, int]
    "Tokens of each section's items."
    items: dict[str, tuple[str, str]]
    "Priority and level of each item, by node."
    missed: tuple[Used, ...]
    "Evidence that the outcome used and the prompt did not show."
    kinds: dict[str, int]
    "Numbers of things that the outcome used, by kind."
    stale: tuple[str, ...]
    "Nodes shown by a summary that no longer held."
    shared: int
    "Leading tokens shared with the prompt before, under the same policy."
    follows: int
    "Tokens of the prompt where another came before it; else 0."
    seconds: float
    "Seconds to choose and render, with the states at hand."
    error: str = ""

    @property
    def used(self) -> int:
        """Number of things that the outcome used."""
        return sum(self.kinds.values())


class Measured(NamedTuple):
    """One step, measured under every policy."""

    version: int
    name: str
    figures: tuple[Figures, ...]
    "In the order of the policies."


class Against(NamedTuple):
    """The nodes of one prompt that a policy changes."""

    came: tuple[str, ...]
    went: tuple[str, ...]
    lost: tuple[str, ...]
    "Nodes that went and were CRITICAL."
    lowered: tuple[str, ...]
    "Nodes shown at a lower level."


class Measuring:
    """Measurements of the prompts of one policy, one after the other."""

    def __init__(self, replay: PolicyReplay) -> None:
        self.replay = replay
        self._last: list[Token] = []

    def figures(self, step: ReplayStep, evidence: Sequence[Used]) -> Figures:
        """Build and measure a step's prompt; `evidence` is what its outcome used."""
        begin = perf_counter()
        try:
            context = self.replay.context(step)
        except BudgetExceededError as error:
            return _none(error, evidence)
        seconds = perf_counter() - begin
        builder = self.replay.builder(step)
        prompt = pieces(builder.profile.template, context.messages)
        tokens = encoded(prompt, builder.counting)
        common, follows = shared(self._last, tokens), len(tokens) if self._last else 0
        self._last = tokens
        sections = {section: taken for section, _, taken in context.sections if taken}
        shows = showing(context)
        stale = tuple(item.node for item in stale_items(context.items, step.known.states))
        return Figures(
            context.digest, context.tokens, context.window - context.reserve,
            sum(taken for section, taken in sections.items() if section != TASK),
            builder.profile.context, sections,
            {item.node: (item.priority, item.level) for item in context.items},
            tuple(item for item in evidence if not shows(item)), _kinds(evidence),
            stale, common, follows, seconds,
        )  # fmt: skip


def _kinds(evidence: Sequence[Used]) -> dict[str, int]:
    return dict(sorted(Counter(thing.kind for thing in evidence).items()))


def _none(error: BackcastError, evidence: Sequence[Used]) -> Figures:
    return Figures(
        "", 0, 0, 0, 0, {}, {}, tuple(evidence), _kinds(evidence), (), 0, 0, 0.0, str(error)
    )


def measured(steps: Iterator[ReplayStep], replays: Sequence[PolicyReplay]) -> Iterator[Measured]:
    """Yield each step measured under every policy; its state and evidence are found once."""
    measuring = [Measuring(replay) for replay in replays]
    for step in steps:
        evidence = used(step)
        yield Measured(
            step.version, step.name, tuple(one.figures(step, evidence) for one in measuring)
        )


def against(before: Figures, after: Figures) -> Against:
    """Compare a prompt under two policies; a node inside another's full text is not gone."""
    old, new = before.items, after.items
    went = tuple(node for node in old if node not in new and not _within(node, new))
    return Against(
        tuple(node for node in new if node not in old),
        went,
        tuple(node for node in went if old[node][0] == "CRITICAL"),
        tuple(
            node
            for node, (_, level) in old.items()
            if node in new and LEVELS.index(new[node][1]) > LEVELS.index(level)
        ),
    )


def _within(node: str, items: dict[str, tuple[str, str]]) -> bool:
    path = path_of(node)
    around = (f"module:{path}", f"class:{path}::{node.rpartition('::')[2].rpartition('.')[0]}")
    return any(items.get(outer, ("", ""))[1] == "full" for outer in around)
