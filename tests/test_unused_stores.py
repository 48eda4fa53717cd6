"""A store that a command made and wrote nothing to is gone when the command ends."""

import subprocess
from pathlib import Path

import pytest

from backcast.domain.events import TaskStarted
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.options import opened
from backcast.engine.log import EventStore

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOG = str(FIXTURES / "logs/till.jsonl")
SPEC = str(FIXTURES / "specs/validators.toml")
FAILING = {
    "an import of nothing": ("import", "events", "note.jsonl"),
    "an import of a foreign log": ("import", "claude-code", "note.jsonl"),
    "an import of a history without commits": ("import", "git", "empty"),
    "several logs": ("import", "events", "note.jsonl", "odd.jsonl"),
    "a run without its model": ("run", SPEC, "--model", "llama:none.gguf"),
    "a question without its model": ("ask", LOG, "Why?", "--model", "answers:none.jsonl"),
    "a dispatch of no tasks": ("dispatch", "note.jsonl", "--repo", "work",
                               "--implementer", "cmd: true"),
    "a dispatch whose server is away": ("dispatch", "tasks.md", "--repo", "work", "--to",
                                        "http://127.0.0.1:9", "--implementer", "cmd: true"),
    "a recording of nothing": ("record", "--to", "http://127.0.0.1:9", "--", "true"),
    "a fork of a task that a log lacks": ("fork", f"{LOG}#other@3"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_leaves_no_store_behind(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKCAST_STORE", "sqlite:///new.db")
    Path("note.jsonl").write_text('{"note": "for people"}\n')
    Path("odd.jsonl").write_text('{"type": "TASK_STARTED"}\n')
    Path("tasks.md").write_text("- [ ] 1 Write it\n")
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    for folder in ("empty", "work"):
        subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(
        ["git", "-C", "work", *who, "commit", "-qm", "begin", "--allow-empty"], check=True
    )
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as end:
        main(FAILING[name])
    assert (bool(end.value.code), capsys.readouterr().err.startswith("backcast: ")) == (True, True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_that_was_there_stays_however_empty(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    EventStore.open(url).close()
    with opened(url, create=True):
        pass
    assert (tmp_path / "store.db").exists()


def test_a_store_that_another_process_opened_meanwhile_stays_and_can_be_written(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with opened(url, create=True):
        other = EventStore.open(url)
    with other:
        other.append("task", [TaskStarted(goal="sell")], after=0)
    with EventStore.open(url, create=False) as store:
        assert store.tasks() == ["task"]


def test_what_was_written_stays_though_the_command_fails(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    def interrupted() -> None:
        with opened(url, create=True) as store:
            store.append("task", [TaskStarted(goal="sell")], after=0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with EventStore.open(url, create=False) as store:
        assert store.tasks() == ["task"]
