"""A store tells by which versions of importers its tasks came, and takes a log over anew."""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import Imported, WorkflowEvent
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore, importers
from backcast.engine.log.importers import (
    claude_code,
    cline,
    git,
    inspect_ai,
    openhands,
    swe_agent,
)
from backcast.engine.log.importers.versions import MODULES, OWN, faulty, version_of, versions_in
from backcast.engine.memory.import_anew import run_anew
from backcast.engine.memory.import_log import run
from backcast.projections import versions

HERE = Path(__file__).parents[1]
STORES, FOREIGN = HERE / "fixtures/stores", HERE / "fixtures/foreign"
SESSION = STORES / "session.jsonl"
FAULT = "commits after a wild date are dated wrong"
LOGS = {
    "swe-agent": FOREIGN / "swe-agent.traj",
    "openhands": FOREIGN / "openhands.jsonl",
    "claude-code": FOREIGN / "claude-code.jsonl",
    "cline": FOREIGN / "cline.json",
    "inspect": FOREIGN / "inspect.json",
}
Backcast = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backcast(capsys: pytest.CaptureFixture[str]) -> Backcast:
    """Run a command; return its exit code, output and messages."""

    def ran(*words: object) -> tuple[int, str, str]:
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return ran


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """The history of the older store, whose second commit is dated 2120."""
    path = tmp_path / "history"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", path], check=True)
    grown(path, (STORES / "history.fast-import").read_bytes())
    return path


def grown(path: Path, stream: bytes) -> None:
    subprocess.run(["git", "-C", path, "fast-import", "--quiet"], input=stream, check=True)


def next_commit(number: int) -> bytes:
    text = f"def f(x):\n    return x + {number}\n"
    return (
        f"commit refs/heads/main\ncommitter Bob <bob@example.org> {1_600_000_300 + number} +0000\n"
        f"data 4\nmore\nfrom refs/heads/main^0\nM 100644 inline a.py\ndata {len(text)}\n{text}\n"
    ).encode()


@pytest.fixture
def older(tmp_path: Path) -> str:
    """A store that was filled before versions were recorded."""
    connection = sqlite3.connect(tmp_path / "older.db")
    connection.executescript((STORES / "older.sql").read_text())
    connection.close()
    return f"sqlite:///{tmp_path}/older.db"


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that are known of the importer of git alone."""
    for module in (claude_code, cline, inspect_ai, openhands, swe_agent):
        monkeypatch.setattr(module, "FAULTS", {})
    monkeypatch.setattr(git, "FAULTS", {1: FAULT})


def marks(store: EventStore, task: str) -> list[WorkflowEvent]:
    return list(store.read(task, types=["IMPORTED"]))


def said(store: EventStore, task: str) -> list[tuple[object, ...]]:
    """What a task's events say; a cause as what it says, since names of commits come between."""
    events = [e for e in store.read(task) if e.type != "REFS_READ"]
    by_version = {e.version: (e.type, e.fact) for e in events}
    return [
        (e.fact, e.timestamp, e.writer, tuple(by_version.get(cause) for cause in e.because))
        for e in events
    ]


@pytest.mark.parametrize("format", sorted(LOGS))
def test_each_format_records_its_version_once(format: str) -> None:
    with EventStore.open("sqlite://") as store:
        first = run(store, format, LOGS[format])
        held = store.last_position()
        assert run(store, format, LOGS[format]).added == 0
        assert store.last_position() == held
        assert first.added == held
        for task in store.tasks():
            [mark] = marks(store, task)
            before = next(iter(store.read(task, last=mark.version - 1)))
            assert mark.fact == Imported(format=format, version=version_of(format))
            assert (mark.writer, mark.because) == (format, ())
            assert mark.timestamp >= before.timestamp
            assert versions_in(store, task) == {format: [version_of(format)]}


@pytest.mark.parametrize("format", sorted(MODULES))
def test_no_fault_is_known_of_an_importer_as_it_is_now(format: str) -> None:
    module = import_module(f"backcast.engine.log.importers.{MODULES[format]}")
    faults = getattr(module, "FAULTS", {})
    assert max(faults, default=0) < version_of(format)
    assert all(text and "\n" not in text and not text.endswith(".") for text in faults.values())


def test_an_import_in_two_parts_gives_the_events_of_one(tmp_path: Path, history: Path) -> None:
    lines = SESSION.read_text().splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    with EventStore.open("sqlite://") as parts, EventStore.open("sqlite://") as whole:
        for count in range(1, len(lines) + 1):
            part.write_text("".join(lines[:count]))
            run(parts, "claude-code", part)
        run(whole, "claude-code", SESSION)
        assert said(parts, "older-session") == said(whole, "older-session")
        run(parts, "git", history, "t")
        for number in (4, 5):
            grown(history, next_commit(number))
            run(parts, "git", history, "t")
        run(whole, "git", history, "t")
        assert said(parts, "t") == said(whole, "t")


