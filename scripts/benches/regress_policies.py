"""The cost of further policies beside that of the first.

Every step is read, folded and linked once for all policies, and parts of one prompt are cached for
the next; so a further policy should cost less than the first. Times are those of the processor, in
one process, after the first steps of a window have warmed the caches.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median
from time import process_time
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT, WEIGHTS, Policy
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.corpus import ReplayRun, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import measured
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.regress_windows import windows

WINDOWS, SOME = 8, 2
"Of a full bench, and by default."
WARM = 6
"Steps of a window that are not timed."
POLICIES: tuple[Policy, ...] = (
    DEFAULT,
    STRATEGIES["online-only"],
    STRATEGIES["hierarchical"],
    DEFAULT.model_copy(update={"errors": 1, "weights": dict(WEIGHTS) | {"named": 1.0}}),
    STRATEGIES["no-cache"],
    STRATEGIES["full-replay"],
    DEFAULT.model_copy(update={"offered": 1.5}),
    DEFAULT.model_copy(update={"keep": False}),
)
"Strategies, and variants of the default as a user who tunes tries them."
COUNTS = (1, 2, 4, 8)


class Timed(NamedTuple):
    """The seconds of some steps under several policies."""

    seconds: float
    steps: int


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    runs = windows(bench, WINDOWS if bench.full else SOME)
    if not runs:
        return []
    rounds = []
    for run in runs:
        bench.say(f"{run.task}, change {run.first + 1}: 1 to {COUNTS[-1]} policies")
        rounds.append({count: _timed(run, POLICIES[:count]) for count in COUNTS})
    return list(_costs(rounds))


def _timed(run: ReplayRun, policies: Sequence[Policy]) -> Timed:
    """Time the steps of a run after the first ones."""
    with opened(run.log) as log:
        workshop = BuilderPool(log.store)
        results = measured(
            steps_of(log.store, run),
            [PolicyReplay(workshop, MISTRAL_7B_8K, policy) for policy in policies],
        )
        for _ in islice(results, WARM):
            pass
        begin = process_time()
        steps = sum(1 for _ in results)
        return Timed(process_time() - begin, steps)


def _costs(rounds: Sequence[dict[int, Timed]]) -> Iterator[Figure]:
    """Yield the time of a step, and a further policy's share of the first one's."""
    steps = sum(one[1].steps for one in rounds)
    group = f"policies at once: {steps} steps of {len(rounds)} windows, processor time"
    for count in COUNTS:
        each = [1000 * one[count].seconds / one[count].steps for one in rounds if one[count].steps]
        prompt = f"{median(each) / count:.1f} ms a prompt" if each else ""
        alone = "" if count == 1 else f"{count} runs: {_times(rounds, count)}"
        yield Figure(group, f"a step, policies: {count}", each, "ms", prompt, alone)
    for count in COUNTS[1:]:
        more = [100 * _more(one, count) for one in rounds if one[1].steps]
        what, bounds = f"each further policy, of the first; policies: {count}", (35, 25)
        must, aim = (Bound("<=", bound) for bound in bounds)
        yield Figure(group, what, more, "%", must=must, aim=aim)


def _times(rounds: Sequence[dict[int, Timed]], count: int) -> str:
    first = median(1000 * one[1].seconds / one[1].steps for one in rounds if one[1].steps)
    return f"{count * first:,.0f} ms"


def _more(times: dict[int, Timed], count: int) -> float:
    """Return the time that each further policy adds, as a share of the first one's."""
    return (times[count].seconds / times[1].seconds - 1) / (count - 1)
