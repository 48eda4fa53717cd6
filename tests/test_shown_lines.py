"""A file of which an agent saw parts alone: its lines are given with their numbers and events."""

import json
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main

PATH = "src/a.py"
GOAL = "Here is the issue:\nFour is not right."


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def window(first: int, *lines: str, total: int = 9) -> str:
    """Return what the editor of SWE-agent shows of a file."""
    numbered = "\n".join(f"{number}:{line}" for number, line in enumerate(lines, first))
    above, below = first - 1, total - first - len(lines) + 1
    return (
        f"[File: /repo/{PATH} ({total} lines total)]\n({above} more lines above)\n{numbered}\n"
        f"({below} more lines below)"
    )


FAILED = (
    "Your proposed edit has introduced new syntax error(s).\n"
    f"{window(4, 'not applied', 'at all')}\nYour changes have NOT been applied."
)
STEPS = [
    ("open src/a.py 4", window(3, "three", "four", "five", "six")),
    ("edit 4:4\nnot applied\nend_of_edit\n", FAILED),
    ("edit 4:4\nFOUR\nend_of_edit\n", f"{window(2, 'two', 'three', 'FOUR')}\nFile updated."),
    ("cat -n src/b.py", "     1\tnothing\n     2\tof it\n"),
    ("grep -n o src/a.py", "2:two\n9:nobody knows\n"),
]


@pytest.fixture
def task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """A run that opened a file at its middle, and edited it."""
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    state = {"open_file": "n/a", "working_dir": "/repo"}
    steps = [
        {"action": action, "observation": seen, "response": f"I do {action[:4]}.", "state": state}
        for action, seen in STEPS
    ]
    history = [{"role": "user", "content": GOAL}]
    path = tmp_path / "run.traj"
    path.write_text(json.dumps({"trajectory": steps, "history": history}), encoding="utf-8")
    assert ran(capsys, "import", "swe-agent", str(path))[0] == 0
    return "run"


def results(capsys: pytest.CaptureFixture[str]) -> list[int]:
    lines = ran(capsys, "log", "run", "--json")[1].splitlines()
    events = [json.loads(line) for line in lines]
    return [event["version"] for event in events if event["type"] == "TOOL_RETURNED"]


def test_lines_are_given_as_they_were_last_shown_and_told_apart(
    task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, failed, edited, *_ = results(capsys)
    reference = f"storage://{task}/{PATH}"
    before = (
        f"--- lines 3-6, as event {opened} showed them\n"
        "      3\tthree\n      4\tfour\n      5\tfive\n      6\tsix\n"
    )
    for event in (opened, failed):
        code, out, err = ran(capsys, "cat", reference, f"@{event}")
        assert (code, out) == (1, before)
        assert f"tools showed 4 lines of it, by event {opened} ('backcast cat run@{opened}'" in err
    code, out, err = ran(capsys, "cat", reference)
    assert (code, out) == (
        1,
        f"--- lines 2-4, as event {edited} showed them\n"
        "      2\ttwo\n      3\tthree\n      4\tFOUR\n"
        f"--- lines 5-6, as event {opened} showed them, before the change of event {edited + 1}\n"
        "      5\tfive\n      6\tsix\n",
    )
    assert "its text was never shown as a whole; tools showed 5 lines of it, by events" in err
    code, out, _ = ran(capsys, "cat", reference, "--json")
    lines = json.loads(out)["lines"]
    assert [each["text"] for each in lines] == ["two", "three", "FOUR", "five", "six"]
    assert (code, lines[4]["event"], lines[4]["changed_by"]) == (1, opened, edited + 1)
    part = ran(capsys, "cat", f"{reference}#L4-L5")[1]
    assert [line for line in part.splitlines() if "\t" in line] == [
        "      4\tFOUR",
        "      5\tfive",
    ]


def test_where_nothing_was_shown_there_is_no_text(
    task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("a.py.bak", "src/c.py"):
        code, out, err = ran(capsys, "cat", f"storage://{task}/{path}")
        assert (code, out) == (2, "")
        assert "no text of it" in err
    edited = results(capsys)[2] + 1
    code, out, err = ran(capsys, "cat", f"{task}@{edited}")
    assert (code, out) == (2, "")
    command = err.split("'")[1].split()
    assert ran(capsys, *command[1:])[0] == 1


def test_the_ledger_tells_of_a_failed_call_until_the_next_of_its_tool_and_of_the_goal(
    task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, failed, edited, *_ = results(capsys)
    told = f"- why edit of /repo/{PATH} failed, event {failed}: "
    for event, tells in ((opened, 0), (failed, 1), (edited - 1, 1), (edited, 0)):
        out, _ = ran(capsys, "show", "ledger", f"{task}@{event}")[1:]
        assert out.count(told) == out.count("To look up:") == tells
        assert "- Here is the issue: Four is not right.\n" in out
