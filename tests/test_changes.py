"""Which modules change together, and which have changed of late."""

import pytest
from hypothesis import given, settings

from backcast.domain.events import (
    Fact,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)
from backcast.projections import changes, fold
from tests.strategies import NOON, iteration, logs

KINDS = (ModuleIteration, ModuleIteration, ModuleRenamed, ModuleDeleted)


def log(*told: tuple[Fact, int]) -> list[WorkflowEvent]:
    """Events, each with the version of what caused it; 0 for nothing."""
    return [
        WorkflowEvent(n, "task", n, fact, NOON, NOON, "ann", (cause,) if cause else ())
        for n, (fact, cause) in enumerate(told, 1)
    ]


def commits(*changed: str) -> changes.State:
    """The state after some commits, each of which changed modules named by one letter."""
    told: list[tuple[Fact, int]] = [
        (iteration(f"{name}.py"), n) for n, names in enumerate(changed, 1) for name in names
    ]
    state: changes.State = fold(changes, log(*told))
    return state


def test_what_one_cause_brought_changed_together() -> None:
    state = commits("ab", "ab", "ac", "d")
    assert changes.together(state, "a.py") == {"b.py": 2.0, "c.py": 1.0}
    assert changes.together(state, "d.py") == changes.together(state, "gone.py") == {}


def test_a_sweep_over_many_counts_for_little() -> None:
    assert changes.together(commits("abcde"), "a.py") == dict.fromkeys(
        ("b.py", "c.py", "d.py", "e.py"), pytest.approx(1 / 4)
    )


def test_events_without_a_cause_are_changes_of_their_own() -> None:
    state = fold(changes, log((iteration("a.py"), 0), (iteration("b.py"), 0)))
    assert changes.together(state, "a.py") == {}
    assert changes.lately(state) == {"a.py": 1, "b.py": 2}


def test_the_latest_change_of_each_module_is_told() -> None:
    assert changes.lately(commits("ab", "b", "c")) == {"a.py": 1, "b.py": 2, "c.py": 3}


def test_one_change_of_a_module_in_two_steps_is_one() -> None:
    assert commits("aab").modules == commits("ab").modules
    apart = log((iteration("a.py"), 7), (iteration("a.py"), 8), (iteration("a.py"), 7))
    assert fold(changes, apart).modules["a.py"] == (7, 8)


def test_a_renamed_module_keeps_its_history_and_a_deleted_one_none() -> None:
    moved = ModuleRenamed(module_name="z.py", previous_name="a.py", iteration=2)
    told: list[tuple[Fact, int]] = [(iteration("a.py"), 1), (iteration("b.py"), 1), (moved, 2)]
    state = fold(changes, log(*told))
    assert changes.together(state, "z.py") == {"b.py": 1.0}
    assert changes.lately(state) == {"b.py": 1, "z.py": 2}
    gone = fold(changes, log(*told, (ModuleDeleted(module_name="z.py"), 3)))
    assert (changes.together(gone, "z.py"), changes.lately(gone)) == ({}, {"b.py": 1})
    back = fold(changes, log(*told, (ModuleDeleted(module_name="z.py"), 3), (iteration("z.py"), 4)))
    assert changes.together(back, "z.py") == {}


@settings(max_examples=30)
@given(logs(kinds=KINDS, max_size=30))
def test_the_state_is_as_large_as_the_modules_are_many(log: list[WorkflowEvent]) -> None:
    state = fold(changes, log * 4)
    assert all(0 < len(kept) <= changes.CHANGES for kept in state.modules.values())


def test_of_many_changes_the_last_are_kept() -> None:
    state = commits(*["a"] * 100)
    assert state.modules["a.py"] == tuple(range(100, 100 - changes.CHANGES, -1))


@settings(max_examples=60)
@given(logs(kinds=KINDS))
def test_what_counts_for_a_module_adds_up_to_the_changes_it_shared(
    log: list[WorkflowEvent],
) -> None:
    state = fold(changes, log)
    for path, own in state.modules.items():
        others = [set(state.modules[other]) for other in state.modules if other != path]
        shared = [change for change in set(own) if any(change in other for other in others)]
        assert sum(changes.together(state, path).values()) == pytest.approx(len(shared))
