"""The pytest plugin, as tests that use it meet it: real runs of pytest over real logs."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import copy
from sqlite3 import connect

import pytest

from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.testing import assertions
from backcast.engine.interfaces.testing import plugin as pytest_plugin
from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report, events, import_batches
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.sandbox.run import run_checks
from tests.extras import needs_llama
from tests.models import tiny

pytest_plugins = ["pytester"]

LOGS = Path(__file__).parents[1] / "fixtures/logs"
PLUGIN = pytest_plugin.__name__
NAMED = ["-p", PLUGIN]
SAID = ", ".join(name for name in vars(assertions) if name.startswith("assert_"))
HEAD = f"import pytest\nfrom {assertions.__name__} import {SAID}\n"
ALL = '@pytest.mark.backcast_logs("logs")\n'
BUDGET = ALL + "def test_it(recorded_step):\n    assert_within_budget(recorded_step)\n"

Ran = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has no plugins but those that it names: others take longer than it does.

    What counts is loaded before, since a run in this process lets go of what it imports.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    tokenizer_of("mistral-v3")
    if find_spec("llama_cpp"):
        import_module("llama_cpp")


@pytest.fixture
def ran(pytester: pytest.Pytester) -> Ran:
    """Runs a file of tests beside a folder of logs: in this process, or `own` in one of its own."""

    def run(
        tests: str, *options: str, logs: str = "validators", own: bool = False
    ) -> pytest.RunResult:
        pytester.makepyfile(test_it=HEAD + tests)
        pytester.path.joinpath("logs").mkdir(exist_ok=True)
        for name in logs.split():
            copy(LOGS / f"{name}.jsonl", pytester.path / "logs")
        start = pytester.runpytest_subprocess if own else pytester.runpytest_inprocess
        return start(*NAMED, *options)

    return run


def ids(result: pytest.RunResult) -> list[str]:
    """What is between the brackets of the tests that were collected."""
    lines = (line for line in result.outlines if line.startswith("test_it.py::"))
    return [line.partition("[")[2][:-1] for line in lines if "[" in line]


def failures(result: pytest.RunResult) -> list[str]:
    """The lines of what was raised."""
    return [line[1:].strip() for line in result.outlines if line.startswith("E ")]


# Over which logs and prompts


def test_a_test_is_run_once_for_each_prompt_of_each_log(ran: Ran) -> None:
    result = ran(BUDGET, "--collect-only", "-q", logs="validators contexts")
    named = [f"validators@{version}" for version in (8, 13, 21, 27, 33)]
    assert ids(result) == [*(f"contexts@{version}" for version in (40, 41, 45, 46, 47)), *named]
    ran(BUDGET, logs="validators contexts").assert_outcomes(passed=10)


def test_a_test_is_run_once_for_each_log(ran: Ran) -> None:
    tests = ALL + "def test_it(recorded_log, replay):\n    assert len(list(replay(recorded_log)))"
    result = ran(tests, "-v", logs="validators contexts addresses")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_it?addresses?*"])


def test_a_prompt_and_its_log_go_together(ran: Ran) -> None:
    tests = (
        "def test_it(recorded_step, recorded_log):\n"
        "    assert recorded_step.store is recorded_log.store\n"
    )
    ran(ALL + tests, logs="validators contexts").assert_outcomes(passed=10)


def test_the_ini_option_names_logs_and_the_marker_goes_before_it(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nbackcast_logs = logs/val*.jsonl more\n")
    pytester.mkdir("more")
    copy(LOGS / "contexts.jsonl", pytester.path / "more")
    tests = "def test_ini(recorded_log): pass\n"
    tests += (
        '@pytest.mark.backcast_logs("logs/addresses.jsonl")\ndef test_own(recorded_log): pass\n'
    )
    found = ids(ran(tests, "--collect-only", "-q", logs="validators addresses"))
    assert found == ["validators", "contexts", "addresses"]


def test_logs_of_one_name_are_told_apart_by_their_folders(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    pytester.mkdir("more")
    copy(LOGS / "validators.jsonl", pytester.path / "more")
    tests = '@pytest.mark.backcast_logs("logs", "more")\ndef test_it(recorded_log): pass\n'
    found = ids(ran(tests, "--collect-only", "-q"))
    assert found == ["logs/validators", "more/validators"]


def test_prompts_of_several_tasks_are_told_apart(ran: Ran, pytester: pytest.Pytester) -> None:
    lines = (LOGS / "validators.jsonl").read_text().splitlines()
    twin = [json.dumps(told | {"task_id": "twin"}) for line in lines
            if "type" in (told := json.loads(line))]  # fmt: skip
    pytester.mkdir("logs")
    pytester.path.joinpath("logs/both.jsonl").write_text("\n".join([*lines, *twin]))
    result = ran(BUDGET, "--collect-only", "-q", logs="")
    assert ids(result)[4:6] == ["both:twin@33", "both:validators@8"]
    tests = "def test_it(context_at, event_log):\n    context_at('logs/both.jsonl', 'first')"
    assert "needed one task, found prompt first in twin, validators" in str(ran(tests).stdout)
    tests = (
        "def test_it(context_at, event_log):\n"
        "    one, other = (context_at(event_log('logs/both.jsonl', task=task), 'last')\n"
        "                  for task in ('twin', 'validators'))\n"
        "    assert_contains(one, 'task:twin')\n"
        "    assert_contains(other, 'task:validators')\n"
    )
    ran(tests).assert_outcomes(passed=1)


def test_what_cannot_be_read_is_one_error_and_the_others_go_on(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    pytester.mkdir("logs").joinpath("broken.jsonl").write_text("no JSON\n")
    pytester.mkdir("empty")
    tests = '@pytest.mark.backcast_logs("empty", "logs", "nowhere")\n'
    result = ran(tests + "def test_it(recorded_step): pass")
    result.assert_outcomes(passed=5, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it?broken?*",
            "*broken.jsonl: needed a log*found line 1: not JSON*",
        ]
    )
    told = str(result.stdout)
    needed = "needed a log, or a folder or pattern of logs, found"
    for why in (f"empty: {needed} no .jsonl file in it", f"nowhere: {needed} nothing of that name"):
        assert told.count(f"\n{why} below {pytester.path}\n") == 1
    result = ran(tests + "def test_it(recorded_log): pass")
    result.assert_outcomes(passed=1, errors=3)


def test_tests_without_logs_or_prompts_are_errors_and_not_skipped(ran: Ran) -> None:
    result = ran("def test_it(recorded_step): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["recorded_step: needed @pytest.mark.backcast_logs(*neither"])
    result = ran('@pytest.mark.backcast_logs("logs/a*")\ndef test_it(recorded_step): pass',
                 logs="addresses")  # fmt: skip
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["logs/a[*]: needed recorded prompts, found none in 1 logs"])


def test_a_log_that_is_not_whole_fails_unless_it_is_passed_over(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    torn = (LOGS / "validators.jsonl").read_bytes()[:-40]
    pytester.mkdir("logs").joinpath("torn.jsonl").write_bytes(torn)
    tests = BUDGET + "def test_log(event_log): event_log('logs/torn.jsonl')\n"
    tests += ALL + "def test_each(recorded_log): pass\n"
    result = ran(tests, logs="contexts")
    result.assert_outcomes(passed=6, failed=1, errors=2)
    needed = "needed a whole log, found *torn.jsonl: line *: not JSON*--backcast-damaged*"
    result.stdout.fnmatch_lines([needed] * 2)
    result = ran(tests, "-W", "default", "--backcast-damaged", logs="contexts")
    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(["*backcast: skipped *torn.jsonl: line *: not JSON*"])


def test_a_row_of_a_store_that_cannot_be_read_fails_a_test_of_it(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    with EventStore.open(f"sqlite:///{pytester.path}/kept.db") as store:
        path = LOGS / "validators.jsonl"
        import_batches(store, events.FORMAT, events.read(path, None, Report()), Report())
    rows = connect(pytester.path / "kept.db")
    rows.execute("drop trigger events_are_not_rewritten")
    rows.execute("update events set body = x'7b' where version = 9")
    rows.commit()
    rows.close()
    tests = "def test_it(event_log): event_log('sqlite:///kept.db')"
    result = ran(tests)
    result.assert_outcomes(failed=1)
    assert "needed a whole log, found event " in str(result.stdout)


def test_events_of_unknown_types_are_warned_of_once_for_a_log(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    text = (LOGS / "validators.jsonl").read_text().replace('"POLICY_USED"', '"POLICY_BENT"')
    pytester.mkdir("logs").joinpath("odd.jsonl").write_text(text)
    result = ran(BUDGET, "-W", "default", logs="")
    result.assert_outcomes(passed=5, warnings=1)
    result.stdout.fnmatch_lines(["*odd.jsonl: 1 event of an unknown type: POLICY_BENT"])


def test_a_prompt_says_which_it_is(ran: Ran) -> None:
    tests = (
        ALL
        + """
