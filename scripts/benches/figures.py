"""The figures of a bench, how times are taken, and the table that shows them.

Works that are compared take turns (A B A B), so that a machine that is busy for a while slows
both. A ratio is taken within each round; the median over the rounds is quoted, with the least and
the greatest.
"""

import argparse
import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"


class Bound(NamedTuple):
    """What a figure has to be: at least, or at most."""

    sign: str
    "`>=` or `<=`."
    value: float

    def holds(self, value: float) -> bool:
        """Return whether a figure is within the bound."""
        return value >= self.value if self.sign == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


class Figure(NamedTuple):
    """A row of the table."""

    group: str
    what: str
    values: Sequence[float] = ()
    "The value of each round, in `unit`; empty where it could not be measured."
    unit: str = "x"
    "`x` for a ratio, else `ms`, `MB`, `%` and the like."
    ours: str = ""
    "Our own median, in words."
    control: str = ""
    "The thing beside it, and its median."
    must: Bound | None = None
    aim: Bound | None = None
    why: str = ""
    "The reason why it could not be measured."
    details: Mapping[str, Any] | None = None
    "Further values for the JSON file."

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
    """The circumstances that every part of a bench is given."""

    folder: Path
    "A folder to write to."
    full: bool
    repositories: Sequence[Path]
    options: argparse.Namespace = argparse.Namespace()
    "Options of this bench alone, among them."

    def say(self, what: str) -> None:
        """Print on stderr what is being measured."""
        print(f"bench: {what}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a work takes, after the garbage of earlier ones was collected."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of each work by round; a first round is run and dropped."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(times, works, strict=True):
            taken.append(seconds(work))
    return times


def ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    """Return the ratio of two series, round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def rate(count: int, times: Sequence[float], what: str = "events") -> str:
    """Return the count a second at the median time, in words."""
    return f"{count / median(times):,.0f} {what}/s"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` percent of the values do not exceed."""
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
    """Return the machine on which all of this was measured, in words."""
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, fsync p50 {_fsync_ms():.2f} ms here"
    )


def _fsync_ms() -> float:
    """Return the median milliseconds of 50 writes of a page, each forced to the disk."""
    with tempfile.TemporaryFile(dir=ROOT) as file:
        times = []
        for _ in range(50):
            begin = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - begin))
        return median(times)


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
