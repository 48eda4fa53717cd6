"""The statements that both databases share, and the rules that hold for every writer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eventsourcing.persistence import IntegrityError
from xxhash import xxh3_64_intdigest

from backcast.domain.errors import ConflictError
from backcast.engine.log.blobs import Packed
from backcast.engine.log.bundles import NewBundle
from backcast.engine.log.packing import plain
from backcast.engine.log.recorder.across import IS_ACROSS, AcrossTasks, are_across
from backcast.engine.log.recorder.bodies import Bodies
from backcast.engine.log.recorder.database import Cursor, like
from backcast.engine.log.recorder.snapshots import LAST_US, Snapshots
from backcast.engine.log.recorder.vectors import VectorTable

SCHEMA_VERSION = 1
"The version of the tables; a newer store is refused."

PAGE = 512
"Rows that are read at once."

ROW_COLUMNS = (
    "position, task_id, version, topic, timestamp_us, recorded_us, writer, because, checksum, body"
)
Row = tuple[int, str, int, str, int, int, str, str, int, bytes]
"A stored event, in the order of `ROW_COLUMNS`."

NewRow = tuple[str, int, str, int | None, str, str, bytes]
"""An event to be stored: task_id, version, topic, timestamp in microseconds since 1970 (None for
the time of recording), writer, because (versions in the same task, joined by commas), body."""

NewSource = tuple[str, str, bytes, int]
"An event's identity in a foreign log: source, id, digest of the content, index of the row."


class SourceRow(NamedTuple):
    """The event that was imported under a foreign log's own id."""

    digest: bytes
    position: int
    version: int


def checksum_of(row: Row) -> int:
    """Return the right checksum of a row: 63 bits over all the rest, for accidents only."""
    *head, _, body = row
    if not isinstance(body, bytes):
        return -1  # a broken file can give anything
    return xxh3_64_intdigest("".join(f"{value}\0" for value in head).encode() + body) >> 1