def test_it(recorded_step):
    assert recorded_step.task_id == "validators"
    assert recorded_step.version in (8, 13, 21, 27, 33)
    assert str(recorded_step) == f"validators@{recorded_step.version} {recorded_step.name}"
"""
    )
    ran(tests).assert_outcomes(passed=5)


def test_a_policy_outside_of_the_folder_needs_a_sign_that_keeps_the_root(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("mine.toml").write_text('base = "coverage"\nerrors = 2\n')
    ci = pytester.mkdir("ci")
    ci.joinpath("pyproject.toml").write_text('[tool.pytest.ini_options]\nbackcast_logs = "../logs"')
    tests = ci / "test_own.py"
    tests.write_text("def test_it(recorded_step, policy):\n    assert policy.errors == 2\n")
    ran("", "--collect-only")
    pytester.path.joinpath("test_it.py").unlink()
    pytester.chdir()
    with pytest.MonkeyPatch.context() as moved:
        moved.chdir(ci)
        result = pytester.runpytest_inprocess(*NAMED, "--backcast-policy", "../mine.toml")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*needed --backcast-policy=../mine.toml with a =, found a*"])
        result = pytester.runpytest_inprocess(*NAMED, "--backcast-policy=../mine.toml")
        result.assert_outcomes(passed=5)


def test_collecting_builds_nothing(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: ContextBuilder, *told: object) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr(ContextBuilder, "build", refused)
    assert len(ids(ran(BUDGET, "--collect-only", "-q"))) == 5
    ran(BUDGET).assert_outcomes(errors=5)


# Fixtures


def test_a_replayed_prompt_tells_what_was_asked_recorded_and_built(ran: Ran) -> None:
    tests = """
