"""The trial of maps with a model runs from questions to its table, with a real one and a double."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import (
    MessageReceived,
    ModelReplied,
    TaskComplete,
    ToolReturned,
)
from backcast.domain.memory_events import MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.log import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import UpperBound
from scripts.benches.__main__ import main
from scripts.benches.trial import Setting, against, figures_of, tried
from scripts.benches.trial_arms import ARMS
from scripts.benches.trial_run import STEPS
from scripts.benches.trial_world import Question, World, questions_about, questions_in
from tests.models import tiny
from tests.test_mapping import shop

ROOT = Path(__file__).parents[1]
WHERE = Question("In which file is normalise defined? Answer its path.", ("utils.py",))
WHO = Question("Which functions call normalise of utils.py? Answer their names.",
               ("Cart.add", "validate_email"))  # fmt: skip


class Looks:
    """Looks once at what the question is about, and answers what its notes name; keeps notes."""

    id = "looks"

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        told = messages[1].content
        return Completion(json.dumps(self.said(call, told)), prompt_tokens=100, tokens=10)

    def said(self, call: Call, told: str) -> object:
        if call.kind == "distil":
            return {"diagnosis": "", "tags": {}, "candidates": []}
        if call.kind == "draw":
            return {"reasoning": "", "edits": []}
        if call.module == "Reflection":
            return {"insight": "Look in utils.py.", "helpful": [], "harmful": []}
        if call.module == "Additions":
            return {"bullets": ["normalise: utils.py"]}
        notes, _, rest = told.partition("# Question")
        if "utils.py" in notes and "normalise" in notes:
            return {"do": "answer", "what": "", "answer": ["utils.py"]}
        if "# Seen so far" in rest:
            return {"do": "answer", "what": "", "answer": ["nothing"]}
        return {"do": "show", "what": "utils.py::normalise", "answer": []}


@pytest.fixture
def world() -> World:
    return World(shop().store, "shop", UpperBound().count)


def test_questions_are_made_of_what_the_graph_knows(world: World, tmp_path: Path) -> None:
    made = questions_about(world, 100, 0)
    assert WHERE in made
    assert WHO in made
    assert questions_about(world, 3, 0) == questions_about(world, 3, 0)
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": WHERE.text, "answers": list(WHERE.answers)}))
    assert questions_in(path) == [WHERE]
    for odd in (
        "{}", "no", "[]", '{"question": "", "answers": ["a"]}', '{"question": "a", "answers": []}',
        '{"question": "a", "answers": "b"}', '{"question": 3, "answers": ["b"]}',
        '{"question": "\\ud800", "answers": ["b"]}', "[" * 100_000,
    ):  # fmt: skip
        path.write_text(f"\n{odd}\n")
        with pytest.raises(InputError, match="line 2: needed an object with question, a text"):
            questions_in(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="needed questions in UTF-8"):
        questions_in(path)


@pytest.mark.parametrize(
    ("arguments", "why", "code"),
    [
        (["--seeds", "0"], "needed 1 or more, found '0'", 2),
        (["--make", "-1"], "needed 1 or more, found '-1'", 2),
        (["--tokens", "5"], "needed 100 or more, found '5'", 2),
        (["--task", "none"], "bench: no task 'none'", 1),
        (["--out", "."], "needed an empty folder for the logs", 1),
        (["--json", "no/such.json"], "needed a folder that is there", 1),
        (["--model", "gpt"], "needed --model answers:FILE", 1),
    ],
)
def test_a_trial_that_cannot_be_is_refused_before_anybody_is_asked(
    arguments: list[str], why: str, code: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(store) as opened:
        shop(store=opened)
    (tmp_path / "answers.jsonl").write_text("")
    given = ["--store", store, "--task", "shop", "--model", f"answers:{tmp_path}/answers.jsonl"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["trial", *given, "--tokenizer", "upper-bound", *arguments])
    told = capsys.readouterr().err + str(end.value.code)
    assert why in told
    assert (end.value.code if isinstance(end.value.code, int) else 1) == code


def test_what_is_looked_at_is_shown_or_said_not_to_be_there(world: World) -> None:
    text, nodes = world.show("function:utils.py::normalise")
    assert text.startswith("def normalise(text: str) -> str:")
    assert nodes == ("function:utils.py::normalise",)
    assert world.show("utils.py")[1] == ("module:utils.py",)
    for odd in ("", "../secret", "utils.py::nothing", "::", ":", "a" * 10_000):
        assert world.show(odd) == ("There is no such thing.", ())
    assert "function:utils.py::normalise" in world.find("normalise text")[0]
    assert world.find("  ") == ("Nothing: needed words.", ())


def test_arms_are_compared_on_the_same_questions_with_what_keeping_costs(world: World) -> None:
    count = UpperBound().count
    setting = Setting(world, Looks(), count, 1_200, 9_000, MapSettings(others=0.5))
    results = {one.name: one for one in tried(setting, [WHERE, WHO], list(ARMS), 2, 3)}
    assert {len(one.outcomes) for one in results.values()} == {4}
    assert len({tuple(one.outcomes) for one in results.values()}) == 1
    bare, mapped = results["no map"], results["map, by rules"]
    assert bare.summary["score"] == 0
    assert (bare.summary["steps"], bare.kept.tokens, bare.tokens) == (2, 0, 220)
    assert mapped.summary["steps"] == 1
    assert mapped.summary["score"] == 0.5
    assert (mapped.kept.tokens, mapped.tokens) == (0, 110)
    assert results["map, by model"].kept.tokens == 4 * 110
    assert results["playbook"].kept.tokens == 4 * 220
    assert results["retrieval"].summary["steps"] == 1
    assert results["shared history"].summary["steps"] == 1.5
    assert results["playbook"].summary["steps"] == 1.5
    mean, low, high = against(mapped, bare)
    assert low <= mean == 0.5 <= high
    rows = figures_of(list(results.values()), "it")
    assert [row.details and row.details["arm"] for row in rows] == list(ARMS)


def test_the_trial_runs_end_to_end_with_a_real_model(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(store) as opened:
        shop(store=opened)
    out, told = tmp_path / "logs", tmp_path / "told.json"
    command = [sys.executable, "-m", "scripts.benches", "trial", "--store", store, "--task", "shop"]
    command += ["--model", f"llama:{tiny('mistral')}", "--tokenizer", "mistral-v3", "--make", "1"]
    command += ["--seeds", "1", "--out", str(out), "--json", str(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    figures = json.loads(told.read_text())["figures"]
    rows = {row["details"]["arm"]: row["details"] for row in figures}
    assert list(rows) == list(ARMS)
    assert all(name in done.stdout for name in ARMS)
    for row in rows.values():
        assert 1 <= row["steps"] <= STEPS
        assert row["tokens"] > 0
    assert rows["map, by model"]["kept"] > 0
    assert rows["no map"]["kept"] == rows["map, by rules"]["kept"] == 0
    with EventStore.open(f"sqlite:///{out}/map--by-model-0.db", create=False) as log:
        facts = [event.fact for event in log.read()]
    edits = [one for one in facts if isinstance(one, MapEdited)]
    assert [one.role for one in edits[-1].answers][:1] == ["distil"]
    assert any(isinstance(one, ModelReplied) for one in facts)
    replies = [one for one in facts if isinstance(one, ModelReplied)]
    assert all(one.prompt_tokens and one.tokens for one in replies)
    shown = [one for one in facts if isinstance(one, MessageReceived)]
    assert len(shown) == 2 * len(replies)
    [ended] = [one for one in facts if isinstance(one, TaskComplete)]
    assert ended.model_dump()["score"] == rows["map, by model"]["score"]
    looks = sum(isinstance(one, ToolReturned) for one in facts)
    assert looks == rows["map, by model"]["steps"] - 1
