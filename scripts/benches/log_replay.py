"""Replay: read, check, decode, validate and fold, beside validation alone.

The control validates each event's whole canonical JSON as one pydantic model and does nothing else:
no database, no checksum, no fold. Beside it stands the rate of raw sqlite3 alone.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from backcast.domain.fact_types import FACTS
from backcast.engine.log.store import EventStore
from backcast.projections import ALL, BY_NAME, Projection, fold
from scripts.benches.figures import Bench, Bound, Figure, in_turns, rate, ratios
from scripts.benches.workload import canonical, fill, open_store

TASK = "task-000"


class _Envelope(BaseModel):
    """The fields of an event's canonical JSON beside its type and data."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    version: int
    position: int
    timestamp: datetime
    recorded_at: datetime
    writer: str
    because: tuple[int, ...]


def _whole(name: str, fact: type[BaseModel]) -> Any:
    """Return the model of an event's canonical JSON, with its fact as data."""
    fields: dict[str, Any] = {"type": (Literal[name], ...), "data": (fact, ...)}
    return create_model(f"Whole{fact.__name__}", __base__=_Envelope, **fields)


KINDS: Any = reduce(or_, (_whole(name, fact) for name, fact in FACTS.items()))
WHOLE: TypeAdapter[Any] = TypeAdapter(Annotated[KINDS, Field(discriminator="type")])


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    count, rounds = (100_000, 7) if bench.full else (10_000, 9)
    with open_store(bench.folder / "replay.db") as store:
        fill(store, {TASK: count})
        return _figures(bench, store, count, rounds)


def _figures(bench: Bench, store: EventStore, count: int, rounds: int) -> list[Figure]:
    bench.say(f"replay of {count:,} events")
    works: dict[str, Callable[[], object]] = {
        "sqlite": _fetch(bench.folder / "replay.db"),
        "lines": _validate_lines(store),
        "read, no fold": lambda: sum(1 for _ in store.read(TASK)),
        **{name: _replay(store, one) for name, one in BY_NAME.items()},
        "all projections": lambda: fold_all(store.read(TASK)),
    }
    times = dict(zip(works, in_turns(rounds, *works.values()), strict=True))
    sqlite, lines = (times.pop(name) for name in ("sqlite", "lines"))
    aims = {name: Bound(">=", 0.6) for name in BY_NAME} | {"all projections": Bound(">=", 0.35)}
    return [
        Figure(
            "replay beside pydantic on whole lines",
            name,
            ratios(lines, ours),
            ours=rate(count, ours),
            control=f"{rate(count, lines)}; sqlite3 alone fetches {rate(count, sqlite, 'rows')}",
            aim=aims.get(name),
        )
        for name, ours in times.items()
    ]


def _replay(store: EventStore, projection: Projection) -> Callable[[], object]:
    return lambda: fold(projection, store.read(TASK))


def fold_all(events: Any) -> list[Any]:
    """Return the states of all projections after one reading of the events."""
    states = [projection.initial for projection in ALL]
    evolves = [projection.evolve for projection in ALL]
    for event in events:
        states = [evolve(state, event) for evolve, state in zip(evolves, states, strict=True)]
    return states


def _fetch(path: Path) -> Callable[[], object]:
    connection = sqlite3.connect(path)
    return lambda: sum(
        1
        for _ in connection.execute(
            "SELECT * FROM events WHERE task_id=? ORDER BY version", (TASK,)
        )
    )


def _validate_lines(store: EventStore) -> Callable[[], None]:
    lines = [canonical(event) for event in store.read(TASK)]
    validate = WHOLE.validate_json

    def work() -> None:
        for line in lines:
            validate(line)

    return work
