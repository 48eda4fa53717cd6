"""Prompts a second over windows of histories, by one process and by two, and their memory.

Each is measured in a new process (`python -m scripts.benches.regress_speed`), so that nothing else
counts into its memory.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import psutil

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.policy import DEFAULT
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, tried
from backcast.engine.replay.regress import summary
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.regress_windows import CHANGES, FUNCTIONS, windows

WINDOWS, SOME = 200, 8
"Of a full bench, and by default."
PROMPTS = 4_000
FILL = Bound(">=", 90)
RATES = {1: (None, None), 2: (Bound(">=", 20), Bound(">=", 100))}
"The bounds of prompts a second, by processes."


class Measured(NamedTuple):
    """The measures of some windows with one number of processes."""

    seconds: float
    "The time from the first run to the last, with the start of the processes."
    prompts: int
    unfit: int
    over: int
    fill: float
    "The share of the context part's tokens that the median prompt uses, headings included."
    tokens: float
    spent: float
    "Seconds of processor time of all processes."
    peaks: tuple[int, ...]
    "The peak of each process in bytes."


class Process(NamedTuple):
    """A process's seconds of processor time and peak bytes so far."""

    spent: float
    peak: int


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    runs = windows(bench, WINDOWS if bench.full else SOME)
    group = f"prompts of 8K, {len(runs)} windows of {CHANGES} changes, {FUNCTIONS:,}+ functions"
    if not runs:
        why = f"needed a repository with {FUNCTIONS:,} functions and {CHANGES} changes since"
        return [Figure(group, "prompts a second", why=why)]
    measures = {}
    for processes in RATES:
        bench.say(f"{len(runs)} windows, processes: {processes}")
        measures[processes] = _measured(runs, processes)
    return [*_sizes(bench, group, runs, measures[1]), *_rates(group, measures)]


def _sizes(
    bench: Bench, group: str, runs: Sequence[ReplayRun], measured: Measured
) -> Iterator[Figure]:
    """Yield the amount of work."""
    must = (Bound(">=", WINDOWS), Bound(">=", PROMPTS)) if bench.full else (None, None)
    names = ", ".join(dict.fromkeys(run.task for run in runs))
    yield Figure(group, "windows", [len(runs)], "", names, must=must[0])
    sizes = f"{measured.unfit} of them do not fit; the median has {measured.tokens:,.0f} tokens"
    yield Figure(group, "prompts", [measured.prompts], "", sizes, must=must[1])
    yield Figure(group, "the context part is filled, median", [100 * measured.fill], "%", must=FILL)
    yield Figure(group, "prompts over their budget", [measured.over], "", must=Bound("<=", 0))


def _rates(group: str, measures: dict[int, Measured]) -> Iterator[Figure]:
    """Yield the speed and the memory."""
    first = measures[1].prompts / measures[1].seconds
    for processes, measured in measures.items():
        rate, (must, aim) = measured.prompts / measured.seconds, RATES[processes]
        spent = 1000 * measured.spent / measured.prompts
        took = f"{measured.seconds:.1f} s with their start; of processors {spent:.1f} ms a prompt"
        beside = "" if processes == 1 else f"by 1 process {first:.1f}/s: {rate / first:.2f} x"
        what = f"prompts a second, processes: {processes}"
        yield Figure(group, what, [rate], "/s", took, beside, must, aim)
    for processes, measured in measures.items():
        each = ", ".join(f"{peak / 1e6:,.0f}" for peak in measured.peaks)
        what = f"peak memory of all, processes: {processes}"
        yield Figure(group, what, [sum(measured.peaks) / 1e6], "MB", f"each: {each}")


def _measured(runs: Sequence[ReplayRun], processes: int) -> Measured:
    asked = json.dumps({"runs": runs, "processes": processes})
    command = (sys.executable, "-m", __name__)
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout))


def _in_new_process(asked: dict[str, Any]) -> Measured:
    runs = [ReplayRun(*fields) for fields in asked["runs"]]
    results, processes = list[Tried](), dict[int, Process]()
    begin = perf_counter()
    for result in tried(runs, [Setting("default", DEFAULT)], MISTRAL_7B_8K, asked["processes"]):
        results.append(result)
        # All processes still run when the last result arrives.
        for pid, process in _processes():
            most = max(process.peak, processes[pid].peak if pid in processes else 0)
            processes[pid] = process._replace(peak=most)
    taken, all = perf_counter() - begin, summary(results, 0)
    return Measured(
        taken, all.prompts, all.unfit, all.over, _fill(results), all.tokens,
        sum(process.spent for process in processes.values()),
        tuple(sorted((process.peak for process in processes.values()), reverse=True)),
    )  # fmt: skip


def _fill(results: Sequence[Tried]) -> float:
    kept = BuildCache(tokenizer_of(MISTRAL_7B_8K.tokenizer), lambda ref: b"")
    frame = ContextBuilder(MISTRAL_7B_8K, kept).frame
    every = [step.figures[0] for one in results for step in one.steps if step.figures[0].digest]
    shares = [(one.tokens - frame - one.sections.get(TASK, 0)) / one.budget for one in every]
    return median(shares) if shares else 0.0


def _processes() -> Iterator[tuple[int, Process]]:
    """Yield this process and its children, by id."""
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        times = process.cpu_times()
        yield process.pid, Process(times.user + times.system, _peak(process))


def _peak(process: psutil.Process) -> int:
    """Return the peak bytes of a process; where there is no /proc, its bytes at present."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_in_new_process(json.load(sys.stdin))._asdict()))
