"""A PostgreSQL store takes a password from where libpq finds it, and says what a user lacks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

Backcast = Callable[..., tuple[str, str, int]]
LINE = (
    '{"type": "TASK_STARTED", "task_id": "t", "timestamp": "2026-01-01T00:00:00Z",'
    ' "data": {"goal": "g"}}\n'
)
WORD = "never-to-be-shown"


class Login(NamedTuple):
    """A user who must tell a password."""

    user: str
    url: str
    "Without the password."


@pytest.fixture
def login(postgres_server: str, tmp_path: Path) -> Iterator[Login]:
    """A user who may log in by a password alone, and who may create nothing yet."""
    if "BACKCAST_TEST_POSTGRES" in os.environ:
        pytest.skip("a server of one's own keeps its rules of who may log in")
    user = f"ann_{os.getpid()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        [[rules]] = connection.execute("SHOW hba_file").fetchall()
        before = Path(rules).read_text()
        Path(rules).write_text(f"local all {user} scram-sha-256\n{before}")
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), WORD)
        )
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(user)))
        connection.execute("SELECT pg_reload_conf()")
        parts = urlsplit(postgres_server)
        query = f"{parts.query}&options=-csearch_path%3D{user}"
        yield Login(user, f"postgresql://{user}@{parts.path}?{query}")
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(user)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
        Path(rules).write_text(before)
        connection.execute("SELECT pg_reload_conf()")


def test_a_password_of_the_environment_is_used_and_rights_that_lack_are_named(
    login: Login, postgres_server: str, backcast: Backcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("log.jsonl").write_text(LINE)
    import_it = ("import", "events", "log.jsonl", "--store", login.url)
    monkeypatch.setenv("PGPASSWORD", "wrong")
    out, err, code = backcast(*import_it)
    assert (out, code, len(err.splitlines())) == ("", 2, 1)
    assert f'password authentication failed for user "{login.user}"' in err
    assert f"postgresql://{login.user}@/" in err
    monkeypatch.setenv("PGPASSWORD", WORD)
    lacks = ("no schema has been selected to create in", "USAGE"), ("permission denied", "CREATE")
    for lack, right in lacks:
        out, err, code = backcast(*import_it)
        assert (out, code, len(err.splitlines())) == ("", 2, 1)
        assert lack in err
        assert err.endswith(": 'backcast help postgresql' tells which rights a user needs\n")
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            granted = sql.SQL("GRANT {} ON SCHEMA {} TO {}")
            user = sql.Identifier(login.user)
            connection.execute(granted.format(sql.SQL(right), user, user))
    out, err, code = backcast(*import_it)
    assert (code, err) == (0, "")
    assert "added 1 event" in out
    assert WORD not in out + err
    assert "t" in backcast("tasks", "--store", login.url)[0]
