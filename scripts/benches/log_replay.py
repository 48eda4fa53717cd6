"""Replay: read, check, decode, validate and fold, beside validation alone and beside OpenHands.

The first control validates each event's whole canonical JSON as one pydantic model and does nothing
else: no database, no checksum, no fold. Beside it stands the rate of raw sqlite3 alone. The
OpenHands SDK's own `EventLog` holds a file an event: it reads, validates and yields them, and folds
nothing.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from backcast.domain.events import FACTS, WorkflowEvent
from backcast.engine.log.store import EventStore
from backcast.projections import ALL, BY_NAME, fold
from scripts.benches.figures import Bench, Bound, Figure, in_turns, rate, ratios
from scripts.benches.peer import Peer, PeerMissing
from scripts.benches.workload import canonical, fill, in_pages, open_store

GROUP = "replay"
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


_KINDS = [
    create_model(
        f"Whole{fact.__name__}", __base__=_Envelope, type=(Literal[name], ...), data=(fact, ...)
    )
    for name, fact in FACTS.items()
]
WHOLE: TypeAdapter[Any] = TypeAdapter(Annotated[reduce(or_, _KINDS), Field(discriminator="type")])
"An event's canonical JSON as one model, with its fact as data."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    count, rounds = (100_000, 7) if bench.full else (10_000, 9)
    with open_store(bench.folder / "replay.db") as store:
        fill(store, {TASK: count})
        return [
            *_beside_validation(bench, store, count, rounds),
            *_beside_openhands(bench, store, 10_000 if bench.full else 3_000, rounds),
        ]


def _beside_validation(bench: Bench, store: EventStore, count: int, rounds: int) -> list[Figure]:
    bench.say(f"replay of {count:,} events")
    works: dict[str, Callable[[], object]] = {
        "sqlite": _fetch(bench.folder / "replay.db"),
        "lines": _validate_lines(store),
        "read, no fold": lambda: in_pages(store.read(TASK)),
        **{name: _replay(store, name) for name in BY_NAME},
        "all projections": lambda: _fold_all(store.read(TASK)),
    }
    times = dict(zip(works, in_turns(rounds, *works.values()), strict=True))
    sqlite, lines = (times.pop(name) for name in ("sqlite", "lines"))
    aims = {name: Bound(">=", 0.6) for name in BY_NAME} | {"all projections": Bound(">=", 0.35)}
    return [
        Figure(
            f"{GROUP} beside pydantic on whole lines",
            name,
            ratios(lines, ours),
            ours=rate(count, ours),
            control=f"{rate(count, lines)}; sqlite3 alone fetches {rate(count, sqlite, 'rows')}",
            aim=aims.get(name),
        )
        for name, ours in times.items()
    ]


def _replay(store: EventStore, name: str, last: int | None = None) -> Callable[[], object]:
    return lambda: fold(BY_NAME[name], store.read(TASK, last=last))


def _fold_all(events: Any) -> list[Any]:
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


def _beside_openhands(bench: Bench, store: EventStore, count: int, rounds: int) -> list[Figure]:
    bench.say(f"replay of {count:,} events by OpenHands")
    try:
        peer = Peer.start(bench, "openhands_log")
    except PeerMissing as missing:
        group = f"{GROUP} beside EventLog of openhands-sdk"
        return [Figure(group, "any projection", must=Bound(">=", 3), why=str(missing))]
    ours: list[list[float]]
    with peer:
        texts = [
            {"type": event.type, "text": _text(event)} for event in store.read(TASK, last=count)
        ]
        filled = peer.ask("fill", folder=str(bench.folder / "openhands"), events=texts)
        warm: list[float] = []
        first: list[float] = []

        def theirs() -> None:
            warm.append(peer.ask("warm")["seconds"])
            first.append(peer.ask("first")["seconds"])

        ours = in_turns(
            rounds, _replay(store, "progress", count), _replay(store, "versions", count), theirs
        )
    first, warm = first[1:], warm[1:]
    size = f"{filled['bytes'] / count:,.0f} B and a file an event"
    return [
        Figure(
            f"{GROUP} beside EventLog of {filled['version']}",
            f"{name}, their {state}",
            ratios(theirs_took, took),
            ours=rate(count, took),
            control=f"{rate(count, theirs_took)}; {size}",
            must=Bound(">=", 3),
        )
        for name, took in zip(("progress", "versions"), ours, strict=False)
        for state, theirs_took in (("texts in memory", warm), ("files read", first))
    ]


def _text(event: WorkflowEvent) -> str:
    """Return all values of a fact as one text."""
    return " ".join(str(value) for value in event.fact.data.values())