class Recorder(Bodies, Snapshots, VectorTable, AcrossTasks):
    """The tables of one store."""

    # Appending

    changes_nothing: str
    "A statement that writes what stands there already: so there is something to force to the disk."

    def force(self) -> None:
        """Force all to the disk that was stored without that."""
        with self.transact(write=True) as cursor:
            cursor.execute(self.changes_nothing)

    def append(
        self,
        rows: Sequence[NewRow],
        now_us: Callable[[], int],
        *,
        blobs: Sequence[Packed] = (),
        bundles: Sequence[NewBundle] = (),
        sources: Sequence[NewSource] = (),
        strict: bool = True,
        placed: Callable[[Sequence[Row]], None] = lambda rows: None,
        forced: bool = True,
    ) -> list[Row]:
        """Store rows in one transaction, with the bodies that they point at, and return them as
        stored; `placed` is called with them as soon as their places are known.

        Rows that are stored already, byte for byte, are returned rather than written twice;
        `ConflictError` if other rows stand there, or if a version would be skipped. Without
        `strict` a task may begin at any version, and no row may be stored already.
        """
        try:
            with self.transact(write=True, forced=forced) as cursor:
                return self._append(cursor, rows, now_us, blobs, bundles, sources, strict, placed)
        except IntegrityError as error:
            task_id, version = rows[0][:2]
            raise ConflictError(
                task_id, version - 1, version - 1, f"but the database refuses it: {error}"
            ) from error

    def _append(
        self,
        cursor: Cursor,
        rows: Sequence[NewRow],
        now_us: Callable[[], int],
        blobs: Sequence[Packed],
        bundles: Sequence[NewBundle],
        sources: Sequence[NewSource],
        strict: bool,
        placed: Callable[[Sequence[Row]], None],
    ) -> list[Row]:
        self.index_across(cursor)
        first = rows[0][0] if rows else ""
        cursor.execute(_LAST, (first,))
        last_position, last_recorded, tail = cursor.fetchone() or (0, 0, None)
        tails: dict[str, int] = {}
        for task_id, version in {row[0]: row[1] for row in reversed(rows)}.items():
            known = tail if task_id == first else self._tail(cursor, task_id)
            tails[task_id] = known if known is not None else 0 if strict else version - 1
        self._put(cursor, blobs)
        self._put_bundles(cursor, bundles)
        if strict and rows and rows[0][1] <= tails[rows[0][0]]:
            values = self._stored_already(cursor, rows, tails)
            cursor.execute(self.changes_nothing)  # they may not have been forced to the disk yet
            placed(values)
            return values
        # The clock is read inside the write lock, so recorded times rise with positions.
        recorded = max(now_us(), last_recorded)
        values = _placed(rows, tails, last_position, recorded)
        placed(values)
        cursor.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        if sources:
            cursor.executemany(
                "INSERT INTO sources VALUES (?,?,?,?) ON CONFLICT (source, id) DO NOTHING",
                [(s, id, digest, last_position + 1 + index) for s, id, digest, index in sources],
            )
        return values

    def _tail(self, cursor: Cursor, task_id: str) -> int | None:
        cursor.execute("SELECT max(version) FROM events WHERE task_id=?", (task_id,))
        version: int | None = cursor.fetchone()[0]
        return version

    def _stored_already(
        self, cursor: Cursor, rows: Sequence[NewRow], tails: dict[str, int]
    ) -> list[Row]:
        """Return the stored rows if all of them are the same, so that a retry changes nothing."""
        found: list[Row] = []
        for row in rows:
            cursor.execute(
                f"SELECT {ROW_COLUMNS} FROM events WHERE task_id=? AND version=?", (row[0], row[1])
            )
            stored = cursor.fetchone()
            if stored is None or not _same(row, stored):
                raise ConflictError(rows[0][0], rows[0][1] - 1, tails[rows[0][0]])
            found.append(stored)
        return found

    # Reading

    def rows(
        self,
        task_id: str | None,
        after: int,
        last: int | None = None,
        *,
        at_us: int | None = None,
        like: Sequence[str] = (),
        limit: int = PAGE,
    ) -> list[Row]:
        """Return rows of a task by version, or of the store by position, after one and up to
        another.

        `like` are patterns of SQL's LIKE; the topic has to match one of them.
        """
        key = "position" if task_id is None else "version"
        conditions: list[tuple[str, Any]] = [(f"{key}>?", _in_range(after))]
        if task_id is not None:
            conditions.append(("task_id=?", task_id))
        if last is not None:
            conditions.append((f"{key}<=?", _in_range(last)))
        if at_us is not None:
            conditions.append(("timestamp_us<=?", at_us))
        where = " AND ".join(condition for condition, _ in conditions)
        parameters = [value for _, value in conditions]
        if like:
            where += " AND (" + " OR ".join(["topic LIKE ? ESCAPE '!'"] * len(like)) + ")"
            parameters += like
            if task_id is None and are_across(like):
                where += f" AND {IS_ACROSS}"
        return self.all(
            f"SELECT {ROW_COLUMNS} FROM events WHERE {where} ORDER BY {key} LIMIT ?",
            *parameters,
            limit,
        )

    def version_at(self, task_id: str, position: int) -> int:
        """Return the last version of a task among the positions up to one; 0 for none.

        Versions rise with positions, so a binary search suffices, and needs no index of its own.
        """
        with self.transact(write=False) as cursor:
            low, high = 0, self._tail(cursor, task_id) or 0
            while low < high:
                middle = (low + high + 1) // 2
                cursor.execute(
                    "SELECT position FROM events WHERE task_id=? AND version>=?"
                    " ORDER BY version LIMIT 1",
                    (task_id, middle),
                )
                low, high = (
                    (middle, high) if cursor.fetchone()[0] <= position else (low, middle - 1)
                )
            return low

    def times_after(self, task_id: str, last: int, time_us: int) -> list[int]:
        """Return the timestamps after a time among the versions of a task up to one."""
        rows = self.all(
            "SELECT timestamp_us FROM events WHERE task_id=? AND version<=? AND timestamp_us>?",
            task_id,
            last,
            time_us,
        )
        return [time for (time,) in rows]

    def prefix_until(self, task_id: str, last: int, time_us: int) -> int | None:
        """Return the version up to which a task's events are those of a time, of all up to one;
        None where later ones are of that time, too, or earlier ones are not."""
        count, version = self.one(
            "SELECT count(*), max(version) FROM events"
            " WHERE task_id=? AND version<=? AND timestamp_us<=?",
            task_id,
            last,
            time_us,
        ) or (0, None)
        return count if count == (version or 0) else None

    def body_bytes(self, task_id: str, after: int, last: int) -> int:
        """Return the bytes of the bodies of a task's events after a version, up to another."""
        row = self.one(
            "SELECT sum(length(body)) FROM events WHERE task_id=? AND version>? AND version<=?",
            task_id,
            after,
            last,
        )
        return int(row[0] or 0)

    def position_at(self, time_us: int) -> int:
        """Return the last position recorded at a time or before it; 0 for none.

        Recorded times never fall, so a binary search suffices here too.
        """
        with self.transact(write=False) as cursor:
            cursor.execute("SELECT max(position) FROM events")
            low, high = 0, cursor.fetchone()[0] or 0
            while low < high:
                middle = (low + high + 1) // 2
                cursor.execute(
                    "SELECT recorded_us FROM events WHERE position>=? ORDER BY position LIMIT 1",
                    (middle,),
                )
                low, high = (middle, high) if cursor.fetchone()[0] <= time_us else (low, middle - 1)
            return low

    # Foreign logs

    def found(self, source: str, id: str) -> SourceRow | None:
        """Return the event that was imported under a foreign log's own id, if any."""
        row = self.one(f"{_FOUND} AND s.id=?", source, id)
        return SourceRow(*row) if row else None

    def found_like(self, source: str, prefix: str) -> list[SourceRow]:
        """Return at most two events that were imported under ids with a prefix."""
        rows = self.all(f"{_FOUND} AND s.id LIKE ? ESCAPE '!' LIMIT 2", source, like(prefix) + "%")
        return [SourceRow(*row) for row in rows]


