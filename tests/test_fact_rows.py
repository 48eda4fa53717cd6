"""Facts in prompts: a row where the policy asks for it, within its tokens, and rebuilt."""

import pytest

from backcast.domain.context import Context
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    TaskStarted,
    WorkflowEvent,
)
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.fact_rows import retrieved, row_text
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.history.facts_known import FactsKnown
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import states_at
from backcast.engine.replay.verify import verified
from backcast.projections import facts
from tests.sources import Task
from tests.test_knowledge import QWEN, REQUEST, at_work, row

FACTS = Policy(**{**DEFAULT.model_dump(), "facts": 200})


def built(task: Task, policy: Policy) -> Context:
    return context_at(task.store, task.id, NOW, REQUEST, QWEN, policy)


def failing() -> Task:
    task = at_work()
    failure = CheckFailure(
        name="tests/test_a.py::test_1", message="price_1_1 gave 2", at="shop/a.py:3"
    )
    task.happened(ChecksRan(passed=9, failed=1, failures=(failure,)))
    return task


def test_no_prompt_without_such_a_policy_folds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    task = failing()
    folded: list[int] = []
    evolve = facts.evolve

    def noted(state: facts.State, event: WorkflowEvent) -> facts.State:
        folded.append(event.version)
        return evolve(state, event)

    monkeypatch.setattr(facts, "evolve", noted)
    assert row(built(task, DEFAULT), "facts:") == ""
    assert folded == []
    assert row(built(task, FACTS), "facts:") != ""
    assert folded != []


def test_the_setting_is_no_part_of_the_digest_of_a_policy_that_shows_none() -> None:
    assert b"facts" not in DEFAULT.body
    assert FACTS.digest != DEFAULT.digest
    assert Policy.model_validate_json(FACTS.body).facts == 200


def test_a_row_has_facts_about_the_target_within_its_tokens_and_names_its_events() -> None:
    task = failing()
    text = row(built(task, FACTS), "facts:")
    assert "function:shop/a.py::price_1_1 raises: PriceError; doc: " in text
    assert "test:tests/test_a.py::test_1 verdict: failed, shop/a.py:3: price_1_1 gave 2" in text
    [item] = [item for item in built(task, FACTS).items if item.node == "facts:"]
    assert item.tokens <= 200
    versions = {event.version for event in task.store.read(task.id)}
    assert set(item.because) <= versions
    assert item.because


def test_a_prompt_with_facts_is_rebuilt_and_derived_the_same() -> None:
    task = failing()
    record_context(task.store, task.id, NOW, REQUEST, QWEN, FACTS)
    task.wrote("shop/a.py", "def price_1_1(of): return 1\n")
    task.outlined()
    [verdict] = verified(task.store, task.id)
    assert (verdict.rebuilt.verdict, verdict.derived.verdict) == ("same", "same")


def test_a_follower_knows_the_facts_of_every_moment() -> None:
    task = failing()
    follower = TaskFollower(task.store, task.id)
    last = task.store.version(task.id)
    for version in (2, last // 2, last):
        follower.read_on(version)
        known = follower.states.facts
        assert known is not None
        fresh = FactsKnown(task.id, version, None, task.store)
        assert known.holding() == fresh.holding()
    assert known == states_at(task.store, task.id, NOW).facts


def test_what_does_not_fit_is_left_out_whole() -> None:
    task = Task("t")
    task.happened(TaskStarted(goal="Count all the words of a text."))
    known = states_at(task.store, task.id, NOW).facts
    assert known is not None
    chosen = retrieved(known.holding(), "goal", 9, lambda text: len(text.split()))
    assert row_text(chosen) == "task:t goal: Count all the words of a text."
    assert retrieved(known.holding(), "goal", 8, lambda text: len(text.split())) != chosen
