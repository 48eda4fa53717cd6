"""What it costs to have work done by an engine: Dask's workers beside a pool that is fed by hand.

Both have two worker processes of this machine that have started and have read a log before, and the
same pieces of work. The pool's results are pickled values, without digests, JSON, or anybody who
looks after workers that die.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from time import perf_counter
from typing import Any, NamedTuple

import psutil

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.log.dask_engine import DaskEngine
from backcast.engine.log.open_logs import opened
from backcast.engine.log.stamps import stamps_of
from backcast.engine.log.workers import pool_of
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, batches
from backcast.engine.replay.log_worker import LogWorker
from backcast.engine.replay.try_runs import tried
from scripts.benches.figures import Bench, Bound, Figure, ratios
from scripts.benches.regress_windows import windows

WINDOWS, SOME = 120, 12
"Of a full bench, which work for a minute and more, and by default."
PROCESSES, ROUNDS = 2, 3
MORE = Bound("<=", 10)
SETTINGS = (Setting("default", DEFAULT),)

_WORKER = LogWorker(ExitStack())


class Taken(NamedTuple):
    """The seconds of a work, by the clock and of all processors."""

    wall: float
    busy: float


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    runs = list(_stamped(windows(bench, WINDOWS if bench.full else SOME)))
    group = f"{len(runs)} windows by {PROCESSES} workers that have started"
    if not runs:
        return [Figure(group, "Dask's time beside a pool's", why="needed windows, found none")]
    with ExitStack() as stack:
        pool = stack.enter_context(pool_of(PROCESSES))
        distributed: Any = import_module("distributed")
        cluster: Any = stack.enter_context(
            distributed.LocalCluster(
                n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None
            )
        )
        address = cluster.scheduler_address.replace("tcp", "dask")
        engine = stack.enter_context(DaskEngine(address))

        def by_hand() -> list[Tried]:
            cut = batches(runs, PROCESSES)
            return [found for batch in pool.map(_measured, cut) for found in batch]

        def by_dask() -> list[Tried]:
            return list(tried(runs, SETTINGS, MISTRAL_7B_8K, engine=engine))

        if list(map(_untimed, by_hand())) != list(map(_untimed, by_dask())):
            raise AssertionError("needed equal results of both")
        hand, dask = list[Taken](), list[Taken]()
        for number in range(ROUNDS):
            bench.say(f"round {number + 1} of {ROUNDS}")
            hand.append(_taken(by_hand))
            dask.append(_taken(by_dask))
    return list(_figures(group, hand, dask))


def _figures(group: str, hand: Sequence[Taken], dask: Sequence[Taken]) -> Iterator[Figure]:
    for index, what in enumerate(("time", "processor time of all processes")):
        above, below = [one[index] for one in dask], [one[index] for one in hand]
        more = [100 * (ratio - 1) for ratio in ratios(above, below)]
        yield Figure(
            group, f"Dask's {what} beyond a pool's", more, "%", _seconds(above), _seconds(below),
            must=MORE,
        )  # fmt: skip


def _seconds(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values) + " s"


def _stamped(runs: Sequence[ReplayRun]) -> Iterator[ReplayRun]:
    stamps = dict[str, dict[str, str]]()
    for run in runs:
        if run.log not in stamps:
            with opened(run.log) as log:
                stamps[run.log] = stamps_of(log.store)
        yield run._replace(stamp=stamps[run.log][run.task])


def _measured(batch: Sequence[ReplayRun]) -> list[Tried]:
    with rarely_collecting():
        return [_WORKER.tried(run, SETTINGS, MISTRAL_7B_8K) for run in batch]


def _untimed(found: Tried) -> list[Any]:
    return [figures._replace(seconds=0.0) for step in found.steps for figures in step.figures]


def _taken(work: Callable[[], object]) -> Taken:
    begin, busy = perf_counter(), _busy()
    work()
    return Taken(perf_counter() - begin, _busy() - busy)


def _busy() -> float:
    """Return the processor time of this process and of all that it has started."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))
