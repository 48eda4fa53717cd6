"""Durable append, beside raw sqlite3 that inserts the same rows.

The control knows every value beforehand, positions and checksums included. It has the same
columns, a unique index on (task_id, version), WAL, and fsync at every commit. It makes no events,
encodes nothing, checks no version, and has no triggers. The input of each append is made before
its clock starts; the three writers take turns at every append.
"""

import gc
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path

from backcast.domain.events import Claim
from backcast.engine.log.codec import to_microseconds
from backcast.engine.log.recorder import NewRow, Row, checksum_of
from backcast.engine.log.store import EventStore
from scripts.benches.figures import Bench, Bound, Figure, rate, ratios
from scripts.benches.workload import BEGIN, claims, open_store

GROUP = "durable append (fsync), events of about 1 KB"
TABLES = (
    "CREATE TABLE events (position INTEGER PRIMARY KEY, task_id TEXT NOT NULL,"
    " version INTEGER NOT NULL, topic TEXT NOT NULL, timestamp_us INTEGER NOT NULL,"
    " recorded_us INTEGER NOT NULL, writer TEXT NOT NULL, because TEXT NOT NULL,"
    " checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE UNIQUE INDEX events_by_task ON events (task_id, version)",
)
INSERT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?)"
TASKS = 20
"Tasks that take turns, with one append each."
NOW_US = to_microseconds(BEGIN)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    rounds = 15 if bench.full else 9
    single = _compare(bench, rounds, batch=1, batches=200)
    batch = _compare(bench, rounds, batch=100, batches=60)
    return [
        *_figures("one at a time", single, 200, 0.85),
        *_figures("100 at a time", batch, 6000, 0.9),
    ]


def _figures(what: str, times: list[list[float]], events: int, aim: float) -> list[Figure]:
    facts, ready, raw = times
    control = f"raw sqlite3 {rate(events, raw)}"
    return [
        Figure(
            GROUP,
            f"{what}, the same bytes",
            ratios(raw, ready),
            ours=rate(events, ready),
            control=control,
            must=Bound(">=", 0.7),
            aim=Bound(">=", aim),
        ),
        Figure(
            GROUP,
            f"{what}, from facts (encoded, checked, given back as events)",
            ratios(raw, facts),
            ours=rate(events, facts),
            control=control,
            must=Bound(">=", 0.7),
            aim=Bound(">=", aim),
        ),
    ]


def _compare(bench: Bench, rounds: int, batch: int, batches: int) -> list[list[float]]:
    """Return the seconds of each round: from facts, with bytes ready, raw."""
    bench.say(f"append, {batch} at a time")
    ours, theirs = (open_store(bench.folder / f"{n}-{batch}.db", "full") for n in ("facts", "rows"))
    raw = _raw(bench.folder / f"raw-{batch}.db")
    writers: tuple[Iterator[Callable[[], object]], ...] = (
        (partial(ours.append, task, facts, after=n) for task, n, facts in _pieces(batch)),
        (partial(theirs.recorder.append, rows, lambda: NOW_US) for rows in _rows(ours, batch)),
        (partial(_insert, raw, values) for values in _values(ours, batch)),
    )
    times: list[list[float]] = [[], [], []]
    for number in range(rounds + 1):
        gc.collect()
        taken = [0.0, 0.0, 0.0]
        for turn in range(batches):
            for place in range(3):
                # The first writer after a pause meets a colder disk.
                index = (turn + place) % 3
                work = next(writers[index])
                begin = time.perf_counter()
                work()
                taken[index] += time.perf_counter() - begin
        if number:
            for series, spent in zip(times, taken, strict=True):
                series.append(spent)
    for store in (ours, theirs, raw):
        store.close()
    return times


def _pieces(batch: int) -> Iterator[tuple[str, int, list[Claim]]]:
    """Yield appends without end: a task, its version so far, and facts. Tasks take turns."""
    tasks = [claims(seed) for seed in range(TASKS)]
    for number in count():
        facts = list(islice(tasks[number % TASKS], batch))
        yield f"task-{number % TASKS:03}", number // TASKS * batch, facts


def _rows(store: EventStore, batch: int) -> Iterator[list[NewRow]]:
    """Yield the same pieces as rows that await their position."""
    for task_id, after, facts in _pieces(batch):
        yield [store.row(task_id, n, claim) for n, claim in enumerate(facts, after + 1)]


def _values(store: EventStore, batch: int) -> Iterator[list[Row]]:
    """Yield the same pieces as rows of the table."""
    places = count(1)
    for rows in _rows(store, batch):
        values = []
        for task_id, version, topic, time_us, writer, because, body in rows:
            head = next(places), task_id, version, topic, time_us or NOW_US, NOW_US, writer, because
            values.append((*head, checksum_of((*head, 0, body)), body))
        yield values


def _raw(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for table in TABLES:
        connection.execute(table)
    return connection


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if len(rows) == 1:
        connection.execute(INSERT, rows[0])
    else:
        connection.executemany(INSERT, rows)
    connection.execute("COMMIT")
