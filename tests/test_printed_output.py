"""What a failing suite printed reaches the prompt of the step that mends it, as extracts."""

import pytest

from backcast.domain.budget import MISTRAL_7B_8K, QWEN3_8B_32K, ModelProfile
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    ChecksRan,
    Claim,
    Fact,
    ModuleIteration,
    ModuleStarted,
    TaskStarted,
)
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.results import ActionResult, checks_ran
from backcast.engine.workflow.sandbox.run import run_checks

TILL = """
class TillError(Exception):
    pass


def take(coins, count):
    for number, coin in enumerate(coins):
        print(f"coin {number:04d} of {len(coins)} was {coin} cents, put into drawer {number % 7}")
    if count > len(coins):
        raise TillError(f"the till has {len(coins)} coins, {count} were asked for")
    return coins[:count]
"""
TESTS = """
import pytest
from till import take


@pytest.mark.parametrize("count", range(8))
def test_take(count):
    print("before taking", count)
    assert len(take([5] * 130, count + 124)) == count + 124
"""


def recorded(store: EventStore, profile: ModelProfile, policy: Policy = DEFAULT) -> ContextBuilt:
    """Record the prompt that mends the till; return its fact."""
    ask = Request("module:till.py", "Mend the module till.py so that its tests pass.")
    record_context(store, "till", NOW, ask, profile, policy)
    [*_, last] = store.read("till", types=["CONTEXT_BUILT"])
    assert isinstance(last.fact, ContextBuilt)
    return last.fact


@pytest.fixture(scope="module")
def suite() -> ActionResult:
    """The result of a suite that has failed in the sandbox, and printed much."""
    files = {"till.py": TILL.encode(), "test_till.py": TESTS.encode()}
    return checks_ran(run_checks(files, ["test_till.py"]), "till.py")


@pytest.fixture
def failed(suite: ActionResult) -> EventStore:
    """A task in which that suite ran last."""
    source = Blob(TILL.encode())
    facts = [
        TaskStarted(goal="A till that gives coins."), ModuleStarted(module_name="till.py"),
        ModuleIteration(module_name="till.py", iteration=1, score=0.9, source=source.ref),
        *suite.facts,
    ]  # fmt: skip
    store = EventStore.open("sqlite://")
    claims = [Claim(fact) for fact in facts if isinstance(fact, Fact)]
    store.append("till", claims, after=0, blobs=[source, *suite.blobs])
    return store


@pytest.mark.parametrize("model", [MISTRAL_7B_8K, QWEN3_8B_32K])
def test_what_a_failing_suite_printed_is_shown_as_extracts_that_name_the_whole(
    failed: EventStore, model: ModelProfile
) -> None:
    [ran] = [e.fact for e in failed.read("till") if isinstance(e.fact, ChecksRan)]
    assert ran.output is not None
    fact = recorded(failed, model._replace(tokenizer="upper-bound"))
    [shown] = [item for item in fact.items if item.node == "output:4"]
    assert (shown.section, shown.level) == ("recent errors", "part")
    assert shown.compressed is not None
    assert shown.compressed.whole == ran.output
    assert shown.compressed.before > 5_000 > 2_000 >= shown.compressed.tokens
    text = failed.get(str(shown.text)).decode()
    assert "till.py:10: in take" in text
    assert "E   till.TillError: the till has 130 coins, 131 were asked for" in text
    assert "FAILED test_till.py::test_take[7]" in text
    assert f"'backcast cat {ran.output[:17]}' prints it whole" in text
    # What goes on alike is shown a few times, however much room there is.
    assert 3 < text.count("cents, put into drawer") < 20
    assert failed.get(ran.output).decode().count("cents, put into drawer") == 8 * 130


def test_prompts_with_extracts_are_rebuilt_and_derived_to_the_byte(failed: EventStore) -> None:
    recorded(failed, QWEN3_8B_32K._replace(tokenizer="upper-bound"))
    verdicts = list(verified(failed, "till"))
    assert verdicts
    assert [str(verdict) for verdict in verdicts if not verdict.holds] == []


def test_a_policy_from_before_outputs_were_shown_shows_none(failed: EventStore) -> None:
    before = DEFAULT.model_copy(update={"outputs": False})
    assert b"outputs" not in before.body
    for policy in (before, DEFAULT.model_copy(update={"errors": 0}), COVERAGE):
        fact = recorded(failed, QWEN3_8B_32K._replace(tokenizer="upper-bound"), policy)
        assert not [item for item in fact.items if item.node.startswith("output:")]
        assert all(item.compressed is None for item in fact.items)


@pytest.mark.parametrize(
    ("tokens", "policy"),
    [(1_300, DEFAULT), (900, DEFAULT.model_copy(update={"lookup": None}))],
    ids=["beside the whole module", "beside its lines"],
)
def test_where_little_room_is_left_fewer_lines_are_shown(
    failed: EventStore, tokens: int, policy: Policy
) -> None:
    small = QWEN3_8B_32K._replace(tokenizer="upper-bound").with_context(tokens)
    fact = recorded(failed, small, policy)
    [shown] = [item for item in fact.items if item.node == "output:4"]
    assert shown.compressed is not None
    # What must stay has by itself most of a quarter of 2,000 tokens, as bytes bound them.
    assert shown.compressed.tokens < 700
    assert "E   till.TillError: the till has 130 coins" in failed.get(str(shown.text)).decode()


def test_once_the_checks_pass_their_output_is_shown_no_more(failed: EventStore) -> None:
    passed = ChecksRan(passed=8, failed=0, module_name="till.py")
    failed.append("till", [Claim(passed)], after=failed.version("till"))
    fact = recorded(failed, QWEN3_8B_32K._replace(tokenizer="upper-bound"))
    assert not [item for item in fact.items if item.node.startswith("output:")]
