"""Every figure of a command is of the same steps: those of a history's last changes, or of runs."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.engine.history.address import parse
from backcast.engine.interfaces.addresses import log_at
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.regress_notes import other_base
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.log.open_logs import opened
from backcast.engine.models.copying import CopyReader
from backcast.engine.replay.chosen_steps import StepChoice, history_versions
from backcast.engine.replay.corpus import runs_in
from tests.test_git import Repository

TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"
FORGOTTEN = TILL.parents[1] / "recorded/forgotten.jsonl"
COMMITS = 8

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a git history, of which each commit adds a function that uses the one before."""
    folder = tmp_path_factory.mktemp("populations")
    repository = Repository(folder / "repository")
    for number in range(1, COMMITS + 1):
        use = f"part_{number - 1}(value)" if number > 1 else "value"
        before = f"from part{number - 1} import part_{number - 1}\n\n\n" if number > 1 else ""
        repository.write(
            f"part{number}.py",
            f"{before}def part_{number}(value: int) -> int:\n"
            f"    found = {use} * {number}\n    return found + {number}\n",
        )
        repository.commit(f"Add part {number}")
    with pytest.raises(SystemExit) as end:
        main(["import", "git", str(repository.path), "--as", "parts", "--store", _url(folder)])
    assert not end.value.code
    return folder / "store.db"


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/store.db"


@pytest.fixture
def backcast(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Commands on a copy of the history."""
    shutil.copy(imported, tmp_path / "store.db")

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), "--store", _url(tmp_path)])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def versions(printed: str) -> list[int]:
    return sorted(step["version"] for step in json.loads(printed)["steps"])


@pytest.mark.parametrize("on", [(), ("--on", "processes")])
def test_regress_reads_the_steps_whose_prompts_it_counts(
    backcast: Run, on: tuple[str, ...]
) -> None:
    asked = ["regress", "parts", "--policy", "no-cache", "--baseline", "default", "--last", 3]
    code, out, err = backcast(*asked, "--model", "copy", "--processes", 1, *on)
    assert code == 0
    assert re.search(r"^prompts +3 +3$", out, re.MULTILINE)
    assert re.search(r"^new lines, nats per token +[\d.]+ +[\d.]+$", out, re.MULTILINE)
    assert "6 prompts of 3 steps" in err
    code, out, _ = backcast(*asked, "--model", "copy", "--processes", 1, "--sample", 2)
    assert re.search(r"^new lines, nats per token .*\(2 of 3\).*\(2 of 3\)", out, re.MULTILINE)


def test_all_of_a_history_is_read_where_all_of_it_is_tried(backcast: Run) -> None:
    asked = ["regress", "parts", "--policy", "default", "--model", "copy", "--processes", 1]
    code, out, err = backcast(*asked, "--json")
    policy = json.loads(out.splitlines()[0])
    assert code == 0
    assert policy["score_steps"] == policy["summary"]["prompts"]
    assert f"of {policy['score_steps']} steps" in err


def test_score_reads_the_last_changes_of_a_history(backcast: Run) -> None:
    asked = ["score", "parts", "--model", "copy", "--policy", "default", "--json"]
    every = versions(backcast(*asked)[1])
    assert len(every) == COMMITS
    for more in ([], ["--seconds", 100], ["--sample", 3], ["--on", "processes"]):
        assert versions(backcast(*asked, "--last", 3, *more)[1]) == every[-3:]
    assert versions(backcast(*asked, "--last", 1_000)[1]) == every
    code, _, err = backcast("score", "parts", "--model", "copy", "--last", 0)
    assert code == 2
    assert "--last" in err


def test_a_recorded_run_has_no_last_changes() -> None:
    with opened(str(TILL)) as log:
        every = [step.version for step in StepChoice().steps(log)]
        assert [step.version for step in StepChoice(last=1).steps(log)] == every
        assert history_versions(log, log.tasks[0], 1) == []
        runs = tuple(runs_in(log))
        assert [step.version for step in StepChoice(runs=runs).steps(log)] == every
        assert list(StepChoice(runs=()).steps(log)) == []


def test_steps_are_found_by_their_versions_whatever_was_chosen(imported: Path) -> None:
    with log_at(parse("parts"), f"sqlite:///{imported}") as log:
        every = [step.version for step in StepChoice().steps(log)]
        for chosen in (every[:1], every[2:7:2], every):
            assert [step.version for step in StepChoice().steps(log, chosen)] == chosen
        cut = [run for run in runs_in(log, 3) if run.first]
        found = [step.version for step in StepChoice(runs=tuple(cut)).steps(log)]
        assert found == every[-sum(run.length for run in cut) :]


def test_influence_asks_of_each_of_the_last_changes(backcast: Run) -> None:
    asked = ["influence", "parts", "--model", "copy", "--policy", "default", "--json"]
    last = json.loads(backcast(*asked)[1])["version"]
    for more in ([], ["--on", "processes", "--processes", 1]):
        code, out, _ = backcast(*asked, "--last", 3, *more)
        found = [json.loads(line)["version"] for line in out.splitlines()]
        assert code == 0
        assert len(found) == 3
        assert found == sorted(set(found))
        assert found[-1] == last
    code, _, err = backcast("influence", "parts@last", "--model", "copy", "--last", 3)
    assert code == 2
    assert "without a moment" in err


def test_a_fit_is_of_the_last_changes(imported: Path) -> None:
    from backcast.engine.replay.fit_steps import StepList

    with log_at(parse("parts"), f"sqlite:///{imported}") as log:
        every = [step.version for step in StepChoice().steps(log)]
        known = StepList(Reading("copy", last=5).plan(CopyReader(), []))
        known.add([log])
        found = [step.step.version for step in (*known.training, *known.held_out)]
        assert sorted(found) == every[-5:]


def test_the_command_fit_takes_the_same_option(backcast: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    code, _, err = backcast("fit", "parts", "--model", "copy", "--out", out, "--last", 5)
    assert code == 2
    assert "steps" in err


# Policies over another base


def test_a_file_over_another_base_than_was_recorded_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("errors = 0\n")
    near = tmp_path / "near.toml"
    near.write_text('base = "coverage"\nerrors = 0\n')

    def noted(*more: str, log: Path = TILL) -> list[str]:
        with pytest.raises(SystemExit):
            main(["regress", str(log), "--processes", "1", *more])
        err = capsys.readouterr().err
        return [line for line in err.splitlines() if "recorded under" in line]

    [line] = noted("--policy", str(mine), "--policy", str(mine))
    assert "recorded under coverage 1, and" in line
    assert "'--baseline default'" in line
    assert noted("--policy", str(near)) == noted("--policy", str(near), log=FORGOTTEN) == []
    assert noted("--policy", str(mine), "--baseline", "default") == []
    assert noted("--policy", "default") == noted("--policy", "recorded") == []
    assert other_base(set(), [str(mine)]) == ""
    with pytest.raises(InputError):
        other_base({"coverage 1"}, [str(tmp_path / "none.toml")])
