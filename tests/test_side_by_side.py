"""Modules that need no other are made side by side: whatever comes first, the run is the same."""

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from immutables import Map

from backcast.domain.call_events import CallSettled
from backcast.domain.errors import ConflictError, ModelError
from backcast.domain.events import (
    ModelFailed,
    ModelReplied,
    SourceRead,
    StepStarted,
    WorkflowEvent,
)
from backcast.domain.spending import Allowance
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.models import Call, Limits
from backcast.engine.replay.steps import steps
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Alternative
from backcast.engine.workflow.spec import Spec, SpecModule, Test
from backcast.engine.workflow.waves import needs_of
from backcast.projections import ALL, fold, progress, spending
from tests.side_by_side import (
    NAMES,
    Double,
    asked_twice,
    came_to,
    checks,
    code,
    fails,
    killed_after,
    mends,
    runtime,
    spec_of,
    waits,
)

TASK = "parts"


def run(model: Double, concurrency: int = 4, spec: Spec | None = None) -> EventStore:
    store = EventStore.open("sqlite://")
    start(store, spec or spec_of())
    assert work(store, TASK, runtime(model, concurrency), checks=checks).status == "complete"
    return store


def facts(store: EventStore, *types: str) -> list[Any]:
    return [event.fact for event in store.read(TASK, types=types)]


def started(store: EventStore) -> list[tuple[str | None, int | None, int | None]]:
    return [(f.module_name, f.iteration, f.attempt) for f in facts(store, "STEP_STARTED")]


# The schedule does not matter


@pytest.fixture(scope="module")
def in_order() -> dict[str, Any]:
    """What a run comes to whose calls are answered in the order of the plan."""
    with run(Double(mends), 1) as alone, run(Double(mends, waits(in_plan_order))) as store:
        parted = came_to(store)
        # The prompts differ, as each module was written without the others at hand.
        assert {**came_to(alone), "prompts": []} == {**parted, "prompts": []}
        assert all(verdict.holds for verdict in verified(store, TASK))
    return parted


def in_plan_order(call: Call) -> float:
    return 0.004 * NAMES.index(call.module[0]) if call.module[0] in NAMES else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_in_whatever_order_answers_come_the_prompts_and_the_code_are_the_same(
    in_order: dict[str, Any], seed: int
) -> None:
    randomly = random.Random(seed)
    delays = {name: randomly.uniform(0, 0.02) for name in (*NAMES, "z")}
    model = Double(mends, waits(lambda call: delays[call.module[0]]))
    with run(model, randomly.randint(2, 10)) as store:
        assert came_to(store) == in_order
    assert model.most > 1


def waves(events: Sequence[WorkflowEvent]) -> list[tuple[int, int]]:
    """The places from which to which answers to calls that run side by side arrive."""
    arrivals = [
        isinstance(e.fact, CallSettled) or (isinstance(e.fact, ModelReplied) and bool(e.fact.call))
        for e in events
    ]
    found, begin = list[tuple[int, int]](), None
    for place, arrives in enumerate([*arrivals, False]):
        if arrives and begin is None:
            begin = place
        elif not arrives and begin is not None:
            found.append((begin, place))
            begin = None
    return found


def rescheduled(events: Sequence[WorkflowEvent], randomly: random.Random) -> list[WorkflowEvent]:
    """The same facts of a wave as they come in another order, at the same places and times."""
    pairs = [list(events[place : place + 2]) for place in range(0, len(events), 2)]
    randomly.shuffle(pairs)
    moved = [event for pair in pairs for event in pair]
    return [
        there._replace(fact=event.fact, writer=event.writer)
        for there, event in zip(events, moved, strict=True)
    ]


def placeless(state: Any) -> Any:
    """A state without the places at which answers came."""
    if not isinstance(state, progress.State):
        return state
    lanes = {
        key: lane._replace(step=lane.step and lane.step._replace(reply=bool(lane.step.reply)))
        for key, lane in state.lanes.items()
    }
    return state._replace(lanes=Map()), lanes


