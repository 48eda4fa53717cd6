"""What a run makes of tests that were left out: by the code, and by their own text."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from backcast.domain.events import ChecksRan, TaskFailed
from backcast.engine.interfaces.run_progress import RunProgress
from backcast.engine.log import EventStore
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.results import checks_ran, with_some_run
from backcast.engine.workflow.runtime import open_runtime
from backcast.engine.workflow.sandbox.run import Outcome
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test

SKIPPING = "import pytest\n\n\ndef half(n):\n    pytest.skip('later')\n"
DONE = "def half(n):\n    return n / 2\n"
MARKED = "import pytest\n\n\n@pytest.mark.skip\ndef test_later():\n    assert 0\n"
CALLED = "from halves import half\n\n\ndef test_half():\n    assert half(4) == 2\n"


def ran(folder: Path, tests: str, *answers: str, **more: str) -> tuple[str, EventStore]:
    """Run a task with some answers; return how it ended and its store."""
    texts = {"test_halves.py": tests} | {f"{name}.py": text for name, text in more.items()}
    spec = Spec(
        task="halves",
        goal="halve numbers",
        tests=tuple(Test(path=path, source=text) for path, text in texts.items()),
        modules=(SpecModule(path="halves.py", purpose="halves", tests=("test_halves.py",)),),
        limits=RunLimits(iterations=len(answers)),
    )
    lines = []
    for number, answer in enumerate(answers, 1):
        step = {"kind": "code", "module_name": "halves.py", "iteration": number, "attempt": 1}
        reply = {"text": f"```python halves.py\n{answer}```\n", "model": "hand", "finish": "stop"}
        for kind, data in (("STEP_STARTED", step), ("MODEL_REPLIED", reply)):
            when = "2026-03-10T10:00:00Z"
            line = {"type": kind, "task_id": "halves", "timestamp": when, "data": data}
            lines.append(json.dumps(line) + "\n")
    (folder / "answers.jsonl").write_text("".join(lines))
    store = EventStore.open("sqlite://")
    start(store, spec)
    runtime = open_runtime(f"answers:{folder}/answers.jsonl", "halves")
    return work(store, "halves", runtime).status, store


def checks(store: EventStore) -> list[ChecksRan]:
    return [event.fact for event in store.read("halves") if isinstance(event.fact, ChecksRan)]


def test_code_that_skips_its_tests_is_told_and_must_be_mended(tmp_path: Path) -> None:
    status, store = ran(tmp_path, CALLED, SKIPPING, DONE)
    first, *others = checks(store)
    assert (status, first.passed, first.failed) == ("complete", 0, 1)
    assert first.failures[0].message.startswith("halves.py:5 skipped this test (later). ")
    assert [(one.passed, one.unmet) for one in others] == [(1, 0), (1, 0)]


def test_code_that_only_skips_its_tests_is_never_complete(tmp_path: Path) -> None:
    status, store = ran(tmp_path, CALLED, SKIPPING, SKIPPING)
    assert status == "failed"
    assert [one.passed for one in checks(store)] == [0, 0]


def test_a_task_whose_tests_all_leave_themselves_out_is_not_complete(tmp_path: Path) -> None:
    status, store = ran(tmp_path, MARKED, DONE)
    *_, whole = checks(store)
    assert (status, whole.passed, whole.skipped, whole.errors) == ("failed", 0, 1, 1)
    assert whole.failures[0].message.startswith("there are no tests that ran: 1 leave themselves")
    *_, last = store.read("halves", types=["TASK_FAILED"])
    assert isinstance(last.fact, TaskFailed)


def test_tests_that_leave_themselves_out_are_told_beside_those_that_passed(tmp_path: Path) -> None:
    status, store = ran(tmp_path, f"{CALLED}\n\n{MARKED}", DONE)
    *_, whole = checks(store)
    assert (status, whole.passed, whole.skipped, whole.unmet) == ("complete", 1, 1, 0)
    out = io.StringIO()
    RunProgress(0, Console(file=out, width=200)).take(list(store.read("halves")))
    assert "all tests            1 of 1 passed, 1 skipped by their own text" in out.getvalue()


def test_a_helper_of_the_task_may_leave_out_tests(tmp_path: Path) -> None:
    helper = "import pytest\n\n\ndef need(name):\n    pytest.skip(name)\n"
    tests = f"{CALLED}\n\ndef test_net():\n    from helper import need\n    need('net')\n"
    status, store = ran(tmp_path, tests, DONE, helper=helper)
    assert (status, checks(store)[0].skipped) == ("complete", 1)


@pytest.mark.parametrize("skipped", [0, 3])
def test_no_skipped_test_is_not_recorded_so_that_logs_stay_as_they_were(skipped: int) -> None:
    outcome = Outcome(1, 0, 0, (), b"", 0.1, (), {}, {}, skipped)
    [fact] = checks_ran(outcome, None).facts
    assert isinstance(fact, ChecksRan)
    assert fact.data.get("skipped", 0) == skipped
    assert ("skipped" in fact.data) == bool(skipped)
    assert with_some_run(outcome) == outcome
