"""How far apart should kept states lie? What a look-up costs, against the bytes that are kept.

All spacings stand in one store side by side, under names of their own, and take turns.
"""

import time
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any

from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import SPACING, save_snapshots, state_at
from backcast.engine.log.store import EventStore
from backcast.projections import ALL
from scripts.benches.figures import Bench, Figure, percentile
from scripts.benches.workload import fill, open_store, some_time

GROUP = f"events between kept states (now {SPACING})"
SPACINGS = (250, 500, 1000, 2000, 4000)
TASK = "task-000"
ROUNDS, QUERIES = 5, 40


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    events = 100_000 if bench.full else 24_000
    bench.say(f"spacing of kept states, {events:,} events")
    with open_store(bench.folder / "spacing.db") as store:
        fill(store, {TASK: events})
        names = {spacing: [_named(p, spacing) for p in ALL] for spacing in SPACINGS}
        for spacing, projections in names.items():
            for projection in projections:
                save_snapshots(store, projection, TASK, spacing)
        times = _times(store, names, events)
        return [
            _figure(store, spacing, times[spacing], names[spacing], events) for spacing in SPACINGS
        ]


def _named(projection: Any, spacing: int) -> Any:
    """The projection under a name of its own, so that its kept states are apart from others."""
    fields = {name: getattr(projection, name) for name in ("VERSION", "SCOPE", "State", "initial")}
    name = f"{projection.NAME} every {spacing}"
    return SimpleNamespace(NAME=name, evolve=projection.evolve, **fields)


def _times(
    store: EventStore, names: dict[int, list[Any]], events: int
) -> dict[int, list[list[float]]]:
    """Milliseconds of each look-up, by spacing and round; half of them by each axis."""
    times: dict[int, list[list[float]]] = {spacing: [] for spacing in names}
    for number in range(ROUNDS):
        for spacing, projections in names.items():
            random = Random(number)  # the same instants for each spacing
            taken = []
            for n in range(QUERIES):
                instant = some_time(random, events)
                begin = time.perf_counter()
                moment = Moment(at=instant) if n % 2 else Moment(store.position_at(instant))
                state_at(store, projections[n // 2 % len(projections)], TASK, moment)
                taken.append((time.perf_counter() - begin) * 1000)
            times[spacing].append(taken)
    return times


def _figure(
    store: EventStore, spacing: int, times: list[list[float]], names: list[Any], events: int
) -> Figure:
    kept = [
        store.recorder.one(
            "SELECT count(*), sum(length(state)) FROM snapshots WHERE projection=?", name.NAME
        )
        for name in names
    ]
    states, bytes_kept = (sum(column) for column in zip(*kept, strict=True))
    bodies = store.recorder.one("SELECT sum(length(body)) FROM events")[0]
    p99 = percentile([one for taken in times for one in taken], 99)
    return Figure(
        GROUP,
        f"{spacing:,}: p50 of a look-up",
        [median(taken) for taken in times],
        "ms",
        ours=f"p99 {p99:.1f} ms; {states} states of {bytes_kept / states / 1000:.1f} kB",
        control=f"{bytes_kept / events:.0f} B kept an event, {bytes_kept / bodies:.1%} of its body",
    )