def test_a_thousand_schedules_of_the_same_facts_fold_to_one_state() -> None:
    names = tuple("abcdefgh")
    with run(Double(mends), 8, spec_of(names)) as store:
        events = list(store.read(TASK))
    found = waves(events)
    assert [end - begin for begin, end in found] == [2 * 8, 2 * 3]
    seen, randomly = set[tuple[int | None, ...]](), random.Random(8)
    ends: list[dict[str, Any]] = []
    for begin, end in found:
        before = {one.NAME: fold(one, events[:begin]) for one in ALL}
        ends.append({one.NAME: placeless(fold(one, events[begin:end], before[one.NAME]))
                     for one in ALL})  # fmt: skip
        for _ in range(1_000 if begin == found[0][0] else 50):
            other = rescheduled(events[begin:end], randomly)
            seen.add(tuple(e.fact.call for e in other if isinstance(e.fact, ModelReplied)))
            for one in ALL:
                folded = placeless(fold(one, other, before[one.NAME]))
                assert folded == ends[-1][one.NAME], one.NAME
    assert len(seen) > 900
    whole = {one.NAME: fold(one, events) for one in ALL}
    for _ in range(20):
        log = list(events)
        for begin, end in found:
            log[begin:end] = rescheduled(events[begin:end], randomly)
        assert {one.NAME: fold(one, log) for one in ALL} == whole


def test_what_needs_another_module_waits_for_it_and_the_rest_does_not() -> None:
    tests = [
        Test(path="test_a.py", source="from a import f\n"),
        Test(path="test_c.py", source="import pkg.b\nfrom c import f\n"),
    ]
    modules = [
        SpecModule(path="a.py", purpose="first", tests=("test_a.py",)),
        SpecModule(path="pkg/b.py", purpose="second"),
        SpecModule(path="c.py", purpose="its tests import pkg.b", tests=("test_c.py",)),
        SpecModule(path="d.py", purpose="needs a", dependencies=("a.py",)),
    ]
    spec = Spec(task=TASK, goal="g", modules=tuple(modules), tests=tuple(tests))
    plan = [progress.Planned(m.path, m.purpose, m.dependencies, m.tests) for m in modules]
    needs = {one.path: needs_of(one, plan, spec) for one in plan}
    assert needs == {"a.py": (), "pkg/b.py": (), "c.py": ("pkg/b.py",), "d.py": ("a.py",)}


def test_prompts_of_a_wave_are_built_as_of_its_start_and_show_no_failure_of_another() -> None:
    with run(Double(mends)) as store:
        events = list(store.read(TASK))
        for number, event in enumerate(events):
            fact = event.fact
            if isinstance(fact, StepStarted) and fact.wave:
                assert events[number + 1].fact.data["stood_at"] == fact.wave < event.version
        texts = [
            store.get(item.text).decode()
            for built in facts(store, "CONTEXT_BUILT")
            if (built.query or "").startswith("Mend")
            for item in built.items
            if item.section == "recent errors" and item.text
        ]
        refused = [built for built in facts(store, "CONTEXT_BUILT") if "2nd" in str(built.query)]
    assert all("c_part.py" not in text for text in texts)
    assert refused is not None


def test_what_a_model_asks_to_see_is_told_of_its_own_prompt_and_shown_in_its_next() -> None:
    def looks(call: Call) -> str:
        if call.module == "b_part.py" and call.attempt == 1:
            return "```show\ntest_a.py\n```"
        return code(call.module[0])

    with run(Double(looks)) as store:
        [returned] = facts(store, "TOOL_RETURNED")
        assert returned.nodes == ("module:test_a.py",)
        found = {step.name: (step.opened, step.request.wanted) for step in steps(store, TASK)}
        assert found["code b_part.py #1"][0] == ("module:test_a.py",)
        assert not any(opened for name, (opened, _) in found.items() if name[5] != "b")
        assert "module:test_a.py" in found["code b_part.py #1 attempt 2"][1]
        assert asked_twice(store) == []


