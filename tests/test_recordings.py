"""Recorded runs are run again from their answers, and come to the same in each step."""

import json
from collections.abc import Iterator

import pytest

from backcast.domain.budget import QWEN3_8B_32K
from backcast.domain.errors import ModelError
from backcast.domain.events import PolicyUsed
from backcast.domain.moment import NOW
from backcast.domain.node import path_of
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.history.staleness import stale
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import used_before
from tests.recordings import NAMES, Again, Log, answers, log_of, run_again, spec_of

each = pytest.mark.parametrize("name", NAMES)
ANEW = [("module", ""), ("function", "::to_cents"), ("function", "::to_text")]


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Again]]:
    """Every recorded run, run again; once, since its checks take seconds."""
    found = {name: run_again(name) for name in NAMES}
    yield found
    for again in found.values():
        again.recorded.store.close()
        again.now.store.close()


@pytest.fixture
def till(runs: dict[str, Again]) -> Log:
    return runs["till"].now


def mended(till: Log) -> int:
    """The version of the event by which the first module became another one."""
    made = [one for one in till.events("MODULE_ITERATION") if one.fact.module_name == "money.py"]
    return int(made[1].version)


# Of every recorded run


@each
def test_the_note_before_a_log_says_that_its_answers_were_written_by_hand(name: str) -> None:
    with log_of(name).open(encoding="utf-8") as lines:
        assert "written by hand" in json.loads(next(lines))["note"]


@each
def test_a_recorded_run_completes_with_the_same_code(name: str, runs: dict[str, Again]) -> None:
    recorded, now, _ = runs[name]
    assert now.status() == recorded.status() == "complete"
    assert now.code() == recorded.code()


@each
def test_a_recorded_run_takes_the_same_steps(name: str, runs: dict[str, Again]) -> None:
    recorded, now = runs[name].recorded.events(), runs[name].now.events()
    assert [event.type for event in now] == [event.type for event in recorded]


@each
def test_a_recorded_run_asks_the_same_prompts(name: str, runs: dict[str, Again]) -> None:
    recorded, now = (one.facts("CONTEXT_BUILT") for one in runs[name][:2])
    assert [built.digest for built in now] == [built.digest for built in recorded]


@each
def test_a_recorded_run_asks_no_model_and_no_network(name: str, runs: dict[str, Again]) -> None:
    recorded, now = (one.facts("MODEL_REPLIED") for one in runs[name][:2])
    assert [reply.text for reply in now] == [reply.text for reply in recorded]
    assert {reply.model for reply in now} == {"written-by-hand"}
    assert not runs[name].connected


@each
def test_tokens_are_recorded_as_they_were_predicted(name: str, runs: dict[str, Again]) -> None:
    for log in runs[name][:2]:
        predicted = [reply.predicted_tokens for reply in log.facts("MODEL_REPLIED")]
        assert predicted == [built.tokens for built in log.facts("CONTEXT_BUILT")]
        told = [reply.prompt_tokens for reply in log.facts("MODEL_REPLIED")]
        assert all(one in (None, other) for one, other in zip(told, predicted, strict=True))


@each
def test_every_context_of_a_recorded_run_verifies(name: str, runs: dict[str, Again]) -> None:
    for log in runs[name][:2]:
        verdicts = list(verified(log.store, log.task))
        assert len(verdicts) == len(log.facts("CONTEXT_BUILT"))
        assert [one for one in verdicts if not one.holds] == []


# The till: six modules, of which the first is mended when all are written


def test_the_till_has_met_each_way_in_which_an_answer_is_refused(till: Log) -> None:
    told = [refused.reason for refused in till.facts("ANSWER_REFUSED")]
    ways = ("without a cycle", "inputs: field required", "found 2", "was cut off after 2500")
    assert [way in reason for way, reason in zip(ways, told, strict=True)] == [True] * 4


def test_after_a_refused_answer_comes_another_attempt_that_is_told_why(till: Log) -> None:
    for event in till.events("ANSWER_REFUSED"):
        asked = [one for one in till.events("STEP_STARTED") if one.version < event.version]
        before, after = asked[-1].fact, till.after(event.version, "STEP_STARTED")
        again = {"attempt": before.attempt + 1, "runner": after.runner}
        assert after == before.model_copy(update=again)
        prompt = till.prompt(till.after(event.version, "CONTEXT_BUILT"))
        assert f"# Recent errors\n\n{event.fact.reason}\n" in prompt


def test_a_reason_is_told_once(till: Log) -> None:
    for event in till.events("ANSWER_REFUSED"):
        prompts = [till.prompt(built) for built in till.facts("CONTEXT_BUILT")]
        assert sum(event.fact.reason in prompt for prompt in prompts) == 1