def test_it(replay):
    first, *_, last = replay("logs/validators.jsonl")
    assert (str(first), repr(first)) == ("validators@8 plan", "<validators@8 plan>")
    assert first.previous is None
    assert last.previous.step.version == 27 and last.previous.previous is None
    assert last.request.target == "module:validators.py"
    assert last.context.digest == last.fact.digest and last.as_recorded
    assert last.recorded.tokens == last.prompt.tokens == last.context.tokens == 1548
"""
    ran(tests).assert_outcomes(passed=1)


def test_one_prompt_is_named_by_its_event_or_as_the_first_or_last(ran: Ran) -> None:
    tests = """
LOG = "logs/validators.jsonl"
def test_it(context_at, replay, event_log):
    built = {step.step.version: step.context for step in replay(event_log(LOG))}
    assert context_at(LOG, 27) is built[27]
    assert context_at(event_log(LOG), "first").digest == built[8].digest
    assert context_at(LOG, "last").digest == built[33].digest
def test_other(context_at):
    context_at(LOG, 26)
"""
    result = ran(tests)
    result.assert_outcomes(passed=1, failed=1)
    why = "found 26: its prompts are 8, 13, 21, 27, 33"
    assert failures(result)[-1].endswith(f"needed 'first', 'last' or the event of a prompt, {why}")


def test_a_policy_and_a_profile_can_be_tried(ran: Ran) -> None:
    tests = """
from backcast.domain.budget import PROFILES
from backcast.domain.policy import DEFAULT
LOG = "logs/validators.jsonl"
def test_it(replay, context_at):
    plain = context_at(LOG, "last")
    fewer = context_at(LOG, "last", DEFAULT.model_copy(update={"errors": 1}))
    assert_contains(plain, "failure:30.2")
    assert "failure:30.2" not in [item.node for item in fewer.items]
    larger = context_at(LOG, "last", profile=PROFILES["qwen3-8b-32k"])
    assert (plain.window, larger.window) == (8192, 32768)
"""
    ran(tests).assert_outcomes(passed=1)
    tests = """
from backcast.domain.policy import DEFAULT
@pytest.fixture
def policy():
    return DEFAULT.model_copy(update={"errors": 1})
def test_own(context_at):
    assert_contains(context_at("logs/validators.jsonl", "last"), "failure:30.2")
"""
    told = failures(ran(tests))
    assert told[0].endswith("needed failure:30.2, which is not shown")
    assert told[1] == "out: masked"


def test_a_fixture_of_another_kind_that_is_named_policy_is_told(ran: Ran) -> None:
    tests = """