def test_another_process_that_writes_meanwhile_stops_the_run_and_ends_its_calls() -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        ended = threading.Event()

        def before(call: Call, limits: Limits) -> None:
            if call.module == "a_part.py":
                store.append(TASK, [SourceRead(path="x.py", source=store.put(b""))],
                             after=store.version(TASK))  # fmt: skip
            else:
                try:
                    waits(lambda call: 30.0)(call, limits)
                except ModelError:
                    ended.set()
                    raise

        with pytest.raises(ConflictError):
            work(store, TASK, runtime(Double(mends, before), 5), checks=checks)
        assert ended.wait(1)


def test_one_call_at_a_time_leaves_no_trace_of_waves() -> None:
    with run(Double(mends), 1) as store:
        assert facts(store, "CALL_SETTLED", "BUDGET_GRANTED") == []
        names = {name for fact in facts(store) for name in fact.data}
    assert not names & {"wave", "call", "reserved"}


# Killed in the middle


@pytest.mark.parametrize("concurrencies", [(4, 10, 2), (4, 1, 1)])
def test_a_run_that_is_killed_after_any_append_of_a_wave_asks_only_what_has_no_answer(
    tmp_path: Path, in_order: dict[str, Any], concurrencies: tuple[int, ...]
) -> None:
    appends = 0
    for first in (3, 9, 10, 11, 12, 13, 14, 16, 17, 24, 26):
        url, number = f"sqlite:///{tmp_path}/{first}.db", first
        with EventStore.open(url) as store:
            start(store, spec_of())
        for leg in range(40):
            if not killed_after(
                url, number, Double(mends, waits(in_plan_order)), concurrencies[leg % 3]
            ):
                break
            number = 3 + (leg + first) % 5
            appends += 1
        with EventStore.open(url) as store:
            # One after the other, the prompts of later modules show earlier ones.
            alone = {"prompts": in_order["prompts"]} if 1 in concurrencies else {}
            assert came_to(store) | alone == in_order
            assert list(check(store)) == []
            assert all(verdict.holds for verdict in verified(store, TASK))
            assert asked_twice(store) == []
    assert appends > 30


# What fails


def test_what_succeeds_beside_a_failed_call_is_kept_and_the_failure_is_told() -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        with pytest.raises(ModelError, match="the server is down"):
            work(store, TASK, runtime(Double(mends, fails("b"))), checks=checks)
        stands = state_at(store, progress, TASK)
        done = [path for path, one in stands.modules.items() if one.status == "complete"]
        assert sorted(done) == ["a_part.py", "c_part.py", "d_part.py", "e_part.py"]
        [failed] = facts(store, "MODEL_FAILED")
        assert (failed.kind, failed.module_name) == ("unavailable", "b_part.py")
        again = Double(mends)
        assert work(store, TASK, runtime(again), checks=checks).status == "complete"
        assert {call.module for call in again.asked} == {"b_part.py", "z_part.py"}
        assert asked_twice(store) == []


@pytest.mark.parametrize("concurrency", [2, 4])
def test_where_every_call_fails_the_run_stops_with_the_first_in_the_plan(concurrency: int) -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        model = Double(mends, fails(*NAMES))
        with pytest.raises(ModelError, match="the server is down"):
            work(store, TASK, runtime(model, concurrency), checks=checks)
        assert len(model.asked) == len(NAMES)
        assert [one.outcome for one in facts(store, "CALL_SETTLED")] == ["failed"] * len(NAMES)
        modules = [one.module_name for one in facts(store, "MODEL_FAILED")]
        assert modules == [f"{name}_part.py" for name in NAMES]


