"""The EventStore, which alone turns facts into events. It appends and reads; no more."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Self

from backcast.domain.errors import DamagedError, InputError, UnknownTaskError
from backcast.domain.events import (
    BLOB_PREFIX,
    Claim,
    Fact,
    WorkflowEvent,
)
from backcast.domain.moment import NOW, Moment
from backcast.engine.log.blobs import Blob, Packed, digest_of, pack, unpack
from backcast.engine.log.bundles import LARGEST
from backcast.engine.log.bundling import Bundler, as_member
from backcast.engine.log.codec import Codec, to_microseconds
from backcast.engine.log.recorder import (
    PAGE,
    NewRow,
    NewSource,
    Recorder,
    Row,
    SourceRow,
    like,
    open_recorder,
)
from backcast.engine.log.rows import Damage, events_of, made_of, row_of, rows_of

log = logging.getLogger("backcast")

RECENT_BYTES = 64 * 2**20
BESIDE_BYTES = 600
"Memory that a body takes beside its bytes: small ones cost more than they hold."
_REF = re.compile(rb'"blob:([0-9a-f]{64})"')


class EventStore:
    """An append-only log of what tasks did, and the blobs that it points at."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        codec: Codec | None = None,
        report: Callable[[Damage], None] = lambda damage: log.warning("skipped %s", damage),
    ) -> None:
        self.recorder, self.clock, self.report = recorder, clock, report
        self.codec = codec or Codec()
        self._recent: dict[str, tuple[Packed, bytes]] = {}
        "The bodies last read or written; the next is often a difference to one of them."
        self._recent_used = 0
        "Bytes of memory that they take."
        self.recent_bytes = RECENT_BYTES
        "The most that they may take."
        self._bundler = Bundler(recorder)
        self._unforced = False
        "Whether the last append was not forced to the disk."

    @classmethod
    def open(
        cls,
        url: str = "sqlite:///backcast.db",
        *,
        fsync: str = "full",
        create: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Open the store at a URL (see `open_recorder`)."""
        return cls(open_recorder(url, fsync=fsync, create=create), clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.recorder.close()

    # Appending

    def append(
        self,
        task_id: str,
        facts: Sequence[Fact | Claim],
        *,
        after: int,
        writer: str = "",
        because: Sequence[int] = (),
        blobs: Sequence[Blob] = (),
        forced: bool = True,
    ) -> list[WorkflowEvent]:
        """Append facts to a task, all or none, and return them as events.

        `after` is the last version of the task that the writer has read, 0 for a new task;
        `ConflictError` if the task has moved on. Appending the same facts at the same version again
        returns the stored events. `writer` and `because` apply to facts that are not claims.

        Events that are not `forced` to the disk could be lost with the power until the next append
        that is, or `force`. That is for what follows from earlier events and is soon made again.
        """
        causes = tuple(because)
        claims = [
            fact if isinstance(fact, Claim) else Claim(fact, None, writer, causes) for fact in facts
        ]
        rows = rows_of(self.codec, task_id, after, claims)
        return self._write(rows, claims, blobs, forced=forced)

    def force(self) -> None:
        """Force to the disk what was appended without that; nothing to do in a store without it."""
        if self._unforced:
            self.recorder.force()
            self._unforced = False

    def write(
        self, claims: Sequence[tuple[str, int, Claim]], blobs: Sequence[Blob] = ()
    ) -> list[WorkflowEvent]:
        """Append claims at (task, version) to several tasks at once, all or none."""
        rows = [self.row(*claim) for claim in claims]
        return self._write(rows, [claim for _, _, claim in claims], blobs)

    def _write(
        self,
        rows: Sequence[NewRow],
        claims: Sequence[Claim],
        blobs: Sequence[Blob],
        *,
        forced: bool = True,
    ) -> list[WorkflowEvent]:
        """Write rows, and return them as events with the facts that they were made of."""
        events: list[WorkflowEvent] = []
        # Events are made before the disk write: after it the facts have left the processor's cache.
        self.write_rows(
            rows, blobs, placed=lambda rows: events.extend(made_of(rows, claims)), forced=forced
        )
        return events

    def write_rows(
        self,
        rows: Sequence[NewRow],
        blobs: Sequence[Blob] = (),
        sources: Sequence[NewSource] = (),
        placed: Callable[[Sequence[Row]], None] = lambda rows: None,
        *,
        forced: bool = True,
        together: str = "",
    ) -> list[Row]:
        """Append rows, all or none, and return them as stored; `placed` is called with them before
        they are written. `forced` is as in `append`.

        Small bodies are stored `together`, as the difference to those that were before under this
        name.
        """
        new = self._new(blobs) if blobs else {}
        small = {ref: blob for ref, blob in new.items()
                 if together and len(blob.body) <= LARGEST}  # fmt: skip
        bundles, stream = self._bundler.bundles(together, small.values()) if small else ([], None)
        packed = self._packed(blob for ref, blob in new.items() if ref not in small)
        stored = self.recorder.append(
            rows, self._now_us, blobs=[held for held, _ in packed.values()], bundles=bundles,
            sources=sources, placed=placed, forced=forced,
        )  # fmt: skip
        self._unforced = not forced if rows else self._unforced
        self._remember(packed)
        self._remember({ref: as_member(blob.body) for ref, blob in small.items()})
        if stream is not None:
            self._bundler.stored(together, stream)
        return stored

    def row(self, task_id: str, version: int, claim: Claim) -> NewRow:
        """Return a claim as a row; `InputError` if it cannot be stored."""
        return row_of(self.codec, task_id, version, claim)

    def _now_us(self) -> int:
        try:
            return to_microseconds(self.clock())
        except ValueError as error:
            raise InputError(f"the store's clock: {error}") from None

    # Reading

    def read(
        self,
        task_id: str | None = None,
        *,
        after: int = 0,
        last: int | None = None,
        moment: Moment = NOW,
        types: Sequence[str] = (),
    ) -> Iterator[WorkflowEvent]:
        """Yield the events of a task, or of the whole store, in log order.

        `after` and `last` are versions if a task is named, else positions. A damaged row is
        reported, and left out.
        """
        if moment.position is not None:
            known = moment.position if task_id is None else self.version_at(task_id, moment)
            last = known if last is None else min(last, known)
        at_us = to_microseconds(moment.at) if moment.at else None
        patterns = [like(kind) + ":%" for kind in types]
        while rows := self.recorder.rows(task_id, after, last, at_us=at_us, like=patterns):
            events = events_of(rows, self.codec, self.report)
            # A kind that continues after a colon matches the pattern too.
            yield from (event for event in events if event.type in types) if types else events
            if len(rows) < PAGE:
                return
            position, _, version = rows[-1][:3]
            after = position if task_id is None else version

    def follow(
        self,
        task_id: str | None = None,
        *,
        after: int = 0,
        types: Sequence[str] = (),
        interval: float = 0.1,
        until: Callable[[], bool] = lambda: False,
    ) -> Iterator[WorkflowEvent]:
        """Yield events as any process appends them; never ends unless `until` says so.

        `after` is as in `read`; `interval` is in seconds.
        """
        while True:
            ending = until()
            # A fixed end, so that events of other types, or damaged ones, are read only once.
            last = self.last_position() if task_id is None else self.version(task_id)
            if last > after:
                yield from self.read(task_id, after=after, last=last, types=types)
                after = last
            if ending:
                return
            time.sleep(interval)

    def last_position(self) -> int:
        """Return the position of the last event; 0 in an empty store."""
        row = self.recorder.one("SELECT max(position) FROM events")
        return row[0] or 0

    def version(self, task_id: str) -> int:
        """Return the last version of a task; 0 if the store does not hold it."""
        row = self.recorder.one("SELECT max(version) FROM events WHERE task_id=?", task_id)
        return row[0] or 0

    def require(self, task_id: str) -> int:
        """Return the last version of a task; `UnknownTaskError` if the store does not hold it."""
        version = self.version(task_id)
        if not version:
            raise UnknownTaskError(task_id, get_close_matches(task_id, self.tasks(), 3, 0.5))
        return version

    def version_at(self, task_id: str, moment: Moment) -> int:
        """Return the last version of a task that was known at a moment; 0 for none."""
        if moment.position is None:
            return self.version(task_id)
        return self.recorder.version_at(task_id, moment.position)

    def position_at(self, known_at: datetime) -> int:
        """Return the last position recorded at a time or before it; 0 for none."""
        return self.recorder.position_at(to_microseconds(known_at))

    def tasks(self) -> list[str]:
        """Return the tasks in the store, sorted."""
        # One index look-up per task, however many events it has.
        rows = self.recorder.all(
            "WITH RECURSIVE tasks(id) AS (SELECT min(task_id) FROM events UNION ALL"
            " SELECT (SELECT min(task_id) FROM events WHERE task_id>id) FROM tasks"
            " WHERE id IS NOT NULL) SELECT id FROM tasks WHERE id IS NOT NULL"
        )
        return sorted(row[0] for row in rows)

    def found(self, source: str, id: str) -> SourceRow | None:
        """Return the event that was imported under a foreign log's own id, if any."""
        return self.recorder.found(source, id)

    def found_like(self, source: str, prefix: str) -> list[SourceRow]:
        """Return at most two events that were imported under ids with a prefix."""
        return self.recorder.found_like(source, prefix)

    # Bodies

    def put(self, body: bytes, base: str | None = None) -> str:
        """Store a body once, under its content hash, and return its name.

        `base` names a body that it resembles; the difference to it is stored if that pays.
        """
        blob = Blob(body, base)
        packed = self._packed(self._new([blob]).values())
        self.recorder.put([held for held, _ in packed.values()])
        self._remember(packed)
        return blob.ref

    def get(self, ref: str) -> bytes:
        """Return the body of a name. Raises `DamagedError` if it is missing or damaged."""
        return self._load(ref)[1]

    def holds(self, ref: str) -> bool:
        """Return whether the store has a body of this name."""
        return bool(self._held([digest_of(ref)]))

    def names(self, beginning: str) -> list[str]:
        """Return the names of the first bodies whose names begin so, two at most."""
        low = beginning.removeprefix(BLOB_PREFIX)
        first, last = (bytes.fromhex(low.ljust(64, end)) for end in "0f")
        rows = self.recorder.all(
            "SELECT hash FROM blobs WHERE hash BETWEEN ? AND ? ORDER BY hash LIMIT 2", first, last
        )
        found = {bytes(row[0]) for row in rows}.union(self._bundler.between(first, last))
        return [BLOB_PREFIX + digest.hex() for digest in sorted(found)[:2]]

    def _new(self, blobs: Sequence[Blob]) -> dict[str, Blob]:
        """Return the bodies that the store does not hold yet, by name."""
        named: dict[str, Blob] = {}
        for blob in blobs:
            if blob.ref not in self._recent:
                named.setdefault(blob.ref, blob)
        held = self._held([digest_of(ref) for ref in named]) if named else set[bytes]()
        return {ref: blob for ref, blob in named.items() if digest_of(ref) not in held}

    def _held(self, digests: Sequence[bytes]) -> set[bytes]:
        held = self.recorder.held(digests)
        waiting = [digest for digest in digests if digest not in held]
        return held | set(self._bundler.found(waiting)) if waiting else held

    def _packed(self, blobs: Iterable[Blob]) -> dict[str, tuple[Packed, bytes]]:
        """Return bodies by name, ready to be stored."""
        new: dict[str, tuple[Packed, bytes]] = {}
        for blob in blobs:
            base = new.get(blob.base) or self._base(blob.base) if blob.base else None
            new[blob.ref] = (pack(blob.body, digest_of(blob.ref), base), blob.body)
        return new

    def _base(self, ref: str) -> tuple[Packed, bytes] | None:
        """Return a body to store the difference to; None if it is missing or damaged."""
        try:
            return self._load(ref)
        except DamagedError:
            return None

    def _load(self, ref: str) -> tuple[Packed, bytes]:
        if ref in self._recent:
            return self._recent[ref]
        # The text before, to which most are the difference, is mostly at hand.
        chain, base = self.recorder.chain(digest_of(ref), 0), None
        if chain and chain[0].base is not None:
            base = self._recent.get(f"{BLOB_PREFIX}{chain[0].base.hex()}")
            chain = chain if base else self.recorder.chain(digest_of(ref))
        if not chain:
            found = {f"{BLOB_PREFIX}{digest.hex()}": as_member(body)
                     for digest, body in self._bundler.found([digest_of(ref)]).items()}  # fmt: skip
            if ref in found:
                self._remember(found)
                return found[ref]
            raise DamagedError(f"{ref[:17]}… is not in this store")
        if chain[0].base is not None and base is None:
            raise DamagedError(f"{ref[:17]}…: the body that it is the difference to is missing")
        loaded = chain[-1], unpack(chain, base[1] if base else b"")
        self._remember({ref: loaded})
        return loaded

    def _remember(self, bodies: Mapping[str, tuple[Packed, bytes]]) -> None:
        """Cache the latest bodies that the store holds."""
        for ref, (packed, body) in bodies.items():
            if ref not in self._recent:
                self._recent[ref] = (packed._replace(packed=b""), body)
                self._recent_used += len(body) + BESIDE_BYTES
        while self._recent_used > self.recent_bytes:
            oldest = next(iter(self._recent))
            self._recent_used -= len(self._recent.pop(oldest)[1]) + BESIDE_BYTES


def refs_in(body: bytes) -> list[str]:
    """Return the names of blobs in a stored fact of any kind, in order and once each."""
    return [f"blob:{match.decode()}" for match in dict.fromkeys(_REF.findall(body))]
