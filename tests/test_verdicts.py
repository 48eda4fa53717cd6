"""What checks said stands in a prompt: counts, each test's last verdict, and the earlier tries."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.budget import MISTRAL_7B_8K, QWEN3_8B_32K, ModelProfile
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    ModuleRenamed,
    PlannedModule,
    PlanningComplete,
    TaskStarted,
)
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.history.snapshots import state_at
from backcast.projections import checks
from tests.sources import Task

SMALL, LARGE = (one._replace(tokenizer="upper-bound") for one in (MISTRAL_7B_8K, QWEN3_8B_32K))
TESTS = "from cart import total\n\n\n" + "\n\n".join(
    f"def test_{name}():\n    assert total([]) == 0\n" for name in ("none", "one", "two")
)
LOG = Path(__file__).parents[1] / "fixtures/logs/validators.jsonl"
MEND = Request("module:cart.py", "Mend the module cart.py")


def cart(body: str) -> str:
    return f'"""A cart."""\n\n\ndef total(items):\n    return {body}\n'


def task_of(*runs: ChecksRan) -> Task:
    """A cart that is written anew before each run of its checks."""
    task = Task()
    task.happened(TaskStarted(goal="a shop"))
    task.wrote("test_cart.py", TESTS)
    for number, run in enumerate(runs):
        task.wrote("cart.py", cart(str(number)))
        task.happened(run)
        task.outlined()
    return task


def ran(passed: int, *failed: str, **more: object) -> ChecksRan:
    failures = tuple(
        CheckFailure(name=f"test_cart.py::test_{name}", message=f"AssertionError: {name}!")
        for name in failed
    )
    given = {"failed": len(failed), "module_name": "cart.py", "failures": failures} | more
    return ChecksRan(passed=passed, **given)


def said(
    task: Task, policy: Policy = DEFAULT, profile: ModelProfile = SMALL, kind: str = "checks:"
) -> str:
    """What the prompt that mends the cart says of its checks, or of earlier tries."""
    context = context_at(task.store, task.id, NOW, MEND, profile, policy)
    return "".join(item.text for item in context.items if item.node.startswith(kind))


def test_counts_and_the_last_verdict_of_each_test_stand_behind_the_module() -> None:
    task = task_of(ran(1, "none[a]", "none[b]"), ran(2, "two"))
    assert said(task) == "Last run: 2 of 3 passed.\nFailed: test_two.\nPassed: test_none, test_one."
    context = context_at(task.store, task.id, NOW, MEND, SMALL)
    nodes = [item.node for item in context.items]
    assert nodes.index("test:test_cart.py::test_two") < nodes.index("module:cart.py")
    [said_there] = [
        number for number, node in enumerate(nodes) if node.startswith("checks:cart.py@")
    ]
    assert nodes.index("module:cart.py") < said_there


def test_a_policy_without_the_setting_shows_what_it_always_did() -> None:
    task = task_of(ran(1, "none", "two"), ran(2, "two"))
    assert said(task, COVERAGE) == said(task, COVERAGE, kind="earlier:") == ""


def test_a_plan_tells_which_tests_were_run_however_many_cases_each_has() -> None:
    task = task_of(ran(4, "none[a]", "none[b]", "two"))
    assert said(task) == "Last run: 4 of 7 passed.\nFailed: test_none (2), test_two."
    plan = PlannedModule(path="cart.py", tests=("test_cart.py",))
    task.happened(PlanningComplete(planned=(plan,)))
    assert said(task).endswith("\nPassed: test_one.")


def test_where_all_passed_the_count_is_the_verdict() -> None:
    assert said(task_of(ran(3))) == "Last run: 3 of 3 passed."


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (ran(1, failed=2), "Last run: 1 of 3 passed."),
        (ran(1, "one", failed=2), "Last run: 1 of 3 passed.\nFailed: test_one, ...."),
        (ran(1, "one", skipped=1), "Last run: 1 of 2 passed. Skipped: 1.\nFailed: test_one."),
        (ran(1, "one"), "Last run: 1 of 2 passed.\nFailed: test_one."),
        (ran(2, "one", contained=("time limit",)),
         "Last run: 2 of 3 passed.\nFailed: test_one, ...."),
        (ran(2, "one", module_name=None),
         "Last run of all tests: 2 of 3 passed.\nFailed: test_one.\nPassed: test_none, test_two."),
        (ran(9, "one", module_name=None), "Last run of all tests: 9 of 10 passed.\n"
         "Failed: test_one."),
    ],
    ids=["by count", "half named", "skipped", "one not run", "stopped", "all", "others too"],
)  # fmt: skip
def test_no_test_passed_by_name_that_the_log_does_not_show(run: ChecksRan, expected: str) -> None:
    assert said(task_of(run)) == expected


def test_a_file_that_could_not_run_takes_the_verdicts_of_its_tests() -> None:
    broken = CheckFailure(name="test_cart.py", message="SyntaxError", kind="error")
    run = ran(0, failed=0, errors=1, failures=(broken,))
    assert said(task_of(run)) == "Last run: 0 of 1 passed.\nFailed: test_cart.py."


def test_verdicts_about_an_older_version_say_what_has_changed_since() -> None:
    task = task_of(ran(2, "two"))
    task.wrote("cart.py", cart("sum(items)"))
    task.wrote("other.py", "OTHER = 1\n")
    task.outlined()
    assert said(task).endswith("Passed: test_none, test_one.\nChanged since that run: cart.py.")


def test_the_trail_tells_what_each_try_mended_and_broke() -> None:
    task = task_of(ran(1, "none", "one"), ran(1, "one", "two"), ran(2, "none"))
    assert said(task, kind="earlier:") == (
        "Iteration 1: 1 of 3 passed. Failed: test_none, test_one.\n"
        "Iteration 2: 1 of 3 passed. Mended: test_none. Still failed: test_one. Failed: test_two.\n"
        "Iteration 3: 2 of 3 passed. Mended: test_one, test_two. Failed: test_none."
    )
    less = DEFAULT.model_copy(update={"trail": 1})
    assert said(task, less, kind="earlier:").startswith("Iteration 2: 1 of 3")


def test_a_large_window_shows_messages_and_what_was_changed() -> None:
    task = task_of(ran(1, "none", "one"), ran(1, "one", "two"), ran(2, "none"))
    shown = said(task, profile=LARGE, kind="earlier:").split("\n")
    assert shown[0].endswith("Failed: test_none, test_one. AssertionError: none!; "
                             "AssertionError: one!")  # fmt: skip
    assert shown[1].endswith("Failed: test_two. AssertionError: two!")
    assert shown[2:4] == ["-    return 0", "+    return 1"]


def test_the_first_failure_and_the_last_success_have_no_trail() -> None:
    assert said(task_of(ran(2, "one")), kind="earlier:") == ""
    assert said(task_of(ran(2, "one"), ran(2, "two"), ran(3)), kind="earlier:") == ""


def test_the_last_run_about_a_module_may_be_its_own_or_that_of_the_whole_task() -> None:
    own, whole = ran(1, "none"), ran(1, "two", module_name=None)
    for runs in ((own, whole), (whole, own)):
        task = task_of(*runs)
        state = state_at(task.store, checks, task.id)
        found = checks.last_run(state, "cart.py")
        assert found
        assert found[0] == (runs[-1].module_name or checks.WHOLE)
        tried = [key for key, _ in checks.tries(state, "cart.py")]
        assert tried == [run.module_name or checks.WHOLE for run in runs]
        assert checks.every(state) == checks.tries(state, "cart.py")


def test_a_renamed_module_takes_its_runs_along_and_a_deleted_one_loses_them() -> None:
    task = task_of(ran(2, "two"))
    task.happened(ModuleRenamed(module_name="bag.py", previous_name="cart.py", iteration=2))
    assert list(state_at(task.store, checks, task.id).runs) == ["bag.py"]
    task.deleted("bag.py")
    assert checks.every(state_at(task.store, checks, task.id)) == []


def test_show_checks_prints_the_runs_and_says_so_where_there_are_none(
    backcast: Callable[..., tuple[str, str, int]],
) -> None:
    shown, _, code = backcast("show", "checks", f"{LOG}#validators@30")
    assert code == 0
    assert "16 of 19" in shown.splitlines()[-1]
    assert "validators.py #2" in shown.splitlines()[-1]
    shown, told, code = backcast("show", "checks", f"{LOG}#validators@15")
    assert (shown, code) == ("", 0)
    assert "no run of checks" in told
