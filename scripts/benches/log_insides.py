"""Import of a git history with its insides: time and memory, beside parsing the same texts.

The control is `ast.parse` of each version of each Python file, each once, by as many processes,
which are started before the clock is. Ours is all of the import: git, the start of the processes,
outlines, the store, the states that are kept.
"""

import ast
import gc
import os
import subprocess
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

from backcast.engine.log.importers import git
from backcast.engine.log.workers import pool_of
from backcast.engine.memory.import_log import run
from scripts.benches.figures import Bench, Bound, Figure, ratios, seconds
from scripts.benches.workload import open_store

ROUNDS = 3
PROCESSES = 2
AT_ONCE = 20
"Texts that a process of the control is given at a time."
SUFFIXES = (b".py", b".pyi")
PAGE = os.sysconf("SC_PAGE_SIZE")
PLAIN = (b"100644", b"100755")


class Taken(NamedTuple):
    """What a work took."""

    seconds: float
    processor: float
    "Seconds of all processes."


class ImportTaken(NamedTuple):
    """What an import took."""

    taken: Taken
    memory: Sequence[int]
    "Bytes of all processes after each tenth of the commits."


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument(
        "--depth", type=int, metavar="N", help="import with insides a clone of this depth"
    )


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> Iterator[Figure]:
    bench.say(f"import of {repository} with insides")
    name = "/".join(repository.resolve().parts[-2:])
    if depth := getattr(bench.options, "depth", None):
        repository = _shallow(repository, depth, bench.folder)
    imports, parses = list[ImportTaken](), list[Taken]()
    for _ in range(ROUNDS if bench.full else 1):
        count, size, parse = _parse(_texts(repository))
        parses.append(parse)
        imports.append(_import(repository, bench.folder / "insides.db"))
    ours = [one.taken for one in imports]
    group = f"import of {name} with insides, {git.count(repository):,} commits, 2 processes"
    control = f"ast.parse of {count:,} texts, {size / 1e6:,.0f} MB"
    for what, place in (("time", 0), ("processor time", 1)):
        times, beside = ([one[place] for one in series] for series in (ours, parses))
        yield Figure(
            group, what, ratios(times, beside), ours=f"{median(times):.1f} s",
            control=f"{control}: {median(beside):.1f} s", must=Bound("<=", 2.5), aim=Bound("<=", 1),
        )  # fmt: skip
    flat = [one.memory[-1] / one.memory[len(one.memory) // 2] for one in imports]
    most = max(max(one.memory) for one in imports) / 2**20
    what = "memory at the end, to that in the middle"
    yield Figure(group, what, flat, ours=f"at most {most:,.0f} MB, all processes")


def _shallow(repository: Path, depth: int, folder: Path) -> Path:
    clone = folder / f"{repository.name}-{depth}.git"
    if not clone.exists():
        url = repository.resolve().as_uri()
        command = ["git", "clone", "--quiet", "--bare", "--depth", str(depth), url, str(clone)]
        subprocess.run(command, check=True)
    return clone


def _texts(repository: Path) -> list[bytes]:
    """Return the versions of Python files along the history, each once."""
    log = (
        "log", "--first-parent", "--diff-merges=first-parent", "--reverse", "--root", "--raw",
        "--no-abbrev", "--no-renames", "--format=", "-z",
    )  # fmt: skip
    parts = _git(repository, log).split(b"\0")
    names: dict[bytes, None] = {}
    for change, path in zip(parts[0::2], parts[1::2], strict=False):
        _, mode, _, name, _ = change.strip().split(b" ")
        if mode in PLAIN and path.lower().endswith(SUFFIXES):
            names[name] = None
    return list(_bodies(_git(repository, ("cat-file", "--batch"), b"\n".join(names) + b"\n")))


def _git(repository: Path, arguments: Sequence[str], asked: bytes = b"") -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, input=asked, capture_output=True, check=True).stdout


def _bodies(answers: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(answers):
        end = answers.index(b"\n", at)
        size = int(answers[at:end].split(b" ")[2])
        yield answers[end + 1 : end + 1 + size]
        at = end + 2 + size


def _parse(texts: Sequence[bytes]) -> tuple[int, int, Taken]:
    """Return the number of texts, their bytes, and what parsing them takes."""
    groups = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    with pool_of(PROCESSES) as pool:
        list(pool.map(parsed, [()] * 4 * PROCESSES))  # so that they have started
        begin = perf_counter()
        processor = sum(pool.map(parsed, groups))
        taken = Taken(perf_counter() - begin, processor)
    return len(texts), sum(map(len, texts)), taken


def parsed(texts: Sequence[bytes]) -> float:
    """Parse texts, and return the seconds of processor time."""
    begin = process_time()
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in texts:
            with suppress(SyntaxError, ValueError):
                ast.parse(text)
    return process_time() - begin


def _import(repository: Path, path: Path) -> ImportTaken:
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    memory: list[int] = []

    @contextmanager
    def watched(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        done, each = 0, max((total or 0) // 10, 1)

        def advance(step: int) -> None:
            nonlocal done
            done += step
            if done % each == 0:
                memory.append(sum(map(_held, (os.getpid(), *_workers()))))

        yield advance

    before = _processor()
    with open_store(path, "full") as store:
        taken = seconds(
            lambda: run(store, "git", repository, processes=PROCESSES, progress=watched)
        )
    return ImportTaken(Taken(taken, _processor() - before), memory)


def _workers() -> list[int]:
    return [child.pid for child in active_children() if child.pid]


def _held(process: int) -> int:
    """Return the bytes of memory that a process holds; 0 for one that has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    return 0


def _processor() -> float:
    """Return the seconds that this process and those that it waited for took."""
    own, others = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
