"""The tables on SQLite: one file, any number of readers, one writer at a time."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Self
from urllib.parse import quote, unquote
from uuid import uuid4

from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from backcast.domain.errors import DamagedError, UnavailableError
from backcast.engine.log.recorder.across import MAKE_ACROSS
from backcast.engine.log.recorder.contract import LibraryContract
from backcast.engine.log.recorder.database import CLOSED, Cursor, not_text
from backcast.engine.log.recorder.tables import SCHEMA_VERSION

log = logging.getLogger("backcast")
APPLICATION_ID = 0x42434154
"The mark of a store among SQLite files (PRAGMA application_id)."
PATIENCE = 0.02
"Seconds between two tries of an operation for which SQLite itself does not wait."
QUIET = 2.0
"Seconds for which a process waits for another one without a word."
LOCKED = 20.0
"Seconds for which a store is waited for that another process keeps to itself."

TABLES = (
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY ON CONFLICT ROLLBACK,
        task_id TEXT NOT NULL ON CONFLICT ROLLBACK,
        version INTEGER NOT NULL ON CONFLICT ROLLBACK,
        topic TEXT NOT NULL ON CONFLICT ROLLBACK,
        timestamp_us INTEGER NOT NULL ON CONFLICT ROLLBACK,
        recorded_us INTEGER NOT NULL ON CONFLICT ROLLBACK,
        writer TEXT NOT NULL ON CONFLICT ROLLBACK,
        because TEXT NOT NULL ON CONFLICT ROLLBACK,
        checksum INTEGER NOT NULL ON CONFLICT ROLLBACK,
        body BLOB NOT NULL ON CONFLICT ROLLBACK
    ) STRICT""",
    # It holds the timestamp so that a moment within a task is found without reading the rows.
    "CREATE INDEX events_by_task ON events (task_id, version, timestamp_us)",
    MAKE_ACROSS,
    # BEFORE, so that INSERT OR REPLACE, which deletes without a trigger, comes too late. Most
    # events follow one of their own task, whose version is then the task's last.
    """CREATE TRIGGER events_only_grow BEFORE INSERT ON events BEGIN
        SELECT RAISE(ROLLBACK, 'the version is taken, or leaves one out, or a time falls')
            WHERE NOT coalesce((SELECT NEW.position=position+1 AND NEW.recorded_us>=recorded_us
                AND CASE task_id WHEN NEW.task_id THEN NEW.version=version+1
                    ELSE coalesce((SELECT NEW.version=version+1 FROM events
                        WHERE task_id=NEW.task_id ORDER BY version DESC LIMIT 1),
                        NEW.version IN (0, 1)) END
                FROM events ORDER BY position DESC LIMIT 1),
                NEW.position=1 AND NEW.version IN (0, 1));
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
        least_us INTEGER NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (projection, projection_version, task_id, version, until_us)
    ) STRICT, WITHOUT ROWID""",
)
# With rows as large as these, a table WITHOUT ROWID would be the slower one.
VECTORS = """CREATE TABLE IF NOT EXISTS vectors (
    embedder TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text_hash)
) STRICT"""
BUNDLES = (
    """CREATE TABLE IF NOT EXISTS bundles (
        id INTEGER PRIMARY KEY,
        base INTEGER,
        size INTEGER NOT NULL,
        packed BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS bundled (
        key INTEGER PRIMARY KEY,
        bundle INTEGER NOT NULL
    ) STRICT""",
)


