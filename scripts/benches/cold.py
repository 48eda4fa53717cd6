"""The first answer of a new process on a store of 100,000 events, beside one where nothing is kept.

The store holds the history of each repository with its insides, and drawn runs up to the number.
What is asked is asked of the first history. Each command is a process of its own; its time is that
of the processor, user and system, since a busy machine makes the other one longer. Vectors are
random unit vectors, as their meaning does not change the time; what importing the library takes by
itself is measured beside, and taken off.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from backcast.domain.moment import NOW
from backcast.engine.history.kept import PREFIX
from backcast.engine.interfaces.summaries import documents
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run as import_log
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.workload import checkpoint, claims, open_store

GROUP = "the first answer of a new process"
EVENTS, SOME = 100_000, 10_000
ROUNDS = 5
MUST, MUST_BY_MEANING = 1.5, 4.0
"Seconds; the second beyond importing the library."
DRAWN = "drawn-run"
QUERIES = ("retry when a server is too busy", "parse the arguments of a call", "close a file",
           "compare two versions", "read the settings", "what is printed on an error")  # fmt: skip
BEGUN = time.time_ns()
"Stands in every query: the store of an earlier run holds the vectors of what that run asked."
LIBRARY = "sentence_transformers"
TOGETHER = 500


class Spent(NamedTuple):
    """What one process took, in seconds."""

    processor: float
    wall: float


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    events = EVENTS if bench.full else SOME
    path = bench.folder / f"{'-'.join([one.name for one in bench.repositories])}-{events}.db"
    task, module = _filled(bench, path, events)
    asked: dict[str, Callable[[int], Sequence[str]]] = {
        "tasks": lambda n: ["tasks"],
        "show progress": lambda n: ["show", "progress", task],
        "show versions": lambda n: ["show", "versions", task],
        "cat of a module": lambda n: ["cat", f"storage://{task}/{module}"],
        "context": lambda n: ["context", task, "--query", _query(n)],
        "search by words": lambda n: ["search", "--words", task, _query(n)],
    }
    figures = []
    for what, arguments in asked.items():
        bench.say(what)
        figures += _figures(path, what, arguments, forgets=what in ("context", "search by words"))
    return figures + _by_meaning(bench, path, task)


def _filled(bench: Bench, path: Path, events: int) -> tuple[str, str]:
    """Make the store; return the first history's task, and a module of it."""
    repositories = bench.repositories
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open_store(part) as store:
            for repository in repositories:
                bench.say(f"importing {repository.name}")
                import_log(store, "git", repository, repository.name)
            _fill_up(store, events)
        checkpoint(part)
        part.rename(path)
    task = repositories[0].name
    with open_store(path) as store:
        modules = [one.id for one in documents(store, task, NOW) if one.id.startswith("module:")]
    return task, modules[len(modules) // 2].removeprefix("module:")


def _fill_up(store: EventStore, events: int) -> None:
    """Append drawn events until there are enough in the store."""
    version, missing = store.version(DRAWN), events - store.last_position()
    drawn = claims()
    for start in range(0, max(0, missing), TOGETHER):
        block = [next(drawn) for _ in range(min(TOGETHER, missing - start))]
        store.append(DRAWN, block, after=version)
        version += len(block)


def _query(number: int) -> str:
    return f"{QUERIES[number % len(QUERIES)]} {number} {BEGUN}"


def _figures(
    path: Path, what: str, arguments: Callable[[int], Sequence[str]], *, forgets: bool
) -> list[Figure]:
    """Return the row of a command, and where it keeps anything a row without that."""
    _spent(path, arguments(0))  # keeps what was not kept yet
    kept, anew = [], []
    for number in range(1, ROUNDS + 1):
        kept.append(_spent(path, arguments(number)))
        if forgets:
            _forget(path)
            anew.append(_spent(path, arguments(number)))
    control = f"{median(one.processor for one in anew):.2f} s with nothing kept" if anew else ""
    wall = f"{median(one.wall for one in kept):.2f} s on the clock"
    values = [one.processor for one in kept]
    return [Figure(GROUP, what, values, "s", ours=wall, control=control, must=Bound("<=", MUST))]


def _by_meaning(bench: Bench, path: Path, task: str) -> list[Figure]:
    """Return the rows of a search by meaning: of words that were asked before, and of new ones."""
    rows: dict[str, Callable[[int], Sequence[str]]] = {
        "search by meaning, asked before": lambda n: ["search", task, _query(0)],
        "search by meaning beyond the library": lambda n: ["search", task, _query(n)],
    }
    if find_spec(LIBRARY) is None or find_spec("faiss") is None:
        why = "needs the extra 'semantic'"
        return [Figure(GROUP, what, unit="s", why=why) for what in rows]
    bench.say("search by meaning")
    texts = _draw_vectors(path, task)
    figures = []
    for (what, arguments), must in zip(rows.items(), (MUST, MUST_BY_MEANING), strict=True):
        _spent(path, arguments(0))
        values, library, walls = list[float](), list[float](), list[float]()
        for number in range(1, ROUNDS + 1):
            own = _spent(path, arguments(number))
            if must != MUST:
                library.append(_ran([sys.executable, "-c", IMPORT]).processor)
            values.append(own.processor - sum(library[-1:]))
            walls.append(own.wall)
        figures.append(
            Figure(
                GROUP, what, values, "s",
                ours=f"{texts:,} texts, {median(walls):.2f} s on the clock",
                control=f"{median(library):.2f} s to import the library" if library else "",
                must=Bound("<=", must),
            )
        )  # fmt: skip
    return figures


IMPORT = f"import {LIBRARY}"


def _draw_vectors(path: Path, task: str) -> int:
    """Keep a vector for each text of a task."""
    from backcast.engine.context.search import sentence_embedder
    from backcast.engine.context.search.vectors import hash_of

    embedder = sentence_embedder()
    with open_store(path) as store:
        texts = sorted({document.text for document in documents(store, task, NOW)})
        shape = (len(texts), embedder.dimensions)
        rows = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        made = {
            hash_of(text): row.astype("<f4").tobytes()
            for text, row in zip(texts, rows, strict=True)
        }
        store.recorder.save_vectors(embedder.id, made, 4 * embedder.dimensions)
    return len(texts)


def _forget(path: Path) -> None:
    """Drop all that is kept beside the log, snapshots of projections apart."""
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("DELETE FROM snapshots WHERE substr(projection, 1, ?)=?",
                       (len(PREFIX), PREFIX))  # fmt: skip
    connection.commit()
    connection.close()


def _spent(path: Path, arguments: Sequence[str]) -> Spent:
    code = "from backcast.engine.interfaces.cli import main; main()"
    return _ran([sys.executable, "-c", code, *arguments, "--store", f"sqlite:///{path}"])


def _ran(command: Sequence[str]) -> Spent:
    """Run a process to its end; `AssertionError` where it fails."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"{command[3:]}: {said.decode(errors='replace').strip()}")
    return Spent(used.ru_utime + used.ru_stime, time.perf_counter() - begin)
