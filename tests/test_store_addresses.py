"""A store's URL names what will be kept; any other is refused in one line, and nothing is made."""

from pathlib import Path

import pytest

import backcast
from backcast.domain.errors import InputError
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore

LINE = (
    '{"type": "TASK_STARTED", "task_id": "t", "timestamp": "2026-01-01T00:00:00Z",'
    ' "data": {"goal": "g"}}\n'
)
NOWHERE = [
    "sqlite:///", "sqlite:////", "sqlite:///:memory:", "sqlite:", "sqlite:/", "sqlite",
    "sqlite:name.db", "sqlite:/name.db", "sqlite://name.db", "sqlite://localhost/name.db",
    "sqlite://./name.db", "sqlite:///folder", "sqlite:///folder/", "sqlite:///new/", "sqlite:///.",
    "sqlite:///..", "sqlite:///file:name.db", "sqlite:/// ",
    "sqlite:///file::memory:?cache=shared", "sqlite:///name.db ", " sqlite:///name.db",
    "sqlite:///\tname.db", "sqlite:///na\nme.db", "sqlite:///na\0me.db", "sqlite:////dev/null",
    "sqlite:////dev/full", "sqlite:///missing/name.db", "sqlite:////proc/name.db", "", " ",
    ":memory:", "name.txt", "file:name.db", "file:///name.db", "SQLITE:///name.db",
    "sqlite3:///name.db", "sqlite+aiosqlite:///name.db", "mysql://host/name", "postgres",
    "postgres:/name", "postgresql:name", "postgres://", "postgresql://", "postgresql:///",
    "postgresql://host", "postgresql://host:5432/", "postgresql://ann@", "http://host/name.db",
    "//name.db", "://name.db",
]  # fmt: skip


NEVER_MEANT = [
    "sqlite://", "sqlite:///?x", "sqlite:///name.db?mode=ro", "sqlite:///?", "sqlite:///%2e%2e",
    "sqlite:///my%20name.db", "sqlite:///name%2Edb",
]  # fmt: skip
"URLs that the library takes as they are."


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "log.jsonl").write_text(LINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused command says: one line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    [line] = captured.err.splitlines()
    return line


@pytest.mark.parametrize("url", [*NEVER_MEANT, *NOWHERE])
def test_a_command_refuses_a_url_that_keeps_nothing(
    url: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "import", "events", "log.jsonl", "--store", url)
    assert line.startswith("backcast: ")
    assert sorted(path.name for path in here.rglob("*")) == ["folder", "log.jsonl"]


@pytest.mark.parametrize("url", NOWHERE)
def test_the_library_refuses_it_too(url: str, here: Path) -> None:
    with pytest.raises(backcast.BackcastError):
        EventStore.open(url).close()
    assert sorted(path.name for path in here.rglob("*")) == ["folder", "log.jsonl"]


def test_an_empty_variable_is_no_store(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", "")
    line = refused(capsys, "import", "events", "log.jsonl")
    assert line.startswith("backcast: BACKCAST_STORE: needed the URL of a store, found an empty")
    assert not (here / "backcast.db").exists()
    named = ["import", "events", "log.jsonl", "--store", "sqlite:///named.db"]
    main_ends(named)
    assert (here / "named.db").exists()


def main_ends(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


KEPT = ["a.db", "a b.db", "C#.db", "folder/a.db", "./a.db", "folder/../a.db", "ü.db", "100%.db"]


@pytest.mark.parametrize("path", KEPT)
def test_a_path_stands_in_a_url_as_it_is(path: str, here: Path) -> None:
    main_ends(["import", "events", "log.jsonl", "--store", f"sqlite:///{path}"])
    main_ends(["tasks", "--store", f"sqlite:////{here}/{path}"])
    with EventStore.open(f"sqlite:///{here / path}", create=False) as store:
        assert store.tasks() == ["t"]


@pytest.mark.parametrize("name", ["my%20store.db", "a?b.db"])
def test_a_file_that_is_there_is_opened_by_any_name(name: str, here: Path) -> None:
    with EventStore.open(f"sqlite:///{name}") as store:
        assert store.tasks() == []
    main_ends(["import", "events", "log.jsonl", "--store", f"sqlite:///{name}"])
    with EventStore.open(f"sqlite:///{name}", create=False) as store:
        assert store.tasks() == ["t"]


def test_a_refused_url_does_not_print_its_password() -> None:
    with pytest.raises(InputError) as error:
        EventStore.open("mysql://ann:hunter2@host/name")
    assert "hunter2" not in str(error.value)


def test_what_stands_before_a_file_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["tasks"], ["verify", "t"], ["regress", "t", "--policy", "no-cache"]):
        line = refused(capsys, *command, "--store", "runs")
        assert line.endswith("found 'runs': did you mean sqlite:///runs")
        line = refused(capsys, *command, "--store", "log.jsonl")
        assert line.endswith("found 'log.jsonl', a log: its path stands alone, without --store")


FILES = ["a.db", "folder/a.sqlite", "./a b.sqlite3"]


@pytest.mark.parametrize("path", FILES)
def test_a_file_with_the_ending_of_a_database_is_a_store(
    path: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main_ends(["import", "events", "log.jsonl", "--store", path])
    assert (here / path).exists()
    main_ends(["verify", "t", "--store", path])
    with backcast.open(path, create=False) as store:
        assert [task.id for task in store.tasks()] == ["t"]
    (here / path).rename(here / "runs")  # a database, whatever its name
    monkeypatch.setenv("BACKCAST_STORE", "runs")
    main_ends(["tasks"])
    main_ends(["log", "t"])


def test_the_library_keeps_a_store_in_memory() -> None:
    with backcast.open("sqlite://") as store:
        assert store.tasks() == []
    with pytest.raises(InputError, match="names no file"):
        backcast.open("")
    with pytest.raises(InputError, match="names no file"):
        backcast.open(":memory:")