@pytest.fixture
def policy():
    return "mine"
def test_own(context_at):
    context_at("logs/validators.jsonl", "last")
"""
    result = ran(tests)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needed a backcast.Policy or None of the fixture 'policy'*"])


def test_a_log_that_is_not_there_is_told_without_our_own_frames(ran: Ran) -> None:
    told = str(ran('def test_it(context_at):\n    context_at("none.jsonl", "last")\n').stdout)
    assert "none.jsonl: needed a log that 'backcast export' wrote, found no such file" in told
    assert "engine/log" not in told


def test_what_stands_in_a_whole_class_is_shown(ran: Ran) -> None:
    tests = """
def test_it(context_at):
    context = context_at("logs/till.jsonl", "last")
    assert [item.level for item in context.items if item.node == "class:items.py::Item"] == ["full"]
    assert_contains(context, "method:items.py::Item.amount", level="full")
    with pytest.raises(AssertionError, match="which is not shown"):
        assert_contains(context, "method:items.py::Item.count")
    with pytest.raises(AssertionError, match="which is not shown"):
        assert_contains(context, "function:money.py::amount")
"""
    ran(tests, logs="till").assert_outcomes(passed=1)


def test_a_prompt_that_cannot_be_built_fails_alone(ran: Ran) -> None:
    tests = """
from backcast.domain.budget import PROFILES
def test_it(replay):
    rows = {"current module": 100, "generation": 2500}
    tight = PROFILES["mistral-7b-8k"]._replace(window=2600, rows=rows)
    built = [step for step in replay("logs/validators.jsonl", profile=tight)]
    assert len(built) == 5
    with pytest.raises(Exception, match="needed .* tokens for the required items"):
        built[1].context
    assert_within_budget(built[0])
"""
    result = ran(tests)
    result.assert_outcomes(failed=1)
    [told] = failures(result)
    assert told.startswith("AssertionError: validators@8 plan: needed ")
    assert told.endswith("choose a profile with a larger context")


def test_what_a_test_appends_no_other_test_sees(ran: Ran) -> None:
    tests = """
from backcast.domain.events import TaskComplete
@pytest.mark.parametrize("time", range(3))
def test_it(event_log, time):
    store = event_log("logs/validators.jsonl").store
    assert store.version("validators") == 42
    store.append("validators", [TaskComplete()], after=42)
    assert event_log("logs/validators.jsonl").store.version("validators") == 43
"""
    ran(tests).assert_outcomes(passed=3)


def test_a_log_is_read_once_until_its_file_changes(ran: Ran) -> None:
    tests = """
from pathlib import Path
def test_it(event_log):
    log = event_log("logs/validators.jsonl")
    assert event_log("logs/validators.jsonl").store is log.store
    lines = Path(log.name).read_text().splitlines(keepends=True)
    Path(log.name).write_text("".join(lines[:-1]))
    assert event_log("logs/validators.jsonl").store.version("validators") == 41
"""
    ran(tests).assert_outcomes(passed=1)


def test_a_store_is_opened_by_its_url_and_closed(ran: Ran, pytester: pytest.Pytester) -> None:
    report = Report()
    with EventStore.open("sqlite:///runs.db") as store:
        batches = events.read(LOGS / "validators.jsonl", None, report)
        import_batches(store, events.FORMAT, batches, report)
    tests = """
def test_it(event_log, replay):
    log = event_log("sqlite:///runs.db", task="validators")
    assert all(step.as_recorded for step in replay(log))
def test_none(event_log):
    event_log("logs/none.jsonl")
"""
    result = ran(tests)
    result.assert_outcomes(passed=1, failed=1)
    assert failures(result)[-1].endswith(
        "needed a log that 'backcast export' wrote, found no such file"
    )


# The policy under test


def test_the_policy_under_test_is_that_of_the_option_or_of_the_ini_file(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("mine.toml").write_text('name = "mine"\nerrors = 1\n')
    tests = """
def test_it(policy, context_at):
    assert policy is None or policy.name == "mine"
    shown = [item.node for item in context_at("logs/validators.jsonl", "last").items]
    assert ("failure:30.2" in shown) == (policy is None)
def test_mine(policy):
    assert policy
