"""What an item of a prompt was worth: held against what was planted in it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.context import Context, Item
from backcast.engine.context.builder import TASK
from backcast.engine.interfaces.cli import main
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models.likelihood import LikelihoodReader, LineNats, ReadText
from backcast.engine.replay.influence import influences
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.prompt_variants import parts_of
from backcast.engine.replay.score_jobs import ScoreJob, StepScore
from tests.models import smollm2, tiny
from tests.sources import Task

LOGS = Path(__file__).parents[1] / "fixtures/logs"
Run = Callable[..., tuple[str, str, int]]


@pytest.fixture
def influence(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main(["influence", *map(str, arguments)])
        out, err = capsys.readouterr()
        return out, err, int(end.value.code or 0)

    return command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "validators.jsonl"
    path.write_bytes((LOGS / "validators.jsonl").read_bytes())
    return path


BODY = """\
    kelvin = reading * GAIN + OFFSET
    if kelvin < LOWEST:
        raise ValueError("colder than can be")
    return round(kelvin - 273.15, 1)
"""


WRONG = BODY.replace("*", "/").replace("+", "-").replace("<", ">").replace("colder", "hotter")


def planted(path: Path, *bodies: str) -> None:
    """A log whose last change writes `BODY`, after functions like it that got other ones."""
    task = Task("planted")
    task.wrote("settings.py", "GAIN = 0.25\nOFFSET = 200.0\nLOWEST = 150.0\n")
    imports = "from settings import GAIN, LOWEST, OFFSET\n\n\n"
    for number, body in enumerate(bodies, 1):
        head = f"def inner{number}_celsius(reading: float) -> float:"
        task.wrote(f"inner{number}.py", f"{imports}{head}\n{body}")
    task.wrote(
        "names.py",
        "def initials(name: str) -> str:\n"
        '    return "".join(part[0].upper() for part in name.split())\n',
    )
    task.outlined()
    task.wrote("outer.py", f"{imports}def outer_celsius(reading: float) -> float:\n{BODY}")
    task.outlined()
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))


def worth_of(influence: Run, path: Path, *bodies: str) -> tuple[dict[str, Any], float]:
    """What each item of the last prompt was worth, by path, in nats per token."""
    planted(path, *bodies)
    options = ["--model", f"llama:{smollm2()}", "--context-tokens", 400, "--json"]
    options += ["--policy", "coverage"]  # under which nothing is shown of the target's own module
    report = json.loads(influence(path, *options)[0])
    items = [found for found in report["influences"] if found["part"]["kind"] == "item"]
    return {found["part"]["name"]: found for found in items}, report["new"]["tokens"]


def test_an_item_that_holds_the_answer_is_worth_most_and_noise_nothing(
    influence: Run, tmp_path: Path
) -> None:
    worth, tokens = worth_of(influence, tmp_path / "planted.jsonl", BODY)
    [answer] = [name for name in worth if "inner1.py" in name]
    [noise] = [name for name in worth if "names.py" in name]
    assert worth[answer]["nats"] / tokens > 0.5
    assert worth[answer]["interval"] is None, "four new lines are too few for one"
    assert max(worth.values(), key=lambda found: found["nats"]) == worth[answer]
    assert abs(worth[noise]["nats"]) / tokens < 0.1


def test_an_item_that_contradicts_the_answer_does_harm(influence: Run, tmp_path: Path) -> None:
    worth, _ = worth_of(influence, tmp_path / "planted.jsonl", BODY, WRONG)
    [answer] = [name for name in worth if "inner1.py" in name]
    [wrong] = [name for name in worth if "inner2.py" in name]
    assert worth[wrong]["nats"] < 0 < worth[answer]["nats"]
    assert next(iter(worth)) == wrong, "harm stands first"


def item(node: str, section: str, tokens: int) -> Item:
    return Item(node, section, "HIGH", "full", node, tokens, 0.0, ())


def test_sections_and_the_largest_items_are_the_parts() -> None:
    items = (
        item("module:a.py", "dependencies", 30), item("module:b.py", "dependencies", 50),
        item("test:t.py::t", "test results", 40), item("task:t", TASK, 99),
    )  # fmt: skip
    context = Context((), "", items, (), 0, 0, 0, (), "")
    parts, more = parts_of(context, 2)
    assert [(part.kind, part.name, part.tokens) for part in parts] == [
        ("section", "dependencies", 80), ("section", "test results", 40),
        ("item", "module:b.py", 50), ("item", "test:t.py::t", 40),
    ]  # fmt: skip
    assert more == 1


def test_what_a_part_saves_is_summed_over_new_lines_and_harm_stands_first() -> None:
    items = (item("module:a.py", "dependencies", 30), item("module:b.py", "dependencies", 50))
    parts, _ = parts_of(Context((), "", items, (), 0, 0, 0, (), ""), 9)
    outcome = KnownOutcome("", "x\ny\nz", (True, False, True))
    job = ScoreJob("log", "t", 1, "", "", "", outcome, (), ())
    whole = (LineNats(1, 2.0), LineNats(1, 2.0), LineNats(1, 2.0))
    dearer = (LineNats(1, 5.0), LineNats(1, 0.0), LineNats(1, 3.0))
    cheaper = (LineNats(1, 1.5), LineNats(1, 9.0), LineNats(1, 1.0))
    found = influences(StepScore(job, (whole, whole, dearer, cheaper)), parts)
    assert [(one.part.name, one.nats) for one in found] == [
        ("dependencies", 0.0), ("module:a.py", -1.5), ("module:b.py", 4.0),
    ]  # fmt: skip
    assert [one.interval for one in found] == [None, None, None], "two lines are too few for one"
    lines = tuple(
        tuple(LineNats(1, nats) for nats in nats_of)
        for nats_of in ([2] * 6, [3, 2.5] * 3, [1, 3] * 3)
    )
    many = job._replace(outcome=KnownOutcome("", "x\n" * 5 + "x", (True,) * 6))
    found = influences(StepScore(many, lines), parts[:2])
    assert [(one.nats, one.certain) for one in found] == [(4.5, True), (0.0, False)]


def test_it_is_told_as_a_table_and_read_once(influence: Run, log: Path) -> None:
    arguments = [f"{log}@27", "--model", f"llama:{tiny('mistral')}", "--context-tokens", 300]
    out, err, code = influence(*arguments)
    assert code == 0
    assert "1 steps:" in err
    assert out.startswith("validators@27 code validators.py #2: ")
    assert "the whole section" not in out, "each has one item, whose row says it"
    assert "nothing is certain: an interval needs 6 new lines at least" in out
    assert out.index("nothing is certain") < out.index("nats saved")
    assert f"backcast blame {log}#validators@27 " in out
    assert "it is not what a model would have answered" in out
    again, err, code = influence(*arguments)
    assert (again, code) == (out, 0)
    assert "0 differ and were never read" in err
    few, err, _ = influence(*arguments, "--most", 1)
    assert "smaller items were not left out one by one" in err
    assert few.count("module:") < out.count("module:")


@pytest.mark.parametrize(
    ("when", "needed"),
    [
        ("8", "validators@8 plan: needed a step whose outcome is known, found none"),
        ("1", "needed the event of a prompt, found"),
    ],
)
def test_a_step_without_an_outcome_is_told(
    influence: Run, log: Path, when: str, needed: str
) -> None:
    out, err, code = influence(f"{log}@{when}", "--model", f"llama:{tiny('mistral')}")
    assert (out, code) == ("", 2)
    assert needed in err
    assert err.count("\n") == 1


def test_an_interrupt_keeps_what_was_read(
    influence: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = LikelihoodReader.read, iter(range(100))

    def interrupted(*arguments: Any) -> ReadText:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(LikelihoodReader, "read", interrupted)
    arguments = [f"{log}@27", "--model", f"llama:{tiny('mistral')}", "--context-tokens", 300]
    out, err, code = influence(*arguments)
    assert (out, code) == ("", 130)
    assert "run it again to go on" in err
    assert len(log.with_name(f"{log.name}.scores").read_text().splitlines()) == 2


# What is known of a prompt


@pytest.fixture
def explained(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def command(*arguments: object) -> str:
        with pytest.raises(SystemExit):
            main(["context", *map(str, arguments), "--explain"])
        return capsys.readouterr().out

    return command


def test_a_prompt_is_explained_with_what_influence_has_found_of_it(
    influence: Run, explained: Callable[..., str], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explained(f"{log}@27")
    assert "nats saved" not in before
    model = f"llama:{tiny('mistral')}"
    found = json.loads(influence(f"{log}@27", "--model", model, "--json")[0])["influences"]
    monkeypatch.setattr(LikelihoodReader, "__init__", None)  # nothing is read for it
    after = explained(f"{log}@27")
    for worth in found:
        part = worth["part"]
        if part["kind"] == "item":
            [line] = [
                line for line in after.splitlines()
                if line.startswith(part["section"]) and part["name"] in line.split()
            ]  # fmt: skip
            assert line.endswith(f" {worth['nats']:+.2f} (not certain)")
        else:
            assert f"{part['name']} {worth['nats']:+.2f} (not certain)" in after
    assert "as 'influence' found for this prompt, under tiny-mistral.gguf" in after
    assert "nats saved" not in explained(f"{log}@33")
    assert [
        re.sub(r" +[-+][\d.]+ \(not certain\)$", "", line)
        for line in after.splitlines() if "failure:24." in line
    ] == [line.rstrip() for line in before.splitlines() if "failure:24." in line]  # fmt: skip


def test_what_was_found_of_another_prompt_of_the_step_is_told_apart(
    influence: Run, explained: Callable[..., str], log: Path
) -> None:
    influence(f"{log}@27", "--model", f"llama:{tiny('mistral')}", "--context-tokens", 300)
    shown = explained(f"{log}@27")
    assert "as 'influence' found for another prompt of this step (recorded)" in shown
    assert "nats saved\n" not in "\n".join(line.rstrip() for line in shown.splitlines()[:3])


def test_parts_are_known_by_facts_that_name_what_was_left_out(influence: Run, log: Path) -> None:
    influence(f"{log}@27", "--model", f"llama:{tiny('mistral')}", "--context-tokens", 300)
    lines = log.with_name(f"{log.name}.scores").read_text().splitlines()
    whole, *parts = [json.loads(line)["data"] for line in lines]
    assert "without" not in whole
    assert {part["whole"] for part in parts} == {whole["prompt"]}
    assert len({part["shown"] for part in parts}) == 1
    sections = {part["without"] for part in parts if part["within"] is None}
    assert {"current module", "dependencies", "recent errors", "test results"} == sections
    assert {part["within"] for part in parts} <= {None, *sections}


def test_an_instruction_that_holds_the_answer_is_worth_most_and_noise_nothing(
    influence: Run, tmp_path: Path
) -> None:
    planted(tmp_path / "planted.jsonl")
    answer = "Write the body as kelvin = reading * GAIN + OFFSET, if kelvin < LOWEST raise "
    answer += 'ValueError("colder than can be"), return round(kelvin - 273.15, 1).'
    policy = tmp_path / "told.toml"
    system = f"You write Python. {answer} Tea is hot."
    policy.write_text(f"name = 'told'\nbase = 'coverage'\nsystem = '''{system}'''\n")
    options = ["--model", f"llama:{smollm2()}", "--context-tokens", 100, "--most", 0, "--texts"]
    options += ["--policy", policy]
    report = json.loads(influence(tmp_path / "planted.jsonl", *options, "--json")[0])
    tokens = report["new"]["tokens"]
    worth = {
        found["part"]["name"]: found["nats"] / tokens
        for found in report["influences"]
        if found["part"]["kind"] == "instruction"
    }
    assert max(worth, key=lambda name: worth[name]) == f"system: {answer}"
    assert worth[f"system: {answer}"] > 0.5
    assert abs(worth["system: Tea is hot."]) < 0.1
    assert "task description: # Task description" in worth
    out, _, code = influence(tmp_path / "planted.jsonl", *options)
    assert code == 0
    assert "instruction: system: Tea is hot." in out
