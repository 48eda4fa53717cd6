"""What is in hand, what finished tasks left, how both are looked up; and their laws."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map
from pydantic import ValidationError

from backcast.domain.cache import Held, LookUp, LookUpPolicy, look_up, names_of, youngest
from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.events import (
    ChecksRan,
    Fact,
    ModelFailed,
    ModelReplied,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    ModuleStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import PlanLearned, SummaryWritten
from backcast.domain.moment import Moment, upto
from backcast.domain.shown_nodes import SHOWN, TOKENS
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.state_json import dump, load
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.projections import fold, offline_cache, online_cache
from tests.strategies import (
    NODES,
    NOON,
    each_of,
    facts,
    iteration,
    json_values,
    times,
)

LOGS = Path(__file__).parents[1] / "fixtures/logs"
EMAIL = "function:validators.py::validate_email"
NONE = "TypeError: expected string or bytes-like object, got 'NoneType'"
CACHES = [online_cache, offline_cache]
both = pytest.mark.parametrize("cache", CACHES, ids=lambda c: c.NAME)
each = each_of(CACHES)


@pytest.fixture(scope="module")
def store() -> Iterator[EventStore]:
    """Two tasks that complete, and a third that fails between them."""
    with EventStore.open("sqlite://") as opened:
        report = run(opened, "events", LOGS / "caches.jsonl")
        assert report.skipped == []
        yield opened


def told(*facts: Fact, task: str = "task", after: int = 0) -> list[WorkflowEvent]:
    """The events of a task, a minute apart, behind as many events of others."""
    return [
        WorkflowEvent(
            after + n, task, n, fact, NOON + timedelta(minutes=n), NOON + timedelta(minutes=n),
            "ann", (),
        )
        for n, fact in enumerate(facts, 1)
    ]  # fmt: skip


def in_hand(*facts: Fact) -> online_cache.State:
    state = fold(online_cache, told(*facts))
    assert isinstance(state, online_cache.State)
    return state


def left_by(*facts: Fact) -> offline_cache.State:
    state = fold(offline_cache, told(*facts))
    assert isinstance(state, offline_cache.State)
    return state


def failing(message: str, module: str | None = None, *, passed: int = 0, name: str = "") -> Fact:
    """A run in which one check failed."""
    failures = [{"name": name or f"test_{len(message)}", "message": message}]
    return ChecksRan.model_validate(
        {"passed": passed, "failed": 1, "module_name": module, "failures": failures}
    )


def passing(module: str | None = None) -> Fact:
    return ChecksRan.model_validate({"passed": 3, "failed": 0, "module_name": module})


def shown(*nodes: str, found: str = "made") -> ContextBuilt:
    return ContextBuilt(items=tuple(ContextItem(node=node, found=found) for node in nodes))


def of_kind(state: online_cache.State, kind: str) -> list[str]:
    return [e.text or e.id for e in online_cache.working_set(state) if e.kind == kind]


# What is in hand


def test_the_goal_the_module_and_what_failed_last_come_first(store: EventStore) -> None:
    state = state_at(store, online_cache, "task-email", Moment(position=6))
    first = online_cache.working_set(state)[:3]
    assert {entry.priority for entry in first} == {"CRITICAL"}
    assert [entry.text for entry in first] == [
        "validate e-mail addresses",
        "validators.py",
        "validators.py: test_a_domain_has_a_dot:"
        " AssertionError: validate_email('ann@home') is True",
    ]


def test_then_come_checks_refinements_iterations_and_what_was_shown(store: EventStore) -> None:
    state = state_at(store, online_cache, "task-phone", Moment(position=30))
    assert [(entry.id, entry.priority) for entry in online_cache.working_set(state)] == [
        ("task:task-phone", "CRITICAL"),
        ("module:scratch.py", "CRITICAL"),
        ("checks@10", "HIGH"),
        ("module:phone.py", "HIGH"),
        ("iteration@9", "HIGH"),
        (EMAIL, "MEDIUM"),
        ("library:phonenumbers", "MEDIUM"),
        ("failure@6.1", "LOW"),
    ]


def test_a_failure_is_critical_until_the_same_has_been_tried_again() -> None:
    broken = [iteration("a.py"), failing("no", "a.py"), iteration("b.py"), passing("b.py")]
    assert online_cache.working_set(in_hand(*broken))[1].text == "a.py: test_2: no"
    mended = online_cache.working_set(in_hand(*broken, passing("a.py")))
    assert [e.priority for e in mended if e.kind == "failure"] == ["LOW"]
    assert in_hand(failing("no"), passing()).failures[0].over


def test_a_check_that_could_not_run_is_a_failure_told_with_its_place() -> None:
    told = {"name": "test_a", "message": "no such name", "at": "a.py:7", "kind": "error"}
    ran = ChecksRan.model_validate({"passed": 1, "failed": 0, "errors": 1, "failures": [told]})
    state = in_hand(ran)
    [failure] = state.failures
    assert (failure.name, failure.message, failure.place) == ("test_a", "no such name", "a.py:7")
    assert state.checks is not None
    assert (state.checks.passed, state.checks.failed) == (1, 1)


def test_failures_of_checks_tools_models_and_the_task_are_kept_newest_first() -> None:
    state = in_hand(
        ChecksRan(passed=1, failed=2),
        ToolReturned(tool="bash", failed=True),
        ToolReturned(tool="edit", failed=False),
        ModelFailed(reason="too long"),
        TaskFailed(reason="gave up"),
    )
    assert [(f.kind, f.at, f.message) for f in state.failures] == [
        ("task", "", "gave up"),
        ("model", "", "too long"),
        ("tool", "bash", ""),
        ("checks", "", ""),
    ]
    assert of_kind(state, "failure") == ["gave up", "too long", "bash", "checks failed"]


def test_a_model_that_answers_again_is_no_failure_any_more() -> None:
    assert not in_hand(ModelFailed(reason="busy")).failures[0].over
    assert in_hand(ModelFailed(reason="busy"), ModelReplied()).failures[0].over


def test_a_module_is_pending_until_it_is_complete_and_again_when_its_checks_fail() -> None:
    started = [ModuleStarted(module_name="a.py"), iteration("a.py")]
    assert online_cache.pending(in_hand(*started)) == ["a.py"]
    done = [*started, passing("a.py"), ModuleComplete(module_name="a.py")]
    assert online_cache.pending(in_hand(*done)) == []
    assert online_cache.pending(in_hand(*done, failing("no", "a.py"))) == ["a.py"]
    assert online_cache.pending(in_hand(*done, failing("no", "a.py"), passing())) == []


def test_checks_that_name_no_module_are_those_of_the_module_that_is_worked_on() -> None:
    assert online_cache.pending(in_hand(iteration("a.py"), failing("no"))) == ["a.py"]
    assert online_cache.pending(in_hand(failing("no"))) == []


def test_a_run_in_which_nothing_ran_says_nothing() -> None:
    before = in_hand(iteration("a.py"), failing("no", "a.py"))
    nothing = ChecksRan.model_validate({"passed": 0, "failed": 0, "module_name": "a.py"})
    after = in_hand(iteration("a.py"), failing("no", "a.py"), nothing)
    assert after == before


def test_the_last_iterations_of_a_module_outlast_work_on_another_one() -> None:
    with EventStore.open("sqlite://") as opened:
        run(opened, "events", LOGS / "addresses.jsonl")
        state = state_at(opened, online_cache, "task-abc123", Moment(position=11))
    assert state.module == "validators.py"
    assert [one.iteration for one in online_cache.iterations(state)] == [3, 2, 1]
    more = in_hand(*(iteration("a.py", n) for n in range(1, 9)))
    assert [one.iteration for one in online_cache.iterations(more)] == [8, 7, 6]


def test_a_complete_task_has_nothing_in_hand_but_its_goal(store: EventStore) -> None:
    state = state_at(store, online_cache, "task-phone")
    assert [entry.kind for entry in online_cache.working_set(state)] == ["task"]
    assert state.counters == online_cache.Counters(online=2, offline=1, promotions=1, misses=1)


def test_a_task_that_failed_keeps_what_it_had_in_hand(store: EventStore) -> None:
    state = state_at(store, online_cache, "task-web")
    assert online_cache.pending(state) == ["web.py"]
    assert [failure.kind for failure in state.failures] == ["task", "model", "checks"]


def test_a_deleted_module_is_not_in_hand_nor_what_is_in_it() -> None:
    work = [iteration("a.py"), shown("function:a.py::f", "module:b.py", "library:a.py")]
    state = in_hand(*work, ModuleDeleted(module_name="a.py"))
    assert (state.module, list(state.modules)) == ("", [])
    assert sorted(state.shown) == ["library:a.py", "module:b.py"]
    assert state.counters.evictions == 0


def test_a_renamed_module_is_in_hand_under_its_new_name_with_its_past() -> None:
    renamed = ModuleRenamed(module_name="b.py", previous_name="a.py", iteration=2)
    started = [ModuleStarted(module_name="a.py"), iteration("a.py"), failing("no", "a.py")]
    state = in_hand(*started, renamed)
    assert (state.module, state.iteration, online_cache.pending(state)) == ("b.py", 2, ["b.py"])
    assert [one.iteration for one in online_cache.iterations(state)] == [2, 1]
    assert in_hand(*started, renamed, passing("b.py")).failures[0].over


def test_a_node_shown_twice_in_one_context_counts_once() -> None:
    context = shown("module:a.py", "module:a.py", found="offline")
    assert in_hand(context).counters == online_cache.Counters(offline=1, promotions=1)


def test_an_offline_hit_of_what_is_in_hand_already_is_no_promotion() -> None:
    state = in_hand(shown("module:a.py"), shown("module:a.py", "module:b.py", found="offline"))
    assert state.counters == online_cache.Counters(offline=2, promotions=1, misses=1)


def test_of_too_many_nodes_those_shown_longest_ago_are_dropped_and_counted() -> None:
    names = [f"function:a.py::f{n:03}" for n in range(SHOWN + 2)]
    state = in_hand(shown(*names[:-2]), shown(names[1], found="online"), shown(*names[-2:]))
    assert sorted(state.shown) == [names[1], *names[3:]]
    assert state.counters == online_cache.Counters(online=1, misses=len(names), evictions=2)


def sized(*items: tuple[str, int, str], **more: object) -> ContextBuilt:
    """A prompt with items as node, tokens and section."""
    return ContextBuilt(
        items=tuple(
            ContextItem(node=node, tokens=tokens, section=section, found="made")
            for node, tokens, section in items
        ),
        **more,
    )


PATTERNS, NEEDS = "historical patterns", "dependencies"


def test_more_tokens_than_its_limit_are_never_in_hand_and_the_lowest_priority_goes_first() -> None:
    first = sized(("task:old", 3_000, PATTERNS), ("module:a.py", 3_000, NEEDS))
    second = sized(("task:new", 1_000, PATTERNS), ("module:b.py", 3_000, NEEDS))
    state = in_hand(first, second)
    assert sorted(state.shown) == ["module:a.py", "module:b.py", "task:new"]
    assert (state.limit, online_cache.tokens_held(state)) == (TOKENS, 7_000)
    assert (state.counters.evictions, state.counters.misses) == (1, 4)
    # A target comes before what it needs; what an earlier prompt showed is no more than MEDIUM.
    third = sized(("module:c.py", 2_000, "current module"), target="module:c.py")
    entries = online_cache.working_set(in_hand(first, second, third))
    assert [(one.id, one.priority, one.tokens) for one in entries] == [
        ("module:c.py", "CRITICAL", 2_000),
        ("module:b.py", "MEDIUM", 3_000),
        ("module:a.py", "MEDIUM", 3_000),
    ]


def test_what_somebody_asked_to_see_goes_last() -> None:
    asked = sized(("task:old", 3_000, PATTERNS), wanted=("task:old",))
    others = [sized((f"module:{name}.py", 3_000, NEEDS)) for name in "abc"]
    state = in_hand(asked, *others)
    assert sorted(state.shown) == ["module:c.py", "task:old"]
    pins = {one.id: one.pinned for one in online_cache.working_set(state)}
    assert pins == {"module:c.py": False, "task:old": True}
    assert "task:old" in in_hand(asked, *others, sized(("task:old", 10, PATTERNS))).shown
    assert in_hand(asked, *others, TaskComplete()).shown == Map()


def test_a_prompt_with_more_tokens_than_that_is_in_hand_whole() -> None:
    wide = sized(*((f"module:{n}.py", 5_000, NEEDS) for n in range(4)))
    state = in_hand(wide, sized(("module:x.py", 1, PATTERNS)))
    assert (state.limit, online_cache.tokens_held(state)) == (20_000, 20_000)
    assert "module:x.py" not in state.shown  # the lowest of all


def test_a_long_message_is_kept_by_whole_lines() -> None:
    reason = "\n".join(f"line {n}" for n in range(1_000))
    [failure] = in_hand(ModelFailed(reason=reason)).failures
    assert len(failure.message) <= 1_000
    assert reason.startswith(failure.message + "\n")
    assert in_hand(ModelFailed(reason="x" * 5_000)).failures[0].message == "x" * 999 + "…"


# What finished tasks left


def test_a_task_leaves_nothing_before_it_is_complete(store: EventStore) -> None:
    before = fold(offline_cache, store.read(moment=Moment(position=15)))
    after = fold(offline_cache, store.read(moment=Moment(position=16)))
    assert (offline_cache.nodes_left(before), offline_cache.finished(before)) == ([], [])
    assert [left.node for left in offline_cache.nodes_left(after)] == [
        EMAIL,
        "module:validators.py",
        "task:task-email",
    ]


def test_the_tasks_that_ended_are_told_latest_first(store: EventStore) -> None:
    told = offline_cache.finished(fold(offline_cache, store.read()))
    assert [(one.task, one.outcome, one.modules, one.passed, one.failed) for one in told] == [
        ("task-phone", "complete", ("phones.py",), 3, 0),
        ("task-web", "failed", ("web.py",), 0, 1),
        ("task-email", "complete", ("validators.py",), 3, 0),
    ]


def test_what_did_not_work_is_kept_as_such(store: EventStore) -> None:
    state = fold(offline_cache, store.read())
    [failed] = [one for one in offline_cache.finished(state) if one.outcome == "failed"]
    assert failed.reason == "no iteration passed"
    assert [failure.name for failure in failed.failing] == ["test_a_scheme_is_needed"]
    assert "task-web" not in {left.task for left in offline_cache.nodes_left(state)}


def test_a_solution_is_a_problem_a_summary_and_where_its_code_stands(store: EventStore) -> None:
    solution = offline_cache.historical_solutions(fold(offline_cache, store.read()))[1]
    assert solution.problem == "validate e-mail addresses"
    assert solution.summary == "A pattern that wants one @ and a dot in the domain."
    assert solution.references == ("storage://task-email/validators.py",)
    assert [module.text for module in solution.code] == [
        "Validation of e-mail addresses by one pattern."
    ]


def test_a_library_is_what_is_imported_and_neither_standard_nor_own(store: EventStore) -> None:
    [library] = offline_cache.library_knowledge(fold(offline_cache, store.read()))
    assert library == offline_cache.Library(
        "phonenumbers",
        "Parses and validates telephone numbers of all countries.",
        ("storage://task-phone/phones.py",),
    )
    imports = {"imports": ("os.path", ".near", "own.b", "numpy.linalg"), "standard": ("os",)}
    state = left_by(
        iteration("src/own/a.py"),
        ModuleOutlined(module_name="src/own/a.py", set=imports),
        TaskComplete(),
    )
    assert [one.name for one in offline_cache.library_knowledge(state)] == ["numpy"]


def test_an_outline_told_as_a_difference_changes_what_it_names_and_no_more() -> None:
    first, second = "blob:" + "1" * 64, "blob:" + "2" * 64
    whole = {"sig:f": ("function", "()"), "sig:C": ("class", ""), "imports": ("numpy",)}
    step = ModuleOutlined(
        module_name="a.py",
        source=second,
        base=first,
        set={"sig:g": ("test", "()")},
        gone=("sig:f",),
    )
    outlined = ModuleOutlined(module_name="a.py", source=first, set=whole)
    state = left_by(iteration("a.py"), outlined, step, TaskComplete())
    nodes = [left.node for left in offline_cache.nodes_left(state)]
    assert nodes == ["class:a.py::C", "module:a.py", "task:task", "test:a.py::g"]
    assert [one.name for one in offline_cache.library_knowledge(state)] == ["numpy"]
    unknown = left_by(iteration("a.py"), step, TaskComplete())
    assert [left.kind for left in offline_cache.nodes_left(unknown)] == ["module", "task"]


def test_what_was_mended_is_paired_with_the_iteration_that_mended_it(store: EventStore) -> None:
    fixes = offline_cache.fixes(fold(offline_cache, store.read(moment=Moment(position=16))))
    assert [(fix.message, fix.module, fix.iteration, fix.position) for fix in fixes] == [
        (NONE, "validators.py", 2, 8),
        ("AssertionError: validate_email('ann@home') is True", "validators.py", 2, 8),
    ]
    source = next(e for e in store.read() if e.position == 8).fact
    assert isinstance(source, ModuleIteration)
    assert {fix.source for fix in fixes} == {source.source}


def test_the_iteration_of_the_checked_module_mends_not_that_of_another(store: EventStore) -> None:
    [fix] = [
        fix
        for fix in offline_cache.fixes(fold(offline_cache, store.read()))
        if fix.task == "task-phone"
    ]
    assert (fix.module, fix.iteration) == ("phone.py", 2)


def test_checks_that_pass_without_an_iteration_mend_nothing() -> None:
    flaky = left_by(iteration("a.py"), failing("no"), passing(), TaskComplete())
    assert (offline_cache.fixes(flaky), offline_cache.finished(flaky)[0].failing) == ([], ())


def test_checks_of_another_module_mend_nothing_here() -> None:
    work = [iteration("a.py"), failing("no", "a.py"), iteration("a.py", 2), passing("b.py")]
    assert offline_cache.fixes(left_by(*work, TaskComplete())) == []
    assert len(offline_cache.fixes(left_by(*work, passing("a.py"), TaskComplete()))) == 1


def test_what_still_fails_is_not_mended_and_what_no_longer_does_is() -> None:
    failures = [{"name": "a", "message": "no a"}, {"name": "b", "message": "no b"}]
    two = ChecksRan.model_validate({"passed": 1, "failed": 2, "failures": failures})
    one = ChecksRan.model_validate({"passed": 2, "failed": 1, "failures": failures[1:]})
    state = left_by(iteration("a.py"), two, iteration("a.py", 2), one, TaskComplete())
    assert [fix.message for fix in offline_cache.fixes(state)] == ["no a"]
    assert [failure.name for failure in offline_cache.finished(state)[0].failing] == ["b"]


def test_a_run_that_does_not_tell_what_failed_mends_nothing() -> None:
    silent = ChecksRan(passed=2, failed=1)
    work = [iteration("a.py"), failing("no"), iteration("a.py", 2), silent]
    assert offline_cache.fixes(left_by(*work, TaskComplete())) == []
    assert len(offline_cache.fixes(left_by(*work, passing(), TaskComplete()))) == 1


def test_a_complete_module_of_a_task_that_goes_on_is_unfinished_work_that_no_prompt_sees() -> None:
    begun = [TaskStarted(goal="sort"), iteration("a.py"), iteration("b.py")]
    done = [*begun, ModuleComplete(module_name="a.py")]
    state = left_by(*done)
    assert offline_cache.unfinished(left_by(*begun)) == []
    assert [(one.module, one.goal) for one in offline_cache.unfinished(state)] == [("a.py", "sort")]
    assert (offline_cache.nodes_left(state), offline_cache.finished(state)) == ([], [])
    for more in (iteration("a.py", 2), ModuleDeleted(module_name="a.py"), TaskFailed()):
        assert offline_cache.unfinished(left_by(*done, more)) == []
    ended = left_by(*done, TaskComplete(), passing())
    assert offline_cache.unfinished(ended) == []
    assert [one.task for one in offline_cache.finished(ended)] == ["task"]
    mended = [iteration("b.py", 2), ModuleComplete(module_name="b.py")]
    on = left_by(*done, TaskComplete(), *mended)
    assert [(one.module, one.iteration) for one in offline_cache.unfinished(on)] == [("b.py", 2)]
    again = left_by(*done, TaskComplete(), *mended, TaskFailed(), iteration("c.py"))
    assert offline_cache.unfinished(again) == [], "and of what failed since, no more"


def test_a_plan_keeps_its_text_or_all_that_it_states(store: EventStore) -> None:
    [plan] = offline_cache.plans(fold(offline_cache, store.read()))
    assert (plan.name, plan.task) == ("validation", "task-email")
    assert plan.text == "Begin with the pattern, then ask what nothing at all should give."
    learned = PlanLearned.model_validate({"steps": ["b", "a"], "intent": "sort"})
    state = left_by(learned, TaskComplete())
    assert offline_cache.plans(state)[0].text == '{"intent": "sort", "steps": ["b", "a"]}'


def test_deleted_and_renamed_modules_are_not_left(store: EventStore) -> None:
    state = fold(offline_cache, store.read())
    nodes = [left.node for left in offline_cache.nodes_left(state) if left.task == "task-phone"]
    assert [node for node in nodes if node.startswith("module:")] == ["module:phones.py"]
    written = SummaryWritten(node="function:a.py::f", text="It adds.")
    gone = left_by(iteration("a.py"), written, ModuleDeleted(module_name="a.py"), TaskComplete())
    assert [left.kind for left in offline_cache.nodes_left(gone)] == ["task"]


def test_a_summary_of_what_is_not_there_at_the_end_is_not_left() -> None:
    outlined = ModuleOutlined(
        module_name="a.py", source="blob:" + "0" * 64, set={"sig:g": ("function", "()")}
    )
    nodes = ["function:a.py::f", "function:a.py::g", "module:gone.py", "task:other", "concept:RFC"]
    written = [SummaryWritten(node=node, text="It adds.") for node in nodes]
    state = left_by(iteration("a.py"), outlined, *written, TaskComplete())
    assert [left.node for left in offline_cache.nodes_left(state) if left.text] == [
        "concept:RFC",
        "function:a.py::g",
    ]


def test_a_task_that_goes_on_leaves_more_when_it_completes_again() -> None:
    done = [TaskStarted(goal="add"), iteration("a.py"), TaskComplete()]
    going_on = [*done, iteration("b.py"), ModuleDeleted(module_name="a.py")]
    modules = [offline_cache.finished(left_by(*going_on))[0].modules]
    modules.append(offline_cache.finished(left_by(*going_on, TaskComplete()))[0].modules)
    assert modules == [("a.py",), ("b.py",)]


def test_what_is_written_about_a_task_after_its_end_adds_to_what_it_left() -> None:
    late = SummaryWritten(node="module:a.py", text="It adds.")
    state = left_by(iteration("a.py"), TaskComplete(), late, PlanLearned(text="Add."))
    assert [left.text for left in offline_cache.nodes_left(state)] == ["It adds.", ""]
    assert [plan.text for plan in offline_cache.plans(state)] == ["Add."]
    assert (state.complete["task"].version, len(state.running)) == (2, 0)


def test_a_failed_task_that_completes_later_did_work() -> None:
    failed = [iteration("a.py"), failing("no"), TaskFailed(reason="no")]
    mended = [*failed, iteration("a.py", 2), passing(), TaskComplete()]
    assert offline_cache.nodes_left(left_by(*failed)) == []
    [task] = offline_cache.finished(left_by(*mended))
    assert (task.outcome, task.reason, task.failing) == ("complete", None, ())
    assert len(offline_cache.fixes(left_by(*mended))) == 1


def test_a_complete_task_that_fails_later_keeps_what_it_left() -> None:
    state = left_by(iteration("a.py"), TaskComplete(), iteration("b.py"), TaskFailed())
    assert [left.node for left in offline_cache.nodes_left(state)] == ["module:a.py", "task:task"]
    assert [one.outcome for one in offline_cache.finished(state)] == ["failed"]


# Looking up


ONLINE = [Held("function:a.py::f"), Held("module:b.py")]
OFFLINE = [
    Held("function:old.py::f", "one"),
    Held("task:one", "one", ("enable 2FA",)),
    Held("module:b.py", "one"),
    Held("module:c.py", "one"),
    Held("module:c.py", "earlier"),
]


def hits(found: LookUp) -> list[tuple[str, str, str]]:
    return [(hit.node, hit.found, hit.by) for hit in found.hits]


def test_what_is_found_online_is_not_looked_for_offline() -> None:
    found = look_up(["f", "module:b.py"], ONLINE, OFFLINE, LookUpPolicy(enough=2))
    assert hits(found) == [
        ("function:a.py::f", "online", "name"),
        ("module:b.py", "online", "name"),
    ]
    assert found.misses == ()


def test_a_name_that_online_lacks_is_looked_for_offline_even_where_there_is_enough() -> None:
    found = look_up(["f", "c.py", "g"], ONLINE, OFFLINE, LookUpPolicy(enough=1))
    assert hits(found) == [
        ("function:a.py::f", "online", "name"),
        ("module:c.py", "offline", "name"),
    ]
    assert (found.hits[1].task, found.misses) == ("one", ("g",))


def test_with_too_few_hits_offline_is_asked_for_the_same_names() -> None:
    found = look_up(["f"], ONLINE, OFFLINE, LookUpPolicy(enough=2))
    assert [hit.node for hit in found.hits] == ["function:a.py::f", "function:old.py::f"]


def test_then_neighbours_are_offered_and_then_what_is_similar() -> None:
    near = {"function:a.py::f": ["module:gone.py", "module:c.py", "module:b.py", "task:one"]}
    policy = LookUpPolicy(enough=5, neighbours=2, similar=1)
    similar = ["module:gone.py", "module:c.py", "task:one", "function:old.py::f"]
    found = look_up(
        ["function:a.py::f"], ONLINE, OFFLINE, policy, lambda node: near.get(node, ()), similar
    )
    assert hits(found) == [
        ("function:a.py::f", "online", "name"),
        ("module:c.py", "offline", "graph"),
        ("module:b.py", "online", "graph"),
        ("task:one", "offline", "meaning"),
    ]


def test_nothing_is_offered_where_the_names_suffice() -> None:
    policy, near = LookUpPolicy(enough=1), ["module:b.py"]
    found = look_up(["f"], ONLINE, OFFLINE, policy, lambda node: near, ["task:one"])
    assert hits(found) == [("function:a.py::f", "online", "name")]


def test_of_several_nodes_with_one_id_the_first_counts() -> None:
    twice = [Held("module:c.py", "late"), Held("module:c.py", "early")]
    for online, offline in (([], twice), (twice, [])):
        [hit] = look_up(["c.py"], online, offline, LookUpPolicy(enough=9)).hits
        assert hit.task == "late"
    [hit] = look_up([], [], twice, LookUpPolicy(), similar=["module:c.py"]).hits
    assert hit.task == "late"


def test_likeness_is_never_a_hit() -> None:
    found = look_up(["disable 2FA"], ONLINE, OFFLINE, LookUpPolicy(), similar=["task:one"])
    assert hits(found) == [("task:one", "offline", "meaning")]
    assert found.misses == ("disable 2FA",)
    assert look_up(["enable 2FA"], ONLINE, OFFLINE, LookUpPolicy()).misses == ()


helds = st.lists(st.builds(Held, st.sampled_from(NODES), st.sampled_from(["one", "two"])))
asked = st.lists(
    st.sampled_from([*NODES, *(name for node in NODES for name in names_of(node)), "none"])
)


@given(
    names=asked, online=helds, offline=helds, similar=asked, near=asked, enough=st.integers(0, 6)
)
def test_a_hit_is_where_it_says_and_a_miss_is_nowhere(
    names: list[str],
    online: list[Held],
    offline: list[Held],
    similar: list[str],
    near: list[str],
    enough: int,
) -> None:
    policy = LookUpPolicy(enough, neighbours=2, similar=1)
    found = look_up(names, online, offline, policy, lambda node: near, similar)
    here, there = {held.node for held in online}, {held.node for held in offline}
    assert len({hit.node for hit in found.hits}) == len(found.hits)
    for hit in found.hits:
        assert hit.found == ("online" if hit.node in here else "offline")
        assert hit.node in here | there
        if hit.by == "name":
            assert set(names_of(hit.node)) & set(names)
    known = {name for node in here | there for name in names_of(node)}
    assert set(found.misses) == set(names) - known
    assert [hit.by for hit in found.hits].count("graph") <= 2
    assert [hit.by for hit in found.hits].count("meaning") <= 1


def test_looking_up_showing_and_folding_promotes_and_fills() -> None:
    past = told(
        iteration("old.py"),
        SummaryWritten(node="function:old.py::f", text="It adds."),
        TaskComplete(),
        task="past",
    )
    log = told(TaskStarted(goal="subtract"), iteration("new.py"), task="now", after=len(past))
    names, policy = ["f", "library:numpy"], LookUpPolicy()

    def found() -> LookUp:
        online, offline = fold(online_cache, log), fold(offline_cache, past + log)
        return look_up(names, online_cache.held(online), offline_cache.held(offline), policy)

    def show(found: LookUp) -> Fact:
        items = [ContextItem(node=hit.node, found=hit.found) for hit in found.hits]
        items += [ContextItem(node=name, found="made") for name in found.misses]
        return ContextBuilt(items=tuple(items))

    first = found()
    assert hits(first) == [("function:old.py::f", "offline", "name")]
    assert first.misses == ("library:numpy",)
    facts = [event.fact for event in log]
    log = told(*facts, show(first), task="now", after=len(past))
    assert fold(online_cache, log).counters == online_cache.Counters(
        offline=1, promotions=1, misses=1
    )
    second = found()
    assert [(hit.node, hit.found) for hit in second.hits] == [
        ("function:old.py::f", "online"),
        ("library:numpy", "online"),
    ]
    made = SummaryWritten(node="library:numpy", text="Arrays.")
    facts = [event.fact for event in log] + [show(second), made]
    log = told(*facts, task="now", after=len(past))
    assert fold(online_cache, log).counters == online_cache.Counters(2, 1, 1, 1)
    assert "library:numpy" not in left(past + log)
    log = told(*facts, TaskComplete(), task="now", after=len(past))
    assert "library:numpy" in left(past + log)
    assert [hit.found for hit in found().hits] == ["offline", "offline"]


def left(log: list[WorkflowEvent]) -> list[str]:
    return [held.node for held in offline_cache.held(fold(offline_cache, log))]


def test_a_node_that_was_evicted_is_promoted_again_when_it_is_found_offline() -> None:
    crowd = shown(*(f"module:{n}.py" for n in range(SHOWN)))
    state = in_hand(shown(EMAIL, found="offline"), crowd, shown(EMAIL, found="offline"))
    assert (state.counters.promotions, state.counters.evictions) == (2, 2)


# The laws

json_texts = st.text(max_size=8)
ODD: Sequence[type[Fact]] = (ChecksRan, ToolReturned, PlanLearned, ModelFailed, TaskFailed)


@st.composite
def odd_facts(draw: st.DrawFn) -> Fact:
    """A fact that says more than its kind needs: as it should be said, or anything at all."""
    kind = draw(st.sampled_from(ODD))
    fact = draw(facts((kind,)))
    failure = st.fixed_dictionaries({}, optional={"name": json_texts, "message": json_texts})
    extra = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "failures": st.lists(failure | json_values, max_size=3) | json_values,
                "module_name": st.sampled_from(["a.py", "b.py"]) | json_values,
                "message": json_texts | json_values,
                "name": json_texts | json_values,
                "text": json_texts | json_values,
            },
        )
    )
    try:
        return kind.model_validate(fact.data | extra)
    except ValidationError:
        return fact


any_facts = facts() | odd_facts()


@st.composite
def stores(draw: st.DrawFn) -> list[WorkflowEvent]:
    """The events of a few tasks, as they come to stand in one store."""
    versions: dict[str, int] = {}
    events = []
    drawn = draw(st.lists(st.tuples(st.sampled_from(["task", "two"]), any_facts, times)))
    for position, (task, fact, time) in enumerate(drawn, 1):
        versions[task] = versions.get(task, 0) + 1
        recorded = NOON + timedelta(seconds=position)
        events.append(
            WorkflowEvent(position, task, versions[task], fact, time, recorded, "ann", ())
        )
    return events


@given(log=stores(), later=stores(), at=st.none() | times)
@each
def test_what_comes_later_cannot_change_what_was_known(
    cache: ModuleType, log: list[WorkflowEvent], later: list[WorkflowEvent], at: datetime | None
) -> None:
    moment = Moment(len(log), at)
    more = [event._replace(position=event.position + len(log)) for event in later]
    assert fold(cache, upto(moment, log + more)) == fold(cache, upto(moment, log))


@given(log=stores(), cut=st.integers(0, 10))
@each
def test_a_cache_can_be_cut_and_kept_as_json_anywhere(
    cache: ModuleType, log: list[WorkflowEvent], cut: int
) -> None:
    kept = dump(fold(cache, log[:cut]))
    state = load(cache.State, kept)
    assert dump(state) == kept
    assert state == fold(cache, log[:cut])
    assert fold(cache, log[cut:], state) == fold(cache, log)


@settings(max_examples=150)
@given(log=stores(), fact=any_facts)
@each
def test_every_fact_can_be_met_and_changes_no_state_that_was(
    cache: ModuleType, log: list[WorkflowEvent], fact: Fact
) -> None:
    untouched, state = deepcopy(log), fold(cache, log)
    before, n = dump(state), len(log) + 1
    after = cache.evolve(state, WorkflowEvent(n, "task", n, fact, NOON, NOON, "ann", ()))
    assert isinstance(after, cache.State)
    assert load(cache.State, dump(after)) == after
    assert dump(state) == before
    assert log == untouched


@settings(max_examples=200)
@given(log=st.lists(any_facts))
def test_each_thing_in_hand_has_an_id_its_place_by_priority_and_room(log: list[Fact]) -> None:
    state = in_hand(*log)
    entries = online_cache.working_set(state)
    assert len({entry.id for entry in entries}) == len(entries)
    order = ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    places = [order.index(entry.priority) for entry in entries]
    assert places == sorted(places)
    assert online_cache.tokens_held(state) <= state.limit
    assert len(state.shown) <= SHOWN


@settings(max_examples=150)
@given(log=stores())
def test_every_question_about_what_was_left_has_an_answer(log: list[WorkflowEvent]) -> None:
    state = fold(offline_cache, log)
    ended = {one.task for one in offline_cache.finished(state)}
    complete = {one.task for one in offline_cache.historical_solutions(state)}
    nodes = offline_cache.nodes_left(state)
    assert complete <= ended
    assert {left.task for left in nodes} == complete
    assert len({(left.task, left.node) for left in nodes}) == len(nodes)
    assert {fix.task for fix in offline_cache.fixes(state)} <= complete
    assert {plan.task for plan in offline_cache.plans(state)} <= complete
    assert all(library.users for library in offline_cache.library_knowledge(state))


def outline(n: int) -> Fact:
    """The n-th fact of a module that grows by a function and an import a version, from 1,000 on."""
    if n == 1_000:
        return iteration("a.py")
    ref, base = (f"blob:{one:064}" for one in (n, n - 1))
    more = {f"sig:f{n:04}": ("function", "()"), "imports": tuple(f"lib{k:04}" for k in range(n))}
    return ModuleOutlined(
        module_name="a.py", base=None if n == 1_001 else base, source=ref, set=more
    )


ENDLESS: dict[str, Callable[[int], Fact]] = {
    "iterations": lambda n: iteration(f"m{n:04}.py"),
    "starts": lambda n: ModuleStarted(module_name=f"m{n:04}.py"),
    "renames": lambda n: ModuleRenamed(
        module_name=f"m{n:04}.py", previous_name=f"m{n - 2:04}.py", iteration=1
    ),
    "checks": lambda n: failing(f"message {n:04}", f"m{n:04}.py", name=f"test_{n:04}"),
    "fixes": lambda n: [passing(), failing(f"no {n:04}"), iteration("a.py")][n % 3],
    "contexts": lambda n: shown(*(f"function:a.py::f{n:04}{k}" for k in range(9))),
    "summaries": lambda n: SummaryWritten(node=f"function:a.py::f{n:04}", text="It adds."),
    "outlines": lambda n: outline(n),
    "plans": lambda n: PlanLearned.model_validate({"text": f"plan {n:04}"}),
    "tools": lambda n: ToolReturned(tool=f"tool {n:04}", failed=True),
}


@both
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_task_that_never_ends_needs_no_more_room(cache: ModuleType, kind: str) -> None:
    log = told(*(ENDLESS[kind](n) for n in range(1_000, 3_001)), after=10_000)
    log = [event._replace(version=event.version + 10_000) for event in log]
    most = max(len(dump(fold(cache, log[:n]))) for n in range(1_000, 1_301, 25))
    assert len(dump(fold(cache, log))) <= most * 1.01


def test_tasks_that_never_end_need_no_more_room() -> None:
    log = [
        event
        for n in range(1_000, 2_000)
        for event in told(TaskStarted(goal="add"), task=f"task-{n}", after=n)
    ]
    assert len(fold(offline_cache, log).running) <= offline_cache.RUNNING * 9 // 8


def test_the_oldest_go_first_and_of_equally_old_ones_the_first() -> None:
    entries = Map({"a": 2, "b": 1, "c": 1, "d": 3})
    assert sorted(youngest(entries, 3, lambda age: age)) == ["a", "c", "d"]
    assert youngest(entries, 3, lambda age: age, slack=1) == entries
