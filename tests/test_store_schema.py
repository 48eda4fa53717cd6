"""The database itself keeps the log append-only, whoever writes to it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backcast.domain.events import TaskStarted
from backcast.engine.log import EventStore
from backcast.engine.log.recorder import Row

INSERT = "INTO events VALUES ({}, '{}', {}, 'TASK_STARTED:1', 0, {}, '', '', 0, x'')"


def row(position: int, task: str, version: int, recorded: int | str = 2**60) -> str:
    return INSERT.format(position, task, version, recorded)


def text(position: int, task: str, version: int) -> str:
    """The row as PostgreSQL writes it."""
    return row(position, task, version).replace("x''", "''")


def fill(url: str) -> list[Row]:
    """Four events: a1, b1, a2, a3."""
    with EventStore.open(url) as store:
        store.append("a", [TaskStarted()], after=0)
        store.append("b", [TaskStarted()], after=0)
        store.append("a", [TaskStarted(), TaskStarted()], after=1)
        return store.recorder.rows(None, 0)


def rows(url: str) -> list[Row]:
    with EventStore.open(url) as store:
        return store.recorder.rows(None, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who knows SQL and not us."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


OVERWRITING = [
    "UPDATE events SET body=x'00'",
    "UPDATE events SET timestamp_us=0 WHERE position=4",
    "UPDATE events SET task_id='c' WHERE position=4",
    "UPDATE OR REPLACE events SET position=1 WHERE position=4",
    "UPDATE OR IGNORE events SET body=x'00'",
    "DELETE FROM events",
    "DELETE FROM events WHERE position=4",
    "REPLACE " + row(1, "a", 1),
    "REPLACE " + row(4, "a", 3),
    "REPLACE " + row(4, "a", 4),
    "REPLACE " + row(5, "a", 3),
    "INSERT OR REPLACE " + row(3, "b", 2),
    "INSERT OR IGNORE " + row(4, "a", 4),
    "INSERT " + row(4, "a", 4) + " ON CONFLICT (position) DO UPDATE SET body=x'00'",
    "INSERT " + row(4, "a", 4) + " ON CONFLICT DO NOTHING",
]
OUT_OF_ORDER = [
    "INSERT " + row(4, "a", 4),  # the position is taken
    "INSERT " + row(6, "a", 4),  # leaves a position out
    "INSERT " + row(0, "a", 4),
    "INSERT " + row(-1, "c", 1),
    "INSERT " + row(5, "a", 3),  # the version is taken
    "INSERT " + row(5, "a", 5),  # leaves a version out
    "INSERT " + row(5, "a", 0),
    "INSERT " + row(5, "b", 1),  # the same of a task that is not the last event's
    "INSERT " + row(5, "b", 3),
    "INSERT " + row(5, "b", 0),
    "INSERT " + row(5, "b", 2, 1_000_000),
    "INSERT " + row(5, "c", 2),
    "INSERT " + row(5, "c", -1),
    "INSERT " + row(5, "a", 4, 1_000_000),  # recorded before the last one
    "INSERT " + row(5, "a", 4, "'noon'"),
    "INSERT " + row(5, "a", 4, "NULL"),
]


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("statement", OVERWRITING + OUT_OF_ORDER)
def test_sqlite_refuses_what_is_no_append(
    path: Path, raw: sqlite3.Connection, statement: str, recursive: str
) -> None:
    before = fill(f"sqlite:///{path}")
    raw.execute(f"PRAGMA recursive_triggers={recursive}")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    assert rows(f"sqlite:///{path}") == before


def test_sqlite_takes_what_is_an_append(path: Path, raw: sqlite3.Connection) -> None:
    before = fill(f"sqlite:///{path}")
    raw.execute("INSERT " + row(5, "a", 4))
    raw.execute("INSERT " + row(6, "c", 1))
    raw.execute("INSERT " + row(7, "b", 2))
    appended = [row[:3] for row in rows(f"sqlite:///{path}")[4:]]
    assert appended == [(5, "a", 4), (6, "c", 1), (7, "b", 2)]
    assert rows(f"sqlite:///{path}")[:4] == before


@pytest.mark.parametrize("first", [row(2, "a", 1), row(0, "a", 1), row(1, "a", 2)])
def test_sqlite_begins_a_log_at_one(path: Path, raw: sqlite3.Connection, first: str) -> None:
    EventStore.open(f"sqlite:///{path}").close()
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("INSERT " + first)


def test_sqlite_refuses_a_batch_whole_when_its_last_row_is_no_append(
    path: Path, raw: sqlite3.Connection
) -> None:
    before = fill(f"sqlite:///{path}")
    values = [(5, "a", 4), (6, "a", 5), (7, "a", 7)]
    statement = "INSERT INTO events VALUES (?, ?, ?, 'X:1', 0, 9000000000000000, '', '', 0, x'')"
    raw.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError, match="leaves one out"):
        raw.executemany(statement, values)
    assert not raw.in_transaction, "SQLite has rolled it back"
    assert rows(f"sqlite:///{path}") == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body=''",
        "UPDATE events SET body='' WHERE position=4",
        "DELETE FROM events",
        "DELETE FROM events WHERE position=4",
        "TRUNCATE events",
        "INSERT " + text(4, "a", 4),  # the position is taken
        "INSERT " + text(5, "a", 3),  # the version is taken
        "INSERT " + text(4, "a", 4) + " ON CONFLICT (position) DO UPDATE SET body=''",
        "INSERT " + text(5, "a", 3) + " ON CONFLICT (task_id, version) DO UPDATE SET body=''",
        "MERGE INTO events USING (VALUES (4)) AS old (place) ON position=old.place"
        " WHEN MATCHED THEN DELETE",
    ],
)
def test_postgresql_refuses_what_is_no_append(postgres: str, statement: str) -> None:
    before = fill(postgres)
    with (
        psycopg.connect(postgres, autocommit=True) as raw,
        pytest.raises(psycopg.errors.IntegrityError),
    ):
        raw.execute(statement.encode())
    assert rows(postgres) == before
