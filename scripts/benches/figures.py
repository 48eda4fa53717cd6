"""What was measured, how times are taken, and the table that shows it.

Works that are compared take turns (A B A B), so that a machine that is busy for a while slows
both. A ratio is taken within each round; the median over the rounds is quoted, with the least and
the greatest.
"""

import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Bound(NamedTuple):
    """What a figure has to be: at least, or at most."""

    sign: str
    "`>=` or `<=`."
    value: float

    def holds(self, value: float) -> bool:
        """Whether a figure is within it."""
        return value >= self.value if self.sign == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


class Figure(NamedTuple):
    """A row of the table."""

    group: str
    what: str
    values: Sequence[float] = ()
    "One a round, in `unit`; empty where it could not be measured."
    unit: str = "x"
    "`x` for a ratio, else `ms`, `MB`, `B`, `s`, `us`."
    ours: str = ""
    "Our own median, in words."
    control: str = ""
    "What stands beside it, and its median."
    must: Bound | None = None
    aim: Bound | None = None
    why: str = ""
    "Why it could not be measured."

    @property
    def value(self) -> float | None:
        """The median."""
        return median(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """Whether the bounds hold."""
        if self.value is None:
            return "not measured"
        if self.must and not self.must.holds(self.value):
            return "misses must"
        if self.aim:
            return "aim" if self.aim.holds(self.value) else "misses aim"
        return "must" if self.must else ""


class Bench(NamedTuple):
    """What every part of a bench is given."""

    folder: Path
    "Where it may write; emptied at the end."
    full: bool
    repositories: Sequence[Path]

    def say(self, what: str) -> None:
        """Tell on stderr what is being measured."""
        print(f"bench: {what}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long a work takes, with the garbage of earlier ones out of the way."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """The seconds that each work took in each round; one round more goes before and is dropped."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(times, works, strict=True):
            taken.append(seconds(work))
    return times


def ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    """The ratio of two series, round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def rate(count: int, times: Sequence[float], what: str = "events") -> str:
    """How many a second, in words, at the median time."""
    return f"{count / median(times):,.0f} {what}/s"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def show(figures: Sequence[Figure], out: Console) -> None:
    """Print the table."""
    table = Table(title=f"\n{machine()}", title_justify="left", header_style="dim")
    for name in ("measured", r"median \[least..most]", "must", "aim", "verdict"):
        table.add_column(name, no_wrap=True, justify="right" if "median" in name else "left")
    table.add_column("Backcast")
    table.add_column("control")
    group = ""
    for figure in figures:
        if figure.group != group:
            table.add_section()
            table.add_row(Text(figure.group, style="bold"))
            group = figure.group
        bounds = [str(bound) if bound else "" for bound in (figure.must, figure.aim)]
        style = "red" if figure.verdict in ("misses must", "not measured") else ""
        sides = (Text(figure.why or figure.ours), Text(figure.control))
        verdict = Text(figure.verdict, style=style)
        table.add_row(Text(f"  {figure.what}"), _cell(figure), *bounds, verdict, *sides)
    out.print(table)


def save(figures: Sequence[Figure], path: Path) -> None:
    """Write the rows as JSON, one object with the machine and all rounds."""
    rows: list[dict[str, Any]] = []
    for figure in figures:
        row = figure._asdict() | {"median": figure.value, "verdict": figure.verdict}
        row["must"], row["aim"] = (str(b) if b else None for b in (figure.must, figure.aim))
        rows.append(row)
    path.write_text(json.dumps({"machine": machine(), "figures": rows}, indent=1) + "\n")


def machine() -> str:
    """On what all of this was measured."""
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, fsync p50 {_fsync_ms():.2f} ms here"
    )


def _fsync_ms() -> float:
    """The median of 50 writes of a page, each forced to the disk, in milliseconds."""
    with tempfile.TemporaryFile(dir=Path(__file__).parents[2]) as file:

        def write() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return median(seconds(write) for _ in range(50)) * 1000


def _cell(figure: Figure) -> str:
    if not figure.values:
        return "-"
    shown = [_number(value) for value in (figure.value or 0.0, *_ends(figure.values))]
    spread = f" [{shown[1]}..{shown[2]}]" if len(figure.values) > 1 else ""
    return f"{shown[0]} {figure.unit}{spread}"


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