"""
    ran(tests).assert_outcomes(passed=1, failed=1)
    ran(tests, "--backcast-policy", "mine.toml").assert_outcomes(passed=2)
    pytester.makeini("[pytest]\nbackcast_policy = mine.toml\n")
    ran(tests).assert_outcomes(passed=2)
    tests = f"def test_it(policy):\n    assert policy.name == {sorted(STRATEGIES)[0]!r}\n"
    ran(tests, "--backcast-policy", sorted(STRATEGIES)[0]).assert_outcomes(passed=1)


def test_a_policy_that_cannot_be_read_ends_the_run_in_one_line(ran: Ran) -> None:
    result = ran(BUDGET, "--backcast-policy", "none.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    [line] = filter(None, result.errlines)
    assert line.startswith("ERROR: backcast: ")
    assert line.endswith("none.toml: needed a policy file: No such file or directory")


# Assertions, and how they fail


def test_what_is_shown_is_found_by_node_path_and_level(ran: Ran) -> None:
    tests = """
def test_it(context_at):
    context = context_at("logs/till.jsonl", 49)
    assert_contains(context, "function:money.py::share")
    assert_contains(context, "function:money.py::share", level="signature")
    assert_contains(context, "money.py::share", level="full")
    assert_contains(context, "money.py")
    assert_contains(context, "task:till")
    for absent in ("function:money.py", "share", "mone.py", "money.py::shar", "till"):
        with pytest.raises(AssertionError, match="which is not shown"):
            assert_contains(context, absent)
    with pytest.raises(Exception, match="needed a level of name, signature, summary, part, full"):
        assert_contains(context, "money.py", level="much")
"""
    ran(tests, logs="till").assert_outcomes(passed=1)


def test_what_is_not_shown_is_told_with_its_reason_and_what_is_called_nearly_so(ran: Ran) -> None:
    tests = """
def test_near(context_at):
    assert_contains(context_at("logs/till.jsonl", 49), "function:money.py::to_cent")
def test_out(context_at):
    assert_contains(context_at("logs/validators.jsonl", "last"), "failure:24.1")
def test_level(context_at):
    assert_contains(context_at("logs/validators.jsonl", "last"), "failure:30.1", level="full")
"""
    result = ran(tests, logs="till validators")
    result.assert_outcomes(failed=3)
    assert failures(result) == [
        "AssertionError: the context: needed function:money.py::to_cent, which is not shown",
        "nearest: function:money.py::to_cents (full), function:money.py::to_text (full),"
        " function:money.py::share (full)",
        "AssertionError: the context: needed failure:24.1, which is not shown",
        "out: superseded",
        "nearest: failure:24.2 (out: superseded), failure:30.1 (signature), failure:30.3"
        " (signature)",
        "AssertionError: the context: needed failure:30.1 by its full or more, found its signature",
    ]
    assert "assertions.py" not in str(result.stdout)


def test_a_budget_that_is_exceeded_is_told_section_by_section(ran: Ran) -> None:
    tests = """
def test_it(context_at):
    context = context_at("logs/validators.jsonl", "last")
    assert_within_budget(context._replace(tokens=5692))
    assert_within_budget(context._replace(tokens=5693))
"""
    lines = failures(ran(tests))
    kept = "8,192 less 2,500 kept for the answer"
    assert lines[0].endswith(f"needed 5,692 tokens or fewer ({kept}), found 5,693")
    assert lines[1:4] == [
        "dependencies: 101 of 800", "test results: 445 of 1,300", "current module: 494 of 300",
    ]  # fmt: skip


def test_a_builder_that_counts_too_few_is_found_out(ran: Ran) -> None:
    tests = """
def test_it(replay):
    *_, last = replay("logs/validators.jsonl")
    few = last.context._replace(tokens=1, reserve=8192 - 1000)
    assert_within_budget(few)
    assert_within_budget(last._replace(outcome=few))
"""
    result = ran(tests)
    assert failures(result)[0].endswith("kept for the answer), found 1,548")


def test_a_shared_prefix_is_a_share_of_the_later_prompt(ran: Ran) -> None:
    tests = """
