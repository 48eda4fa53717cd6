"""The state of one task at a random instant, by what had happened and by what was known.

Three stores: a hundred tasks of a thousand events, one task of a hundred thousand, and with --full
one of a million events that holds nine hundred tasks of a thousand and one of a hundred thousand.
One event in twenty is late, and the seventh event of each task claims the year 9999.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from random import Random
from statistics import median
from typing import NamedTuple

from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import save_snapshots, state_at
from backcast.engine.log.codec import to_microseconds
from backcast.engine.log.store import EventStore
from backcast.projections import ALL, Projection, fold
from scripts.benches.figures import Bench, Bound, Figure, percentile, ratios
from scripts.benches.workload import fill, open_store, some_time

GROUP = "state of one task at a random instant"
BIG = "task-big"
AXES = ("--at", "--known-at")
ROUNDS, QUERIES = 5, 80
COLD, COLD_RUNS = "scripts.benches.log_cold", 9


class Subject(NamedTuple):
    """What is asked: tasks of one store."""

    name: str
    store: EventStore
    tasks: Sequence[str]
    events: int
    "In the whole store, one a second."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    small = [f"task-{n:03}" for n in range(100)]
    stores = [_built(bench, "small.db", dict.fromkeys(small, 1000), small)]
    stores.append(_built(bench, "big.db", {BIG: 100_000}, [BIG]))
    subjects = [
        Subject("100 tasks of 1,000", stores[0], small, 100_000),
        Subject("1 task of 100,000", stores[1], [BIG], 100_000),
    ]
    if bench.full:
        many = {f"task-{n:03}": 1000 for n in range(900)} | {BIG: 100_000}
        stores.append(_built(bench, "million.db", many, [*small, BIG]))
        subjects.append(Subject("1,000 events, among 1,000,000", stores[2], small, 1_000_000))
        subjects.append(Subject("100,000 events, among 1,000,000", stores[2], [BIG], 1_000_000))
    figures = [*_warm(bench, subjects), *_cold(bench, subjects[1]), *_growth(bench)]
    for store in stores:
        store.close()
    return figures


def _built(bench: Bench, name: str, sizes: dict[str, int], kept: Sequence[str]) -> EventStore:
    """A store, with states kept of some of its tasks."""
    bench.say(f"{name}: {sum(sizes.values()):,} events")
    store = open_store(bench.folder / name)
    fill(store, sizes)
    for task_id in kept:
        for projection in ALL:
            save_snapshots(store, projection, task_id)
    for projection, task_id in zip(cycle(ALL), kept[:3], strict=False):
        moment = Moment(at=some_time(Random(task_id), sum(sizes.values())))
        slow = fold(projection, store.read(task_id, moment=moment))
        if state_at(store, projection, task_id, moment) != slow:
            raise AssertionError(
                f"{projection.NAME} of {task_id} at {moment}: not what a fold gives"
            )
    return store


def _warm(bench: Bench, subjects: Sequence[Subject]) -> list[Figure]:
    bench.say("states at random instants")
    random = Random(3)
    times: dict[tuple[str, str], list[list[float]]] = {}
    for number in range(ROUNDS + 1):
        for subject in subjects:
            for axis in AXES:
                taken = [_query(random, subject, axis, ALL[n % len(ALL)]) for n in range(QUERIES)]
                if number:
                    times.setdefault((subject.name, axis), []).append(taken)
    figures = []
    for (name, axis), rounds in times.items():
        p50s = [median(taken) for taken in rounds]
        p99 = percentile([one for taken in rounds for one in taken], 99)
        figures += [
            Figure(
                GROUP, f"{name}, {axis}: p50", p50s, "ms", must=Bound("<=", 20), aim=Bound("<=", 5)
            ),
            Figure(GROUP, f"{name}, {axis}: p99", [p99], "ms", aim=Bound("<=", 20)),
        ]
    return figures + [
        Figure(
            GROUP,
            f"{subjects[index].name} beside {subjects[index - 2].name}, {axis}: p50",
            ratios(
                *(
                    [median(taken) for taken in times[subjects[i].name, axis]]
                    for i in (index, index - 2)
                )
            ),
            must=Bound("<=", 2),
        )
        for index in range(2, len(subjects))
        for axis in AXES
    ]


def _query(random: Random, subject: Subject, axis: str, projection: Projection) -> float:
    """Milliseconds for one state, at a random instant."""
    instant = some_time(random, subject.events)
    task_id = random.choice(subject.tasks)
    begin = time.perf_counter()
    if axis == "--at":
        moment = Moment(at=instant)
    else:
        moment = Moment(position=subject.store.position_at(instant))
    state_at(subject.store, projection, task_id, moment)
    return (time.perf_counter() - begin) * 1000


def _cold(bench: Bench, subject: Subject) -> list[Figure]:
    bench.say("states in new processes")
    random = Random(4)
    parts: dict[str, list[float]] = {}
    for number in range(COLD_RUNS):
        instant = some_time(random, subject.events)
        path = str(bench.folder / "big.db")
        command = (sys.executable, "-m", COLD, path, BIG, str(to_microseconds(instant)))
        begin = time.perf_counter()
        done = subprocess.run(
            (*command, ALL[number % len(ALL)].NAME), capture_output=True, text=True, check=True
        )
        whole = (time.perf_counter() - begin) * 1000
        for name, taken in (json.loads(done.stdout) | {"the whole process": whole}).items():
            parts.setdefault(name, []).append(taken)
    return [
        Figure(GROUP, f"{subject.name}, --at, cold: {name}", taken, "ms", ours="disk cache warm")
        for name, taken in parts.items()
    ]


def _growth(bench: Bench) -> list[Figure]:
    """How the p50 grows with the task: 1, 4 and 16 times its events."""
    sizes = {"task-x01": 2_500, "task-x04": 10_000, "task-x16": 40_000}
    store = _built(bench, "growth.db", sizes, list(sizes))
    events, random = sum(sizes.values()), Random(5)
    p50s: dict[str, list[float]] = {task_id: [] for task_id in sizes}
    for _ in range(ROUNDS):
        for task_id in sizes:
            subject = Subject(task_id, store, [task_id], events)
            taken = [
                _query(random, subject, AXES[n % 2], ALL[n // 2 % len(ALL)]) for n in range(QUERIES)
            ]
            p50s[task_id].append(median(taken))
    store.close()
    one = p50s["task-x01"]
    return [
        Figure(GROUP, f"a task of {sizes[task_id]:,} beside one of 2,500: p50", ratios(took, one))
        for task_id, took in p50s.items()
        if task_id != "task-x01"
    ]
