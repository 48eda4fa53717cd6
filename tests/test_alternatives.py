"""Alternatives by another policy's prompt, and answers of the log that are used again."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import StepStarted, WorkflowEvent
from backcast.domain.spending import Allowance
from backcast.engine.context.policies import policy_named
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.call_tree import calls_of
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.fsck import check
from backcast.engine.models import Call
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Alternative, Runtime
from backcast.projections import calls, spending
from tests.side_by_side import Double, checks, code, fails, mends, runtime, spec_of, waits

TASK = "parts"
OTHER = policy_named("coverage")
PLAIN = policy_named("no-cache")
REF = Blob(OTHER.body).ref


def quick(call: Call) -> str:
    return code(call.module[0])


def racing(first: Double, other: Double, concurrency: int = 4, **settings: Any) -> Runtime:
    given = runtime(first, concurrency)._replace(alternatives=(Alternative(other, OTHER),))
    return given._replace(**settings)


def built(store: EventStore) -> dict[int, ContextBuilt]:
    return {event.version: event.fact for event in store.read(TASK, types=["CONTEXT_BUILT"])
            if isinstance(event.fact, ContextBuilt)}  # fmt: skip


# By another policy


@pytest.mark.parametrize("concurrency", [1, 4])
def test_another_policy_asks_by_a_prompt_of_its_own_and_both_are_rebuilt(concurrency: int) -> None:
    slow, other = Double(mends, waits(lambda call: 20.0)), Double(quick)
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("ab"))
        given = racing(slow, other, concurrency)
        assert work(store, TASK, given, checks=checks).status == "complete"
        prompts = built(store)
        own = [fact for fact in prompts.values() if fact.policy != REF]
        theirs = [fact for fact in prompts.values() if fact.policy == REF]
        assert len(own) == len(theirs) == 3
        assert {fact.digest for fact in own}.isdisjoint(fact.digest for fact in theirs)
        assert [call.digest for call in slow.asked] != [call.digest for call in other.asked]
        assert {call.digest for call in other.asked} == {fact.digest for fact in theirs}
        verdicts = list(verified(store, TASK))
        assert len(verdicts) == 6
        assert all(verdict.holds for verdict in verdicts)
        assert sum(verdict.name.endswith("alternative 1") for verdict in verdicts) == 3
        outcomes = [call.outcome for call in calls_of(store.read(TASK))]
        assert sorted(outcomes) == ["cancelled"] * 3 + ["won"] * 3
        kinds = calls.by_kind(state_at(store, calls, TASK))
        assert dict(kinds[0].outcomes) == {"answered": 3, "cancelled": 3}
        assert not len(state_at(store, spending, TASK).open)


def test_the_first_policy_goes_on_where_the_other_s_call_fails() -> None:
    first, down = Double(quick), Double(mends, fails("a", "z"))
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("a"))
        assert work(store, TASK, racing(first, down), checks=checks).status == "complete"
        assert [call.outcome for call in calls_of(store.read(TASK))].count("won") == 2
        assert all(verdict.holds for verdict in verified(store, TASK))


@pytest.mark.parametrize("appends", [1, 2, 4])
def test_a_race_that_was_cut_off_is_run_again_with_both_prompts(
    tmp_path: Path, appends: int
) -> None:
    url = f"sqlite:///{tmp_path}/race.db"
    with EventStore.open(url) as store:
        start(store, spec_of("ab"))
    if not (child := os.fork()):
        since = list[object]()

        def watch(events: Sequence[WorkflowEvent]) -> None:
            if since or any(isinstance(event.fact, StepStarted) for event in events):
                since.append(events)
            if len(since) == appends:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with EventStore.open(url) as store:
                given = racing(Double(mends, waits(lambda call: 20.0)), Double(quick))
                work(store, TASK, given, watch, checks=checks)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with EventStore.open(url) as store:
        before = built(store)
        assert before
        first, other = Double(mends, waits(lambda call: 20.0)), Double(quick)
        assert work(store, TASK, racing(first, other), checks=checks).status == "complete"
        prompts = [(fact.target, fact.policy) for fact in built(store).values()]
        assert len(prompts) == len(set(prompts)) == 6  # none was built twice
        assert {version: built(store)[version] for version in before} == before
        assert list(check(store)) == []
        assert all(verdict.holds for verdict in verified(store, TASK))


# Answers that the log has


class Told(Double):
    """A double that says who it is, so that its answers can be used again."""

    identity = "double at temperature 0"
    greedy = True


def done(
    store: EventStore, model: Double, task: str, reuse: str = "greedy", **settings: Any
) -> Any:
    spec = spec_of("ab").model_copy(update={"task": task})
    start(store, spec)
    # By default a task is shown what others left, so that its prompts are other ones.
    settings = {"policy": PLAIN, **settings}
    given = runtime(model, settings.pop("concurrency", 4))._replace(reuse=reuse, **settings)
    return work(store, task, given, checks=checks).status


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_equal_question_is_answered_by_the_log_and_costs_nothing(concurrency: int) -> None:
    with EventStore.open("sqlite://") as store:
        first = Told(quick)
        done(store, first, "first", concurrency=concurrency)
        assert len(first.asked) == 3  # there is nothing to use again yet
        again = Told(quick)
        budget = Allowance(calls=1, tokens=10)
        given: Any = {"concurrency": concurrency, "budget": budget}
        assert done(store, again, "second", **given) == "complete"
        assert again.asked == []
        replies: list[Any] = [one.fact for one in store.read("second", types=["MODEL_REPLIED"])]
        before: list[Any] = list(store.read("first", types=["MODEL_REPLIED"]))
        assert [(one.answer_of.task, one.answer_of.version) for one in replies] == [
            ("first", event.version) for event in before
        ]
        assert [one.text for one in replies] == [event.fact.text for event in before]
        spent = state_at(store, spending, "second")
        assert (spent.spent.calls, spent.spent.tokens, len(spent.open)) == (0, 0, 0)
        [kind] = calls.by_kind(state_at(store, calls, "second"))
        assert (dict(kind.outcomes), kind.prompt, kind.answer) == ({"reused": 3}, 0, 0)
        reasons = [call.reason for call in calls_of(store.read("second"))]
        assert reasons[0] == f"the answer of task first, event {before[0].version}"
        assert list(check(store)) == []
        assert all(verdict.holds for verdict in verified(store, "second"))


@pytest.mark.parametrize(
    ("changes", "reuse", "asked"),
    [
        ({}, "", 3),
        ({}, "greedy", 0),
        ({"identity": "another model"}, "greedy", 3),
        ({"identity": "double at temperature 0.7", "greedy": False}, "greedy", 3),
        ({"identity": "double at temperature 0.7", "greedy": False}, "drawn", 3),
        ({"greedy": False}, "greedy", 3),
        ({"greedy": False}, "drawn", 0),
        ({"identity": ""}, "drawn", 3),
    ],
)
def test_no_answer_of_another_model_or_temperature_is_ever_used(
    changes: dict[str, Any], reuse: str, asked: int
) -> None:
    with EventStore.open("sqlite://") as store:
        done(store, Told(quick), "first")
        model = Told(quick)
        for name, value in changes.items():
            setattr(model, name, value)
        assert done(store, model, "second", reuse) == "complete"
        assert len(model.asked) == asked


def test_another_prompt_or_limit_is_another_question_and_a_cut_answer_is_none() -> None:
    with EventStore.open("sqlite://") as store:
        done(store, Told(quick), "first")
        model, changed = Told(quick), {"task": "third", "goal": "Write other parts"}
        start(store, spec_of("ab").model_copy(update=changed))
        given = runtime(model)._replace(reuse="drawn", policy=PLAIN)
        work(store, "third", given, checks=checks)
        assert len(model.asked) == 3
        model = Told(quick)
        profile = runtime(model).profile
        rows = {**profile.rows, "generation": profile.generation - 1}
        done(store, model, "fourth", "drawn", profile=profile._replace(rows=rows))
        assert len(model.asked) == 3


def test_calls_that_the_budget_does_not_suffice_for_stop_the_run_after_known_ones() -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("a", last="b").model_copy(update={"task": "small"}))
        work(store, "small", runtime(Told(quick)), checks=checks)
        model = Told(quick)
        with pytest.raises(ModelError, match="the budget does not suffice: needed"):
            done(store, model, "second", budget=Allowance(tokens=10))
        assert model.asked == []