def raises(call: Call, limits: Limits) -> None:
    if call.module == "d_part.py":
        raise ZeroDivisionError("by accident")


def never_returns(call: Call, limits: Limits) -> None:
    if call.module == "d_part.py":
        threading.Event().wait(60)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (raises, "the model raised ZeroDivisionError: by accident"),
        (never_returns, "needed an answer within 0.2 seconds, found none"),
    ],
)
def test_a_call_that_raises_or_never_returns_stops_no_other(before: Any, reason: str) -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of(seconds=0.2))
        with pytest.raises(ModelError, match=reason):
            work(store, TASK, runtime(Double(mends, before)), checks=checks)
        modules = state_at(store, progress, TASK).modules
        done = [path for path in modules if modules[path].status == "complete"]
        assert sorted(done) == ["a_part.py", "b_part.py", "c_part.py", "e_part.py"]


# Budgets


@pytest.mark.parametrize("seed", range(6))
def test_calls_side_by_side_cannot_overspend_a_budget_together(seed: int) -> None:
    randomly = random.Random(seed)
    tokens = randomly.randint(6_000, 22_000)
    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        model = Double(mends, waits(lambda call: randomly.uniform(0, 0.01)))
        budget = Allowance(calls=randomly.randint(3, 12), tokens=tokens)
        for _ in range(2):  # the log holds the budget: going on does not renew it
            with suppress(ModelError):
                work(store, TASK, runtime(model, 4, budget), checks=checks)
        for last in range(1, store.version(TASK) + 1):
            state = fold(spending, store.read(TASK, last=last))
            taken = spending.committed(state)
            assert taken.tokens <= tokens
            assert taken.calls <= (budget.calls or 0)
        assert not len(state.open)
        assert state.spent.calls == len(model.asked)


def test_a_budget_that_does_not_suffice_says_what_was_needed_and_a_larger_one_goes_on() -> None:
    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        with pytest.raises(ModelError, match="needed 1 call for the next call, found 0 left of 2"):
            work(store, TASK, runtime(Double(mends), 4, Allowance(calls=2)), checks=checks)
        assert started(store) == [("a_part.py", 1, 1), ("b_part.py", 1, 1)]
        tokens = Allowance(tokens=3_000)
        with pytest.raises(ModelError, match=r"needed [\d,]+ tokens"):
            work(store, TASK, runtime(Double(mends), 4, tokens), checks=checks)
        more = runtime(Double(mends), 4, Allowance(calls=40, tokens=900_000, seconds=4_000))
        assert work(store, TASK, more, checks=checks).status == "complete"
        assert asked_twice(store) == []
        reserved = [fact.reserved for fact in facts(store, "STEP_STARTED")]
        assert all(one.tokens > 2_500 for one in reserved[2:])


def test_a_call_that_was_cut_by_a_kill_counts_as_all_that_was_set_aside_for_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/cut.db"
    with EventStore.open(url) as store:
        start(store, spec_of())
    budget = Allowance(tokens=90_000)
    assert killed_after(
        url, 9, Double(mends, waits(in_plan_order)), 4, budget
    )  # just as the wave had begun
    with EventStore.open(url) as store:
        cut = state_at(store, spending, TASK)
        assert len(cut.open) == len(NAMES)
        waiting = progress.waiting_for(state_at(store, progress, TASK))
        assert waiting == f"the model, asked by event {min(cut.open)} of the task"
        aside = spending.committed(cut).tokens
        work(store, TASK, runtime(Double(mends), 4), checks=checks)
        after = state_at(store, spending, TASK)
        assert (after.outcomes["cut"], after.outcomes["answered"]) == (5, 9)
        assert after.spent.tokens == aside + 9 * 120


# Stopped


