"""Scores within a time: what was built was read, and the rest is counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.score_report import as_json, remarks
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.kept_scores import score_books
from backcast.engine.replay.score_bounded import BoundedPlan, BoundedScoring
from backcast.engine.replay.score_jobs import draw

TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"
STEPS = 11
READING = Reading("copy")


@pytest.fixture
def log() -> Iterator[Log]:
    with opened(str(TILL)) as found:
        yield found


@pytest.fixture
def plan() -> BoundedPlan:
    """A plan of an hour."""
    return BoundedPlan(READING.plan(READING.reader(), [Setting("recorded", None)]), 3600.0)


def scored(capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, Any]:
    policies = ("--policy", "recorded", "--policy", "no-cache")
    with pytest.raises(SystemExit) as end:
        main(["score", str(TILL), "--model", "copy", *policies, "--json", *map(str, options)])
    assert not end.value.code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_scored_in_a_time_has_the_figures_that_it_has_without(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = scored(capsys, "--scores", tmp_path / "a.scores")
    bounded = scored(capsys, "--scores", tmp_path / "b.scores", "--seconds", 600)

    def by_version(found: dict[str, Any]) -> dict[int, Any]:
        return {step["version"]: step for step in found["steps"]}

    assert by_version(bounded) == by_version(whole)
    figures = [(policy["new"]["nats"], policy["new"]["tokens"]) for policy in whole["policies"]]
    for policy, (nats, tokens) in zip(bounded["policies"], figures, strict=True):
        assert policy["new"] == pytest.approx(policy["new"] | {"nats": nats, "tokens": tokens})
    assert (len(bounded["steps"]), bounded["not_reached"]) == (STEPS, 0)


def test_when_the_time_is_up_no_more_is_built_and_the_rest_is_counted(
    log: Log, plan: BoundedPlan, tmp_path: Path
) -> None:
    plan.add([log])
    scoring = BoundedScoring(plan, score_books([log], tmp_path / "s.scores"))

    def late(tokens: int) -> None:
        plan.begun -= len(plan.jobs) == 3 and 3600.0
        scoring.until = plan.until

    scoring.run(late)
    assert (len(plan.jobs), scoring.not_reached) == (3, STEPS - len(scoring.steps))
    first = sorted(plan.jobs + [found.step for found in plan.to_build], key=draw)[:3]
    assert first == plan.jobs
    assert f"note: {scoring.not_reached} steps were not reached: the same" in "".join(
        remarks(scoring)
    )


def test_a_sample_in_a_time_leaves_out_as_many_as_without_one(
    log: Log, plan: BoundedPlan, tmp_path: Path
) -> None:
    plan.add([log], 3)
    scoring = BoundedScoring(plan, score_books([log], tmp_path / "s.scores"))
    assert (scoring.not_reached, plan.not_sampled) == (3, STEPS - 3)
    scoring.run()
    assert (len(scoring.steps), scoring.not_reached, plan.not_sampled) == (3, 0, STEPS - 3)
    eager = READING.plan(plan.reader, plan.settings)
    eager.add([log], 3)
    assert {job.place for job in eager.jobs} == {step.job.place for step in scoring.steps}


def test_a_log_that_takes_half_of_the_time_is_not_looked_through(
    log: Log, plan: BoundedPlan, tmp_path: Path
) -> None:
    plan.begun -= 1801.0
    plan.add([log])
    scoring = BoundedScoring(plan, score_books([log], tmp_path / "s.scores"))
    scoring.run()
    assert len(scoring.steps) == 1
    assert as_json(scoring, [], [])["looked_at_all"] is False
    assert "half of the time went by" in "".join(remarks(scoring))
