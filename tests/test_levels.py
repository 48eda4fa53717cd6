"""What a summary says at each level: nothing is lost that a shorter form could say."""

import json
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main

HERE = Path(__file__).parents[1]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str, int]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return out, err, int(end.value.code or 0)


def test_the_summary_that_a_run_writes_of_its_task_says_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec, answers = HERE / "fixtures/specs/validators.toml", HERE / "fixtures/logs/validators.jsonl"
    assert said(capsys, "run", str(spec), "--model", f"answers:{answers}")[2] == 0
    out, _, _ = said(capsys, "log", "validators", "--type", "SUMMARY_WRITTEN", "--json")
    lines = json.loads(out.splitlines()[-1])["data"]["text"].splitlines()
    assert lines[:3] == [
        "Task: validators", "Status: complete", "Success rate: 100% (19/19 tests passed)",
    ]  # fmt: skip
    assert "Modules: [constants.py], [test_validators.py], [validators.py]" in lines


def test_a_task_says_its_status_its_checks_and_its_modules_in_a_hundred_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mistral_common", reason="mistral-common is not installed")
    log = str(HERE / "fixtures/logs/till.jsonl")
    out, err, _ = said(capsys, "show", "summaries", log, "--node", "task:till", "--window", "8k")
    assert "Status: complete" in out
    assert "Success rate: 100% (20/20 tests passed)" in out
    assert "Modules: [cart.py], [discounts.py]" in out
    assert "upper bound" not in err
    asked = ("show", "summaries", log, "--node", "task:till", "--tokenizer", "upper-bound")
    out, err, _ = said(capsys, *asked)
    assert "note: tokens are counted by an upper bound, a token a byte" in err
    assert {"Task", "Status", "Success rate"} <= {
        line.split(":")[0].strip() for line in out.splitlines()
    }