def test_it(replay):
    steps = list(replay("logs/validators.jsonl"))
    assert_prefix_shared(steps[3], at_least=0.47)
    assert_prefix_shared(steps[4], steps[4], at_least=1)
    assert_prefix_shared(steps[4].context, steps[4].context, 1)
    assert_prefix_shared(steps[3].context, steps[2], at_least=0.47)
    for share in (-1, 1.5):
        with pytest.raises(Exception, match="needed a share from 0 to 1"):
            assert_prefix_shared(steps[4], at_least=share)
    assert_prefix_shared(steps[0])  # nothing stands before the first
    with pytest.raises(AssertionError, match="needed a prompt to compare it with"):
        assert_prefix_shared(steps[0].context)
    with pytest.raises(AssertionError, match="the context: needed 80% .* bytes"):
        assert_prefix_shared(steps[4].context, steps[0].context)
    assert_prefix_shared(steps[3], at_least=0.49)
"""
    result = ran(tests)
    assert failures(result)[:6] == [
        "AssertionError: validators@27 code validators.py #2: needed 49% of it to be as in"
        " validators@21 code validators.py #1, found 611 of 1,273 tokens (48%); they part in"
        " current module",
        "validators@21 code validators.py #1 -> validators@27 code validators.py #2:"
        " 835 -> 1,273 tokens of 5,692",
        "the first 611 tokens are the same; they part in current module",
        "task description                      221 ->    230 tokens",
        "current module                          0 ->    214 tokens",
        "recent errors                           0 ->    197 tokens",
    ]


def test_a_stale_summary_is_named_with_what_has_moved_on(ran: Ran) -> None:
    tests = """
def test_it(replay):
    first, *_ = replay("logs/contexts.jsonl")
    assert_no_stale(first)
    known = first.step.known.states.summaries.nodes["module:validators.py"][-1]
    items = tuple(item._replace(text=known.text) if item.node == "module:validators.py" else item
                  for item in first.context.items)
    with pytest.raises(Exception, match="which knows its past"):
        assert_no_stale(first.context)
    assert_no_stale(first._replace(outcome=first.context._replace(items=items)))
"""
    lines = failures(ran(tests, logs="contexts"))
    assert lines[0].endswith("needed no summary that no longer holds, found")
    assert lines[1].startswith("module:validators.py shows the summary of event 30: since then ")


def test_a_prompt_that_is_not_as_it_was_recorded_fails_by_what_differs(ran: Ran) -> None:
    tests = ALL + "def test_it(recorded_step):\n    assert_same_context(recorded_step)\n"
    ran(tests).assert_outcomes(passed=5)
    result = ran(tests, "-k", "45", logs="contexts-builder-2")
    assert failures(result) == [
        "AssertionError: task-def456@45 function:validators.py::validate_email: needed the recorded"
        " prompt, found another one",
        "as recorded -> task-def456@45 function:validators.py::validate_email: 470 -> 467 tokens"
        " of 5,692",
        "the first 165 tokens are the same; they part in current module",
        "task description                       36 ->     32 tokens",
        "system prompt, headings, template     101 ->    102 tokens",
        "~ current module  iteration:validators.py@4  signature, 5 tokens, moved",
        "~ task description  task:task-def456  another text, full, 36 tokens -> full, 32 tokens",
    ]


def test_texts_that_were_masked_cannot_be_compared(ran: Ran, pytester: pytest.Pytester) -> None:
    masked = (
        (LOGS / "validators.jsonl").read_text().replace('"digest": ', '"masked": 2, "digest": ')
    )
    pytester.mkdir("logs").joinpath("masked.jsonl").write_text(masked)
    tests = "def test_it(recorded_step):\n    assert_same_context(recorded_step)\n"
    result = ran(ALL + tests, "-k", "33", logs="")
    [told] = failures(result)
    assert told.endswith("code validators.py #3: 2 of its recorded texts were masked")


GOLDEN = """
def test_it(context_at):
    assert_same_context(context_at("logs/validators.jsonl", "last"), "golden/last.txt")
