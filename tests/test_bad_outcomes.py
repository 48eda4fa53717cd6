"""What cannot be read is told in a line by `score` and `influence`, and all else is scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import TokenType

from backcast.domain.errors import ModelError
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.replay.kept_scores import ScoreBook
from scripts import tiny_models
from tests.models import tiny
from tests.sources import Task
from tests.test_score import fact

SHOWN = "{{ messages[0].content }}{{ messages[-1].content }}"
Run = Callable[..., tuple[str, list[str], int]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[str, list[str], int]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), "--context-tokens", "200"])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if "never read" not in line]
        return out, [line for line in lines if "more, at" not in line], int(end.value.code or 0)

    return called


def log_of(path: Path, body: str | bytes, *more: str) -> Path:
    """A log of a function that can be read, and one with a body of its own."""
    task = Task("bad")
    task.wrote("a.py", "def a(value: int) -> int:\n    return value\n")
    task.outlined()
    for number, text in enumerate((body, *more)):
        task.wrote(f"b{number}.py", text)
        task.outlined()
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    return path


HEAD = "from a import a\n\n\ndef b(value):\n"
LONG = HEAD + "".join(f"    x{number} = a({number})\n" for number in range(900))
OLD = "# coding: latin-1\n" + HEAD + "    return a('é')\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LONG, "of them what was written, found a window of"),
        (HEAD + '    """Says it."""\n', "needed a text to read, found an empty one"),
        (OLD.encode("latin-1"), "b0.py: needed UTF-8, found byte 0xe9"),
    ],
)
def test_an_outcome_that_cannot_be_read(
    run: Run, tmp_path: Path, body: str | bytes, reason: str
) -> None:
    log, model = log_of(tmp_path / "bad.jsonl", body), f"llama:{tiny('mistral')}"
    out, lines, code = run("score", log, "--model", model)
    assert (code, len(lines)) == (0, 1), "the other one is scored"
    assert lines[0].startswith("backcast: left out: bad@3 b0.py #1: ")
    assert reason in lines[0]
    assert "new lines, nats per token" in out
    out, lines, code = run("influence", log, "--model", model)
    assert (out, code, len(lines)) == ("", 2, 1)
    assert lines[0].startswith("backcast: bad@3 b0.py #1: ")
    assert reason in lines[0]


def written(path: Path, **odd: Any) -> Path:
    """A model file with something odd in it."""
    tiny("mistral")  # or a skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in odd.items():
            patch.setattr(tiny_models, name, value)
        tiny_models.write(path, "llama", tiny_models.mistral_vocabulary, SHOWN)
    return path


def test_a_vocabulary_that_cannot_spell_it(run: Run, tmp_path: Path) -> None:
    tokens = tiny_models.tokens

    def without_bytes(writer: Any, texts: Any, kinds: Any) -> None:
        changed = [TokenType.NORMAL if kind == TokenType.BYTE else kind for kind in kinds]
        tokens(writer, texts, changed)

    model = written(tmp_path / "odd.gguf", tokens=without_bytes)
    log = log_of(tmp_path / "bad.jsonl", HEAD + "    return a('\U0001f9e8')\n")
    for command, expected in (("score", 0), ("influence", 2)):
        _, lines, code = run(command, log, "--model", f"llama:{model}")
        assert (code, len(lines)) == (expected, 1)
        assert "bad@3 b0.py #1: " in lines[0]
        assert "needed a vocabulary that spells the text, found that odd.gguf" in lines[0]


def test_a_model_that_tells_no_numbers(run: Run, tmp_path: Path) -> None:
    add = tiny_models.add

    def spoiled(writer: Any, name: str, shape: tuple[int, ...]) -> None:
        if name == "output_norm":
            writer.add_tensor(f"{name}.weight", np.full(shape, np.nan, np.float32))
        else:
            add(writer, name, shape)

    model = written(tmp_path / "odd.gguf", add=spoiled)
    log = log_of(tmp_path / "bad.jsonl", HEAD + "    return a(value)\n")
    for command in ("score", "influence"):
        out, lines, code = run(command, log, "--model", f"llama:{model}")
        assert (out, code) == ("", 2)
        assert all("found NaN among its logits: is the file whole?" in line for line in lines)
        assert len(lines) == {"score": 2, "influence": 1}[command], "a line for each step"


def test_a_template_that_refuses(run: Run, tmp_path: Path) -> None:
    log = log_of(tmp_path / "bad.jsonl", HEAD + "    return a(value)\n")
    tiny("mistral")
    for name, template, needed in (
        ("at once", "{{ raise_exception('never') }}", "found one that refuses it: never"),
        ("late", SHOWN + "{% if 'Task' in messages[-1].content %}{{ raise_exception('no') }}"
         "{% endif %}", "its chat template takes no such messages: no"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.gguf"
        tiny_models.write(path, "llama", tiny_models.mistral_vocabulary, template)
        for command in ("score", "influence"):
            out, lines, code = run(command, log, "--model", f"llama:{path}")
            assert (out, code, len(lines)) == ("", 2, 1)
            assert needed in lines[0]
            assert "--template" not in lines[0], "there is no such option here"


def test_a_model_file_that_is_cut(run: Run, tmp_path: Path) -> None:
    log, cut = log_of(tmp_path / "bad.jsonl", HEAD + "    return 1\n"), tmp_path / "cut.gguf"
    body = tiny("mistral").read_bytes()
    for size in (0, 1_000, len(body) // 2):
        cut.write_bytes(body[:size])
        for command in ("score", "influence"):
            out, lines, code = run(command, log, "--model", f"llama:{cut}")
            assert (out, code, len(lines)) == ("", 2, 1)
            assert lines[0].startswith(f"backcast: {cut}: needed a ")


def test_a_fit_to_two_halves(run: Run, tmp_path: Path) -> None:
    log = log_of(tmp_path / "bad.jsonl", HEAD + "    return a(value)\n")
    out, lines, code = run("influence", log, "--model", f"llama:{tiny('mistral')}", "--halves", "2")
    assert (out, code) == ("", 2)
    assert lines == ["backcast: needed 8 halves or more for a fit, found 2"]


def test_a_server_that_goes_away_is_not_waited_for_at_each_step(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"from a import a\n\n\ndef b{n}(value):\n    return a({n})\n" for n in range(5)]
    log = log_of(tmp_path / "bad.jsonl", *texts)

    def gone(*_: Any) -> Any:
        raise ModelError("http://127.0.0.1:1/v1: no answer")

    monkeypatch.setattr(LikelihoodReader, "read", gone)
    out, lines, code = run("score", log, "--model", f"llama:{tiny('mistral')}")
    assert (out, code) == ("", 2)
    assert sum("no answer" in line for line in lines) == 2
    assert lines[-1] == ("backcast: note: 4 steps were not reached: the same command goes on there")


@pytest.mark.parametrize(
    "change",
    [
        {"line_nats": (1.5,)}, {"line_nats": (1.5, float("nan"))}, {"line_tokens": ()},
        {"name_tokens": (1, 1)}, {"name_tokens": (1, 1), "name_nats": (1.0, float("inf"))},
    ],
)  # fmt: skip
def test_a_score_that_lacks_numbers_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "log.scores"
    with EventStore.open("sqlite://") as store:
        store.append("task", [fact(step=1, **change)], after=0)
        assert ScoreBook(store).known == {}
        ScoreBook(store, file).keep("task", fact(step=1, **change))
        [note] = ScoreBook(store, file).notes
        assert note == f"{file}, line 1: needed a score, found another line"
