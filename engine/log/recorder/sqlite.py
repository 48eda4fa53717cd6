"""The tables on SQLite: one file, any number of readers, one writer at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote
from uuid import uuid4

from eventsourcing import persistence
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from domain.errors import UnavailableError
from engine.log.recorder.contract import LibraryContract
from engine.log.recorder.tables import SCHEMA_VERSION, Cursor

APPLICATION_ID = 0x42434154
"Tells a store from other SQLite files (PRAGMA application_id)."
LOCK_TIMEOUT = 60
"Seconds that a writer waits for another one."

TABLES = (
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        task_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        topic TEXT NOT NULL,
        timestamp_us INTEGER NOT NULL,
        recorded_us INTEGER NOT NULL,
        writer TEXT NOT NULL,
        because TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
    # It holds the timestamp so that a moment within a task is found without reading the rows.
    "CREATE INDEX events_by_task ON events (task_id, version, timestamp_us)",
    """CREATE TRIGGER events_only_grow BEFORE INSERT ON events BEGIN
        SELECT RAISE(ABORT, 'this version of the task is taken, or leaves one out') FROM
            (SELECT version FROM events WHERE task_id=NEW.task_id ORDER BY version DESC LIMIT 1)
            WHERE NEW.version<>version+1;
        SELECT RAISE(ABORT, 'positions and recorded times must rise') FROM
            (SELECT position, recorded_us FROM events ORDER BY position DESC LIMIT 1)
            WHERE NEW.position<>position+1 OR NEW.recorded_us<recorded_us;
    END""",
    """CREATE TRIGGER events_are_not_rewritten BEFORE UPDATE ON events BEGIN
        SELECT RAISE(ABORT, 'the log is append-only'); END""",
    """CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events BEGIN
        SELECT RAISE(ABORT, 'the log is append-only'); END""",
    """CREATE TABLE blobs (
        id INTEGER PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        base BLOB,
        depth INTEGER NOT NULL,
        size INTEGER NOT NULL,
        packed BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE sources (
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        digest BLOB NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (source, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE snapshots (
        projection TEXT NOT NULL,
        projection_version INTEGER NOT NULL,
        task_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        from_us INTEGER NOT NULL,
        until_us INTEGER NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (projection, projection_version, task_id, version, until_us)
    ) STRICT, WITHOUT ROWID""",
)


class _Pool(SQLiteConnectionPool):
    """The library's connections, with our settings."""

    synchronous = "FULL"

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        raw = connection._sqlite_conn
        raw.execute(f"PRAGMA synchronous={self.synchronous}")
        raw.execute("PRAGMA trusted_schema=OFF")
        raw.row_factory = None  # plain tuples: half the time of named rows
        return connection


class _Datastore(SQLiteDatastore):
    def __init__(self, uri: str, fsync: str) -> None:
        super().__init__(uri, originator_id_type="text")
        self.pool = _Pool(db_name=uri, lock_timeout=LOCK_TIMEOUT)
        self.pool.synchronous = "FULL" if fsync == "full" else "NORMAL"


# The library says that max_notification_id is an int, and gives None for an empty table.
class SQLiteRecorder(LibraryContract, SQLiteApplicationRecorder):  # type: ignore[misc]
    """A store in one SQLite file, or in memory."""

    @classmethod
    def open(cls, path: str, *, fsync: str = "full", create: bool = True) -> Self:
        """Open a file, or with an empty path a store in memory."""
        if path and not create and not Path(path).exists():
            raise UnavailableError(f"{path}: no such store; 'backcast import' makes one")
        memory = f"file:backcast-{uuid4().hex}?mode=memory&cache=shared"
        recorder = cls(_Datastore(f"file:{quote(path)}" if path else memory, fsync))
        recorder.path = path
        recorder.prepare()
        return recorder

    path = ""

    def prepare(self) -> None:
        """Make the tables in a file that has none; refuse one that is not ours, or newer."""
        with self.transact(write=False) as cursor:
            application, schema = self._marks(cursor)
            cursor.execute("SELECT count(*) FROM sqlite_master")
            [tables] = cursor.fetchone()
        if application == 0 and tables == 0:
            self.create_table()
        elif application != APPLICATION_ID:
            raise UnavailableError(f"{self.path}: a SQLite file, but not a Backcast store")
        elif schema > SCHEMA_VERSION:
            raise UnavailableError(
                f"{self.path}: written by a newer version (tables {schema}, this one knows"
                f" {SCHEMA_VERSION}): upgrade backcast"
            )

    def create_table(self) -> None:
        """Make the tables, unless another process has just done so."""
        with self.transact(write=True) as cursor:
            if self._marks(cursor)[0] == APPLICATION_ID:
                return
            for statement in TABLES:
                cursor.execute(statement)
            cursor.execute(f"PRAGMA application_id={APPLICATION_ID}")
            cursor.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _marks(self, cursor: Cursor) -> tuple[int, int]:
        cursor.execute("PRAGMA application_id")
        [application] = cursor.fetchone()
        cursor.execute("PRAGMA user_version")
        [schema] = cursor.fetchone()
        return application, schema

    @contextmanager
    def transact(self, *, write: bool) -> Iterator[Cursor]:
        """One transaction. A writer takes the lock at its beginning, not at its first write:
        what it has read by then could be out of date."""
        try:
            with self.datastore.get_connection(commit=write) as connection:
                raw = connection._sqlite_conn
                cursor = raw.cursor()
                cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield cursor
                    raw.commit() if write else raw.rollback()
                except BaseException:
                    raw.rollback()
                    raise
        except sqlite3.IntegrityError as error:
            raise persistence.IntegrityError(error) from error
        except (sqlite3.Error, persistence.PersistenceError) as error:
            if isinstance(error, persistence.IntegrityError):
                raise
            raise UnavailableError(f"{self.path or 'store in memory'}: {_hint(error)}") from error

    def problems(self) -> Iterator[str]:
        """What SQLite finds wrong with the file."""
        for (line,) in self.all("PRAGMA integrity_check"):
            if line != "ok":
                yield f"{self.path}: {line}"

    def close(self) -> None:
        """Let go of the file."""
        self.datastore.close()


def _hint(error: Exception) -> str:
    """What a refusal of SQLite means, and what to do next."""
    text = str(error)
    for sign, hint in {
        "readonly": "read-only: needed a store that can be written",
        "locked": f"locked by another process for {LOCK_TIMEOUT} s: end that one, or try again",
        "full": "the disk is full: nothing of this was written; make room and try again",
        "not a database": "not a database: needed a Backcast store",
        "unable to open": "cannot be opened: is there such a folder, and may it be read?",
        "malformed": "damaged: 'backcast fsck' names the rows",
    }.items():
        if sign in text:
            return hint
    return text
