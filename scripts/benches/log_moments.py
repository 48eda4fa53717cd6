"""The state of one task at a random instant, by event time and by time of recording.

Two stores: tasks of a thousand events, and one task of as many as they have together. With --full
there are a hundred tasks, and a third store of a million events that holds nine hundred tasks of a
thousand and one of a hundred thousand.
One event in twenty is late, and the seventh event of each task claims the year 9999.
"""

import time
from collections.abc import Sequence
from itertools import cycle
from random import Random
from statistics import median
from typing import NamedTuple

from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import save_snapshots, state_at
from backcast.engine.log.store import EventStore
from backcast.projections import ALL, Projection, fold
from scripts.benches.figures import Bench, Bound, Figure, percentile, ratios
from scripts.benches.workload import fill, open_store, some_time

GROUP = "state of one task at a random instant"
BIG = "task-big"
AXES = ("--at", "--known-at")
ROUNDS = 5


class Subject(NamedTuple):
    """Tasks of one store whose states are asked for."""

    name: str
    store: EventStore
    tasks: Sequence[str]
    events: int
    "In the whole store, one a second."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    count = 100 if bench.full else 10
    events = 1_000 * count
    small = [f"task-{n:03}" for n in range(count)]
    stores = [_built(bench, "small.db", dict.fromkeys(small, 1_000), small)]
    stores.append(_built(bench, "big.db", {BIG: events}, [BIG]))
    subjects = [
        Subject(f"{count} tasks of 1,000", stores[0], small, events),
        Subject(f"1 task of {events:,}", stores[1], [BIG], events),
    ]
    if bench.full:
        sizes = {f"task-{n:03}": 1000 for n in range(900)} | {BIG: 100_000}
        stores.append(_built(bench, "million.db", sizes, [*small, BIG]))
        subjects.append(Subject("1,000 events, among 1,000,000", stores[2], small, 1_000_000))
        subjects.append(Subject("100,000 events, among 1,000,000", stores[2], [BIG], 1_000_000))
    figures = _warm(bench, subjects)
    for store in stores:
        store.close()
    return figures


def _built(bench: Bench, name: str, sizes: dict[str, int], kept: Sequence[str]) -> EventStore:
    """Fill a store and keep states of some of its tasks."""
    bench.say(f"{name}: {sum(sizes.values()):,} events")
    store = open_store(bench.folder / name)
    fill(store, sizes)
    for task_id in kept:
        save_snapshots(store, ALL, task_id)
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
    random, queries = Random(3), 80 if bench.full else 16
    times: dict[tuple[str, str], list[list[float]]] = {}
    for number in range(ROUNDS + 1):
        for subject in subjects:
            for axis in AXES:
                taken = [_query(random, subject, axis, ALL[n % len(ALL)]) for n in range(queries)]
                if number:
                    times.setdefault((subject.name, axis), []).append(taken)
    figures = []
    for (name, axis), rounds in times.items():
        p50s = [median(taken) for taken in rounds]
        p99 = percentile([spent for taken in rounds for spent in taken], 99)
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
    """Return the milliseconds for one state, at a random instant."""
    instant = some_time(random, subject.events)
    task_id = random.choice(subject.tasks)
    begin = time.perf_counter()
    if axis == "--at":
        moment = Moment(at=instant)
    else:
        moment = Moment(position=subject.store.position_at(instant))
    state_at(subject.store, projection, task_id, moment)
    return (time.perf_counter() - begin) * 1000