class _Pool(SQLiteConnectionPool):
    """The library's connections, with our settings; opening one changes no file."""

    def __init__(self, uri: str, synchronous: str, seconds: float) -> None:
        super().__init__(db_name=uri, pool_timeout=seconds)
        self.synchronous, self.seconds = synchronous, seconds

    def _create_connection(self) -> SQLiteConnection:
        raw = sqlite3.connect(
            self.db_name,
            uri=True,
            timeout=self.seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if "mode=memory" not in self.db_name:
                self._await_lock(raw)
            raw.execute(f"PRAGMA synchronous={self.synchronous}")
            raw.execute("PRAGMA trusted_schema=OFF")
            raw.execute("PRAGMA case_sensitive_like=ON")  # as PostgreSQL has it
        except BaseException:
            raw.close()
            raise
        return SQLiteConnection(raw, self.max_age)

    def _await_lock(self, raw: sqlite3.Connection) -> None:
        """Wait for a process that keeps the whole file to itself, not for long, and say so."""
        path, most = unquote(self.db_name[5:].partition("?")[0]), min(LOCKED, self.seconds)
        for seconds in (min(QUIET, most), max(0.0, most - QUIET)):
            raw.execute(f"PRAGMA busy_timeout={int(1000 * seconds)}")
            try:
                raw.execute("PRAGMA schema_version").fetchone()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            if seconds == QUIET:
                log.warning("waiting for %s, which another process has locked", path)
        else:
            raise UnavailableError(
                f"{path}: locked by another process for {most:g} s: end that one, or try again"
            )
        raw.execute(f"PRAGMA busy_timeout={int(1000 * self.seconds)}")

    def put_connection(self, conn: SQLiteConnection) -> None:
        if self.closed:
            conn.close()
        super().put_connection(conn)

    def close(self) -> None:
        """Close idle connections. One that another thread uses is closed when it comes back: SQLite
        would end the process."""
        with self._put_condition:
            self._in_use.clear()
        super().close()


class _Datastore(SQLiteDatastore):
    def __init__(self, uri: str, synchronous: str, seconds: float) -> None:
        super().__init__(uri, originator_id_type="text")
        self.pool = _Pool(uri, synchronous, seconds)


# The library says that max_notification_id is an int, and gives None for an empty table.
class SQLiteRecorder(LibraryContract, SQLiteApplicationRecorder):  # type: ignore[misc]
    """A store in one SQLite file, or in memory."""

    path = ""
    changes_nothing = f"PRAGMA user_version={SCHEMA_VERSION}"
    make_vectors = VECTORS
    make_bundles = BUNDLES
    find_bundles = "SELECT 1 FROM sqlite_master WHERE type='table' AND name='bundles'"
    has_vectors = "SELECT 1 FROM sqlite_master WHERE type='table' AND name='vectors'"
    synchronous = "FULL"
    "What SQLite does at a commit that is forced to the disk."
    lacks_across = (
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM sqlite_master"
        " WHERE type='index' AND name='events_across')"
    )
    lock_timeout: float = 60
    "Seconds that a writer waits for another one."

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self._turn, self._writer = Lock(), None
        self._forces, self._closed = True, False

    _writer: SQLiteConnection | None
    _forces: bool
    "Whether the connection that writes forces what it commits to the disk now."

    @property
    def is_lasting(self) -> bool:
        """Whether it is a file."""
        return bool(self.path)

    @classmethod
    def open(cls, path: str, *, fsync: str = "full", create: bool = True) -> Self:
        """Open a file, or with an empty path a store in memory."""
        if path and not create and not Path(path).exists():
            raise UnavailableError(f"{path}: no such store; 'backcast import' makes one")
        if path and create:
            with suppress(OSError):  # it is there, or SQLite says what is wrong
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        synchronous = "FULL" if fsync == "full" else "NORMAL"
        recorder = cls(_Datastore(_uri(path, create), synchronous, cls.lock_timeout))
        recorder.synchronous = synchronous
        recorder.path = path
        try:
            recorder.prepare(create=create or not path)
        except BaseException:
            recorder.close()
            raise
        return recorder

    def prepare(self, *, create: bool = True) -> None:
        """Make the tables in a file that has none; refuse a foreign or newer one."""
        with self.transact(write=False) as cursor:
            application, schema = self._marks(cursor)
            cursor.execute("SELECT count(*) FROM sqlite_master")
            [tables] = cursor.fetchone()
        if application == 0 and tables == 0:
            if not create:
                raise UnavailableError(f"{self.path}: empty; 'backcast import' makes a store of it")
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
        self._write_ahead()
        with self.transact(write=True) as cursor:
            if self._marks(cursor)[0] == APPLICATION_ID:
                return
            for statement in TABLES:
                cursor.execute(statement)
            cursor.execute(f"PRAGMA application_id={APPLICATION_ID}")
            cursor.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _write_ahead(self) -> None:
        """Let readers read while one process writes; the file remembers it.

        SQLite does not wait here for another process that is doing the same, so we do.
        """
        with self._named_errors(), self.datastore.get_connection(commit=True) as connection:
            for attempt in range(max(1, int(self.lock_timeout / PATIENCE))):
                if attempt:
                    time.sleep(PATIENCE)
                try:
                    connection._sqlite_conn.execute("PRAGMA page_size=8192")
                    connection._sqlite_conn.execute("PRAGMA journal_mode=WAL")
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error):
                        raise
            raise sqlite3.OperationalError("database is locked")

    @contextmanager
    def _writing(self) -> Iterator[SQLiteConnection]:
        """Yield the one connection that writes; taking turns in a pool costs a tenth of append."""
        if not self._turn.acquire(timeout=self.lock_timeout):
            raise sqlite3.OperationalError("database is locked")
        try:
            if self.datastore.pool.closed:
                raise sqlite3.ProgrammingError("the store is closed")
            if self._writer is None:
                self._writer = self.datastore.pool._create_connection()
                self._wait(self._writer._sqlite_conn.cursor(), min(QUIET, self.lock_timeout))
                self._forces = True
            yield self._writer
        finally:
            self._turn.release()

    def _begin_writing(self, cursor: Cursor) -> None:
        """Begin a transaction that writes, and warn where another process keeps it waiting."""
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            rest = self.lock_timeout - QUIET
            if "locked" not in str(error) or rest <= 0:
                raise
            log.warning("waiting for %s, which another process is writing to", self.path)
            self._wait(cursor, rest)
            try:
                cursor.execute("BEGIN IMMEDIATE")
            finally:
                self._wait(cursor, QUIET)

    def _wait(self, cursor: Cursor, seconds: float) -> None:
        """Let SQLite wait so long for other processes."""
        cursor.execute(f"PRAGMA busy_timeout={int(1000 * seconds)}")

    def _marks(self, cursor: Cursor) -> tuple[int, int]:
        cursor.execute("PRAGMA application_id")
        [application] = cursor.fetchone()
        cursor.execute("PRAGMA user_version")
        [schema] = cursor.fetchone()
        return application, schema

    @contextmanager
    def transact(self, *, write: bool, forced: bool = True) -> Iterator[Cursor]:
        """Open one transaction. A writer takes the lock at its beginning, not at its first write:
        its earlier reads could be out of date.

        Commits stand in one file behind each other, so one that is forced forces all before it.
        """
        own = write and self.path
        with (
            self._named_errors(),
            self._writing() if own else self.datastore.get_connection(commit=write) as connection,
        ):
            raw = connection._sqlite_conn
            cursor = raw.cursor()
            if own and forced != self._forces:
                synchronous = self.synchronous if forced else "NORMAL"
                cursor.execute(f"PRAGMA synchronous={synchronous}")
                self._forces = forced
            if own:
                self._begin_writing(cursor)
            else:
                cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield cursor
                raw.commit() if write else raw.rollback()
            except BaseException:
                cursor.close()  # else who keeps the error keeps the file open
                raw.rollback()
                raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, persistence.IntegrityError) as error:
            raise persistence.IntegrityError(error) from error
        except UnicodeEncodeError as error:
            raise not_text(error) from None
        except (sqlite3.Error, EventSourcingError, UnicodeDecodeError) as error:
            shown = self.path or "store in memory"
            if "malformed" in str(error) or isinstance(error, UnicodeDecodeError):
                raise DamagedError(f"{shown}: the file itself is broken: {error}") from None
            raise UnavailableError(f"{shown}: {self._hint(error)}") from None

    def all(self, sql: str, *parameters: Any) -> list[Any]:
        """Return all rows of a query; texts may be damaged UTF-8, as a checksum will tell."""
        try:
            return super().all(sql, *parameters)
        except UnavailableError as error:
            if "decode" not in str(error.__context__):
                raise
        with self._named_errors(), self.datastore.get_connection(commit=False) as connection:
            raw = connection._sqlite_conn
            raw.text_factory = lambda text: text.decode(errors="replace")
            try:
                return raw.execute(sql, parameters).fetchall()
            finally:
                raw.text_factory = str

    def problems(self) -> Iterator[str]:
        """Yield what SQLite finds wrong with the file."""
        for (line,) in self.all("PRAGMA integrity_check"):
            if line != "ok":
                yield f"{self.path}: {' '.join(line.split())}"

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            if self._writer is not None:
                self._writer._close()
                self._writer = None
            self.datastore.close()
            self._closed = True

    def _hint(self, error: Exception) -> str:
        """Return what an error of SQLite means, and what to do next."""
        text = str(error)
        if self._closed:
            return CLOSED
        if self.path and Path(self.path).is_dir():
            return "a folder: needed a store, which is a file"
        for sign, hint in {
            "readonly": "read-only: needed a store that can be written",
            "locked": f"locked by another process for {self.lock_timeout:g} s: end that one, or"
            " try again",
            "full": "the disk is full: nothing of this was written; make room and try again",
            "I/O error": "the disk cannot be written or read: nothing of this was written; is it"
            " full, or failing?",
            "not a database": "not a database: needed a Backcast store",
            "unable to open": _unopened(Path(self.path)),
        }.items():
            if sign in text:
                return hint
        return text or type(error).__name__


def _unopened(path: Path) -> str:
    """Return why a file cannot be opened, or made."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"cannot be opened: there is no folder {folder}"
    if not path.exists() and not os.access(folder, os.W_OK):
        return f"cannot be made: {folder} is a folder that may not be written"
    if path.exists() and not os.access(path, os.R_OK):
        return "cannot be opened: it may not be read"
    if not os.access(folder, os.W_OK):
        return f"cannot be opened: {folder}, where SQLite needs to write beside it, is read-only"
    return "cannot be opened: is it a file that may be read and written?"


def _uri(path: str, create: bool) -> str:
    if not path:
        return f"file:backcast-{uuid4().hex}?mode=memory&cache=shared"
    if _stands_still(Path(path).resolve()):
        return f"file:{quote(path)}?immutable=1"
    return f"file:{quote(path)}?mode={'rwc' if create else 'rw'}"


def _stands_still(path: Path) -> bool:
    """Return whether nobody is writing to a store in a read-only folder.

    SQLite needs to put a file beside the one that it reads, unless it is told so.
    """
    log = path.with_name(path.name + "-wal")
    return not os.access(path.parent, os.W_OK) and os.access(path, os.R_OK) and not log.exists()
