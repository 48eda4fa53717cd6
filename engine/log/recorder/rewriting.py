"""The one change to what stands in a store: alone, all or nothing, and without a trace of before.

SQLite keeps old bytes in its log of writes, in free pages, and in the free space of pages. So the
log is ended first, for which no other process may have the store open; what is freed is overwritten
in the same transaction; and the file is made anew behind it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backcast.domain.errors import UnavailableError
from backcast.engine.log.recorder.database import Cursor
from backcast.engine.log.recorder.sqlite import SQLiteRecorder, _Datastore, _uri

SECONDS = 2.0
"Seconds that other processes have to close the store."


class RewritingRecorder(SQLiteRecorder):
    """A store whose reading and writing is one transaction."""

    _cursor: sqlite3.Cursor

    @contextmanager
    def transact(self, *, write: bool, forced: bool = True) -> Iterator[Cursor]:
        """Give the transaction."""
        with self._named_errors():
            yield self._cursor.connection.cursor()


@contextmanager
def rewriting(path: str, *, keep: bool = True) -> Iterator[RewritingRecorder]:
    """Open a store alone, and rewrite it in one transaction; an error leaves it as it was, and so
    does an end without `keep`.

    `UnavailableError` where another process has it open.
    """
    if not Path(path).exists():
        raise UnavailableError(f"{path}: no such store")
    datastore = _Datastore(_uri(path, create=False), "FULL", SECONDS)
    recorder = RewritingRecorder(datastore)
    recorder.path = path
    raw = datastore.pool._create_connection()._sqlite_conn
    try:
        with recorder._named_errors():
            _alone(raw, path)
            raw.execute("PRAGMA secure_delete=ON")
            recorder._cursor = raw.cursor()
            raw.execute("BEGIN EXCLUSIVE")
            triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'")
            made = triggers.fetchall()
            for name, _ in made:
                raw.execute(f'DROP TRIGGER "{name}"')
            try:
                yield recorder
                for _, statement in made:
                    raw.execute(statement)
            except BaseException:
                raw.rollback()
                raise
            if not keep:
                raw.rollback()
                return
            raw.commit()
            raw.execute("VACUUM")
    finally:
        try:
            raw.execute("PRAGMA locking_mode=NORMAL")
            raw.execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
            recorder.close()


def _alone(raw: sqlite3.Connection, path: str) -> None:
    """Take the store for this connection alone, and end its log of writes."""
    try:
        raw.execute("PRAGMA locking_mode=EXCLUSIVE")
        [mode] = raw.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        mode = "wal"
    if mode != "truncate":
        raise UnavailableError(
            f"{path}: needed a store that no other process has open, found one that is in use: end"
            " what records, runs or follows, and try again"
        )
