"""What the page of `backcast view` shows first: a prompt, what a log is, and what to open."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Claim,
    Committed,
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    StepStarted,
    TaskStarted,
)
from backcast.engine.interfaces.terminal import size_text
from backcast.engine.interfaces.view.file import whole_page
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.sequence import RunSequence
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.interfaces.views import event_line
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers import Report, import_batches, swe_agent
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import read_text
from backcast.projections import progress
from tests.browsers import ROOT, viewed

DAYS = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)


def commit(name: str) -> Committed:
    return Committed(sha=name * 40, message=f"{name}\n\nwhy", authored_at="", committed_at="")


def filled(store: EventStore, *facts: Fact, text: str = "") -> RunReader:
    """Append facts to task t, the last of them on another day, and return its reader."""
    claims = [Claim(fact, DAYS[fact is facts[-1]], "somebody", ()) for fact in facts]
    store.append("t", claims, after=0, blobs=[Blob(text.encode())] if text else [])
    reader = RunReader(store, "t")
    reader.sequence.read_on()
    return reader


def test_checks_that_failed_without_a_prompt_show_that_of_the_answer_at_fault() -> None:
    with opened("fixtures/logs/till.jsonl") as log:
        reader = RunReader(log.store, "till")
        reader.sequence.read_on()
        step = reader.sequence.worst()
        assert (step.number, step.asked) == (31, 0)
        writers, checks = reader.sequence.mended(step)
        assert checks
        assert ([one.number for one in writers], checks.number) == ([32], 36)
        panel = step_panel(PanelMaker(reader), step)
        assert "It was raised in <code>money.py</code>" in panel
        assert "What the model saw" in panel
        assert panel.count('id="prompt"') == 1
        behind = reader.sequence.behind(step)
        assert behind
        assert behind.number == 3
        assert f'data-w="{behind.prompt}"' in panel


def test_a_failure_of_which_the_log_tells_no_step_gives_way_to_the_last_prompt() -> None:
    failure = CheckFailure(name="test_a", message="no", at="tests/test_a.py:3")
    with EventStore.open("sqlite://") as store:
        sequence = filled(
            store, TaskStarted(goal="g"),
            StepStarted(kind="code", module_name="a.py"), ModelReplied(),
            ModuleIteration(module_name="a.py", iteration=1),
            ChecksRan(passed=0, failed=1, failures=(failure,)),
        ).sequence  # fmt: skip
        assert sequence.steps[-1].outcome == "checks"
        assert sequence.behind(sequence.steps[-1]) is None


def test_a_message_that_nothing_answered_names_its_step() -> None:
    text = "Now   round it up, please"
    with EventStore.open("sqlite://") as store:
        sequence = filled(
            store, ModelReplied(), MessageReceived(role="user", text=Blob(text.encode()).ref),
            text=text,
        ).sequence  # fmt: skip
        assert [step.title for step in sequence.steps] == ["answer", "Now round it up, please"]


def test_a_failed_call_is_named_by_its_words_and_says_why(tmp_path: Path) -> None:
    command = "str_replace_editor str_replace /shapes/area.py --old_str '" + "x = 1\n" * 999 + "'"
    view = "str_replace_editor view /shapes/a/very/long/way/to/the/modules/area.py --view_range 4"
    outputs = "Ran into a long word.\nNo replacement was performed.\nTry it again.", "1\tx"
    steps = [
        {"response": "See.", "action": action, "observation": output}
        for action, output in zip((command, f"{view} 467"), outputs, strict=True)
    ]
    path = tmp_path / "run.traj"
    path.write_text(json.dumps({"trajectory": steps, "history": []}))
    with EventStore.open("sqlite://") as store:
        import_batches(store, "swe-agent", swe_agent.read(path, "t", Report()), Report())
        sequence = RunSequence(store, "t")
        failed, fine = [step for step in sequence.read_on() if step.number]
        assert failed.name.startswith("str_replace_editor str_replace /shapes/area.py --old_str")
        assert failed.name.endswith("…")
        assert (failed.outcome, failed.why) == ("failed", "No replacement was performed.")
        assert len(fine.name) == 80
        assert fine.name.endswith("area.py --view_range 4 467")
        lines = [event_line(event, partial(read_text, store)) for event in store.read("t")]
        [result] = [line for line in lines if "TOOL_RETURNED" in line and "failed" in line]
        assert "str_replace_editor failed: No replacement was performed." in result
        assert not any("blob:" in line for line in lines)


def test_a_history_says_what_it_is_and_no_more() -> None:
    with EventStore.open("sqlite://") as store:
        first, second = ModuleIteration(module_name="a.py", iteration=1), commit("b")
        reader = filled(store, commit("a"), first, second)
        sequence = reader.sequence
        words = "a history of 2 commits, 2026-01-02 to 2026-03-04; no run"
        assert sequence.subject == words
        assert [step.outcome for step in sequence.steps] == ["commit", "commit"]
        state = progress.initial
        for event in store.read("t"):
            state = progress.evolve(state, event)
        assert (state.status, state.commits, progress.waiting_for(state)) == ("history", 2, "")
        assert progress.history_words(2, state.started_at, state.last_at) == words
        panel = step_panel(PanelMaker(reader), sequence.steps[-1])
        assert "A commit: no model was asked." in panel
        page, _ = whole_page(store, "t", 0, [], redact=False)
        assert words in page
        assert "generating" not in page


def test_a_run_over_a_history_is_a_run() -> None:
    with EventStore.open("sqlite://") as store:
        filled(store, commit("a"), TaskStarted(goal="more"), ModuleIteration(
            module_name="a.py", iteration=1))  # fmt: skip
        state = progress.initial
        for event in store.read("t"):
            state = progress.evolve(state, event)
        assert (state.status, state.commits) == ("generating", 1)


def test_a_browser_is_opened_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """The browser is a program of ours that writes down the address that it gets."""
    found, program = tmp_path / "address", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {found}.new && mv {found}.new {found}\n')
    program.chmod(0o755)
    command = [str(Path(sys.executable).with_name("backcast")), "view", "--port", "0"]
    log = "fixtures/logs/validators.jsonl"
    with subprocess.Popen(
        [*command, "--browser", log], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "BROWSER": f"{program} %s"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = process.stderr.readline()
        deadline = time.monotonic() + 20
        while not found.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
    assert found.read_text().strip() == said.split()[1]
    found.unlink()
    with viewed(log) as address:
        assert address.startswith("http://127.0.0.1:")
    assert not found.exists()


def test_a_small_file_is_not_nothing() -> None:
    assert (size_text(50_000), size_text(7_654_321)) == ("48.8 KB", "7.3 MB")


def test_a_log_that_asked_no_model_has_a_row_for_each_text_and_each_run_of_checks() -> None:
    with opened("fixtures/logs/shop.jsonl") as log:
        sequence = RunSequence(log.store, "task-def456")
        rows = {step.name: step for step in sequence.read_on()}
        assert {"the plan", "utils.py #9", "checks of validators.py"} <= rows.keys()
        assert [step.first for step in sequence.steps if step.outcome == "checks"] == [9, 16]
        assert sequence.worst().event == 16
        assert [s.name for s in sequence.steps if s.first == 1] == ["before the first step"]


def test_tests_that_failed_in_a_tools_output_are_trouble() -> None:
    with opened("fixtures/recorded/mender.jsonl") as log:
        sequence = RunSequence(log.store, "mender")
        found = {step.number: step.why for step in sequence.read_on() if step.outcome == "checks"}
    assert found == {
        4: "tests failed in the tool's output: 2 failed, 2 passed in 0.29s",
        8: "tests failed in the tool's output: 1 failed, 3 passed in 0.30s",
    }


def test_each_item_says_in_words_why_it_is_in_and_the_step_what_was_asked() -> None:
    with opened("fixtures/logs/till.jsonl") as log:
        reader = RunReader(log.store, "till")
        reader.sequence.read_on()
        shown = step_panel(PanelMaker(reader), reader.sequence.at(79))
    for item, why in (("module:items.py", "imported by orders.py"), ("failure:76.1", "what failed"),
                      ("module:test_orders.py", "a test of orders.py"),
                      ("module:orders.py", "what is asked for")):  # fmt: skip
        row = shown.partition(f'data-item="{item}"')[2].partition("</tr>")[0]
        assert why in row, item
    places = [shown.index(words) for words in (
        ">Asked<", "had ended with: 1 of 6 checks failed.", ">Answered<", ">Checks: 6 of 6 passed<",
        "What the model saw", "What is in it", "What fell out", "The messages, as the model saw",
    )]  # fmt: skip
    assert places == sorted(places)
