"""Two runs of agents side by side: how each ended, what it changed, and where they part."""

import json
from pathlib import Path

import pytest

from backcast.engine.interfaces import cli

FIRST = {"response": "See.", "action": "ls", "observation": "area.py"}
EDIT = {"response": "Begin.", "action": "create round.py", "observation": "[File: round.py]\n1:"}
WRONG = {"response": "Look.", "action": "cat circle.py", "observation": "cat: No such file"}


def run(path: Path, status: str, *steps: dict[str, str]) -> Path:
    """Write a trajectory of SWE-agent."""
    info = {"exit_status": status}
    path.write_text(json.dumps({"trajectory": steps, "history": [], "info": info}))
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of two runs, `well` and `badly`, whose first call is the same."""
    monkeypatch.chdir(tmp_path)
    paths = [
        run(tmp_path / "well.traj", "submitted", FIRST, EDIT),
        run(tmp_path / "badly.traj", "submitted (exit_cost)", FIRST, WRONG, WRONG),
    ]
    with pytest.raises(SystemExit):
        cli.main(["import", "swe-agent", *map(str, paths)])
    return tmp_path


@pytest.mark.usefixtures("both")
def test_two_runs_of_agents_are_shown_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "diff", "well", "badly").splitlines()
    rows = [line.rstrip().split(maxsplit=2) for line in lines]
    assert rows[0] == ["well", "badly"]
    assert rows[1][1:] == ["complete", "failed (submitted (exit_cost))"]
    assert [row for row in rows if row[0] == "calls"] == [["calls", "2", "3"]]
    assert lines[-3:] == [
        "the first call is the same; then",
        "  well@6  create round.py",
        "  badly@6  cat circle.py",
    ]


@pytest.mark.usefixtures("both")
def test_programs_get_the_same_as_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "diff", "well", "well", "--json"))
    assert found["same_calls"] == 2
    assert [run["task"] for run in found["runs"]] == ["well", "well"]
    found = json.loads(printed(capsys, "diff", "badly", "well", "--json"))
    assert found["same_calls"] == 1