def test_causes_lead_past_what_tells_of_the_importer(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open("sqlite://") as store:
        for number in (4, 5, 6):
            grown(history, next_commit(number))
            monkeypatch.setattr(git, "VERSION", number, raising=False)
            run(store, "git", history, "t")
        (history / ".git/refs/tags").mkdir(exist_ok=True)
        subprocess.run(["git", "-C", history, "tag", "named"], check=True)
        monkeypatch.setattr(git, "VERSION", 7, raising=False)
        run(store, "git", history, "t")  # only names are new
        grown(history, next_commit(7))
        run(store, "git", history, "t")
        assert [mark.fact.data["version"] for mark in marks(store, "t")] == [4, 5, 6, 7]
        last, commits = 0, 0
        for event in store.read("t"):
            if event.type == "COMMITTED":
                assert event.because == ((last,) if last else ())
                commits += 1
            if event.type not in ("IMPORTED", "REFS_READ"):
                last = event.version
        assert commits == 7


def test_a_history_is_one_line_of_knowledge_with_it(history: Path) -> None:
    with EventStore.open("sqlite://") as store:
        run(store, "git", history, "t")
        state = state_at(store, versions, "t")
        [mark] = marks(store, "t")
        assert len(list(store.read("t", after=mark.version, types=["COMMITTED"]))) == 2
        assert (len(state.events), len(state.writers), versions.conflicts(state)) == (0, 0, {})


def test_an_import_that_is_cut_off_has_recorded_its_version(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importers, "FLUSH_EVENTS", 1)
    with EventStore.open("sqlite://") as store:

        def batches(*arguments: Any, **named: Any) -> Iterator[Any]:
            yield next(iter(read(*arguments, **named)))
            raise OSError("cut off")

        read = git.read
        monkeypatch.setattr(git, "read", batches)
        with pytest.raises(OSError, match="cut off"):
            run(store, "git", history, "t", outlines=False)
        monkeypatch.setattr(git, "read", read)
        assert len(marks(store, "t")) == 1
        run(store, "git", history, "t", outlines=False)
        assert len(marks(store, "t")) == 1
        with EventStore.open("sqlite://") as whole:
            run(whole, "git", history, "t", outlines=False)
            assert said(store, "t") == said(whole, "t")


@pytest.mark.usefixtures("mended")
def test_a_store_that_an_older_importer_filled_says_so(
    backcast: Backcast, older: str, history: Path
) -> None:
    note = f"task 'history' came by git importer 1: {FAULT}; import it anew with --anew"
    code, out, err = backcast("import", "git", history, "--store", older)
    assert (code, out) == (0, "added 0 events, 7 known already, 0 skipped\n")
    assert err == f"backcast: note: {note}\n"
    assert backcast("fsck", "--store", older) == (0, "", f"backcast: note: {note}\nclean\n")
    code, out, err = backcast("verify", "--store", older)
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == f"backcast: note: {note}"
    assert err.endswith("\n0 prompts, 0 failed\n")
    for command in ("fsck", "verify"):
        code, out, err = backcast(command, "--json", "--store", older)
        line, *sums = map(json.loads, out.splitlines())
        assert [one["exit_code"] for one in sums] == [0]
        assert (code, line["note"], line["task"], line["version"]) == (0, note, "history", 1)


@pytest.mark.usefixtures("mended")
def test_what_comes_later_does_not_hide_what_came_first(older: str, history: Path) -> None:
    grown(history, next_commit(4))
    with EventStore.open(older) as store:
        report = run(store, "git", history, "history")
        [mark] = marks(store, "history")
        assert mark.fact == Imported(format="git", version=2, earlier=1)
        assert versions_in(store, "history") == {"git": [1, 2]}
        assert [note for note in report.notes if not note.startswith("wild times")] == [
            f"task 'history' came in part by git importer 1: {FAULT}; import it anew with --anew"
        ]


@pytest.mark.usefixtures("mended")
def test_a_log_is_taken_over_anew_beside_the_old_one(
    backcast: Backcast, older: str, history: Path
) -> None:
    with EventStore.open(older) as store:
        before = list(store.read("history"))
    anew = ("import", "git", history, "--anew", "--store", older)
    code, out, err = backcast(*anew)
    table = out.splitlines()
    assert (code, len(err.splitlines())) == (0, 1)
    assert "note: wild times: 1 commit takes" in err
    assert table[0] == "added 11 events to task history~2, beside history; they differ"
    assert any(line.split()[:2] == ["events", "COMMITTED"] for line in table)
    assert any(line.split() == ["module", "a.py", "other", "time"] for line in table)
    code, out, err = backcast(*anew)
    first = "task history~2 holds history anew already: nothing was added; they differ"
    assert (code, out.splitlines(), err) == (0, [first, *table[1:]], "")
    code, out, _ = backcast(*anew, "--json")
    line = json.loads(out)
    assert (line["task"], line["anew"], line["added"]) == ("history", "history~2", 0)
    assert {"path": "a.py", "what": "other time"} in line["modules"]
    assert line["goals"] == [None, None]
    with EventStore.open(older) as store:
        assert list(store.read("history")) == before
        assert {task for task in store.tasks() if "~" in task} == {"history~2"}
        [known] = faulty(store, "history")
        assert (known.anew, list(faulty(store, "history~2"))) == ("history~2", [])
        assert str(known).endswith("; 'history~2' holds it anew")
        last = list(store.read("history~2", types=["COMMITTED"]))[-1]
        assert last.timestamp.year == 2020


@pytest.mark.usefixtures("mended")
def test_another_version_of_the_importer_writes_another_copy(
    older: str, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open(older) as store:
        run_anew(store, "git", history, "history")
        monkeypatch.setattr(git, "VERSION", 3)
        monkeypatch.setattr(git, "FAULTS", {1: FAULT, 2: "names are cut"})
        [known] = faulty(store, "history")
        assert (known.anew, known.fault) == ("", f"{FAULT}; names are cut")
        _, [compared] = run_anew(store, "git", history, "history")
        assert (compared.anew, compared.added) == ("history~3", 11)
        assert [part.fault for part in faulty(store, "history~2")] == ["names are cut"]
        assert [part.anew for part in faulty(store, "history")] == ["history~3"]


def test_the_name_of_a_branch_is_not_taken(older: str) -> None:
    from backcast.engine.history.branches import fork

    with EventStore.open(older) as store:
        assert [fork(store, "older-session", 3).task_id for _ in range(2)][-1] == "older-session~2"
        _, [compared] = run_anew(store, "claude-code", SESSION)
        assert (compared.anew, compared.added) == ("older-session~3", 11)


def test_a_copy_that_was_cut_off_goes_on(
    older: str, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importers, "FLUSH_EVENTS", 1)
    read = git.read

    def batches(*arguments: Any, **named: Any) -> Iterator[Any]:
        yield next(iter(read(*arguments, **named)))
        raise OSError("cut off")

    with EventStore.open(older) as store:
        monkeypatch.setattr(git, "read", batches)
        with pytest.raises(OSError, match="cut off"):
            run_anew(store, "git", history, outlines=False)
        monkeypatch.setattr(git, "read", read)
        assert [event.type for event in store.read("history~2")][-1] == "IMPORTED"
        _, [compared] = run_anew(store, "git", history, outlines=False)
        assert (compared.anew, len(marks(store, "history~2"))) == ("history~2", 1)
        with EventStore.open("sqlite://") as whole:
            run(whole, "git", history, "history", outlines=False)
            plain = [part for part in said(store, "history~2") if type(part[0]) is not Imported]
            assert plain == [
                part for part in said(whole, "history") if type(part[0]) is not Imported
            ]


def test_what_differs_is_told_by_kind_module_goal_and_replies(
    older: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    lines = [json.loads(line) for line in SESSION.read_text().splitlines()]
    lines[0]["message"]["content"] = "Another goal."
    lines[0].pop("isCompactSummary")
    del lines[-1]
    other.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with EventStore.open(older) as store:
        _, [compared] = run_anew(store, "claude-code", other)
        changes = {change.kind: change[1:] for change in compared.kinds}
        assert changes["TASK_STARTED"] == (1, 1, 0)
        assert changes["MODEL_REPLIED"][0] >= 1
        assert compared.goals[1] == "Another goal."
        assert compared.goals[0] != compared.goals[1]
        assert compared.replies[0] > compared.replies[1]
        assert compared.differs


@pytest.mark.parametrize("words", [("--as", "other"), ()])
def test_a_task_that_is_not_there_is_one_line(
    backcast: Backcast, tmp_path: Path, history: Path, words: tuple[str, ...]
) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    EventStore.open(url).close()
    code, out, err = backcast("import", "git", history, "--anew", "--store", url, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needed one that was imported before" in err
    with EventStore.open(url) as store:
        assert store.tasks() == []
        with pytest.raises(InputError, match="needed a foreign format"):
            run_anew(store, OWN, SESSION)


def test_an_export_carries_what_it_came_by(
    older: str, tmp_path: Path, history: Path, backcast: Backcast
) -> None:
    with EventStore.open(older) as store:
        run(store, "git", history, "newer")
    with EventStore.open("sqlite://") as copy:
        for task in ("history", "older-session", "newer", "fix-1"):
            file = tmp_path / f"{task}.jsonl"
            assert backcast("export", task, file, "--store", older)[0] == 0
            assert run(copy, OWN, file).notes == []
        known = [(part.task, part.format) for task in copy.tasks() for part in faulty(copy, task)]
        assert known == [
            ("fix-1", "swe-agent"), ("history", "git"), ("older-session", "claude-code")
        ]  # fmt: skip
        assert versions_in(copy, "newer") == {"git": [2]}
