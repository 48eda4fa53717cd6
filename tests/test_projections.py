"""What the first projections say, told as stories; and vector clocks against brute force."""

from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.clock import VectorClock
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    Fact,
    ModelReplied,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    ModuleStarted,
    PlanningComplete,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.projections import fold, progress, versions
from tests.strategies import NOON, iteration, logs

clocks = st.dictionaries(st.sampled_from("abc"), st.integers(0, 4)).map(VectorClock.of)


def log(*told: Fact | tuple[str, Fact] | tuple[str, Fact, tuple[int, ...]]) -> list[WorkflowEvent]:
    """Events from facts, each alone or with its writer and causes, a minute apart."""
    events = []
    for n, item in enumerate(told, 1):
        writer, fact, *because = item if isinstance(item, tuple) else ("ann", item)
        time = NOON + timedelta(minutes=n)
        causes = because[0] if because else ()
        events.append(WorkflowEvent(n, "task", n, fact, time, time, writer, causes))
    return events


def test_progress_spans_the_times_of_all_events_whatever_their_order_in_the_log() -> None:
    events = log(TaskStarted(), iteration("a.py", 1), iteration("a.py", 2))
    late_edit = events[2]._replace(timestamp=NOON - timedelta(days=9))
    state = fold(progress, [*events[:2], late_edit])
    assert (state.started_at, state.last_at) == (late_edit.timestamp, events[1].timestamp)


def test_progress_tells_status_goal_modules_and_what_is_waited_for() -> None:
    state = fold(
        progress,
        log(
            TaskStarted(goal="validate e-mail"),
            PlanningComplete(),
            ModuleStarted(module_name="a.py"),
            iteration("a.py", 1, score=0.4),
            iteration("a.py", 2, score=0.9),
            ModuleComplete(module_name="a.py"),
            ContextBuilt(),
        ),
    )
    assert (state.status, state.goal, state.events) == ("generating", "validate e-mail", 7)
    assert state.modules["a.py"] == progress.ModuleProgress(2, 0.9, "complete")
    assert progress.waiting_for(state) == "the model, asked by event 7 of the task"


def test_a_task_that_ended_waits_for_nothing() -> None:
    complete = fold(progress, log(TaskStarted(), TaskComplete()))
    failed = fold(progress, log(TaskStarted(), TaskFailed(reason="no tests passed")))
    assert (complete.status, progress.waiting_for(complete)) == ("complete", "")
    assert (failed.status, failed.reason) == ("failed", "no tests passed")


def test_a_history_says_how_many_commits_it_has_and_of_which_days() -> None:
    later = NOON + timedelta(days=2)
    assert progress.history_words(1, NOON, NOON) == "a history of 1 commit, 2026-11-20; no run"
    found = progress.history_words(1_200, NOON, later)
    assert found == "a history of 1,200 commits, 2026-11-20 to 2026-11-22; no run"


def test_what_a_module_holds_can_be_summed_up_again_after_its_next_iteration() -> None:
    events: list[Fact] = [iteration("a.py", 1)]
    for node in ("module:a.py", "function:a.py::f", "module:ab.py"):
        events.append(StepStarted(kind="summary", module_name=node))
        events += [ModelReplied(), SummaryWritten(node=node)]
    assert len(fold(progress, log(*events)).tries) == 3
    after = fold(progress, log(*events, iteration("a.py", 2)))
    assert dict(after.tries) == {"summary:module:ab.py": 1}


def test_a_tool_call_is_open_until_its_answer_comes() -> None:
    called = log(ModelReplied(), ToolCalled(tool="bash", call_id="1"), ToolCalled(tool="edit"))
    state = fold(progress, called)
    assert progress.waiting_for(state) == "tool bash, called by event 2 of the task"
    answered = fold(progress, log(*[e.fact for e in called], ToolReturned(call_id="1")))
    assert progress.waiting_for(answered) == "tool edit, called by event 3 of the task"


def test_an_answer_without_an_id_answers_its_cause_or_else_the_oldest_call() -> None:
    calls = (ToolCalled(tool="first"), ToolCalled(tool="second"))
    by_cause = fold(progress, log(*calls, ("ann", ToolReturned(), (2,))))
    oldest = fold(progress, log(*calls, ToolReturned()))
    assert [call.tool for call in by_cause.calls.values()] == ["first"]
    assert [call.tool for call in oldest.calls.values()] == ["second"]


def test_the_latest_version_of_a_module_names_its_writer_time_and_source() -> None:
    source = "blob:" + "1" * 64
    state = fold(versions, log(iteration("a.py", 1), ("bob", iteration("a.py", 2, source=source))))
    head = versions.latest(state)["a.py"]
    assert (head.iteration, head.writer, head.source) == (2, "bob", source)
    assert head.timestamp == NOON + timedelta(minutes=2)
    assert head.clock == VectorClock.of({"ann": 1, "bob": 1})


def test_a_deleted_module_is_gone_and_may_come_back() -> None:
    gone = log(iteration("a.py", 1), ModuleDeleted(module_name="a.py"))
    assert versions.latest(fold(versions, gone)) == {}
    back = log(*[e.fact for e in gone], iteration("a.py", 2))
    assert versions.latest(fold(versions, back))["a.py"].clock == VectorClock.of({"ann": 3})


