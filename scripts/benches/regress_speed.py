"""Prompts a second over windows of histories, by one process and by two."""

from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.regress import summary
from backcast.engine.replay.try_runs import tried
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.regress_windows import CHANGES, FUNCTIONS, windows

WINDOWS, SOME = 200, 8
"Of a full bench, and by default."
PROMPTS = 4_000
FILL = Bound(">=", 90)
RATES = {1: (None, None), 2: (Bound(">=", 20), Bound(">=", 100))}
"The bounds of prompts a second, by processes."


class Measured(NamedTuple):
    """The results of some windows, and the seconds with the start of the processes."""

    seconds: float
    results: list[Tried]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    runs = windows(bench, WINDOWS if bench.full else SOME)
    group = f"prompts of 8K, {len(runs)} windows of {CHANGES} changes, {FUNCTIONS:,}+ functions"
    if not runs:
        why = f"needed a repository with {FUNCTIONS:,} functions and {CHANGES} changes since"
        return [Figure(group, "prompts a second", why=why)]
    measures = {processes: _measured(bench, runs, processes) for processes in RATES}
    return [*_sizes(bench, group, measures[1].results), *_rates(group, measures)]


def _measured(bench: Bench, runs: Sequence[ReplayRun], processes: int) -> Measured:
    bench.say(f"{len(runs)} windows, processes: {processes}")
    begin = perf_counter()
    results = list(tried(runs, [Setting("default", DEFAULT)], MISTRAL_7B_8K, processes))
    return Measured(perf_counter() - begin, results)


def _sizes(bench: Bench, group: str, results: Sequence[Tried]) -> Iterator[Figure]:
    """Yield the amount of work."""
    all, must = summary(results, 0), Bound(">=", PROMPTS) if bench.full else None
    sizes = f"{all.unfit} of them do not fit; the median has {all.tokens:,.0f} tokens"
    yield Figure(group, "prompts", [all.prompts], "", sizes, must=must)
    yield Figure(
        group, "the context part is filled, median", [100 * _fill(results)], "%", must=FILL
    )
    yield Figure(group, "prompts over their budget", [all.over], "", must=Bound("<=", 0))


def _rates(group: str, measures: dict[int, Measured]) -> Iterator[Figure]:
    """Yield the prompts a second, by processes."""
    for processes, (taken, results) in measures.items():
        must, aim = RATES[processes]
        prompts = summary(results, 0).prompts
        beside = "" if processes == 1 else f"{measures[1].seconds / taken:.2f} x one process"
        what = f"prompts a second, processes: {processes}"
        yield Figure(group, what, [prompts / taken], "/s", f"{taken:.1f} s", beside, must, aim)


def _fill(results: Sequence[Tried]) -> float:
    kept = BuildCache(tokenizer_of(MISTRAL_7B_8K.tokenizer), lambda ref: b"")
    frame = ContextBuilder(MISTRAL_7B_8K, kept).frame
    every = [step.figures[0] for one in results for step in one.steps if step.figures[0].digest]
    shares = [(one.tokens - frame - one.sections.get(TASK, 0)) / one.budget for one in every]
    return median(shares) if shares else 0.0
