"""The strategies of the seed's trade-off matrix as policies, all on the same logs.

Compression is 1 - tokens of what is shown / tokens of the same things in full. Evidence recall is
`backcast regress`'s, its interval that of the difference to the default. A rebuild folds what was
known from nothing and builds the prompt with nothing kept; latency is building with the states in
hand, and with what was kept of earlier prompts.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from statistics import median
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.errors import BudgetExceededError, InputError
from backcast.domain.policy import Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.open_logs import opened
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, runs_in, steps_of
from backcast.engine.replay.regress import interval, summary
from backcast.engine.replay.steps import ReplayStep
from scripts.benches.figures import Bench, Figure, percentile, seconds
from scripts.benches.log import ROOT
from scripts.benches.regress_alone import Row, Size, nearness, rows
from scripts.benches.regress_windows import windows

WINDOWS, SOME = 20, 2
"Of a full bench, and by default: where meaning is weighed, each text has to be embedded once."
MOMENTS = 3
LOGS = ("till", "validators")
"Recorded runs, with failures and iterations, as git histories have none."


class Seed(NamedTuple):
    """A row of the seed's matrix."""

    compression: int
    retained: int
    rebuild: str
    latency: str


SEEDS = {
    "no-cache": Seed(0, 100, "High", "High"),
    "online-only": Seed(50, 75, "Medium", "Low"),
    "hierarchical": Seed(70, 60, "Low", "Medium"),
    "graph-semantic": Seed(75, 70, "Low", "Medium"),
    "full-replay": Seed(0, 100, "Very High", "Very High"),
}
"By policy; none is told of the default."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    policies = [one for one in STRATEGIES.values() if one.name not in SEEDS]
    policies += [STRATEGIES[name] for name in SEEDS]
    runs = windows(bench, WINDOWS if bench.full else SOME)
    figures = []
    try:
        if runs:
            told = f"{len(runs)} windows"
            figures += [*_compared(bench, told, runs, policies), *_rebuilt(bench, runs, policies)]
        figures += _compared(bench, f"runs {', '.join(LOGS)}", _recorded(), policies)
    except InputError as error:
        # Without what embeds texts there are four strategies, not five.
        figures.append(Figure("strategies", "graph-semantic", why=str(error)))
    return figures


def _recorded() -> list[ReplayRun]:
    found: list[ReplayRun] = []
    for name in LOGS:
        with opened(str(ROOT / "fixtures" / "logs" / f"{name}.jsonl")) as log:
            found += runs_in(log)
    return found


def _compared(
    bench: Bench, told: str, runs: Sequence[ReplayRun], policies: Sequence[Policy]
) -> Iterator[Figure]:
    """Compression, recall and latency."""
    bench.say(f"strategies: {told}, {len(policies)} policies, each alone")
    found = list(rows(runs, policies))
    prompts = sum(len(one.tried.steps) for one in found)
    for what, rows_of in (
        ("compression", _compression), ("evidence recall", _recall), ("latency", _latency),
    ):  # fmt: skip
        group = f"{what}: {told}, {prompts} prompts"
        for number, policy in enumerate(policies):
            yield rows_of(Figure(group, policy.name), found, number)


def _compression(figure: Figure, found: Sequence[Row], number: int) -> Figure:
    sizes = [size for one in found for size in one.sizes[number]]
    shown, full, code_shown, code_full = map(sum, zip(*sizes or [Size(0, 0, 0, 0)], strict=True))
    seed = SEEDS.get(figure.what)
    return figure._replace(
        values=[100 * (1 - shown / max(1, full))], unit="%",
        ours=f"{shown:,} of {full:,} tokens; functions, tests"
        f" {100 * (1 - code_shown / max(1, code_full)):.0f} %",
        control=f"the seed: {seed.compression} %" if seed else "",
    )  # fmt: skip


def _recall(figure: Figure, found: Sequence[Row], number: int) -> Figure:
    runs = [one.tried for one in found]
    mine, first = summary(runs, number), summary(runs, 0)
    seed, between = SEEDS.get(figure.what), interval(runs, number)
    told = f"{mine.shown} of {mine.used}"
    if number:
        told += f"; {(mine.recall or 0) - (first.recall or 0):+.1f} points"
        told += " [{:+.1f}..{:+.1f}]".format(*between) if between else ""
    return figure._replace(
        values=[] if mine.recall is None else [mine.recall], unit="%", ours=told,
        control=f"the seed: {seed.retained} % retained" if seed else "",
        why="" if mine.recall is not None else "nothing was used",
    )  # fmt: skip


def _latency(figure: Figure, found: Sequence[Row], number: int) -> Figure:
    taken = [
        1000 * step.figures[number].seconds
        for one in found
        for step in one.tried.steps
        if step.figures[number].digest
    ]
    seed = SEEDS.get(figure.what)
    vectors = "; its vectors at hand" if STRATEGIES[figure.what].weights.get("meaning") else ""
    return figure._replace(
        values=[median(taken)] if taken else [], unit="ms",
        ours=f"p95 {percentile(taken, 95):,.0f} ms{vectors}" if taken else "",
        control=f"the seed: {seed.latency}" if seed else "",
    )  # fmt: skip


class Moment(NamedTuple):
    """What it takes to know what was known, in milliseconds."""

    nothing: float
    "From the log alone."
    kept: float
    "From the nearest states that are kept."
    builds: tuple[float, ...]
    "A first prompt by each policy."


def _rebuilt(
    bench: Bench, runs: Sequence[ReplayRun], policies: Sequence[Policy]
) -> Iterator[Figure]:
    """The rebuild cost, at the first prompt of some windows."""
    bench.say("strategies: rebuild")
    moments = [_moment(run, policies) for run in runs[-MOMENTS:]]
    found = [one for one in moments if one]
    group = f"rebuild cost: the states, and a first prompt; {len(found)} moments"
    for number, policy in enumerate(policies if found else ()):
        fold, near, build = (
            median(times)
            for times in zip(
                *((one.nothing, one.kept, one.builds[number]) for one in found), strict=True
            )
        )
        seed = SEEDS.get(policy.name)
        yield Figure(
            group, policy.name, [one.nothing + one.builds[number] for one in found], "ms",
            f"folding {fold:,.0f} ms of it; from kept states {near + build:,.0f} ms",
            f"the seed: {seed.rebuild}" if seed else "",
        )  # fmt: skip


def _moment(run: ReplayRun, policies: Sequence[Policy]) -> Moment | None:
    with opened(run.log) as log:
        store = log.store
        step = next(steps_of(store, run), None)
        if step is None:
            return None
        before = step.version - 1

        def from_nothing() -> object:
            running = TaskFollower(store, run.task)
            running.read_on(before)
            return running.graph

        nothing = seconds(from_nothing)
        kept = seconds(lambda: TaskFollower.since(store, run.task, before).graph)
    # The first one goes before and is dropped: the disk is read then.
    _, *builds = (_first(run.log, step, policy) for policy in (policies[0], *policies))
    return Moment(1000 * nothing, 1000 * kept, tuple(1000 * one for one in builds))


def _first(log: str, step: ReplayStep, policy: Policy) -> float:
    """Seconds to build a prompt with nothing kept but the tokenizer and the embedder."""
    with opened(log) as there:
        kept = BuildCache(tokenizer_of(MISTRAL_7B_8K.tokenizer), there.store.get)
        meant = nearness(there.store, policy)
        builder = ContextBuilder(MISTRAL_7B_8K, kept, policy, meant)

        def work() -> None:
            with suppress(BudgetExceededError):
                builder.build(step.known.states, step.known.graph, step.request)

        return seconds(work)
