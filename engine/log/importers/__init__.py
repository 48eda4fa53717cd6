"""Foreign logs into the store: one file a format, each a generator of batches of foreign facts.

A format says what happened and what its log calls it; `import_batches` gives versions, resolves
causes, stores each batch whole, and passes over what it has imported before. So an import can be
cut off anywhere and run again, and a log that has grown adds only what is new.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from domain.errors import InputError
from domain.events import Claim, Fact
from engine.log.blobs import Blob
from engine.log.recorder import NewSource
from engine.log.store import EventStore

FLUSH_EVENTS, FLUSH_BYTES = 1000, 32 * 2**20
"How much is stored in one transaction at the most, beyond a batch."
BEFORE = 0
"As a cause: the event in front of it, whatever that is."
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ForeignFact(NamedTuple):
    """A fact as a foreign log tells it."""

    fact: Fact
    timestamp: datetime
    writer: str = ""
    id: str | None = None
    "What the foreign log calls it; the first of a batch must have one, or a version."
    because: tuple[str | int, ...] = ()
    """What it calls the causes, or their versions, or `BEFORE`; ids that the store does not hold
    are passed over."""
    digest: bytes = b""
    "A hash of the whole foreign record, where the same id could come with other content."
    version: int | None = None
    "Its version in the task, where the log states it."


class Batch(NamedTuple):
    """Foreign facts that are stored together or not at all, and the bodies that they point at."""

    task_id: str
    facts: Sequence[ForeignFact]
    blobs: Sequence[Blob] = ()


class Report:
    """What an import did, and what it could not do."""

    def __init__(self) -> None:
        self.added = 0
        "Events that are new in the store."
        self.known = 0
        "Events that it held already."
        self.skipped: list[str] = []
        "What was not imported, a line each, with the reason."
        self.notes: list[str] = []
        "What the reader of the log should know."
        self.tasks: dict[str, int] = {}
        "Events added, by task."


class Conflict(InputError):
    """A foreign id that was imported before, with other content."""


def import_batches(
    store: EventStore,
    format: str,
    batches: Iterable[Batch],
    report: Report,
    progress: Callable[[int], None] = lambda batches: None,
) -> Report:
    """Store the batches that are new. `progress` is called with 1 for each batch that was read."""
    importer = _Importer(store, format, report)
    for batch in batches:
        try:
            importer.take(batch)
        except InputError as error:
            report.skipped.append(str(error))
        progress(1)
    importer.flush()
    return report


class _Importer:
    """Collects batches until a transaction is worth it."""

    def __init__(self, store: EventStore, format: str, report: Report) -> None:
        self.store, self.format, self.report = store, format, report
        self.versions: dict[str, int] = {}
        self.ids: dict[tuple[str, str], tuple[bytes, int]] = {}
        "Digest and version of what is waiting to be stored, by task and foreign id."
        self.claims: list[tuple[str, int, Claim]] = []
        self.blobs: list[Blob] = []
        self.sources: list[NewSource] = []
        self.bytes = 0

    def take(self, batch: Batch) -> None:
        """Store a batch soon, unless it was imported before."""
        if self._is_known(batch):
            self.report.known += len(batch.facts)
            return
        version = self._version(batch.task_id)
        for foreign in batch.facts:
            version += 1
            because = self._causes(batch.task_id, foreign.because, version - 1)
            claim = Claim(foreign.fact, foreign.timestamp, foreign.writer, because)
            if foreign.id is not None:
                self.ids[batch.task_id, foreign.id] = (foreign.digest[:8], version)
                source = f"{self.format}:{batch.task_id}"
                self.sources.append((source, foreign.id, foreign.digest[:8], len(self.claims)))
            self.claims.append((batch.task_id, version, claim))
        self.versions[batch.task_id] = version
        self.blobs.extend(batch.blobs)
        self.bytes += sum(len(blob.body) for blob in batch.blobs)
        if len(self.claims) >= FLUSH_EVENTS or self.bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self.claims:
            return
        for event in self.store.write(self.claims, self.blobs, self.sources):
            self.report.tasks[event.task_id] = self.report.tasks.get(event.task_id, 0) + 1
        self.report.added += len(self.claims)
        self.claims, self.blobs, self.sources, self.bytes = [], [], [], 0
        self.ids.clear()

    def _version(self, task_id: str) -> int:
        if task_id not in self.versions:
            self.versions[task_id] = self.store.version(task_id)
        return self.versions[task_id]

    def _is_known(self, batch: Batch) -> bool:
        """Whether a batch was imported before. `Conflict` where something else was."""
        first = batch.facts[0]
        if first.version is not None:
            return self._stands(batch.task_id, first, first.version)
        known = self._look_up(batch.task_id, first.id or "")
        if known is not None and known[0] != first.digest[:8]:
            raise Conflict(
                f"{first.id}: imported before with other content; to keep both, give the new one"
                f" another --task"
            )
        return known is not None

    def _stands(self, task_id: str, foreign: ForeignFact, version: int) -> bool:
        """Whether a fact that states its version stands there already."""
        last = self._version(task_id)
        if version == last + 1:
            return False
        if version > last:
            raise Conflict(f"task {task_id!r}: needed version {last + 1} next, found {version}")
        self.flush()
        [event] = self.store.read(task_id, after=version - 1, last=version)
        if (event.fact, event.timestamp, event.writer, event.because) != (
            foreign.fact,
            foreign.timestamp,
            foreign.writer,
            foreign.because,
        ):
            raise Conflict(
                f"task {task_id!r}: another event stands at version {version}; to keep both, give"
                f" the new ones another --task"
            )
        return True

    def _causes(self, task_id: str, because: tuple[str | int, ...], before: int) -> tuple[int, ...]:
        """The versions of the causes that the store holds."""
        found = set()
        for cause in because:
            if isinstance(cause, int):
                found.add(cause or before)
            elif (known := self._look_up(task_id, cause)) is not None:
                found.add(known[1])
        return tuple(sorted(found - {0}))

    def _look_up(self, task_id: str, id: str) -> tuple[bytes, int] | None:
        if (waiting := self.ids.get((task_id, id))) is not None:
            return waiting
        found = self.store.found(f"{self.format}:{task_id}", id)
        return (found.digest, found.version) if found else None


def synthetic_time(step: int) -> datetime:
    """The time of a step in a log that tells none: the epoch and a second for each step.

    Facts that carry it say `"synthetic_time": true`.
    """
    return EPOCH + timedelta(seconds=step)


def digest(record: bytes) -> bytes:
    """A hash of a foreign record, to tell whether one that comes again is the same."""
    return hashlib.sha256(record).digest()[:8]
