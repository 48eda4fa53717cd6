"""Prompts under several policies, each alone: nothing that one has made serves another.

So a policy's time is its own, and beside each prompt stand the tokens of the same things in full.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import groupby
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from backcast.domain.policy import Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.context.search import Embedder, sentence_embedder
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.context.sources import Sources
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.corpus import ReplayRun, Tried, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import Figures, Measured, Measuring, measured
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.replay.used import used

CODE = ("function", "method", "test")
"What holds nothing that is shown apart."


@cache
def embedder(name: str) -> Embedder:
    """What embeds texts by a name; empty for the one at hand. Loading it takes seconds."""
    return sentence_embedder(name or None)


def nearness(store: EventStore, policy: Policy) -> Nearness | None:
    """What compares meanings, where a policy weighs them."""
    return Nearness(store, embedder(policy.embedder)) if policy.weights.get("meaning") else None


class Alone(BuilderPool):
    """Builders under one policy."""

    def __init__(self, store: EventStore, policy: Policy) -> None:
        super().__init__(store)
        self.policy = policy

    def builder(
        self, profile: ModelProfile, policy: Policy, meant: Nearness | None = None
    ) -> ContextBuilder:
        """A builder of its own for a profile and a policy."""
        return super().builder(profile, policy, meant or nearness(self.store, policy))


class Telling(PolicyReplay):
    """A line that tells what it has built last."""

    last: Context | None = None

    def context(self, step: ReplayStep) -> Context:
        """The prompt of a step; `BudgetExceededError` where what must be shown does not fit."""
        self.last = None
        self.last = super().context(step)
        return self.last


class Size(NamedTuple):
    """What a prompt shows by more than its name, in tokens, and what the same things are in full.

    What stands within another thing that is shown counts once; the request is left out.
    """

    shown: int
    full: int
    code_shown: int
    "Of functions, methods and tests alone."
    code_full: int


class Row(NamedTuple):
    """A run under each policy alone."""

    tried: Tried
    sizes: tuple[tuple[Size, ...], ...]
    "By policy, of the prompts that there are."


def rows(runs: Sequence[ReplayRun], policies: Sequence[Policy]) -> Iterator[Row]:
    """The runs, each under every policy alone; what is kept of a log serves its next run."""
    for name, some in groupby(runs, lambda run: run.log):
        with ExitStack() as stack:
            # A store keeps what was read of it last: each policy has its own.
            first, *others = (stack.enter_context(opened(name)).store for _ in (*policies, ""))
            shops = [Alone(store, one) for store, one in zip(others, policies, strict=True)]
            for run in some:
                for shop in shops:
                    _embedded(run, shop)
                yield _row(run, shops, BuilderPool(first))


def _embedded(run: ReplayRun, shop: Alone) -> None:
    """Have all vectors of a run made, where its policy weighs meaning: they are kept in stores."""
    if shop.policy.weights.get("meaning"):
        line = PolicyReplay(Alone(shop.store, shop.policy), None, shop.policy)
        for _ in measured(steps_of(shop.store, run), [line]):
            pass


def _row(run: ReplayRun, shops: Sequence[Alone], scale: BuilderPool) -> Row:
    lines = [Telling(shop, None, shop.policy) for shop in shops]
    measuring = [Measuring(line) for line in lines]
    sizes: list[list[Size]] = [[] for _ in lines]
    found = []
    for turn, step in enumerate(steps_of(scale.store, run)):
        evidence, figures = used(step), dict[int, Figures]()
        # Each is first in its turn, since some of what is known is worked out when first asked for.
        for number in (*range(turn % len(lines), len(lines)), *range(turn % len(lines))):
            figures[number] = measuring[number].figures(step, evidence)
        each = tuple(figures[number] for number in range(len(lines)))
        found.append(Measured(step.version, step.name, each))
        for line, told in zip(lines, sizes, strict=True):
            if line.last is not None:
                told.append(_size(step, line.last, scale.kept(line.builder(step).profile)))
    return Row(Tried(run, tuple(found)), tuple(map(tuple, sizes)))


def _size(step: ReplayStep, context: Context, kept: BuildCache) -> Size:
    sources = Sources(step.known.states.graph, kept.lines)
    told = (one for one in context.items if one.section != TASK and one.level != "name")
    items = {one.node: one for one in told}
    full = {}
    for node, item in items.items():
        text = _whole(node, sources)
        full[node] = kept.counting.item("full", text) if text else item.tokens
    code = [node for node in items if kind_of(node) in CODE]
    return Size(
        sum(one.tokens for one in items.values()),
        sum(tokens for node, tokens in full.items() if items.keys().isdisjoint(_around(node))),
        sum(items[node].tokens for node in code), sum(full[node] for node in code),
    )  # fmt: skip


def _whole(node: str, sources: Sources) -> str:
    """The full text of a thing; empty for what is no code, which counts as it is shown."""
    if kind_of(node) == "module":
        return sources.text(path_of(node))
    return sources.piece(path_of(node), name_of(node)).text if kind_of(node) in SYMBOLS else ""


def _around(node: str) -> Iterator[str]:
    """The nodes whose full text holds that of another one."""
    if kind_of(node) in (*SYMBOLS, "attribute"):
        yield node_id("module", path_of(node))
        name = name_of(node)
        while "." in name:
            name = name.rpartition(".")[0]
            yield node_id("class", path_of(node), name)
