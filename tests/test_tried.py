"""`backcast regress` says what it tries of a log, and is no success where it tried nothing."""

from pathlib import Path

import pytest

import backcast
from backcast.domain.events import Committed
from backcast.domain.moment import NOW
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.log.importers.events import export_lines
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.corpus import runs_in
from tests.sources import Task
from tests.test_regress import TILL, regressed
from tests.test_retention import SMALL

MENDER = str(Path(__file__).parents[1] / "fixtures/recorded/mender.jsonl")


def test_a_policy_over_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = regressed(capsys, MENDER, "--policy", "no-cache")
    assert (code, out) == (2, "")
    assert "mender.jsonl holds prompts of another program alone: --histories" in err
    assert "needed recorded prompts, or changes of functions, to try, found none" in err
    with pytest.raises(backcast.BackcastError, match="to try, found none"):
        backcast.regress([MENDER], policies=["no-cache"])


def test_a_log_in_which_nothing_is_tried_is_told_beside_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = regressed(capsys, MENDER, TILL, "--policy", "recorded")
    assert (code, "no regression under recorded" in out) == (0, True)
    assert "mender.jsonl holds prompts of another program alone" in err


def test_a_question_recorded_in_a_history_hides_none_of_its_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, path = Task("history"), tmp_path / "history.jsonl"
    for number in range(3):
        sha = f"{number:040x}"
        task.happened(Committed(sha=sha, message="m", authored_at="", committed_at=""))
        names = "".join(f"def f{n}(x):\n    return x + {n}\n\n\n" for n in range(number + 1))
        task.wrote("code.py", names)
        task.outlined()
    request = Request("", "add one more")
    record_context(task.store, task.id, NOW, request, SMALL)
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    with opened(str(path)) as log:
        assert [(run.prompts, run.length) for run in runs_in(log)] == [(1, 0), (0, 3)]
    code, out, err = regressed(capsys, str(path), "--policy", "recorded")
    assert (code, out.splitlines()[1].split()) == (0, ["prompts", "4", "4"]), out
    assert "history holds 1 recorded prompt and 3 changes of its code: all are tried" in err