"""


def test_a_golden_file_is_written_on_request_and_then_holds(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    golden = pytester.path / "golden/last.txt"
    told = failures(ran(GOLDEN))
    assert told == [
        "AssertionError: the context: no file golden/last.txt yet: 'pytest --backcast-update'"
        " writes it"
    ]
    assert not golden.exists()
    ran(GOLDEN, "--backcast-update").assert_outcomes(passed=1)
    head, _, *lines = golden.read_text().splitlines()
    assert head.startswith("1548 tokens, digest ")
    assert lines[0] == "[system]"
    assert "# Task description" in lines
    ran(GOLDEN).assert_outcomes(passed=1)
    assert list(golden.parent.iterdir()) == [golden]


def test_a_prompt_that_left_its_golden_file_fails_by_sections_and_first_lines(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    ran(GOLDEN, "--backcast-update")
    pytester.path.joinpath("mine.toml").write_text('base = "coverage"\nerrors = 1\n')
    told = failures(ran(GOLDEN, "--backcast-policy", "mine.toml"))
    assert told[0] == "AssertionError: the context: not as in golden/last.txt"
    assert told[1].startswith("head: ")
    assert told[2] == "recent errors: 6 -> 4 lines, +0 -2"
    assert told[3:5] == ["--- golden", "+++ now"]
    assert sum(line.startswith("-validators.py: ") for line in told) == 2
    assert len(told) < 30
    golden = pytester.path / "golden/last.txt"
    golden.write_text("other\n" * 500)
    assert failures(ran(GOLDEN))[-1].endswith("lines more")


def test_a_golden_text_of_any_characters_is_kept_as_it_is(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    tests = """
def test_it(context_at):
    context = context_at("logs/validators.jsonl", "last")
    odd = context._replace(messages=(("user", "a\\r\\nb\\x00\\ud800\\x85"),))
    assert_same_context(odd, "odd.txt")
"""
    ran(tests, "--backcast-update").assert_outcomes(passed=1)
    ran(tests).assert_outcomes(passed=1)
    assert b"a\r\nb\x00\xed\xa0\x80\xc2\x85" in pytester.path.joinpath("odd.txt").read_bytes()


# Beside other plugins, and where there is no network


def test_a_frozen_clock_changes_nothing(ran: Ran) -> None:
    tests = """
import freezegun
@pytest.fixture(autouse=True)
def frozen():
    with freezegun.freeze_time("1999-12-31 23:59:59"):
        yield
def test_it(replay):
    for step in replay("logs/validators.jsonl"):
        assert_same_context(step)
"""
    ran(tests, own=True).assert_outcomes(passed=1)


def test_no_network_is_needed(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*told: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    tests = ALL + "def test_it(recorded_step):\n    assert_same_context(recorded_step)\n"
    ran(tests, logs="validators till").assert_outcomes(passed=39)


@pytest.mark.skipif(find_spec("xdist") is None, reason="needs pytest-xdist")
def test_several_processes_give_what_one_does(ran: Ran, pytester: pytest.Pytester) -> None:
    tests = (
        ALL
        + """
def test_it(recorded_step, request):
    assert_same_context(recorded_step, f"golden/{request.node.callspec.id}.txt")
"""
    )
    two = ("-p", "xdist", "-n", "2")
    pytester.mkdir("logs").joinpath("broken.jsonl").write_text("no JSON\n")
    written = ran(tests, *two, "--backcast-update", logs="validators contexts", own=True)
    written.assert_outcomes(passed=10, errors=1)
    assert len(list(pytester.path.glob("golden/*.txt"))) == 10
    ran(tests).assert_outcomes(passed=10, errors=1)


def test_a_run_that_has_nothing_to_do_with_logs_imports_nothing_for_it(
    pytester: pytest.Pytester,
) -> None:
    slow = "'domain', 'numpy', 'scipy', 'pydantic', 'eventsourcing', 'rich', 'sqlite3'"
    pytester.makepyfile(f"""
        import sys
        def test_it():
            assert {PLUGIN!r} in sys.modules
            assert not {{{slow}}} & set(sys.modules)
        """)
    pytester.runpytest_subprocess(*NAMED).assert_outcomes(passed=1)


def test_checks_of_generated_code_are_run_without_it() -> None:
    code = b"""
def test_it(pytestconfig):
    names = [name for name, _ in pytestconfig.pluginmanager.list_name_plugin()]
    assert "backcast" not in names
    assert not [name for name in names if name.startswith("engine.")]
