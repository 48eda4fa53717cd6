"""Prompts a second, over windows of histories: by one process and by two, and their memory.

`python -m scripts.benches.regress_speed` reads runs and a number of processes from its input, in a
process of its own, so that nothing else counts into its memory.
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


class Told(NamedTuple):
    """What a process tells."""

    seconds: float
    "From the first run to the last, with the start of the processes."
    prompts: int
    unfit: int
    over: int
    fill: float
    "The share of the context part's tokens that the median prompt uses, headings included."
    tokens: float
    spent: float
    "Seconds of processor time, by all processes."
    peaks: tuple[int, ...]
    "The most bytes that each of the processes had."


class Process(NamedTuple):
    """What a process has used so far."""

    spent: float
    "Seconds of processor time."
    peak: int
    "Bytes."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    runs = windows(bench, WINDOWS if bench.full else SOME)
    group = f"prompts of 8K, {len(runs)} windows of {CHANGES} changes, {FUNCTIONS:,}+ functions"
    if not runs:
        why = f"needed a repository with {FUNCTIONS:,} functions and {CHANGES} changes since"
        return [Figure(group, "prompts a second", why=why)]
    told = {}
    for processes in RATES:
        bench.say(f"{len(runs)} windows, processes: {processes}")
        told[processes] = _told(runs, processes)
    return [*_sizes(bench, group, runs, told[1]), *_rates(group, told)]


def _sizes(bench: Bench, group: str, runs: Sequence[ReplayRun], told: Told) -> Iterator[Figure]:
    """How much there is to do."""
    must = (Bound(">=", WINDOWS), Bound(">=", PROMPTS)) if bench.full else (None, None)
    names = ", ".join(dict.fromkeys(run.task for run in runs))
    yield Figure(group, "windows", [len(runs)], "", names, must=must[0])
    sizes = f"{told.unfit} of them do not fit; the median has {told.tokens:,.0f} tokens"
    yield Figure(group, "prompts", [told.prompts], "", sizes, must=must[1])
    yield Figure(group, "the context part is filled, median", [100 * told.fill], "%", must=FILL)
    yield Figure(group, "prompts over their budget", [told.over], "", must=Bound("<=", 0))


def _rates(group: str, told: dict[int, Told]) -> Iterator[Figure]:
    """How fast it is done, and in how much memory."""
    first = told[1].prompts / told[1].seconds
    for processes, one in told.items():
        rate, (must, aim) = one.prompts / one.seconds, RATES[processes]
        spent = 1000 * one.spent / one.prompts
        took = f"{one.seconds:.1f} s with their start; of processors {spent:.1f} ms a prompt"
        beside = "" if processes == 1 else f"by 1 process {first:.1f}/s: {rate / first:.2f} x"
        what = f"prompts a second, processes: {processes}"
        yield Figure(group, what, [rate], "/s", took, beside, must, aim)
    for processes, one in told.items():
        each = ", ".join(f"{peak / 1e6:,.0f}" for peak in one.peaks)
        what = f"peak memory of all, processes: {processes}"
        yield Figure(group, what, [sum(one.peaks) / 1e6], "MB", f"each: {each}")


def _told(runs: Sequence[ReplayRun], processes: int) -> Told:
    asked = json.dumps({"runs": runs, "processes": processes})
    command = (sys.executable, "-m", __name__)
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    return Told(**json.loads(done.stdout))


def _in_new_process(asked: dict[str, Any]) -> Told:
    runs, processes = [ReplayRun(*one) for one in asked["runs"]], asked["processes"]
    found, there = [], dict[int, Process]()
    begin = perf_counter()
    for one in tried(runs, [Setting("default", DEFAULT)], MISTRAL_7B_8K, processes):
        found.append(one)
        # When the last one was just told, all processes are still there.
        for pid, process in _processes():
            most = max(process.peak, there[pid].peak if pid in there else 0)
            there[pid] = process._replace(peak=most)
    taken, all = perf_counter() - begin, summary(found, 0)
    return Told(
        taken, all.prompts, all.unfit, all.over, _fill(found), all.tokens,
        sum(one.spent for one in there.values()),
        tuple(sorted((one.peak for one in there.values()), reverse=True)),
    )  # fmt: skip


def _fill(found: Sequence[Tried]) -> float:
    kept = BuildCache(tokenizer_of(MISTRAL_7B_8K.tokenizer), lambda ref: b"")
    frame = ContextBuilder(MISTRAL_7B_8K, kept).frame
    every = [step.figures[0] for one in found for step in one.steps if step.figures[0].digest]
    shares = [(one.tokens - frame - one.sections.get(TASK, 0)) / one.budget for one in every]
    return median(shares) if shares else 0.0


def _processes() -> Iterator[tuple[int, Process]]:
    """This process and those that it started, by id."""
    this = psutil.Process()
    for one in (this, *this.children(recursive=True)):
        times = one.cpu_times()
        yield one.pid, Process(times.user + times.system, _peak(one))


def _peak(process: psutil.Process) -> int:
    """The most bytes that a process has had; where there is no /proc, those that it has now."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_in_new_process(json.load(sys.stdin))._asdict()))
