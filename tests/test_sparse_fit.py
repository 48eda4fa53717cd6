"""Random halves and a sparse fit, held against leaving one out where the truth is planted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models.likelihood import LineNats
from backcast.engine.replay.influence import HALVES, MANY, influences
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.prompt_variants import PromptPart
from backcast.engine.replay.score_jobs import ScoreJob, StepScore
from backcast.engine.replay.sparse_fit import in_half, lasso, sparse_fit
from tests.models import tiny
from tests.sources import Task

ITEMS = [f"dependencies:module:m{number}.py" for number in range(60)]
ANSWER, TWIN, WRONG, LITTLE = 5, 17, 33, 48


def nats_of(held: Sequence[bool]) -> float:
    """An outcome that one of two twins makes likely, another item unlikely, most neither."""
    noise = np.random.default_rng(sum(map(int, held)) * 1000 + int(np.flatnonzero(held).sum()))
    saved = 80.0 * (held[ANSWER] or held[TWIN]) - 30.0 * held[WRONG] + 12.0 * held[LITTLE]
    return 300.0 - saved + float(noise.normal(0, 1.5))


def halves() -> list[list[bool]]:
    return [[in_half(number, name) for name in ITEMS] for number in range(HALVES)]


def test_it_finds_what_leaving_one_out_finds_and_what_that_cannot() -> None:
    drawn = halves()
    fitted = sparse_fit([[True] * 60, *drawn], list(map(nats_of, [[True] * 60, *drawn])))
    saved = [-worth.value for worth in fitted]
    alone = [nats_of([n != out for n in range(60)]) - nats_of([True] * 60) for out in range(60)]
    assert abs(alone[ANSWER]) < 8, "its twin stands in for it"
    assert abs(alone[TWIN]) < 8
    assert saved[ANSWER] > 15, "in halves one is often without the other"
    assert saved[TWIN] > 15
    assert saved[WRONG] == pytest.approx(alone[WRONG], abs=10)
    order = sorted(range(60), key=lambda n: -abs(saved[n]))
    assert set(order[:3]) == {ANSWER, TWIN, WRONG}
    assert fitted[WRONG].interval[0] >= 0
    assert fitted[WRONG].interval[1] > 20
    assert fitted[ANSWER].interval[1] < 0
    noise = [n for n in range(60) if n not in (ANSWER, TWIN, WRONG, LITTLE)]
    assert float(np.mean([abs(saved[n]) for n in noise])) < 2


def test_halves_are_the_same_always_and_no_item_changes_anothers() -> None:
    drawn = halves()
    assert drawn == halves()
    for number in range(HALVES):
        fewer = [in_half(number, name) for name in ITEMS[::2]]
        assert fewer == drawn[number][::2]
        assert 15 < sum(drawn[number]) < 45
    shares = np.array(drawn, float).mean(axis=0)
    assert 0.1 < float(shares.min()) < float(shares.max()) < 0.9
    between = np.corrcoef(np.array(drawn, float).T)[np.triu_indices(60, 1)]
    assert abs(float(between.mean())) < 0.03


def test_without_a_penalty_it_is_least_squares_and_with_a_great_one_nothing() -> None:
    random = np.random.default_rng(2)
    things, weights = random.integers(0, 2, (50, 6)).astype(float), np.array([3.0, 0, -2, 0, 1, 0])
    values = things @ weights + 7
    np.testing.assert_allclose(lasso(things, values, 0.0), weights, atol=1e-2)
    assert not lasso(things, values, 99.0).any()
    same = sparse_fit([[True, False]] * 9, [1.0] * 9)
    assert [worth.value for worth in same] == [0.0, 0.0]


def test_influences_of_halves_stand_behind_sections_with_harm_first() -> None:
    items = [PromptPart("item", name, "dependencies", "full", 9) for name in ITEMS]
    section = PromptPart("section", "dependencies", "dependencies", "", 540)
    drawn = halves()
    nats = [nats_of([True] * 60), nats_of([False] * 60), *map(nats_of, drawn)]
    job = ScoreJob("log", "t", 1, "", "", "", KnownOutcome("", "x", (True,)), (), ())
    step = StepScore(job, tuple((LineNats(9, value),) for value in nats))
    first, second, *_, last = influences(step, [section], items, drawn)
    assert first.part.kind == "section"
    assert first.nats == pytest.approx(nats[1] - nats[0])
    assert second.part.name == ITEMS[WRONG]
    assert second.nats < 0
    assert last.part.name in (ITEMS[ANSWER], ITEMS[TWIN])
    assert last.interval is not None
    assert 0 < last.interval[0] < last.interval[1]


Run = Callable[..., tuple[str, str, int]]


@pytest.fixture
def influence(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main(["influence", *map(str, arguments), "--model", f"llama:{tiny('mistral')}"])
        out, err = capsys.readouterr()
        return out, err, int(end.value.code or 0)

    return command


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A log whose last prompt shows more than `MANY` items."""
    task = Task("wide")
    names = [f"part{number}" for number in range(MANY + 6)]
    for name in names:
        task.wrote(
            f"{name}.py", f"def {name}(value: int) -> int:\n    return value + {len(name)}\n"
        )
    task.outlined()
    uses = "".join(f"from {name} import {name}\n" for name in names)
    body = " + ".join(f"{name}(1)" for name in names)
    task.wrote("whole.py", f"{uses}\n\ndef whole() -> int:\n    return {body}\n")
    task.outlined()
    path = tmp_path / "wide.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    return path


def test_many_items_are_read_in_halves_unless_another_way_is_asked_for(
    influence: Run, wide: Path
) -> None:
    out, err, code = influence(wide, "--halves", 8, "--json")
    report = json.loads(out)
    items = [found for found in report["influences"] if found["part"]["kind"] == "item"]
    assert (code, report["halves"], report["not_read"]) == (0, 8, 0)
    assert len(items) > MANY
    assert f"note: {len(items)} items by a sparse linear fit to 8 random halves" in err
    _, err, _ = influence(wide)
    assert "to 32 random halves of them" in err
    out, err, _ = influence(wide, "--most", 1)
    assert "sparse" not in err
    assert f"note: {len(items) - 1} smaller items were not left out one by one" in err
    _, err, code = influence(wide, "--halves", 3)
    assert (code, err.count("\n")) == (2, 1)
    assert "needed 8 halves or more for a fit, found 3" in err