"""
    assert run_checks({"test_it.py": code}, ["test_it.py"]).passed == 1


def test_help_tells_what_there_is_with_examples(pytester: pytest.Pytester) -> None:
    told = pytester.runpytest_inprocess(*NAMED, "--help").stdout
    told.fnmatch_lines(["Backcast: *", "*--backcast-policy=FILE*", "*--backcast-update*"])
    told.fnmatch_lines(["*backcast_policy (string)*", "*backcast_logs (args)*"])
    told = pytester.runpytest_inprocess(*NAMED, "--markers").stdout
    told.fnmatch_lines(
        ['@pytest.mark.backcast_logs("logs", "more/[*].jsonl"): run this test once*']
    )
    shown = str(pytester.runpytest_inprocess(*NAMED, "--fixtures").stdout)
    for name in ("policy", "event_log", "replay", "context_at", "recorded_log", "recorded_step"):
        assert f"\n{name}" in shown
    assert '@pytest.mark.backcast_logs("logs/till.jsonl")' in shown


def test_the_entry_point_names_the_plugin() -> None:
    named = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\nbackcast = "{PLUGIN}"\n' in named
    command = [sys.executable, "-c", f"import {PLUGIN} as one; print(one.MARKER)"]
    assert subprocess.check_output(command, text=True) == "backcast_logs\n"


# How likely a model holds the outcomes

LIKELY = """
@pytest.mark.backcast_logs("logs")
def test_it(recorded_log, replay):
    assert_as_likely(replay(recorded_log))
"""
DEARER = """
from backcast.engine.models.likelihood import LikelihoodReader
@pytest.fixture(autouse=True)
def dearer(monkeypatch):
    read = LikelihoodReader.read
    def changed(self, prompt, *rest):
        found, more = read(self, prompt, *rest), 2.0
        if any("# Recent errors" in run.text for run in prompt.runs):
            more = 0.0
        return found._replace(nats=tuple(one + more for one in found.nats))
    monkeypatch.setattr(LikelihoodReader, "read", changed)
"""
"A model that likes what was written the less where no failure is shown."


def test_without_a_model_nobody_is_asked_whether_outcomes_are_likely(ran: Ran) -> None:
    result = ran(LIKELY, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*needs a model that reads: *--backcast-model llama:FILE, or copy"]
    )


def test_a_policy_that_makes_outcomes_less_likely_fails_by_its_own_rule(
    ran: Ran, pytester: pytest.Pytester
) -> None:
    mine = 'name = "mine"\nerrors = 0\n[regress]\nnats = '
    pytester.path.joinpath("strict.toml").write_text(f"{mine}0.3\n")
    pytester.path.joinpath("mild.toml").write_text(f"{mine}5.0\n")
    model = ("--backcast-model", f"llama:{tiny('mistral')}")
    ran(LIKELY, *model).assert_outcomes(passed=1)
    kept = pytester.path / ".pytest_cache/d/backcast/scores"
    lines = len(kept.read_text().splitlines())
    assert lines == 4, "today's prompts are the recorded ones"
    ran(DEARER + LIKELY, *model, "--backcast-policy", "mild.toml").assert_outcomes(passed=1)
    assert len(kept.read_text().splitlines()) > lines
    result = ran(DEARER + LIKELY, *model, "--backcast-policy", "strict.toml")
    result.assert_outcomes(failed=1)
    first, *others = failures(result)
    assert "4 prompts: outcomes got less likely by" in first
    assert first.endswith("nats per token; 0.3 are allowed")
    assert others
    assert all("nats per token" in line for line in others)


def test_a_step_alone_and_a_limit_of_its_own(ran: Ran) -> None:
    tests = """
from backcast.domain.policy import DEFAULT
from backcast.engine.interfaces.testing import likely
def test_it(replay, monkeypatch):
    read = likely._reader(%r).__class__.read
    calls = []
    def dearer(self, *arguments):
        calls.append(1)
        found = read(self, *arguments)
        return found._replace(nats=tuple(one + 0.5 * len(calls) for one in found.nats))
    monkeypatch.setattr(likely._reader(%r).__class__, "read", dearer)
    fewer = DEFAULT.model_copy(update={"errors": 0})
    steps = list(replay("logs/validators.jsonl", fewer))
    assert_as_likely(steps[3], nats=9)
    with pytest.raises(AssertionError, match="validators@27 code validators.py #2: outcomes got"):
        assert_as_likely(steps[3], nats=0.3)
    with pytest.raises(AssertionError, match=" prompts: outcomes got less likely by") as error:
        assert_as_likely(steps)
    assert "  validators@27 code validators.py #2: " in str(error.value)
    assert_as_likely(steps[0])
"""
    model = f"llama:{tiny('mistral')}"
    result = ran(tests % (model, model), "--backcast-model", model, "-rs", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs a prompt whose outcome is known and can be read"])


@needs_llama
def test_a_model_that_is_none_fails_in_a_line(ran: Ran) -> None:
    result = ran(LIKELY, "--backcast-model", "llama:none.gguf")
    result.assert_outcomes(failed=1)
    assert "none.gguf: needed a GGUF file" in failures(result)[-1]
