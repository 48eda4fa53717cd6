"""The lines of `backcast log`: what results say, what is folded, and what a log has no time of."""

import json
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code in (0, None)
    return capsys.readouterr()


@pytest.fixture
def agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    ran(capsys, "import", "swe-agent", str(FIXTURES / "foreign/swe-agent.traj"))
    return "swe-agent"


def test_of_one_task_a_line_says_what_an_event_brought(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = ran(capsys, "log", agent)
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines()}
    assert err == ""
    assert f"{agent}@" not in out
    assert lines["@4"] == "no time MESSAGE_RECEIVED user: Make circles round."
    assert lines["@5"] == "no time MODEL_REPLIED scripted: See what is there."
    assert lines["@7"] == "no time TOOL_RETURNED ls: area.py tool:ls"
    folded = "up to @13: 3 records as they came (--type SWE_AGENT_HISTORY prints each)"
    assert lines["@11"] == f"no time SWE_AGENT_HISTORY {folded}"
    assert [name for name in ("@12", "@13", "@14") if name in lines] == ["@14"]
    assert all(line.startswith("no time ") for line in lines.values())


def test_what_is_asked_for_by_its_type_and_what_programs_read_is_not_folded(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = ran(capsys, "log", agent, "--type", "SWE_AGENT_HISTORY")
    assert [line.split()[0] for line in out.splitlines()] == ["@11", "@12", "@13"]
    out, _ = ran(capsys, "log", agent, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["version"] for event in events] == list(range(1, 15))
    assert events[6]["timestamp"] == "1970-01-01T00:00:04Z"


def test_a_line_of_a_whole_store_names_its_task_and_its_place(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(capsys, "import", "events", str(FIXTURES / "logs/shop.jsonl"))
    out, _ = ran(capsys, "log")
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["1", "no", "time", f"{agent}@1"]
    assert lines[-1].split()[3].startswith("task-def456@")
    _, err = ran(capsys, "log", str(FIXTURES / "logs/shop.jsonl"))
    assert err == "backcast: note: events of task task-def456\n"


def test_on_a_terminal_lines_are_as_wide_and_what_failed_has_a_sign_in_colour(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    till = str(FIXTURES / "logs/till.jsonl")
    piped, _ = ran(capsys, "log", till)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, _ = ran(capsys, "log", till)
    failed = [line for line in out.splitlines() if "\x1b[31m✗\x1b[0m" in line]
    assert [line.split()[0] for line in failed][:2] == ["@18", "@65"]
    assert all("CHECKS_RAN" in line or "ANSWER_REFUSED" in line for line in failed)
    assert "\x1b[32m✓\x1b[0m TASK_COMPLETE" in out
    monkeypatch.setenv("NO_COLOR", "1")
    out, _ = ran(capsys, "log", till)
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) == len(piped.splitlines()) == 185
    assert "✗" not in piped
    monkeypatch.setenv("COLUMNS", "200")
    wide, _ = ran(capsys, "log", till)
    assert max(map(len, wide.splitlines())) > max(map(len, piped.splitlines()))


def test_a_brief_log_leaves_out_what_only_prepares(capsys: pytest.CaptureFixture[str]) -> None:
    till = str(FIXTURES / "logs/till.jsonl")
    whole, brief = (ran(capsys, "log", till, *more)[0].splitlines() for more in ((), ("--brief",)))
    left_out = [line for line in whole if line not in brief]
    assert {line.split()[3] for line in left_out} == {
        "STEP_STARTED", "MODULE_OUTLINED", "SOURCE_READ"
    }  # fmt: skip
    assert (len(whole), len(brief)) == (185, 133)
