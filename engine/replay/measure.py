"""What can be told of a prompt without asking a model, and what another policy changes of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple

from backcast.domain.context import LEVELS
from backcast.domain.errors import BackcastError, BudgetExceededError
from backcast.domain.node import path_of
from backcast.engine.context.builder import TASK
from backcast.engine.context.prefix import Token, encoded, shared
from backcast.engine.models.templates import pieces
from backcast.engine.replay.derive import PolicyReplay
from backcast.engine.replay.stale_items import stale_items
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.replay.used import Used, showing, used


class Figures(NamedTuple):
    """One prompt under one policy."""

    digest: str
    "Empty where there is no prompt, since what must be shown does not fit."
    tokens: int
    room: int
    "Tokens that it may have."
    context: int
    "Tokens of what is known of the code; `tokens` without the task and the frame."
    budget: int
    "Tokens that this part may have."
    sections: dict[str, int]
    "Tokens of each section's items."
    items: dict[str, tuple[str, str]]
    "Priority and level of what is shown, by node."
    missed: tuple[Used, ...]
    "What the outcome used and the prompt did not show."
    kinds: dict[str, int]
    "How many things the outcome used, by kind."
    stale: tuple[str, ...]
    "What is shown of it is a summary that no longer held."
    shared: int
    "Leading tokens that it has in common with the prompt before it, under the same policy."
    follows: int
    "Its tokens, where there was one before it; else 0."
    seconds: float
    "It took so long to choose and render, with the states in hand."
    error: str = ""

    @property
    def used(self) -> int:
        """How many things the outcome used."""
        return sum(self.kinds.values())


class Measured(NamedTuple):
    """One step under every policy."""

    version: int
    name: str
    figures: tuple[Figures, ...]
    "In the order of the policies."


class Against(NamedTuple):
    """What a policy changes of one prompt."""

    came: tuple[str, ...]
    went: tuple[str, ...]
    lost: tuple[str, ...]
    "Of what went, what was CRITICAL."
    lowered: tuple[str, ...]
    "What is shown by less."


class Measuring:
    """Measures the prompts of one policy, one after the other."""

    def __init__(self, line: PolicyReplay) -> None:
        self.line = line
        self._last: list[Token] = []

    def figures(self, step: ReplayStep, evidence: Sequence[Used]) -> Figures:
        """The figures of a step's prompt."""
        begin = perf_counter()
        try:
            context = self.line.context(step)
        except BudgetExceededError as error:
            return _none(error, evidence)
        seconds = perf_counter() - begin
        builder = self.line.builder(step)
        prompt = pieces(builder.profile.template, context.messages)
        tokens = encoded(prompt, builder.counting)
        common, follows = shared(self._last, tokens), len(tokens) if self._last else 0
        self._last = tokens
        sections = {section: taken for section, _, taken in context.sections if taken}
        shows = showing(context)
        stale = tuple(one.node for one in stale_items(context.items, step.known.states))
        return Figures(
            context.digest, context.tokens, context.window - context.reserve,
            sum(taken for section, taken in sections.items() if section != TASK),
            builder.profile.context, sections,
            {one.node: (one.priority, one.level) for one in context.items},
            tuple(one for one in evidence if not shows(one)), _kinds(evidence),
            stale, common, follows, seconds,
        )  # fmt: skip


def _kinds(evidence: Sequence[Used]) -> dict[str, int]:
    return dict(sorted(Counter(one.kind for one in evidence).items()))


def _none(error: BackcastError, evidence: Sequence[Used]) -> Figures:
    return Figures(
        "", 0, 0, 0, 0, {}, {}, tuple(evidence), _kinds(evidence), (), 0, 0, 0.0, str(error)
    )


def measured(steps: Iterator[ReplayStep], lines: Sequence[PolicyReplay]) -> Iterator[Measured]:
    """Every step under every policy: what is known at it, and what was used, is found once."""
    measuring = [Measuring(line) for line in lines]
    for step in steps:
        evidence = used(step)
        yield Measured(
            step.version, step.name, tuple(one.figures(step, evidence) for one in measuring)
        )


def against(before: Figures, after: Figures) -> Against:
    """What a policy changes of a prompt; what stands in another's full text is not gone."""
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
    return any(items.get(one, ("", ""))[1] == "full" for one in around)
