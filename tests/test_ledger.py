"""Ledgers: what is done and next, what is known and guessed, and runs that go in circles."""

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.dispatch_events import (
    ChangedFile,
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ReadTask,
    ResultClaimed,
    TasksRead,
)
from backcast.domain.events import (
    CheckFailure,
    Committed,
    Fact,
    ModuleIteration,
    WorkflowEvent,
)
from backcast.domain.ledger import Attempt, Ledger, StallPolicy, stall
from backcast.engine.history.ledgers import LedgerStates, ledger_of
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.projections import checks, dispatches, facts, fold, progress
from tests.strategies import NOON

HERE = Path(__file__).parents[1]
PATCH = "blob:" + "0" * 64


def ledger(*rows: Fact) -> Ledger:
    events = [
        WorkflowEvent(n, "t", n, fact, NOON + timedelta(n), NOON + timedelta(n), "ann", ())
        for n, fact in enumerate(rows, 1)
    ]
    folds: tuple[Any, ...] = (progress, checks, dispatches, facts)
    return ledger_of("t", LedgerStates._make(fold(one, events) for one in folds))


def values(found: Ledger) -> dict[str, str]:
    return {fact.k: fact.v for fact in found.facts()}


LIST = TasksRead(
    path="tasks.md",
    tasks=(
        ReadTask(id="1", title="Read", status="done"),
        ReadTask(id="2", title="Write", status="doing"),
        ReadTask(id="3", title="Test", status="to do", requirements=("1.1",)),
    ),
)


def attempt(
    version: int, *, file: str = "a.py", patch: str = PATCH, failing: str = ""
) -> list[Fact]:
    """The facts of one attempt at task 2; with a name, a check of that name fails."""
    failures = (CheckFailure(name=failing, message=f"line {version}"),) if failing else ()
    files = (ChangedFile(path=file, change="changed"),) if file else ()
    result = {"status": "completed", "summary": "All done.", "files_changed": [file]}
    return [
        DispatchStarted(item="2", role="implementer", agent="qwen", attempt=version),
        DispatchEnded(dispatch=version, outcome="answered", files=files, patch=patch),
        ResultClaimed(dispatch=version, role="implementer", result=result),
        ClaimChecked(
            dispatch=version, files=files, passed=3, failed=len(failures), failures=failures,
            accepted=not failing, reason="1 check fails" if failing else "", differences=(
                ("claims 3 passed; 1 of them fails",) if failing else ()
            ),
        ),
    ]  # fmt: skip


def test_both_ledgers_keep_what_is_found_apart_from_what_is_claimed() -> None:
    found = ledger(LIST, *attempt(2, failing="test_a"))
    assert [(item.id, item.status) for item in found.items] == [
        ("1", "done"), ("2", "doing"), ("3", "to do"),
    ]  # fmt: skip
    assert "2 checks: 3 passed, 1 failed" in found.given
    assert "2 differs: claims 3 passed; 1 of them fails" in found.given
    assert found.guesses == ("2 result: completed: All done.",)
    assert found.look_up == ("why test_a failed, line 2",)
    assert (found.who, found.what) == ("the implementer", "2 Write")
    sure = {fact.k: fact.confidence for fact in found.facts()}
    assert (sure["ledger.task.given.1"], sure["ledger.task.guess.1"]) == (1.0, 0.5)


def test_an_accepted_attempt_ends_what_was_to_be_looked_up() -> None:
    found = ledger(LIST, *attempt(2, failing="test_a"), *attempt(6, patch="blob:" + "1" * 64))
    assert found.look_up == ()
    assert "2 accepted: yes" in found.given
    assert not any("differs" in line for line in found.given)


def test_the_same_change_again_is_a_circle_and_then_a_person_decides() -> None:
    tries = [attempt(2 + 4 * n, failing=f"test_{n}") for n in range(4)]
    once = ledger(LIST, *tries[0], *tries[1])
    assert values(once)["ledger.progress.in_circles"] == "yes"
    assert values(once)["ledger.progress.status"] == "running"
    assert "plan it anew" in values(once)["ledger.progress.replan"]
    twice = ledger(LIST, *(fact for made in tries for fact in made))
    assert values(twice)["ledger.progress.status"] == "blocked"
    assert (twice.who, "a person must decide" in twice.what) == ("a person", True)


@pytest.mark.parametrize(
    ("ends", "alike"),
    [
        ("it ended with exit code 1: request {} was refused", True),
        ("signal 6 ended it: dumped core {}", True),
        ("it ended with exit code {}", False),
        ("it says that it failed: {} tokens too many", False),
    ],
)
def test_agents_fail_alike_whatever_their_last_words(ends: str, alike: bool) -> None:
    rows: list[Fact] = [LIST]
    for version in (2, 5, 8):
        reason = ends.format(version)
        rows += [
            DispatchStarted(item="2", role="implementer", agent="qwen", attempt=version),
            DispatchEnded(dispatch=version, outcome="failed", reason=reason),
            ClaimChecked(dispatch=version, accepted=False, reason=f"the agent failed: {reason}"),
        ]
    stalled = [stall.why for stall in ledger(*rows).stalls]
    assert stalled == (["2: the same failure 3 times, last by event 8"] if alike else
                       ["2: nothing changed in 3 attempts, last by event 8"])  # fmt: skip


