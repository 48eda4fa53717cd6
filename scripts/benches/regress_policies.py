"""What more policies cost beside the first, and where the time of one goes.

Every step is read, folded and linked once for all policies, and what is made for one prompt is
kept for the next; so a policy more should cost less than the first. Times are those of the
processor, in one process, after the first steps of a window have warmed what is kept.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median
from time import process_time
from typing import NamedTuple

import backcast.engine.replay.corpus as corpus
import backcast.engine.replay.measure as measuring
from backcast.domain.allocation import Offer
from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT, WEIGHTS, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.candidates import Candidates
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.open_logs import opened
from backcast.engine.models.tokenizers import Mistral
from backcast.engine.replay.corpus import ReplayRun, Setting, steps_of, tried
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import measured
from backcast.projections import dependency_graph
from scripts.benches.figures import Bench, Bound, Figure, seconds
from scripts.benches.regress_windows import windows
from scripts.benches.run_parts import Parts

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
"Others of their own, and variants of the default, as one who tunes has them."
COUNTS = (1, 2, 4, 8)
PLACES = (
    ("reading and folding", corpus, "changed"),
    ("reading and folding", TaskFollower, "since"),
    ("reading and folding", TaskFollower, "read_on"),
    ("the graph of the modules", dependency_graph, "graph_of"),
    ("the symbols of a moment", BuildCache, "symbols"),
    ("building: what could be shown", Candidates, "all"),
    ("building: what of it fits", Offer, "allocated"),
    ("building: the rest", ContextBuilder, "build"),
    ("tokenizing", Mistral, "encode"),
    ("evidence", measuring, "used"),
    ("prefix", measuring, "encoded"),
    ("prefix", measuring, "shared"),
)


class Timed(NamedTuple):
    """What some steps took under so many policies."""

    seconds: float
    steps: int


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    runs = windows(bench, WINDOWS if bench.full else SOME)
    if not runs:
        return []
    rounds = []
    for run in runs:
        bench.say(f"{run.task}, change {run.first + 1}: 1 to {COUNTS[-1]} policies")
        rounds.append({count: _timed(run, POLICIES[:count]) for count in COUNTS})
    bench.say("where the time goes")
    return [*_costs(rounds), *_parts(runs)]


def _timed(run: ReplayRun, policies: Sequence[Policy]) -> Timed:
    """The steps of a run after the first ones."""
    with opened(run.log) as log:
        workshop = BuilderPool(log.store)
        found = measured(
            steps_of(log.store, run),
            [PolicyReplay(workshop, MISTRAL_7B_8K, one) for one in policies],
        )
        for _ in islice(found, WARM):
            pass
        begin = process_time()
        steps = sum(1 for _ in found)
        return Timed(process_time() - begin, steps)


def _costs(rounds: Sequence[dict[int, Timed]]) -> Iterator[Figure]:
    """The time of a step, and what a policy more adds to it, of what the first takes."""
    steps = sum(one[1].steps for one in rounds)
    group = f"policies at once: {steps} steps of {len(rounds)} windows, processor time"
    for count in COUNTS:
        each = [1000 * one[count].seconds / one[count].steps for one in rounds if one[count].steps]
        told = f"{median(each) / count:.1f} ms a prompt"
        alone = "" if count == 1 else f"{count} runs: {_times(rounds, count)}"
        yield Figure(group, f"a step, policies: {count}", each, "ms", told, alone)
    for count in COUNTS[1:]:
        more = [100 * _more(one, count) for one in rounds if one[1].steps]
        what, bounds = f"each further policy, of the first; policies: {count}", (100, 50)
        must, aim = (Bound("<=", bound) for bound in bounds)
        yield Figure(group, what, more, "%", must=must, aim=aim)


def _times(rounds: Sequence[dict[int, Timed]], count: int) -> str:
    first = median(1000 * one[1].seconds / one[1].steps for one in rounds if one[1].steps)
    return f"{count * first:,.0f} ms"


def _more(one: dict[int, Timed], count: int) -> float:
    """What each policy but the first adds, to what the first takes."""
    return (one[count].seconds / one[1].seconds - 1) / (count - 1)


def _parts(runs: Sequence[ReplayRun]) -> Iterator[Figure]:
    """Where the time of a prompt under one policy goes, the windows' beginnings included."""
    parts, count = Parts(PLACES), 0

    def work() -> None:
        nonlocal count
        found = tried(runs, [Setting("default", DEFAULT)], MISTRAL_7B_8K)
        count = sum(len(one.steps) for one in found)

    with parts.watched():
        taken = seconds(work)
    group = f"where the time goes, {count} prompts of {len(runs)} windows, one process"
    yield Figure(group, "all", [taken], "s", f"{1000 * taken / max(1, count):.1f} ms a prompt")
    rest = {"the rest": taken - sum(parts.seconds.values())}
    for name, spent in (parts.seconds | rest).items():
        told = f"{1000 * spent / max(1, count):.2f} ms a prompt"
        yield Figure(group, name, [100 * spent / taken], "%", told)