_LAST = (
    "SELECT position, recorded_us, (SELECT max(version) FROM events WHERE task_id=?)"
    " FROM events ORDER BY position DESC LIMIT 1"
)
"The last event's place and time, and the last version of a task."

_FOUND = (
    "SELECT s.digest, s.position, e.version FROM sources s"
    " JOIN events e ON e.position=s.position WHERE s.source=?"
)


def _placed(rows: Sequence[NewRow], tails: dict[str, int], after: int, recorded: int) -> list[Row]:
    """Return new rows after a position, with checksums; `tails` are the tasks' last versions."""
    values: list[Row] = []
    for position, row in enumerate(rows, after + 1):
        task_id, version, topic, timestamp, writer, because, body = row
        if version != tails[task_id] + 1:
            raise ConflictError(task_id, version - 1, tails[task_id])
        tails[task_id] = version
        if timestamp is None:
            timestamp = recorded
        # checksum_of, in line
        head = (
            f"{position}\0{task_id}\0{version}\0{topic}\0{timestamp}\0{recorded}\0"
            f"{writer}\0{because}\0"
        )
        check = xxh3_64_intdigest(head.encode() + body) >> 1
        values.append(
            (position, task_id, version, topic, timestamp, recorded, writer, because, check, body)
        )
    return values


def _same(row: NewRow, stored: Row) -> bool:
    """Return whether a new row equals a stored one; an unstated time equals any time."""
    _, _, topic, timestamp, writer, because, body = row
    if (topic, writer, because) != (stored[3], stored[6], stored[7]):
        return False
    if timestamp is not None and timestamp != stored[4]:
        return False
    # Another version of zstd may pack equal bodies to other bytes.
    return body == stored[9] or plain(body) == plain(stored[9])


def _in_range(number: int) -> int:
    """Return the nearest number that a column can hold."""
    return max(-LAST_US, min(number, LAST_US))
