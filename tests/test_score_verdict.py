"""What a table of scores says of certainty, how far reading is said to come, and what is judged."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.options import DEFAULT_STORE
from backcast.engine.interfaces.score_report import rows
from backcast.engine.interfaces.score_verdict import command_of, looks, looks_json, verdicts
from backcast.engine.log.importers.events import export_lines
from backcast.engine.log.open_logs import opened
from backcast.engine.models.likelihood import LikelihoodReader, LineNats
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.score import reading_profile
from backcast.engine.replay.score_jobs import StepScore
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import LEAST_UNITS, LEFT, score_summary
from tests.models import tiny
from tests.test_score import SMALL, VALIDATORS, history, planned, step

Run = Callable[..., tuple[str, str, int]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return out, err, int(end.value.code or 0)

    return called


def scores(*shifts: float, runs: int = 0) -> list[StepScore]:
    """Steps of ten tokens each, by so much less likely under the second policy."""
    return [
        step(f"unit {number % runs if runs else number}", (True,), (LineNats(10, 20.0),),
             (LineNats(10, 20.0 + 10 * shift),))
        for number, shift in enumerate(shifts)
    ]  # fmt: skip


def verdict(*shifts: float, runs: int = 0) -> str:
    [found] = verdicts(score_summary(scores(*shifts, runs=runs), ["old", "new"]))
    return found


def test_a_policy_is_called_likelier_only_where_that_is_certain() -> None:
    worse = verdict(*[0.2] * 6)
    assert worse == (
        "old makes the new lines likelier than new, by 0.200 nats per token: certain at 95 % on 6"
        " steps; likelier on 6, less likely on 0; the largest step is 17 % of it, the median 0.200"
    )
    assert verdict(*[-0.3] * 8).startswith("new makes the new lines likelier than old, by 0.300")
    unsure = verdict(*[0.2, -0.2] * 3)
    assert "is likelier is not certain on 6 steps; about " in unsure
    assert unsure.endswith("; old is likelier on 3, less likely on 3")


def test_a_difference_that_one_step_makes_is_not_called_certain() -> None:
    """As 53 steps of a real history had it, of which one made 59 %."""
    tail = [1.0, 0.4, 0.3, 0.2, 0.15, 0.1, *[0.01] * 20]
    assert ": certain at 95 % on 39 steps" in verdict(*tail, *[-0.001] * 13)
    one = verdict(6.0, *tail, *[-0.001] * 13)
    assert one.startswith("which of new and old is likelier is not certain on 40 steps: old is")
    assert re.search(r"ahead by 0\.\d+, but without one step by 0\.060 \(95 % \+0\.0", one), one
    assert one.endswith("; old is likelier on 27, less likely on 13; the largest step is 72 % of it"
                        ", the median 0.010")  # fmt: skip
    through = verdict(*[-0.05] * 6, 0.04, 0.04)
    assert "certain at" not in through


@given(
    shifts=st.lists(st.floats(-3, 3).map(lambda shift: round(shift, 3)), min_size=6, max_size=20),
    most=st.floats(0.0, 50.0),
)
@settings(max_examples=60, deadline=None)
def test_what_is_certain_stays_so_without_any_step(shifts: list[float], most: float) -> None:
    steps = [most, *shifts]
    whole = score_summary(scores(*steps), ["old", "new"])[1].beside
    assert whole is not None
    if whole.certain:
        for number in range(len(steps)):
            less = score_summary(scores(*steps[:number], *steps[number + 1 :]), ["old", "new"])
            beside = less[1].beside
            assert beside is not None
            assert beside.per_token * whole.per_token > 0
            assert abs(beside.per_token) >= LEFT * abs(whole.per_token) - 1e-9


def test_the_steps_that_matter_most_are_named_with_what_to_type() -> None:
    summary = score_summary(scores(0.1, -0.5, 0.3, 0.0, 0.2, 0.05), ["old", "new"])
    assert summary[1].beside is not None
    assert [share.nats for share in summary[1].beside.most] == [-5.0, 3.0, 2.0]
    first, *_ = looks(summary[1].beside, "old", "my policies/new.toml")
    assert first == (
        "  -5.00 nats on t@1 unit 1: backcast diff 'log#t@1' --policy old --policy 'my"
        " policies/new.toml'"
    )
    at_home = summary[1].beside.most[0]._replace(log=DEFAULT_STORE, target="function:a.py::f")
    assert command_of(at_home, "old", "new") == "backcast diff t@1 --policy old --policy new"
    assert [look["command"] for look in looks_json(summary, ["old", "new"])] == [
        command_of(share, "old", "new") for share in summary[1].beside.most
    ]


def test_fewer_steps_than_could_be_certain_have_no_interval_and_that_is_said() -> None:
    few = scores(*[0.2] * (LEAST_UNITS - 1))
    summary = score_summary(few, ["old", "new"])
    assert summary[1].beside is not None
    assert summary[1].beside.interval is None
    cells = {row[0].strip(): row[1:] for row in rows(summary, len(few))}
    assert cells["to old"] == ("", "+0.200 (no interval: 5 steps)")
    assert verdict(*[0.2] * 5) == (
        "which of new and old is likelier is not certain on 5 steps: an interval needs 6 steps at"
        " least"
    )
    assert "on 9 steps of 3 runs: an interval needs 6 runs at least" in verdict(*[0.2] * 9, runs=3)


def test_more_steps_are_named_where_they_might_tell() -> None:
    small, large = (verdict(*[by, -by] * 6) for by in (0.2, 0.4))
    steps = [
        int(re.findall(r"about ([\d,]+) would", one)[0].replace(",", "")) for one in (small, large)
    ]
    assert 12 < steps[0] < steps[1]
    assert steps[1] == pytest.approx(4 * steps[0], rel=0.15)
    assert "about" not in verdict(*[0.01, -0.01] * 20), "as many as there are would do"


def test_a_command_ends_with_what_is_certain(command: Run, tmp_path: Path) -> None:
    log = tmp_path / "validators.jsonl"
    log.write_bytes(VALIDATORS.read_bytes())
    asked = ["score", log, "--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL,
             "--policy", "default", "--policy", "no-cache"]  # fmt: skip
    out, _, _ = command(*asked)
    [said] = [line for line in out.splitlines() if "is not certain on" in line]
    assert said.startswith(
        "which of no-cache and default is likelier is not certain on 4 steps of 1"
    )
    assert json.loads(command(*asked, "--json")[0])["verdicts"] == [said]


def test_what_is_heard_of_reading_sums_up_to_the_tokens_of_the_prompts(tmp_path: Path) -> None:
    model = tiny("mistral")
    reader = LikelihoodReader(model, reading_profile(model, SMALL).window, threads=1)
    plan, heard = planned(reader, VALIDATORS), list[int]()
    with opened(str(VALIDATORS)) as held:
        scoring = Scoring(plan, {str(VALIDATORS): ScoreBook(held.store, tmp_path / "scores")})
        total = sum(plan.to_read(scoring.books).values())
        scoring.run(heard.append)
    assert sum(heard) == total
    assert len(heard) > 3 * len(plan.jobs), "not by whole prompts"
    assert min(heard) >= 0


def test_the_prompt_of_a_change_is_built_as_it_was_judged(command: Run, tmp_path: Path) -> None:
    task, path = history(), tmp_path / "history.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    model = tiny("mistral")
    out, _, code = command("influence", path, "--model", f"llama:{model}", "--context-tokens", 200)
    assert code == 0
    place = out.split(":")[0].split()[0]
    sizes = ["--context-tokens", 200, "--tokenizer", f"gguf:{model}"]
    shown, _, code = command("context", f"{path}#{place}", "--explain", *sizes)
    assert code == 0
    assert "as 'influence' found for this prompt" in shown
    assert "nats saved" in shown.split("score:")[0]
    other, _, _ = command("context", f"{path}#{place}", "--explain")
    assert "as 'influence' found for" in other
    assert command("context", f"{path}#{place}", "--record")[2] == 2
