"""Foreign logs into the store: one file a format, each a generator of batches of foreign facts.

A format yields facts with the ids of its own log; `import_batches` assigns versions, resolves
causes, stores each batch whole, and skips batches that were imported before. So an import can be
cut off anywhere and run again, and a log that has grown adds only its new events.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

from pydantic_core import from_json

from backcast.domain.context_events import ContextBuilt, RequestPart
from backcast.domain.errors import InputError
from backcast.domain.events import Claim, Fact
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers.call_counts import calls_note
from backcast.engine.log.importers.edit_counts import EditCounts
from backcast.engine.log.importers.refused import ContradictionError, RefusedTasks
from backcast.engine.log.importers.stored_records import StoredRecords
from backcast.engine.log.importers.times import EPOCH, wild_note
from backcast.engine.log.importers.versions import Importer, Marks
from backcast.engine.log.recorder import NewRow, NewSource
from backcast.engine.log.store import EventStore

FLUSH_EVENTS, FLUSH_BYTES, FLUSH_SECONDS = 1000, 32 * 2**20, 5.0
"The most events and bytes stored in one transaction, beyond a batch, and seconds between two."
NOT_FORMED = (
    "contexts are missing: the beginning of the log was imported before they were formed; import"
    " with --anew to have them"
)
UNORDERED = frozenset(("otlp",))
"Formats whose records come in any order."
BEFORE = -1
"As a cause: the event before it that an importer told; -2 is the one before that."


class ForeignFact(NamedTuple):
    """A fact as a foreign log tells it."""

    fact: Fact
    timestamp: datetime
    writer: str = ""
    id: str | None = None
    "Its id in the foreign log; the first fact of a batch must have one, or a version."
    because: tuple[str | int, ...] = ()
    """The causes as foreign ids, or versions, or distances back, as `BEFORE`; ids that the store
    does not hold are skipped."""
    digest: bytes = b""
    "A hash of the whole foreign record, for ids that could come again with other content."
    version: int | None = None
    "Its version in the task, if the log states it."
    base: "ContextBase | None" = None
    "Of a context that was formed: the one whose parts it copies."


class ContextBase(NamedTuple):
    """A context in an earlier batch, and all parts of the one that copies from it."""

    id: str
    digest: bytes
    parts: tuple[RequestPart, ...]


class Batch(NamedTuple):
    """Foreign facts that are stored together or not at all, and the bodies that they point at."""

    task_id: str
    facts: Sequence[ForeignFact]
    blobs: Sequence[Blob] = ()
    name: str = ""
    "Its place in the foreign log, for the report: `line 3`."
    id: str = ""
    "The foreign id by which it is known to be stored; that of its first fact if empty."


class Report:
    """The results and problems of an import."""

    def __init__(self) -> None:
        self.added = 0
        "Events of the foreign log that are new in the store."
        self.known = 0
        "Events that it held already."
        self.skipped: list[str] = []
        "A line for each skipped part, with the reason."
        self.wild: list[str] = []
        "A text for each record whose time is not believed, with the time that it states."
        self.notes: list[str] = []
        "Notes for the reader of the log."
        self.tasks: dict[str, int] = {}
        "Events added, by task."
        self.calls: dict[str, int] = {}
        "Calls of a model in the whole log, by what is known of their content: see `calls_note`."
        self.session = ""
        "The id of the agent's session, where the log tells it."
        self.unknown_types: dict[str, int] = {}
        "Events of the log's tasks whose types this program does not know, by type."
        self.edits = EditCounts()
        "What the tools of an agent did to files, in the whole log."
        self.parted: dict[str, tuple[str, int]] = {}
        """Tasks whose events an importer before a version put into another task: that task, and the
        version."""


class Conflict(InputError):
    """A foreign id that was imported before, with other content."""


def import_batches(
    store: EventStore,
    format: str,
    batches: Iterable[Batch],
    report: Report,
    progress: Callable[[int], None] = lambda batches: None,
    importer: Importer | None = None,
    finish: Callable[[Batch], Batch] | None = None,
) -> Report:
    """Store the new batches. `progress` is called with 1 for each batch that was read.

    `finish` adds to each new batch what is derived from it. `importer` returns what a task records
    of the importer, right behind its first new batch and unless it says the same already; None
    records nothing.
    """
    collector = _Importer(store, format, report, importer, finish)
    for batch in batches:
        try:
            collector.take(batch)
        except InputError as error:
            report.skipped.append(f"{batch.name}: {error}" if batch.name else str(error))
        progress(1)
    collector.flush()
    report.skipped += collector.refused.lines()
    report.notes += report.edits.notes()
    report.notes += filter(None, [calls_note(report.calls)])
    if report.wild:
        report.notes.append(wild_note(report.wild, of_commits=format == "git"))
    if collector.late and format in UNORDERED:
        report.notes.append(
            f"came late: {collector.late:,} of the new records; they are dated before what was"
            f" imported earlier, which stays as it is, and stand behind it"
        )
    return report


class _Importer:
    """A collector of batches for one transaction at a time."""

    def __init__(
        self, store: EventStore, format: str, report: Report, importer: Importer | None,
        finish: Callable[[Batch], Batch] | None,
    ) -> None:  # fmt: skip
        self.store, self.format, self.report, self.finish = store, format, report, finish
        self.marks = Marks(store, format, importer)
        self.versions: dict[str, int] = {}
        self.late = 0
        "New batches that are dated before the events which their task had already."
        self._before: dict[str, datetime | None] = {}
        "The time of the last event that each task had before the import."
        self.ids: dict[tuple[str, str], tuple[bytes, int]] = {}
        "Digest and version of the events that wait to be stored, by task and foreign id."
        self.rows: list[NewRow] = []
        self.blobs: list[Blob] = []
        self.sources: list[NewSource] = []
        self.bytes, self.flushed = 0, monotonic()
        self.refused = RefusedTasks()
        self.stored = StoredRecords(store, format)

    def take(self, batch: Batch) -> None:
        """Collect a batch, unless it was imported before."""
        if any("\0" in name for name in (batch.task_id, *(fact.id or "" for fact in batch.facts))):
            raise InputError(f"needed a task and ids without NUL, found {batch.task_id!r}")
        if batch.task_id in self.refused:
            self.refused.leave_out(batch)
            return
        try:
            known = self._is_known(batch)
        except ContradictionError as error:
            self.refused.refuse(batch, error)
            return
        if known:
            self.report.known += len(batch.facts)
            return
        batch = self.refused.with_bodies(batch)
        batch = self._with_bases(self.finish(batch) if self.finish else batch)
        version, rows = self._version(batch.task_id), []
        before = self._before[batch.task_id]
        self.late += before is not None and batch.facts[0].timestamp < before
        here: dict[str, int] = {}
        for foreign in batch.facts:
            version += 1
            because = self._causes(batch.task_id, foreign.because, version, here)
            claim = Claim(foreign.fact, foreign.timestamp, foreign.writer, because)
            rows.append(self.store.row(batch.task_id, version, claim))
            if foreign.id is not None:
                here[foreign.id] = version
        self._note_ids(batch, version - len(rows))
        if (mark := self.marks.new(batch.task_id, version + 1)) is not None:
            version += 1
            claim = Claim(mark, batch.facts[-1].timestamp, self.format, ())
            rows.append(self.store.row(batch.task_id, version, claim))
        self.rows.extend(rows)
        self.versions[batch.task_id] = version
        self.blobs.extend(batch.blobs)
        self.bytes += sum(len(row[6]) for row in rows) + sum(len(b.body) for b in batch.blobs)
        is_late = monotonic() - self.flushed > FLUSH_SECONDS
        if is_late or len(self.rows) >= FLUSH_EVENTS or self.bytes >= FLUSH_BYTES:
            self.flush()

    def _note_ids(self, batch: Batch, before: int) -> None:
        """Note the foreign ids of the events after version `before`."""
        source = f"{self.format}:{batch.task_id}"
        for n, foreign in enumerate(batch.facts):
            if foreign.id is not None:
                self.ids[batch.task_id, foreign.id] = (foreign.digest[:8], before + n + 1)
                self.sources.append((source, foreign.id, foreign.digest[:8], len(self.rows) + n))

    def flush(self) -> None:
        """Store the collected batches."""
        self.flushed = monotonic()
        if not self.rows:
            return
        self.store.write_rows(self.rows, self.blobs, self.sources)
        for row in self.rows:
            self.report.tasks[row[0]] = self.report.tasks.get(row[0], 0) + 1
        self.report.added += len(self.rows)
        self.rows, self.blobs, self.sources, self.bytes = [], [], [], 0
        self.ids.clear()

    def _version(self, task_id: str) -> int:
        if task_id not in self.versions:
            self.versions[task_id] = last = self.store.version(task_id)
            stood = self.store.read(task_id, after=last - 1) if last else iter(())
            self._before[task_id] = next((event.timestamp for event in stood), None)
        return self.versions[task_id]

    def _is_known(self, batch: Batch) -> bool:
        """Return whether a batch was imported before; `Conflict` if another one was."""
        first = batch.facts[0]
        if first.version is not None:
            return self._stands(batch.task_id, first, first.version)
        id = batch.id or first.id or ""
        first = next((fact for fact in batch.facts if fact.id == id), first)
        known = self._look_up(batch.task_id, id)
        if known is not None and known[0] != first.digest[:8]:
            raise Conflict(
                f"{id}: came before with other content, which is kept; to keep both,"
                f" import with --as NAME"
            )
        if known is not None:
            return True
        self._version(batch.task_id)
        if self._before[batch.task_id] is None:  # the task is new
            return False
        if not self.stored.take(batch.task_id, first):
            return False
        for fact in batch.facts:
            if fact is not first:
                self.stored.take(batch.task_id, fact)
        return True

    def _stands(self, task_id: str, foreign: ForeignFact, version: int) -> bool:
        """Return whether a fact with a stated version is stored already."""
        last = self._version(task_id)
        if version == last + 1:
            return False
        if version > last:
            raise Conflict(f"task {task_id!r}: needed version {last + 1} next, found {version}")
        self.flush()
        stated = (foreign.timestamp, foreign.writer, foreign.because)
        stored = self.store.read(task_id, after=version - 1, last=version)
        if not any(
            stated == (event.timestamp, event.writer, event.because)
            and self._says_the_same(foreign.fact, event.fact)
            for event in stored
        ):
            raise ContradictionError(f"task {task_id!r}: another event stands at version {version}")
        return True

    def _says_the_same(self, fact: Fact, stored: Fact) -> bool:
        """Return whether two facts are stored alike; this makes NaN equal NaN."""
        if fact == stored:
            return True
        encoded = (self.store.codec.encode(one) for one in (fact, stored))
        (kind, body), (stored_kind, stored_body) = encoded
        return kind == stored_kind and from_json(body) == from_json(stored_body)

    def _causes(
        self, task_id: str, because: tuple[str | int, ...], version: int, here: dict[str, int]
    ) -> tuple[int, ...]:
        """Return the versions of the causes of the event at a version, also in the same batch."""
        found = set()
        for cause in because:
            if isinstance(cause, int):
                found.add(cause if cause > 0 else self.marks.back(task_id, version, -cause))
            elif cause in here:
                found.add(here[cause])
            elif "\0" not in cause and (known := self._look_up(task_id, cause)) is not None:
                found.add(known[1])
        return tuple(sorted(cause for cause in found if cause > 0))

    def _with_bases(self, batch: Batch) -> Batch:
        """Return a batch whose contexts name the events that they copy parts from.

        Where another context stands under that id, or none, all parts are stored; and where their
        texts are not there either, as of an importer that formed no contexts, none is.
        """
        facts = list[ForeignFact]()
        for foreign in batch.facts:
            base, fact = foreign.base, foreign.fact
            if base is None or not isinstance(fact, ContextBuilt) or fact.request is None:
                facts.append(foreign)
                continue
            known = self._look_up(batch.task_id, base.id)
            if known and known[0] == base.digest[:8]:
                based: dict[str, Any] = {"base": known[1]}
            elif self._holds_all(base.parts, batch.blobs):
                based = {"parts": base.parts, "copied": ()}
            else:
                self.report.notes += [NOT_FORMED] if NOT_FORMED not in self.report.notes else []
                continue
            request = fact.request.model_copy(update=based)
            facts.append(foreign._replace(fact=fact.model_copy(update={"request": request})))
        return batch._replace(facts=facts)

    def _holds_all(self, parts: Sequence[RequestPart], blobs: Sequence[Blob]) -> bool:
        self.flush()
        refs = {part.text for part in parts} - {blob.ref for blob in blobs}
        return all(map(self.store.holds, refs))

    def _look_up(self, task_id: str, id: str) -> tuple[bytes, int] | None:
        if (waiting := self.ids.get((task_id, id))) is not None:
            return waiting
        if (stored := self.stored.look_up(task_id, id)) is not None:
            return stored
        found = self.store.found(f"{self.format}:{task_id}", id)
        return (found.digest, found.version) if found else None


def synthetic_time(step: int) -> datetime:
    """Return the time of a step in a log without times: the epoch and a second for each step.

    Facts with such a time say `"synthetic_time": true`.
    """
    return EPOCH + timedelta(seconds=step)


def digest(record: bytes) -> bytes:
    """Return a hash of a foreign record, to tell whether a repeated one is the same."""
    return hashlib.sha256(record).digest()[:8]