def test_what_was_asked_for_is_in_full_in_the_next_prompt_and_not_in_the_one_after(
    till: Log,
) -> None:
    [shown] = till.events("TOOL_RETURNED")
    built = till.events("CONTEXT_BUILT")
    place = next(n for n, one in enumerate(built) if one.version > shown.version)
    assert shown.fact.nodes == (
        "test:test_orders.py::test_what_is_no_item_is_refused",
        "module:orders.py",
    )
    for node in shown.fact.nodes:
        levels = [
            [item.level for item in one.fact.items if item.node == node]
            for one in built[place - 1 : place + 2]
        ]
        assert levels == [[], ["full"], []]


def test_an_iteration_that_failed_its_tests_is_mended_by_the_next(till: Log) -> None:
    made = [one for one in till.facts("MODULE_ITERATION") if one.module_name == "orders.py"]
    assert [(one.iteration, one.score) for one in made] == [(1, 0.8333), (2, 1.0)]


def test_the_module_in_which_the_whole_fails_is_mended_though_its_own_tests_passed(
    till: Log,
) -> None:
    failed, passed = [one for one in till.events("CHECKS_RAN") if one.fact.module_name is None]
    [failure] = failed.fact.failures
    step = till.after(failed.version, "STEP_STARTED")
    assert (step.kind, step.module_name, step.iteration) == ("code", "money.py", 2)
    prompt = till.prompt(till.after(failed.version, "CONTEXT_BUILT"))
    assert f"{failure.name} ({failure.at}): {failure.message}" in prompt
    assert "What the whole till has to do." in prompt
    assert (passed.fact.passed, passed.fact.failed) == (20, 0)


def test_what_was_told_of_what_has_changed_in_the_mended_module_is_asked_anew(till: Log) -> None:
    told = [one for one in till.events("SUMMARY_WRITTEN") if "money.py" in one.fact.node]
    again = {one.fact.node for one in told if one.version > mended(till)}
    assert again == {f"{kind}:money.py{name}" for kind, name in ANEW}
    assert {one.fact.node for one in told} - again == {"function:money.py::share"}


def test_summaries_of_what_uses_the_changed_functions_are_stale_and_no_others(till: Log) -> None:
    found = {one.node: str(one) for one in stale(till.store, till.task, NOW)}
    assert list(found) == [
        "function:orders.py::read_line",
        "function:receipt.py::receipt",
        "module:orders.py",
        "module:receipt.py",
    ]
    for node, proof in found.items():
        way = f"path {path_of(node)} -> money.py"
        assert proof.endswith(f" stale since event {mended(till)}: money.py=2, {way}")


# Other prompts than the recorded ones


@pytest.mark.parametrize(
    ("name", "policy"), [("validators", Policy(errors=0)), ("till", Policy(keep=False))]
)
def test_under_another_policy_a_run_completes_and_tells_the_first_difference_once(
    name: str, policy: Policy, runs: dict[str, Again], caplog: pytest.LogCaptureFixture
) -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of(name))
        now, before = Log(store, name), runs[name].now
        assert work(*now, answers(name, policy, strict=False)).status == "complete"
        digests = [[built.digest for built in log.facts("CONTEXT_BUILT")] for log in (now, before)]
        same = [one == other for one, other in zip(*digests, strict=True)]
        step = now.facts("STEP_STARTED")[same.index(False)]
        assert now.code() == before.code()
    messages = (record.getMessage() for record in caplog.records)
    [told] = [message for message in messages if "the prompt of" in message]
    what = f"{step.kind} {step.module_name}, iteration {step.iteration}, attempt {step.attempt}"
    assert f"the prompt of {what} is not the recorded one:\n--- recorded\n+++ now\n@@" in told


def test_a_strict_run_stops_at_the_first_difference_and_loses_nothing(
    runs: dict[str, Again], caplog: pytest.LogCaptureFixture
) -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("validators"))
        now, before = Log(store, "validators"), runs["validators"].now
        with pytest.raises(ModelError, match="is not the recorded one") as stopped:
            work(*now, answers("validators", Policy(errors=0), strict=True))
        *events, failed = now.events()
        assert [one.type for one in events] == [one.type for one in before.events()[: len(events)]]
        assert (failed.fact.reason, failed.fact.kind) == (str(stopped.value), "refused")
        resumed = work(*now, answers("validators", Policy(errors=0), strict=False))
        assert now.events()[: len(events) + 1] == [*events, failed]
        assert (resumed.status, now.code()) == ("complete", before.code())
    assert len(caplog.records) == 1


def test_how_a_task_was_run_is_known_though_its_policy_is_of_another_version() -> None:
    policy = Blob(b'{"setting": "of another version"}')
    profile = Blob(json.dumps(QWEN3_8B_32K._asdict()).encode())
    used = PolicyUsed(policy=policy.ref, profile=profile.ref, model="recorded:a", out="out")
    with EventStore.open("sqlite://") as store:
        store.append("t", [used], after=0, blobs=[policy, profile])
        assert used_before(store, "t") == ("answers:a", QWEN3_8B_32K, DEFAULT, "out")
