"""What a model is asked, and when it thinks before it answers."""

import pytest

from backcast.domain.budget import QWEN3_8B_32K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import StepStarted
from backcast.domain.policy import DEFAULT, Policy, Thinking
from backcast.engine.log import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.requests import limits_for, request_of, schema_for
from backcast.engine.workflow.runtime import open_runtime
from backcast.engine.workflow.spec import Spec, Test, spec_at
from backcast.projections import progress
from tests.recordings import FIXTURES

SPEC = Spec(task="t", goal="g", tests=(Test(path="test_a.py", source="import a"),))
PLAN = (
    progress.Planned("a.py", "the first", tests=("test_a.py",)),
    progress.Planned("b.py", "the second", ("a.py",)),
    progress.Planned("far.py", "needs many", ("a.py", "b.py", "c.py", "d.py")),
)
STATE = progress.State(status="generating", planned=PLAN)


@pytest.mark.parametrize(
    ("action", "tokens"),
    [
        (AskModel("plan"), 0),
        (AskModel("summary", "module:far.py", 9), 0),
        (AskModel("code", "a.py", 1), 0),
        (AskModel("code", "a.py", 2), 0),
        (AskModel("code", "a.py", 3), 500),
        (AskModel("code", "far.py", 1), 500),
    ],
)
def test_a_model_thinks_about_code_that_failed_or_needs_much(action: AskModel, tokens: int) -> None:
    assert limits_for(action, STATE, SPEC, DEFAULT, 1000).thinking == tokens


def test_when_a_model_thinks_is_a_matter_of_policy() -> None:
    always = Policy(thinking=Thinking(always=True, share=0.25))
    never = Policy(thinking=Thinking(share=0))
    first, hard = AskModel("code", "a.py", 1), AskModel("code", "far.py", 9)
    assert limits_for(first, STATE, SPEC, always, 1000).thinking == 250
    assert limits_for(hard, STATE, SPEC, never, 1000).thinking == 0


def test_a_request_tells_of_the_modules_around_and_shows_their_tests() -> None:
    request = request_of(AskModel("code", "b.py", 1), STATE, SPEC)
    assert "- a.py: the first" in request.query
    assert "- far.py: needs many (needs a.py, b.py, c.py, d.py)" in request.query
    assert request.needs == ("a.py",)
    assert request.wanted == ("module:b.py", "module:test_a.py")
    assert schema_for(AskModel("code", "b.py", 1), SPEC) is None


def test_prompts_for_a_model_that_thinks_end_otherwise_and_are_derived_again() -> None:
    if not tokenizer_of(QWEN3_8B_32K.tokenizer).exact:
        pytest.skip("the vocabulary of Qwen2 is not here: scripts/llama fetches it")
    recorded = f"answers:{FIXTURES / 'logs/validators.jsonl'}"
    model = open_runtime(recorded, "validators", QWEN3_8B_32K,
                   Policy(thinking=Thinking(always=True)))  # fmt: skip
    with EventStore.open("sqlite://") as store:
        start(store, spec_at(FIXTURES / "specs/validators.toml"))
        assert work(store, "validators", model).status == "complete"
        facts = [event.fact for event in store.read("validators")]
        kinds = [fact.kind for fact in facts if isinstance(fact, StepStarted)]
        built = [fact.template for fact in facts if isinstance(fact, ContextBuilt)]
        assert list(zip(kinds, built, strict=True)) == [
            ("plan", "qwen3"), *[("code", "chatml")] * 4,
        ]  # fmt: skip
        assert all(verdict.holds for verdict in verified(store, "validators"))
