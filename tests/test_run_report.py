"""A report that grows is gone on from, to the bytes of a run in one go; nothing is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backcast.domain.policy import DEFAULT
from backcast.engine.interfaces.cli import main
from backcast.engine.log.store import EventStore
from backcast.engine.replay import pieces
from backcast.engine.replay import verify as replay_verify
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.log_worker import LogWorker
from backcast.engine.replay.run_report import RunReport
from backcast.engine.replay.verify import Verdict, verified
from tests.extras import needs_llama

FIXTURES = Path(__file__).parents[1] / "fixtures" / "logs"
LOGS = ("contexts", "shop", "addresses", "validators")
POLICY = ("--policy", "no-cache", "--window", "1")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of logs, where this process stands."""
    for name in LOGS:
        shutil.copy(FIXTURES / f"{name}.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[ReplayRun]:
    """The runs that were really measured."""
    runs: list[ReplayRun] = []
    own = LogWorker.tried

    def counted(self: LogWorker, run: ReplayRun, *more: object) -> Tried:
        runs.append(run)
        return own(self, run, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(LogWorker, "tried", counted)
    return runs


def told(
    capsys: pytest.CaptureFixture[str], *arguments: str, policy: tuple[str, ...] = POLICY
) -> tuple[int, str, str]:
    """The exit code of a regress over all logs, and what it printed."""
    with pytest.raises(SystemExit) as end:
        main(["regress", *sorted(map(str, Path().glob("*.jsonl"))), *policy, *arguments,
              "--processes", "1"])  # fmt: skip
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_what_is_done_is_not_done_again(
    logs: Path, measured: list[ReplayRun], capsys: pytest.CaptureFixture[str]
) -> None:
    report = logs / "out" / "grows.jsonl"
    report.parent.mkdir()
    once = told(capsys, "--report", "out/once.json")[1]
    runs = list(measured)
    assert len(runs) > 5
    assert told(capsys, "--report", str(report))[1] == once
    lines = report.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + len(runs)
    # What is there comes last first, and some of it twice: the order is that of the runs.
    report.write_bytes(b"".join([lines[0], *lines[:3:-1], lines[-1]]))
    measured.clear()
    again = told(capsys, "--report", str(report), "--report", "out/again.json")
    assert again[1] == once
    assert [run.name for run in measured] == [run.name for run in runs[:3]]
    assert f"{len(runs) - 3} of {len(runs)} runs stand in {report}" in again[2]
    assert (logs / "out/once.json").read_bytes() == (logs / "out/again.json").read_bytes()
    measured.clear()
    assert told(capsys, "--report", str(report))[1] == once
    assert measured == []


def test_what_has_changed_is_done_again(
    logs: Path,
    measured: list[ReplayRun],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = ("--report", str(tmp_path_factory.mktemp("out") / "grows.jsonl"))
    told(capsys, *report)
    every = len(measured)
    measured.clear()
    lines = (logs / "shop.jsonl").read_text().splitlines()
    (logs / "shop.jsonl").write_text("\n".join([*lines, lines[-1].replace("version", "_")]) + "\n")
    (logs / "addresses.jsonl").rename(logs / "zz.jsonl")  # it holds the same
    changed = told(capsys, *report)
    assert {run.log for run in measured} == {"shop.jsonl"}
    assert changed[1] == told(capsys)[1]
    for policy in (
        ("--policy", "hierarchical", "--window", "1"),
        (*POLICY, "--context-tokens", "500"),
    ):
        measured.clear()
        assert told(capsys, *report, policy=policy)[0] < 2
        assert len(measured) >= every


def test_a_line_that_was_cut_is_done_again(
    logs: Path, measured: list[ReplayRun], capsys: pytest.CaptureFixture[str]
) -> None:
    report = logs / "grows" / "report.jsonl"
    report.parent.mkdir()
    once = told(capsys, "--report", str(report))[1]
    body = report.read_bytes()
    for size in (len(body) - 1, len(body) - 500, 20, 0):
        report.write_bytes(body[:size])
        measured.clear()
        assert told(capsys, "--report", str(report))[1] == once
        assert len(measured) == body.count(b"\n") - max(1, body[:size].count(b"\n"))
        keys = [line[:80] for line in report.read_bytes().splitlines()]
        assert sorted(keys) == sorted(line[:80] for line in body.splitlines())


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"type": "TASK_STARTED"}\n', "found another file"),
        (b"a text", "found another file"),
        (b'{"report": "backcast regress, a line for each run", "format": 2}\n', "found format 2"),
        (b'{"report": "backcast regress, a line for each run", "format": 1}\n{}\n', "byte 65"),
    ],
)
def test_another_file_is_refused_and_stays_as_it_is(
    body: bytes, found: str, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = logs / "out" / "file.jsonl"
    report.parent.mkdir()
    report.write_bytes(body)
    code, out, err = told(capsys, "--report", str(report))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "needed a report of 'regress --report FILE.jsonl'" in err
    assert found in err
    assert report.read_bytes() == body


def test_a_damaged_line_is_named(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = logs / "out" / "file.jsonl"
    report.parent.mkdir()
    told(capsys, "--report", str(report))
    head, first, *rest = report.read_bytes().splitlines(keepends=True)
    report.write_bytes(b"".join([head, first.replace(b'"steps": [', b'"steps": {'), *rest]))
    code, out, err = told(capsys, "--report", str(report))
    assert (code, out) == (2, "")
    assert "found a damaged line for addresses.jsonl: " in err


def test_two_processes_do_not_write_one_report(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = logs / "out" / "file.jsonl"
    report.parent.mkdir()
    with RunReport(report, [Setting("default", DEFAULT)], None):
        body = report.read_bytes()
        code, out, err = told(capsys, "--report", str(report))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needed a report that no other process writes, found one at work on it" in err
    assert report.read_bytes() == body


def test_two_reports_that_grow_are_a_usage_error(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = told(capsys, "--report", "a.jsonl", "--report", "b.jsonl")
    assert code == 2
    assert "needed one that ends in .jsonl, found 2" in err


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_what_is_ended_goes_on(name: str, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for copy in ("till", "till-2", "till-3", "till-4"):  # so that enough is left to be ended
        shutil.copy(FIXTURES / "till.jsonl", logs / f"{copy}.jsonl")
    report = logs / "out" / "grows.jsonl"
    report.parent.mkdir()
    files = sorted(path.name for path in logs.glob("*.jsonl"))
    program = "from backcast.engine.interfaces.cli import main; main()"
    command = [sys.executable, "-c", program, "regress", *files, *POLICY, "--report", str(report)]
    with subprocess.Popen(
        [*command, "--processes", "2"], cwd=logs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        while process.poll() is None and not (
            report.exists() and report.read_bytes().count(b"\n") > 3
        ):
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.Signals[name])
        out, err = process.communicate()
    kept = report.read_bytes().count(b"\n") - 1
    assert kept >= 3
    assert out == ""
    if name == "SIGINT":
        assert (process.returncode, err.count("\n")) == (130, 1)
        assert f"interrupted by Ctrl-C; {kept} of " in err
        assert f" runs stand in {report}: the same command goes on from there" in err
    again = told(capsys, "--report", str(report))
    assert f"{kept} of " in again[2]
    assert again[1] == told(capsys)[1]
    assert all(json.loads(line) for line in report.read_bytes().splitlines())


# Of verify


@needs_llama
@pytest.mark.parametrize("where", [(), ("--on", "tests.pieces:threads")])
def test_a_task_that_stands_in_the_report_is_not_verified_again(
    where: tuple[str, ...],
    logs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(FIXTURES / "palindrome.jsonl", logs)
    report = tmp_path_factory.mktemp("out") / "verified.jsonl"
    asked: list[str] = []

    def counted(store: EventStore, task: str) -> Iterator[Verdict]:
        asked.append(task)
        return verified(store, task)

    for module in (replay_verify, pieces):
        monkeypatch.setattr(module, "verified", counted)

    def ran(*more: str) -> tuple[int, str]:
        asked.clear()
        with pytest.raises(SystemExit) as end:
            main(["verify", "palindrome.jsonl", "shop.jsonl", "validators.jsonl", *where, *more])
        return int(end.value.code or 0), capsys.readouterr().out

    once = ran()
    tasks = sorted(asked)
    assert len(tasks) == 3
    assert once[1].count("rebuilt: same") == 6
    assert ran("--report", str(report)) == once
    assert ran("--report", str(report)) == once
    assert asked == []
    lines = report.read_bytes().splitlines(keepends=True)
    report.write_bytes(b"".join([*lines[:-1], lines[-1][:-9]]))  # killed while it wrote
    assert ran("--report", str(report)) == once
    assert len(asked) == 1
    text = (logs / "palindrome.jsonl").read_text()
    (logs / "palindrome.jsonl").write_text(
        text.replace("2026-11-20T12:00:00Z", "2026-11-20T11:59:00Z", 1)
    )
    assert ran("--report", str(report))[0] == 0
    assert asked == ["palindrome"]


@pytest.mark.parametrize("name", ["run.jsonl", "verified.txt"])
def test_a_report_of_another_command_is_refused_in_a_line(
    name: str, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = logs / "out" / name
    report.parent.mkdir()
    with RunReport(report, [Setting("default", DEFAULT)], None):
        pass
    before = report.read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["verify", "shop.jsonl", "--report", str(report)])
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    needed = "needed a report of 'verify --report FILE.jsonl', found another file"
    assert (needed if name == "run.jsonl" else "needed a name that ends in .jsonl") in err
    assert report.read_bytes() == before
