"""Drawn events like those of a code-generation run: mixed kinds, fifty modules, four writers.

Text is cut from a long stretch of words drawn by a seed, so that events differ and nothing
depends on how well they compress. One in twenty is late: its timestamp lies up to a thousand
events' time back. One early event of each task claims the year 9999.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    ChecksRan,
    Claim,
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    StepStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
    line_of,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(seconds=1)
"Between two events of a store, by the clock of the workload."
WILD = datetime(9999, 12, 31, tzinfo=UTC)
WILD_VERSION = 7
LATE_SHARE, LATE_EVENTS = 0.05, 1000
MODULES = [f"package/part_{n // 10}/module_{n:02}.py" for n in range(50)]
AROUND = 260
"The bytes of an event's JSON beside its text, about."
BURST = 20
"The most events of one task between those of others."
PER_WRITE = 97
"""Events stored in one transaction while a store is being built; they share a time of recording.
A prime, so that the moments by that time do not fall on kept states."""

_WORDS = Random(1)
_LEXICON = [
    "".join(_WORDS.choices("abcdefghijklmnoprstuvw_", k=_WORDS.randint(2, 11))) for _ in range(3000)
]
TEXT = " ".join(_WORDS.choices(_LEXICON, k=200_000))


def claims(seed: int = 0, size: int = 1000) -> Iterator[Claim]:
    """Yield the events of one task without end, each of about `size` bytes of JSON."""
    task = _Task(seed, size)
    return (task.claim(BEGIN + n * TICK) for n in count())


class _Task:
    """A source of one task's events, one after another."""

    def __init__(self, seed: int, size: int) -> None:
        self.random, self.size = Random(seed), size
        self.version = self.step = self.call = 0
        self.iterations: dict[str, int] = {}

    def claim(self, time: datetime) -> Claim:
        """Return the next event, at a time."""
        self.version += 1
        fact, writer, because = self._next()
        timestamp = time
        if self.random.random() < LATE_SHARE:
            timestamp -= self.random.randrange(LATE_EVENTS) * TICK
        if self.version == WILD_VERSION:
            timestamp = WILD
        return Claim(fact, timestamp, writer, because)

    def _next(self) -> tuple[Fact, str, tuple[int, ...]]:
        """Return the next fact of a step: a question, its answer, a tool's call, its result."""
        text = self._text()
        match self.version % 8:
            case 1:
                self.step = self.version
                return StepStarted(step=self.version // 8, text=text), "loop", ()
            case 2:
                return ContextBuilt(text=text, tokens=len(text) // 4), "loop", (self.step,)
            case 3:
                return ModelReplied(model="qwen3-8b", reply=text), "coder", ()
            case 4:
                self.call = self.version
                call = ToolCalled(tool="edit", call_id=f"call-{self.call}", arguments={"new": text})
                return call, "coder", (self.version - 1,)
            case 5:
                back = ToolReturned(tool="edit", call_id=f"call-{self.call}", text=text)
                return back, "tools", (self.call,)
            case 6:
                return self._iteration(text), "coder", (self.version - 1,)
            case 7:
                passed = self.random.randrange(40)
                return ChecksRan(passed=passed, failed=40 - passed, text=text), "tools", ()
            case _:
                if self.random.random() < 0.5:
                    # Its writer has not read the checks: a second line of knowledge.
                    return SummaryWritten(text=text), "reviewer", (self.version - 2,)
                return MessageReceived(role="user", words=text), "reviewer", ()

    def _iteration(self, text: str) -> ModuleIteration:
        name = self.random.choice(MODULES)
        self.iterations[name] = number = self.iterations.get(name, 0) + 1
        return ModuleIteration(
            module_name=name,
            iteration=number,
            score=self.random.randrange(1000) / 1000,
            source=ref_of(f"{name} {number}".encode()),
            difference=text[: -min(len(text), 120)],
        )

    def _text(self) -> str:
        length = max(0, self.size - AROUND + self.random.randint(-40, 40))
        start = self.random.randrange(len(TEXT) - length)
        return TEXT[start : start + length]


def fill(store: EventStore, sizes: Mapping[str, int], *, size: int = 1000, seed: int = 0) -> None:
    """Write tasks of the given sizes, which take turns in bursts, one event a second."""
    clock = BEGIN
    store.clock = lambda: clock
    tasks = {name: _Task(seed + number, size) for number, name in enumerate(sorted(sizes))}
    waiting: list[tuple[str, int, Claim]] = []
    for name in _turns(sizes, Random(seed)):
        clock += TICK
        claim = tasks[name].claim(clock)
        waiting.append((name, tasks[name].version, claim))
        if len(waiting) == PER_WRITE:
            store.write(waiting)
            waiting = []
    if waiting:
        store.write(waiting)


def _turns(sizes: Mapping[str, int], random: Random) -> Iterator[str]:
    """Yield the task of each next event: bursts of 1 to 20 events of a task, in random order."""
    bursts = []
    for name in sorted(sizes):
        remaining = sizes[name]
        while remaining:
            burst = min(remaining, random.randint(1, BURST))
            bursts.append((name, burst))
            remaining -= burst
    random.shuffle(bursts)
    return (name for name, burst in bursts for _ in range(burst))


def some_time(random: Random, events: int) -> datetime:
    """Return a random instant in the life of a filled store, to the microsecond."""
    return BEGIN + timedelta(microseconds=random.randrange(events * 1_000_000))


def canonical(event: WorkflowEvent) -> bytes:
    """Return the whole event as JSON: sorted keys, no spaces, nothing left out."""
    line: dict[str, Any] = line_of(event) | {
        "position": event.position,
        "recorded_at": event.recorded_at.isoformat(),
        "because": list(event.because),
    }
    return json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def checkpoint(path: Path) -> int:
    """Move SQLite's journal into the file; return the file's bytes."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def open_store(path: Path, fsync: str = "normal") -> EventStore:
    """Open a store in a file."""
    return EventStore.open(f"sqlite:///{path}", fsync=fsync)
