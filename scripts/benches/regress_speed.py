"""Prompts a second over windows of histories, by one process and by two, beside an earlier commit.

The earlier commit's own bench makes prompts of the same windows, from a log that it imported; the
two take turns. Each builds by the default policy of its time.
"""

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.regress import summary
from backcast.engine.replay.try_runs import tried
from scripts.benches.control import COMMIT, control
from scripts.benches.figures import Bench, Bound, Figure, ratios
from scripts.benches.peer import PeerMissing
from scripts.benches.regress_windows import CHANGES, FUNCTIONS, windows

WINDOWS, SOME = 200, 8
"Of a full bench, and by default."
ROUNDS = 3
"Of a bench that is not full; a full one has one."
PROMPTS = 4_000
OURS = "Backcast"
FILL = Bound(">=", 90)
RATES = {1: (None, None), 2: (Bound(">=", 40), Bound(">=", 100))}
"The bounds of prompts a second, by processes."


class Measured(NamedTuple):
    """The cost of some windows, with the start of the processes; and the results, if ours."""

    seconds: float
    spent: float
    "Seconds of all processors."
    prompts: int
    results: list[Tried]


Round = dict[tuple[str, int], Measured]
"What was measured, by whose code it was and by the number of processes."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    count = WINDOWS if bench.full else SOME
    runs = windows(bench, count)
    group = f"prompts of 8K, {len(runs)} windows of {CHANGES} changes, {FUNCTIONS:,}+ functions"
    if not runs:
        why = f"needed a repository with {FUNCTIONS:,} functions and {CHANGES} changes since"
        return [Figure(group, "prompts a second", why=why)]
    with ExitStack() as stack:
        note, theirs = "", list[list[Any]]()
        try:
            before = stack.enter_context(control(bench))
            theirs = before.windows(bench.repositories, count)
            if [run[1:5] for run in theirs] != [list(run[1:5]) for run in runs]:
                note = f"{COMMIT} took {len(theirs)} windows that are not all the same; "
        except PeerMissing as missing:
            note = f"{COMMIT}: {missing}; "
        rounds = list[Round]()
        for number in range(1 if bench.full else ROUNDS):
            rounds.append({})
            for processes in RATES:
                bench.say(f"round {number + 1}: {len(runs)} windows, processes: {processes}")
                rounds[-1][OURS, processes] = _measured(runs, processes)
                if theirs:
                    answer = before.measured(theirs, processes)
                    one = Measured(answer["seconds"], answer["spent"], answer["prompts"], [])
                    rounds[-1][COMMIT, processes] = one
    return [*_sizes(bench, group, rounds[0][OURS, 1].results), *_rates(group, rounds, note)]


def _measured(runs: Sequence[ReplayRun], processes: int) -> Measured:
    begin, spent = perf_counter(), _spent()
    results = list(tried(runs, [Setting("default", DEFAULT)], MISTRAL_7B_8K, processes))
    prompts = summary(results, 0).prompts
    return Measured(perf_counter() - begin, _spent() - spent, prompts, results)


def _spent() -> float:
    """Return the seconds of the processor so far, of this process and those that it has ended."""
    every = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in every)


def _sizes(bench: Bench, group: str, results: Sequence[Tried]) -> Iterator[Figure]:
    """Yield the amount of work."""
    all, must = summary(results, 0), Bound(">=", PROMPTS) if bench.full else None
    sizes = f"{all.unfit} of them do not fit; the median has {all.tokens:,.0f} tokens"
    yield Figure(group, "prompts", [all.prompts], "", sizes, must=must)
    yield Figure(
        group, "the context part is filled, median", [100 * _fill(results)], "%", must=FILL
    )
    yield Figure(group, "prompts over their budget", [all.over], "", must=Bound("<=", 0))


def _rates(group: str, rounds: Sequence[Round], note: str) -> Iterator[Figure]:
    """Yield the prompts a second by processes, and how they stand to the earlier commit's."""
    for processes, (must, aim) in RATES.items():
        ours = [one[OURS, processes] for one in rounds]
        earlier = [one[COMMIT, processes] for one in rounds if (COMMIT, processes) in one]
        what = f"prompts a second, processes: {processes}"
        beside = f"{COMMIT} {_words(earlier)}" if earlier else ""
        rates = [one.prompts / one.seconds for one in ours]
        yield Figure(group, what, rates, "/s", _words(ours), note + beside, must, aim)
        if earlier:
            faster = ratios(map(_each, earlier), map(_each, ours))
            what = f"times as many as {COMMIT} in a processor's second, processes: {processes}"
            yield Figure(group, what, faster)


def _each(one: Measured) -> float:
    """Return the seconds of the processor for a prompt."""
    return one.spent / one.prompts


def _words(every: Sequence[Measured]) -> str:
    rate = median(one.prompts / one.seconds for one in every)
    return f"{rate:.1f}/s, of processors {1000 * median(map(_each, every)):.1f} ms a prompt"


def _fill(results: Sequence[Tried]) -> float:
    kept = BuildCache(tokenizer_of(MISTRAL_7B_8K.tokenizer), lambda ref: b"")
    frame = ContextBuilder(MISTRAL_7B_8K, kept).frame
    every = [step.figures[0] for one in results for step in one.steps if step.figures[0].digest]
    shares = [(one.tokens - frame - one.sections.get(TASK, 0)) / one.budget for one in every]
    return median(shares) if shares else 0.0
