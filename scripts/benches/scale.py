"""What one log costs as it grows 4, 16 and 64 times, and where each line bends.

The log is that of `scale_log`: real histories, one after another. Each measure runs in a process of
its own, so that its memory is its own; its seconds are those of the processor. The exponent between
two sizes is the slope of the line on paper with two logarithmic axes: 1 where four times the events
cost four times as much, 0 where they cost the same, 0.5 for the square root. An exponent above
`BENT` for a measure of the whole log is a bend, and above `LEVEL` for an answer about one moment.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

from scripts.benches.figures import Bench, Figure
from scripts.benches.regress_windows import stored
from scripts.benches.scale_parts import Answer, asked
from scripts.benches.workload import checkpoint

FIRST, TIMES, FULL = 10_000, (1, 4, 16), (1, 4, 16, 64)
"Events of the smallest log, and how many times as long the others are."
BENT, LEVEL = 1.1, 0.6
LOGS, MACHINES, CORES, PROMPTS = 1_000_000, 40, 2, 25
"What is reckoned: logs of the smallest size, machines and their cores, and prompts of each log."
FREE = 0.6
"The share of the free disk that a log may be foretold to take."


class Line(NamedTuple):
    """A figure that is followed from size to size."""

    what: str
    measure: str
    key: str
    unit: str
    whole: bool
    "Whether it is of the whole log, and so grows with it at least."


LINES = (
    Line("append", "append", "seconds", "s", True),
    Line("bytes of events and texts", "append", "bytes", "MB", True),
    Line("keep snapshots", "keep", "seconds", "s", True),
    Line("bytes of snapshots", "keep", "bytes", "MB", True),
    Line("replay: fold all projections", "replay", "seconds", "s", True),
    Line("state at a moment, in the middle", "state", "seconds", "ms", False),
    Line("context, the first of a process", "build", "cold", "ms", False),
    Line("context, each further one", "build", "warm", "ms", False),
    Line("regress, until the first prompt", "regress", "cold", "ms", False),
    Line("regress, each further prompt", "regress", "warm", "ms", False),
    Line("search by words, the first of a process", "search", "cold", "ms", False),
    Line("search by words, again", "search", "warm", "ms", False),
)
UNITS = {"s": 1, "ms": 1e3, "MB": 1e-6}
Sizes = Mapping[int, Mapping[str, Answer]]
"The answers by number of events and measure."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    kept = bench.folder.parent / "histories"
    kept.mkdir(exist_ok=True)
    histories = [stored(bench._replace(folder=kept), folder) for folder in bench.repositories]
    path, sizes, why = bench.folder / "growing.db", dict[int, dict[str, Answer]](), ""
    for times in FULL if bench.full else TIMES:
        if why := _too_large(path, sizes, FIRST * times):
            break
        sizes[FIRST * times] = _measured(bench, path, histories, FIRST * times, sizes)
    rows = [figure for line in LINES for figure in _followed(line, sizes)]
    rows += _reckoned(sizes)
    if why:
        rows.append(Figure("the next size", f"{FIRST * times:,} events", why=why))
    return rows


def _measured(
    bench: Bench, path: Path, histories: Sequence[tuple[str, str]], size: int, before: Sizes
) -> dict[str, Answer]:
    """Let the log grow to a size, and return what each measure says of it."""
    bench.say(f"{size:,} events: append")
    answers = {"append": asked("append", path, histories=histories, size=size)}
    whole, snapshots = checkpoint(path), 0.0
    if before:
        last = before[max(before)]
        # The log was appended to, so this much was spent and stored before.
        snapshots = last["keep"]["bytes"]
        answers["append"]["seconds"] += last["append"]["seconds"]
    answers["append"]["bytes"] = whole - snapshots
    for name in ("keep", "replay", "state", "build", "regress", "search"):
        bench.say(f"{size:,} events: {name}")
        answers[name] = asked(name, path)
        bench.say(", ".join(f"{key} {value:,.3g}" for key, value in answers[name].items()))
    if before:
        answers["keep"]["seconds"] += last["keep"]["seconds"]
    answers["keep"]["bytes"] = checkpoint(path) - answers["append"]["bytes"]
    return answers


def _too_large(path: Path, sizes: Sizes, size: int) -> str:
    """Return why a log of a size is not made: the disk that it is foretold to take."""
    if len(sizes) < 2:
        return ""
    smaller, larger = sorted(sizes)[-2:]
    taken = 0.0
    for measure in ("append", "keep"):
        before, now = (sizes[one][measure]["bytes"] for one in (smaller, larger))
        taken += now * (size / larger) ** _exponent(smaller, larger, before, now)
    free = shutil.disk_usage(path.parent).free
    if taken <= FREE * free:
        return ""
    return f"it would take {taken / 1e9:.0f} GB by these lines, {free / 1e9:.0f} GB are free"


def _followed(line: Line, sizes: Sizes) -> Iterator[Figure]:
    """Yield a line's figure at each size, with the exponent since the size before."""
    before = 0
    for size, answers in sizes.items():
        answer = answers[line.measure]
        value = answer[line.key]
        peak = f"peak {answer['peak'] / 1e6:,.0f} MB" if line.key != "bytes" else ""
        if line.measure in ("append", "replay") and line.key == "seconds":
            peak += f", {size / value:,.0f} events/s"
        if line.key == "warm" and line.measure == "regress":
            peak += f", {1 / value:.1f} prompts/s by one process"
        if line.measure == "build":
            peak += f", {answer['functions']:,.0f} functions"
        beside = ""
        if before:
            slope = _exponent(before, size, sizes[before][line.measure][line.key], value)
            bent = slope > (BENT if line.whole else LEVEL)
            beside = f"exponent {slope:.2f}{', bends' if bent else ''}"
        group = f"{line.what}"
        yield Figure(group, f"{size:,} events", [value * UNITS[line.unit]], line.unit, peak, beside)
        before = size


def _reckoned(sizes: Sizes) -> Iterator[Figure]:
    """Yield what many logs of the smallest size would take by these figures, shared out evenly."""
    size = min(sizes)
    answers = sizes[size]
    group = f"reckoned, not measured: {LOGS:,} logs of {size:,} events, {MACHINES} x {CORES} cores"
    regress = answers["regress"]
    works = {
        "append them and keep snapshots": answers["append"]["seconds"] + answers["keep"]["seconds"],
        "replay them": answers["replay"]["seconds"],
        f"regress, {PROMPTS} prompts of each": regress["cold"] + (PROMPTS - 1) * regress["warm"],
        "the first search in each": answers["search"]["cold"],
    }
    for what, each in works.items():
        hours = each * LOGS / MACHINES / CORES / 3600
        yield Figure(group, what, [hours], "h", f"{each:.2f} s of a processor each")
    for what, measure in (("events and texts", "append"), ("snapshots", "keep")):
        each = answers[measure]["bytes"]
        machine = f"{each * LOGS / MACHINES / 1e9:,.0f} GB a machine"
        yield Figure(group, what, [each * LOGS / 1e12], "TB", f"{each / 1e6:.1f} MB each", machine)
    largest = max(answer["peak"] for answer in sizes[max(sizes)].values())
    yield Figure(group, f"memory of a process, largest log of {max(sizes):,} events",
                 [largest / 1e6], "MB", f"{CORES * largest / 1e9:.1f} GB a machine")  # fmt: skip


def _exponent(smaller: int, larger: int, before: float, now: float) -> float:
    """Return the slope between two sizes on logarithmic axes."""
    return log(max(now, 1e-9) / max(before, 1e-9)) / log(larger / smaller)
