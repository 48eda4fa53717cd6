"""Names that the project defines are told apart from the rest of what was written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.score_events import Scored
from backcast.engine.interfaces.cli import main
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models.likelihood import LikelihoodReader, LineNats, ReadText
from backcast.engine.replay.changes import requests
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of
from backcast.engine.replay.project_names import ProjectNames, named
from backcast.engine.replay.score_jobs import ScoreJob, StepScore
from backcast.engine.replay.score_summary import score_summary
from tests.models import tiny
from tests.sources import Task

SHOP = """\
RATE = 3


class Cart:
    def __init__(self):
        self.subtotal = 0

    def add(self, price):
        self.subtotal += price


def rounded(value):
    return value
"""
NEW = '''\
from shop import RATE, Cart, rounded


def receipt(cart: Cart) -> str:
    """Says what a Cart costs, rounded."""
    # RATE is what we add
    é = "subtotal"
    total = rounded(cart.subtotal * RATE)
    cart.__init__()
    return f"{len(é)}{total}"
'''


@pytest.fixture
def task() -> Task:
    task = Task("shop")
    task.wrote("shop.py", SHOP)
    task.outlined()
    task.wrote("receipts.py", NEW)
    task.outlined()
    return task


def names_in(task: Task) -> list[str]:
    *_, step = requests(task.store, task.id)
    outcome = outcome_of(step, task.store.get)
    assert outcome is not None
    body = outcome.text.encode()
    return [body[begin:end].decode() for begin, end in ProjectNames().spans(step, outcome)]


def test_names_are_those_of_outlines_and_not_of_prose_the_language_or_the_header(
    task: Task,
) -> None:
    assert names_in(task) == ["subtotal", "RATE"], "the docstring in the header says rounded"


def test_what_nobody_had_defined_before_is_no_name() -> None:
    task = Task("alone")
    task.wrote("receipts.py", NEW)
    task.outlined()
    assert names_in(task) == []


def test_a_text_that_is_no_code_has_its_words(task: Task) -> None:
    *_, step = requests(task.store, task.id)
    outcome = KnownOutcome("", "(rounded]\n  Cart 'subtotal", (True, True))
    spans = ProjectNames().spans(step, outcome)
    assert [outcome.text[begin:end] for begin, end in spans] == ["rounded", "Cart", "subtotal"]


def test_a_token_counts_where_it_holds_a_part_of_a_name() -> None:
    pieces = (b"\n  sub", b"total", b" *", b" RATE\n", b"x")
    found = ReadText(pieces, (1.0, 2.0, 4.0, 8.0, 16.0), 1)
    text = "  subtotal * RATE\nx"
    assert named(found, text, ((2, 10), (13, 17))) == (LineNats(3, 11.0), LineNats(0, 0.0))


def step(unit: str, nats: float, names: tuple[LineNats, ...] | None) -> StepScore:
    outcome = KnownOutcome("", "a\nb", (True, False))
    job = ScoreJob("log", "t", 1, unit, unit, "", outcome, (), (9, 9))
    lines = (LineNats(4, nats), LineNats(2, 1.0))
    return StepScore(job, (lines, lines), (names, names))


def test_means_are_over_the_new_lines_of_steps_that_know_their_names() -> None:
    known = (LineNats(1, 3.0), LineNats(1, 50.0))
    steps = [step("a", 8.0, known), step("b", 6.0, None), step("c", 4.0, known)]
    first, other = score_summary(steps, ["one", "two"])
    assert first.names_known == 2
    assert first.names is not None
    assert first.rest is not None
    assert (first.names.tokens, first.names.nats) == (2, 6.0)
    assert (first.rest.tokens, first.rest.nats) == (6, 6.0)
    assert first.names_beside is None
    assert other.names_beside is not None
    assert other.names_beside.per_token == 0
    assert score_summary(steps[1:2], ["one", "two"])[0].names is None


def test_a_fact_of_before_is_read_and_knows_no_names() -> None:
    fact = Scored.model_validate({"line_tokens": [1, 2], "line_nats": [0.5, 1.5]})
    assert (fact.name_tokens, fact.name_nats) == ((), ())
    assert fact.data == {"line_tokens": [1, 2], "line_nats": [0.5, 1.5]}


@pytest.fixture
def score(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def command(*arguments: object) -> tuple[str, str]:
        with pytest.raises(SystemExit) as end:
            main(["score", *map(str, arguments)])
        assert end.value.code == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    return command


def test_names_are_kept_with_scores_and_told_apart(
    task: Task, score: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    path, kept = tmp_path / "shop.jsonl", tmp_path / "shop.jsonl.scores"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    arguments = [path, "--model", f"llama:{tiny('mistral')}", "--context-tokens", 300]
    out, _ = score(*arguments)
    assert "names of the project, nats per token" in out
    report = json.loads(score(*arguments, "--json")[0])
    [policy] = report["policies"]
    assert policy["names"]["tokens"] + policy["rest"]["tokens"] == policy["new"]["tokens"]
    assert policy["names"]["nats"] + policy["rest"]["nats"] == pytest.approx(
        policy["new"]["nats"], abs=1e-4
    )
    # The tokens of names, found by reading the body again.
    [found] = [one for one in report["steps"] if one["target"].endswith("receipt")]
    reader = LikelihoodReader(tiny("mistral"), 512, threads=1)
    body = NEW.partition('rounded."""\n')[2].rstrip()
    prompt = reader.prompt((("user", "x"),), "y\n")
    begins = [body.encode().index(name) for name in (b"subtotal *", b"RATE)")]
    spans = (begins[0], begins[0] + 8), (begins[1], begins[1] + 4)
    tokens = sum(line.tokens for line in named(reader.read(prompt, body), body, spans))
    assert found["policies"][0]["names"]["tokens"] == tokens > 1
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    for line in lines:
        data: dict[str, Any] = line["data"]
        assert len(data["name_tokens"]) == len(data["name_nats"]) == len(data["line_nats"])
        del data["name_tokens"], data["name_nats"]
    kept.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    out, err = score(*arguments)
    assert "0 differ and were never read" in err
    assert f"note: {len(lines)} steps were scored before names were told apart" in err
    assert "names of the project" not in out
