"""Databases of other programs, read from a copy, so that a running program is never in our way.

A copy takes no lock. Beside the database it takes what was not written into it yet: the write-ahead
log (-wal), or the journal of a transaction that was cut off. SQLite makes the index (-shm) of the
log anew. Where the program wrote in the meantime, it is copied again.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.lines import first_object, unreadable

MAGIC = b"SQLite format 3\0"
BESIDE = ("-wal", "-journal")
"How the names of files end that hold a part of a database."
TRIES = 5
CHANGED = "the database was written to while it was copied, each time; what is whole in it is read"


class DamagedDatabase(InputError):
    """A database that cannot be read, or not from here on."""


class DatabaseCopy:
    """A copy of a database, which is read only."""

    def __init__(self, opened: sqlite3.Connection) -> None:
        self._opened = opened

    def rows(self, sql: str, *values: object) -> Iterator[dict[str, Any]]:
        """Yield the rows that a question gives, by column. `DamagedDatabase` where that fails."""
        try:
            for row in self._opened.execute(sql, values):
                yield dict(zip(row.keys(), tuple(row), strict=True))
        except sqlite3.DatabaseError as error:
            raise DamagedDatabase(f"the database is damaged: {error}") from None

    def tables(self) -> dict[str, frozenset[str]]:
        """Return the columns of each table."""
        names = [str(row["name"]) for row in self.rows(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        )]  # fmt: skip
        columns = "SELECT name FROM pragma_table_info(?)"
        return {
            name: frozenset(str(row["name"]) for row in self.rows(columns, name)) for name in names
        }


@contextmanager
def copied_database(path: Path, needed: str, word: str, report: Report) -> Iterator[DatabaseCopy]:
    """Open a copy of a database. `InputError` where the file is none, or a damaged one."""
    try:
        with path.open("rb") as file:
            is_database = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise unreadable(path, error) from None
    if not is_database:
        first_object(path, lambda value: False, needed, word)
    with TemporaryDirectory(prefix="backcast-") as folder:
        copy = Path(folder) / "copy.db"
        try:
            if not _is_copied(path, copy):
                report.notes.append(CHANGED)
        except OSError as error:
            raise InputError(f"{path}: cannot be copied: {error.strerror or error}") from None
        with closing(sqlite3.connect(copy)) as opened:
            opened.row_factory = sqlite3.Row
            # A body that is not UTF-8 is read all the same.
            opened.text_factory = lambda body: body.decode("utf-8", "backslashreplace")
            copied = DatabaseCopy(opened)
            try:
                list(copied.rows("PRAGMA query_only = ON"))
                list(copied.rows("SELECT count(*) FROM sqlite_master"))
            except DamagedDatabase as error:
                raise InputError(f"{path}: needed a whole SQLite database: {error}") from None
            yield copied


def _is_copied(path: Path, copy: Path) -> bool:
    """Copy a database; return whether nothing was written to it in the meantime."""
    for _ in range(TRIES):
        before = _signs(path)
        for end in BESIDE:
            copy.with_name(copy.name + end).unlink(missing_ok=True)
        # The log first: what moves from it into the database meanwhile is then in both.
        for end in (*BESIDE, ""):
            source = path.with_name(path.name + end)
            if end == "" or source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + end))
        if _signs(path) == before:
            return True
    return False


def _signs(path: Path) -> list[tuple[int, int] | None]:
    """Return what changes with the files of a database."""
    found: list[tuple[int, int] | None] = []
    for end in ("", *BESIDE):
        source = path.with_name(path.name + end)
        stat = source.stat() if source.exists() else None
        found.append(stat and (stat.st_mtime_ns, stat.st_size))
    return found