def test_a_task_that_was_halted_waits_for_a_person_until_it_is_tried_again() -> None:
    halt = ItemDecided(item="2", action="halt", reason="3 attempts made")
    halted = ledger(LIST, *attempt(2, failing="test_a"), halt)
    assert (halted.status, halted.who) == ("blocked", "a person")
    again = DispatchStarted(item="2", role="implementer", agent="codex", attempt=2)
    after = ledger(LIST, *attempt(2, failing="test_a"), halt, again)
    assert (after.status, after.who, after.what) == (
        "running", "codex", "2, attempt 2, is under way",
    )  # fmt: skip


def test_all_tasks_done_is_done() -> None:
    tasks = tuple(task.model_copy(update={"status": "done"}) for task in LIST.tasks)
    found = ledger(TasksRead(tasks=tasks))
    assert (found.status, found.plan, found.who) == ("done", (), "")


# Stalls


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([("a", "1"), ("a", "2"), ("a", "3")], "same failure"),
        ([("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")], ""),
        ([("a", "1"), ("b", "1")], "same change"),
        ([("a", ""), ("b", ""), ("c", "")], "nothing changed"),
        ([("a", ""), ("b", ""), ("c", "1")], ""),
        ([("", "1"), ("", "2"), ("", "3")], ""),
    ],
)
def test_alike_attempts_are_found(rows: list[tuple[str, str]], kind: str) -> None:
    tries = [Attempt("2", "q", n, failure=f, diff=d) for n, (f, d) in enumerate(rows)]
    assert stall(tries).kind == kind


def test_the_same_complaint_of_two_reviews_is_a_circle() -> None:
    work = [Attempt("2", "q", n, diff=str(n)) for n in (1, 3)]
    reviews = [Attempt("2", "r", n, complaint="x", review=True) for n in (2, 4)]
    found = stall([work[0], reviews[0], work[1], reviews[1]])
    assert (found.kind, found.circles) == ("same complaint", True)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=12),
       st.integers(1, 4), st.integers(0, 2))  # fmt: skip
def test_a_person_is_asked_once_all_replans_are_used(
    rows: list[tuple[str, int]], most: int, replans: int
) -> None:
    """A second reading: the attempts are cut into rows of alike failures, one after the other."""
    policy = StallPolicy(failures=most, unchanged=0, diffs=0, replans=replans)
    tries = [Attempt("2", "q", n, failure, f"{n}") for n, (failure, _) in enumerate(rows)]
    stalls, run, last = 0, 0, ""
    ends = False
    for failure, _ in rows:
        run, last = (run + 1, last) if failure == last else (1, failure)
        ends = run == most
        if ends:
            stalls, run, last = stalls + 1, 0, ""
    found = stall(tries, policy)
    assert (found.kind, found.halt) == (
        ("same failure", stalls > replans) if ends else ("", False)
    )  # fmt: skip


# The command


def test_a_code_run_has_its_ledgers_at_any_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def run(*words: str) -> None:
        with suppress(SystemExit):
            main(words)

    run("import", "events", str(HERE / "fixtures/logs/till.jsonl"))
    capsys.readouterr()
    run("show", "ledger", "till@79")
    out, err = capsys.readouterr()
    assert out.startswith("Status: running; 2 done, 1 doing, 3 to do.\n[x] money.py")
    assert "Next: the model, asked by event 79 of the task" in out
    assert "tokens in a prompt, in place of" in err
    run("show", "ledger", "till", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "done"
    assert {"k": "ledger.progress.satisfied", "v": "yes", "confidence": 1.0} in found["facts"]
    assert set(found["facts"][0]) == {"k", "v", "confidence"}


def test_a_task_that_goes_on_after_a_halt_says_whose_turn_it_is() -> None:
    spent = ItemDecided(item="2", action="halt", reason="budget_calls: no calls", cause="budget")
    halted = ledger(LIST, *attempt(2), spent)
    assert halted.what.startswith("let 2 go on with a higher --budget")
    again = ledger(LIST, *attempt(2), spent, LIST.model_copy(update={"marked": {"2": "doing"}}))
    assert (again.status, again.who) == ("running", "the reviewer")
    assert [item.note for item in again.items if item.id == "2"] == [""]


def test_a_history_that_nobody_was_asked_for_has_no_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, noon = f"sqlite:///{tmp_path}/kept.db", NOON.isoformat()
    with EventStore.open(url) as store:
        commit = Committed(sha="a" * 40, message="one", authored_at=noon, committed_at=noon)
        store.append("repo", [commit, ModuleIteration(module_name="a.py", iteration=1)], after=0)
    with suppress(SystemExit):
        main(["show", "ledger", "repo", "--store", url])
    out, err = capsys.readouterr()
    assert out == ""
    assert "no ledger: 'repo' is the history of a repository" in err
    with suppress(SystemExit):
        main(["show", "ledger", "repo", "--store", url, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["tasks"]) == ("history", [])
