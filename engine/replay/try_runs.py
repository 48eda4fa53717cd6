"""Try policies on runs: in this process, in several, or on other machines, with equal results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BackcastError, InputError
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.log.engines import ProcessEngine, WorkEngine
from backcast.engine.log.spread import spread
from backcast.engine.log.store import EventStore
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, batches
from backcast.engine.replay.log_worker import LogWorker
from backcast.engine.replay.pieces import runs_piece, tried_of, work
from backcast.engine.replay.run_report import RunReport


class FailedRuns(NamedTuple):
    """Runs of one log that were not measured."""

    runs: tuple[ReplayRun, ...]
    reason: str

    def __str__(self) -> str:
        first, *more = self.runs
        name = f"{first.name} and {len(more)} more runs" if more else first.name
        return f"{name}: {self.reason}"


def refuse(failed: FailedRuns) -> None:
    """Raise `InputError` for runs that failed."""
    raise InputError(str(failed))


def tried(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    profile: ModelProfile | None = None,
    processes: int = 1,
    stores: Mapping[str, EventStore] = {},
    *,
    engine: WorkEngine | None = None,
    report: RunReport | None = None,
    failed: Callable[[FailedRuns], None] = refuse,
    advance: Callable[[int], None] = lambda runs: None,
) -> Iterator[Tried]:
    """Yield each run measured under every setting, in the order of the runs.

    Without an open `engine` processes of this machine do the work, for one of them this process.
    `stores` are logs that are open already, by name; with them all work stays here. Runs that stand
    in a `report` are taken from there, and the others are added as they are done. `failed` is
    called with runs that could not be measured, and `advance` with the number of runs that were.
    """
    found = dict[int, Tried]()
    if report:
        found |= {n: known for n, run in enumerate(runs) if (known := report.find(run))}
        advance(len(found))
    waiting = [number for number in range(len(runs)) if number not in found]
    for index, result in _results(
        [runs[number] for number in waiting], settings, profile, processes, stores, engine, failed
    ):
        found[waiting[index]] = result
        if report:
            report.add(result)
        advance(1)
    for number in sorted(found):
        yield found[number]


def _results(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    profile: ModelProfile | None,
    processes: int,
    stores: Mapping[str, EventStore],
    engine: WorkEngine | None,
    failed: Callable[[FailedRuns], None],
) -> Iterator[tuple[int, Tried]]:
    """Yield the index and the measurements of each run, as they come."""
    local = engine is None or engine.sure
    parallel = min(len(runs), engine.parallel if engine else processes)
    if stores or (local and parallel <= 1):
        yield from _here(runs, settings, profile, stores, failed)
        return
    with ExitStack() as stack:
        engine = engine or stack.enter_context(ProcessEngine(processes))
        cut = list(batches(runs, engine.parallel))
        begins = [*accumulate(map(len, cut), initial=0)]
        for piece in spread(engine, work, [runs_piece(batch, settings, profile) for batch in cut]):
            if piece.failed:
                failed(FailedRuns(cut[piece.number], piece.failed))
            else:
                yield from enumerate(tried_of(piece.result), begins[piece.number])


def _here(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    profile: ModelProfile | None,
    stores: Mapping[str, EventStore],
    failed: Callable[[FailedRuns], None],
) -> Iterator[tuple[int, Tried]]:
    """Yield the index and the measurements of each run, measured in this process."""
    with ExitStack() as stack, rarely_collecting():
        worker = LogWorker(stack, stores)
        for index, run in enumerate(runs):
            try:
                yield index, worker.tried(run, settings, profile)
            except (BackcastError, OSError) as error:
                failed(FailedRuns((run,), str(error)))