def test_ctrl_c_ends_all_calls_within_a_second_and_keeps_what_was_answered() -> None:
    def before(call: Call, limits: Limits) -> None:
        if call.module[0] in "bd":
            assert limits.cancellation is not None
            limits.cancellation.pause(60)
        if call.module[0] == "e":  # hears nothing, and would answer much later
            threading.Event().wait(60)

    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        timer = threading.Timer(0.8, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            work(store, TASK, runtime(Double(mends, before), 5), checks=checks)
        ended = time.monotonic()
        timer.join()
        assert time.monotonic() - ended < 1
        outcomes = [(one.outcome, one.bound) for one in facts(store, "CALL_SETTLED")]
        assert sorted(outcomes) == [("answered", False)] * 2 + [("cancelled", True)] * 3
        again = Double(mends)
        assert work(store, TASK, runtime(again, 5), checks=checks).status == "complete"
        assert asked_twice(store) == []


def test_an_answer_that_comes_as_its_call_is_cancelled_is_kept() -> None:
    def before(call: Call, limits: Limits) -> None:
        assert limits.cancellation is not None
        if call.module[0] in "bcde":
            while not limits.cancellation.said:
                time.sleep(0.01)
            time.sleep(0.05)

    with EventStore.open("sqlite://") as store:
        start(store, spec_of())
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            work(store, TASK, runtime(Double(mends, before), 5), checks=checks)
        assert len(facts(store, "MODEL_REPLIED")) == 5
        again = Double(lambda call: code(call.module[0]))
        work(store, TASK, runtime(again, 5), checks=checks)
        assert ("a_part.py", 1) not in {(call.module, call.iteration) for call in again.asked}


def test_a_failed_call_is_told_of_its_own_module_only() -> None:
    with run(Double(mends)) as store:
        [refused] = facts(store, "ANSWER_REFUSED")
        assert refused.module_name == "c_part.py"
        assert not [one for one in facts(store) if isinstance(one, ModelFailed)]


# Alternatives


def test_the_first_answer_that_can_be_used_wins_and_the_log_says_which() -> None:
    slow = Double(mends, waits(lambda call: 20.0))
    odd = Double(lambda call: "I would rather not.")
    quick = Double(lambda call: code(call.module[0]), waits(lambda call: 0.1))
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("ab"))
        racing = runtime(slow, 20)._replace(alternatives=(Alternative(odd), Alternative(quick)))
        began = time.monotonic()
        assert work(store, TASK, racing, checks=checks).status == "complete"
        assert time.monotonic() - began < 15
        ends = {call: list[str]() for call in ("None", "1", "2")}
        alternative = dict[int, str]()
        for event in store.read(TASK):
            if isinstance(event.fact, StepStarted):
                alternative[event.version] = str(event.fact.alternative)
            elif isinstance(event.fact, CallSettled):
                ends[alternative[event.fact.call]].append(str(event.fact.outcome))
                assert bool(event.fact.answer) == (event.fact.outcome == "lost")
        assert ends == {"None": ["cancelled"] * 3, "1": ["lost"] * 3, "2": ["won"] * 3}
        replies = facts(store, "MODEL_REPLIED")
        assert [alternative[reply.call] for reply in replies] == ["2"] * 3
        assert facts(store, "ANSWER_REFUSED", "MODEL_FAILED") == []
        assert all(verdict.holds for verdict in verified(store, TASK))
        assert not len(state_at(store, spending, TASK).open)


def test_where_no_alternative_can_be_used_the_answer_is_refused_and_asked_for_anew() -> None:
    odd, down = Double(lambda call: "No."), Double(mends, fails(*NAMES, "z"))
    with EventStore.open("sqlite://") as store:
        start(store, spec_of("a", repairs=0, iterations=1))
        racing = runtime(odd, 4)._replace(alternatives=(Alternative(down),))
        assert work(store, TASK, racing, checks=checks).status == "failed"
        assert [one.outcome for one in facts(store, "CALL_SETTLED")] == ["won", "failed"]
        [refused] = facts(store, "ANSWER_REFUSED")
        assert refused.call is not None