def test_a_renamed_module_carries_its_clock_to_the_new_name() -> None:
    renamed = ModuleRenamed(module_name="b.py", previous_name="a.py", iteration=2)
    state = fold(versions, log(("bob", iteration("a.py", 1)), ("ann", renamed)))
    assert list(versions.latest(state)) == ["b.py"]
    assert versions.latest(state)["b.py"].clock == VectorClock.of({"ann": 1, "bob": 1})


def test_iterations_whose_writers_did_not_know_of_each_other_are_a_conflict() -> None:
    events = log(
        ("ann", TaskStarted()),
        ("ann", iteration("a.py", 1), (1,)),
        ("bob", iteration("a.py", 1), (1,)),
    )
    state = fold(versions, events)
    [(name, concurrent)] = versions.conflicts(state).items()
    assert (name, {head.writer for head in concurrent}) == ("a.py", {"ann", "bob"})
    assert concurrent[0].clock.concurrent(concurrent[1].clock)
    assert [head.writer for head in concurrent] == ["ann", "bob"]
    assert versions.latest(state)["a.py"].writer == "bob", "the head that was recorded last"


def test_an_iteration_by_somebody_who_knows_both_ends_the_conflict() -> None:
    events = log(
        ("ann", TaskStarted()),
        ("ann", iteration("a.py", 1), (1,)),
        ("bob", iteration("a.py", 1), (1,)),
        ("cy", iteration("a.py", 2), (2, 3)),
    )
    state = fold(versions, events)
    assert versions.conflicts(state) == {}
    assert versions.latest(state)["a.py"].clock == VectorClock.of({"ann": 1, "bob": 1, "cy": 1})
    assert state.line == 4


@settings(max_examples=150)
@given(log=logs(kinds=(ModuleIteration, ModuleIteration, ModuleDeleted, ModelReplied), max_size=16))
def test_heads_and_their_clocks_are_those_that_brute_force_finds(
    log: list[WorkflowEvent],
) -> None:
    known: dict[int, set[int]] = {}
    expected: dict[str, set[int]] = {}
    last_by: dict[str, int] = {}
    changes = defaultdict[str, list[tuple[int, str]]](list)
    for event in log:
        causes = event.because or tuple(range(1, event.version))
        direct = {*causes, *([last_by[event.writer]] if event.writer in last_by else [])}
        known[event.version] = direct.union(*(known[cause] for cause in direct))
        last_by[event.writer] = event.version
        if isinstance(event.fact, ModuleIteration | ModuleDeleted):
            name = event.fact.module_name
            unseen = expected.get(name, set()) - known[event.version]
            expected[name] = unseen | {event.version}
            changes[name].append((event.version, event.writer))
    state = fold(versions, log)
    for name, versions_left in expected.items():
        found = state.modules[name]
        assert {head.version for head in found} == versions_left
        for head in found:
            knew = known[head.version] | {head.version}
            steps = Counter(writer for version, writer in changes[name] if version in knew)
            assert VectorClock.of(steps).dominates(head.clock), "and nothing that it did not know"
            assert head.clock.steps(head.writer) == steps[head.writer]


def test_the_state_stays_small_however_often_writers_did_not_know_of_each_other() -> None:
    told = [("ann" if n % 2 else "bob", ModelReplied(), (n // 3 + 1,)) for n in range(1, 2000)]
    state = fold(versions, log(*told))
    assert 0 < len(state.events) <= versions.HORIZON


@given(log=logs(kinds=(ModuleIteration, ModuleDeleted)))
def test_concurrent_heads_have_concurrent_clocks(log: list[WorkflowEvent]) -> None:
    for concurrent in versions.conflicts(fold(versions, log)).values():
        for n, one in enumerate(concurrent):
            assert all(one.clock.concurrent(other.clock) for other in concurrent[n + 1 :])


@given(clocks, clocks, clocks)
def test_merging_clocks_gives_the_least_that_dominates_both(
    a: VectorClock, b: VectorClock, c: VectorClock
) -> None:
    merged = a.merge(b)
    assert merged.dominates(a)
    assert merged.dominates(b)
    assert merged == b.merge(a)
    assert a.merge(a) == a
    assert merged.merge(c) == a.merge(b.merge(c))
    if c.dominates(a) and c.dominates(b):
        assert c.dominates(merged)


@given(clocks, st.sampled_from("abc"))
def test_a_step_makes_a_clock_later(clock: VectorClock, writer: str) -> None:
    later = clock.tick(writer)
    assert later.dominates(clock)
    assert not clock.dominates(later)
    assert later.steps(writer) == clock.steps(writer) + 1


@given(clocks, clocks)
def test_two_clocks_are_equal_ordered_or_concurrent(a: VectorClock, b: VectorClock) -> None:
    assert [a == b, a.dominates(b) and a != b, b.dominates(a) and a != b, a.concurrent(b)].count(
        True
    ) == 1


def test_a_clock_counts_no_negative_steps() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        VectorClock.of({"ann": -1})
