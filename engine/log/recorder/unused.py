"""Stores that a command made and wrote nothing to: they go again."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from backcast.engine.log.recorder.addresses import IN_MEMORY, scheme_of, sqlite_file

WRITTEN = ("events", "blobs", "sources")
"Tables that hold what a command stores; others hold what can be made again."


@contextmanager
def removed_if_unused(url: str) -> Iterator[None]:
    """Remove the file of a store at the end, if it was made meanwhile and holds nothing."""
    path = None if scheme_of(url) != "sqlite" or url == IN_MEMORY else Path(sqlite_file(url))
    if path is None or os.path.lexists(path):
        yield
        return
    path = path.absolute()
    try:
        yield
    finally:
        if path.is_file():
            with suppress(OSError, sqlite3.Error):  # then it stays, which harms nobody
                _remove_unused(path)


def _remove_unused(path: Path) -> None:
    """Remove the file of a store that holds nothing, unless another process has it open.

    The journal can only be given up by the one that has the file to itself, and who holds the lock
    then keeps it until the file is gone.
    """
    name = f"file:{quote(str(path))}?mode=rw"
    with closing(sqlite3.connect(name, uri=True, timeout=0, isolation_level=None)) as raw:
        if _holds_something(raw):
            return
        raw.execute("PRAGMA locking_mode=EXCLUSIVE")
        [mode] = raw.execute("PRAGMA journal_mode=DELETE").fetchone()
        if mode != "delete":
            return
        raw.execute("BEGIN EXCLUSIVE")
        if not _holds_something(raw):
            path.unlink()
            return
        raw.rollback()
        raw.execute("PRAGMA journal_mode=WAL")


def _holds_something(raw: sqlite3.Connection) -> bool:
    made = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    return any(
        raw.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in WRITTEN
        if table in made
    )  # fmt: skip
