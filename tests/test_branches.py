"""A branch is its origin up to a step, to the byte, and from there on a history of its own."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ConflictError, DamagedError, InputError, MomentError
from backcast.domain.events import (
    Branched,
    Claim,
    MessageReceived,
    ModelReplied,
    StepStarted,
    TaskStarted,
    WorkflowEvent,
)
from backcast.domain.moment import Moment
from backcast.engine.history.branches import Branch, branches, cut_at, fork, lineage_of
from backcast.engine.history.snapshots import save_snapshots, state_at
from backcast.engine.history.task_states import states_at
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.fsck import check
from backcast.engine.log.recorder import NewRow
from backcast.projections import ALL
from tests.strategies import NOON, iteration, logs, stored

STEP = (
    TaskStarted(goal="one"),
    StepStarted(kind="plan"),
    ContextBuilt(stood_at=1),
    ModelReplied(),
)


def told(store: EventStore, task: str) -> list[tuple[Any, ...]]:
    """What the events of a task tell, wherever they stand."""
    return [(e.version, e.type, e.fact, e.timestamp, e.writer, e.because) for e in store.read(task)]


def rows(store: EventStore, task: str | None = None) -> list[Any]:
    return store.recorder.rows(task, 0, limit=2**31)


def begun(store: EventStore, task: str = "till", events: int = 6) -> None:
    """A task whose event n says n."""
    facts = [MessageReceived(role="user", words=str(n)) for n in range(1, events + 1)]
    store.append(task, facts, after=0, writer="ann")


def cut_here(log: list[WorkflowEvent], cut: int) -> int:
    return 1 + cut % len(log)


# What is copied


@settings(max_examples=60)
@given(log=logs().filter(bool), cut=st.integers(0, 24))
def test_the_events_of_a_branch_are_those_of_its_origin_and_one_that_says_so(
    log: list[WorkflowEvent], cut: int
) -> None:
    with stored(log) as store:
        store.clock = lambda: NOON
        version, before = cut_here(log, cut), rows(store)
        fork(store, "task", version, "what-if")
        *copied, (last, kind, fact, *_) = told(store, "what-if")
        assert copied == told(store, "task")[:version]
        assert (last, kind) == (version + 1, "BRANCHED")
        assert (fact.origin, fact.version) == ("task", version)
        assert rows(store, "task") == before


@settings(max_examples=60)
@given(
    log=logs().filter(bool),
    other=logs(max_size=6),
    late=logs(max_size=6),
    cuts=st.lists(st.integers(0, 24), min_size=1, max_size=3),
)
def test_at_each_copied_event_as_much_is_known_as_in_the_origin(
    log: list[WorkflowEvent],
    other: list[WorkflowEvent],
    late: list[WorkflowEvent],
    cuts: list[int],
) -> None:
    with EventStore.open("sqlite://", clock=lambda: NOON) as store:
        half = len(log) // 2
        for task, events in [("task", log[:half]), ("other", other), ("task", log[half:]),
                             ("late", late)]:  # fmt: skip
            appended(store, task, events)
        origin, version, pairs = "task", len(log), list[tuple[str, str, int]]()
        for number, cut in enumerate(cuts):
            version = 1 + cut % version
            branch = fork(store, origin, version, f"branch {number}").task_id
            pairs += [(origin, branch, at) for at in range(1, version + 1)]
            origin = branch
        for origin, branch, at in pairs:
            (of_branch, its_facts), (of_origin, facts) = (
                known(store, task, at) for task in (branch, origin)
            )
            assert of_branch._replace(facts=of_origin.facts) == of_origin
            assert its_facts == facts


def appended(store: EventStore, task: str, events: list[WorkflowEvent]) -> None:
    after = store.version(task)
    claims = [Claim(e.fact, e.timestamp, e.writer, e.because) for e in events]
    if claims:
        store.append(task, claims, after=after)


def known(store: EventStore, task: str, version: int) -> Any:
    [event] = store.read(task, after=version - 1, last=version)
    states = states_at(store, task, Moment(position=event.position))
    assert states.facts is not None
    return states, states.facts.holding()


@given(log=logs().filter(bool), cut=st.integers(0, 24))
@settings(max_examples=20)
def test_states_that_the_origin_has_kept_are_not_taken_for_those_of_the_branch(
    log: list[WorkflowEvent], cut: int
) -> None:
    of_a_task = [one for one in ALL if one.SCOPE == "task"]
    with stored(log) as store:
        store.clock = lambda: NOON
        for projection in of_a_task:  # one at a time, so that each is kept as often as it can be
            save_snapshots(store, [projection], "task", 2)
        fork(store, "task", cut_here(log, cut), "what-if")
        store.append("what-if", [iteration("new.py")], after=store.version("what-if"))
        for projection in of_a_task:
            from_nothing = state_at(store, projection, "what-if")
            save_snapshots(store, [projection], "what-if", 2)
            kept = state_at(store, projection, "what-if")
            assert kept == from_nothing, projection.NAME


def test_bodies_are_shared_and_not_even_read(store: EventStore) -> None:
    blob = Blob(b"x = 1\n" * 1000)
    store.append("till", [iteration("a.py", source=blob.ref)], after=0, blobs=[blob])
    count = "SELECT count(*), sum(length(packed)) FROM blobs"
    before, bodies = store.recorder.one(count), EventStore(store.recorder)
    fork(bodies, "till", 1, "what-if")
    assert store.recorder.one(count) == before
    assert not bodies._recent
    [event] = store.read("what-if", types=["MODULE_ITERATION"])
    assert store.get(event.fact.data["source"]) == blob.body
    assert list(check(store)) == []


def test_events_of_kinds_and_forms_that_are_not_known_are_copied_as_they_are(
    store: EventStore,
) -> None:
    odd: list[NewRow] = [
        ("till", 1, "NEWER:7", 5, "ann", "", b'{"a":1.0, "a":2}'),
        ("till", 2, "MODULE_ITERATION:1", 6, "ann", "1", b'{"no module": true}'),
        ("till", 3, "TASK_STARTED:1", 7, "", "1,2", b'{"goal":"one"}'),
    ]
    store.write_rows(odd)
    store.report = lambda damage: None
    fork(store, "till", 3, "what-if")
    assert [row[3:5] + row[6:8] + row[9:] for row in rows(store, "what-if")[:3]] == [
        row[2:] for row in odd
    ]
    assert [event.version for event in store.read("what-if")] == [1, 3, 4]


def test_what_is_told_as_of_an_earlier_time_tells_that_it_is_a_branch(store: EventStore) -> None:
    store.append("till", [Claim(TaskStarted(goal="one"), NOON)], after=0)
    fork(store, "till", 1, "what-if")
    assert [e.type for e in store.read("what-if", moment=Moment(at=NOON))] == [
        "TASK_STARTED", "BRANCHED",
    ]  # fmt: skip


# Where it is cut


@pytest.mark.parametrize(("at", "held"), [(1, 1), (2, 1), (3, 1), (4, 4), (None, 4)])
def test_at_a_step_it_holds_what_stood_before_and_else_the_event_too(
    store: EventStore, at: int | None, held: int
) -> None:
    store.append("till", STEP, after=0)
    assert cut_at(store, "till", at) == held


def test_at_a_prompt_that_was_built_for_an_earlier_moment_it_holds_what_that_held(
    store: EventStore,
) -> None:
    begun(store)
    store.append("till", [ContextBuilt(stood_at=3), ContextBuilt()], after=6)
    assert [cut_at(store, "till", at) for at in (6, 7, 8)] == [6, 3, 7]


@pytest.mark.parametrize("at", [0, -1, 5, 10**30])
def test_an_event_that_is_not_there_is_told_with_those_that_are(store: EventStore, at: int) -> None:
    store.append("till", STEP, after=0)
    with pytest.raises(MomentError, match=f"needed an event from 1 to 4, or last, found {at}:"):
        cut_at(store, "till", at)


def test_nothing_stands_before_a_first_step(store: EventStore) -> None:
    store.append("till", [StepStarted(kind="plan"), ContextBuilt(stood_at=0)], after=0)
    for at in (1, 2):
        with pytest.raises(MomentError, match=f"needed an event before {at}, found none"):
            cut_at(store, "till", at)


# Names


def test_a_branch_takes_the_first_name_that_is_free_and_no_name_twice(store: EventStore) -> None:
    begun(store)
    made = [fork(store, "till", 2).task_id for _ in range(2)]
    assert [*made, fork(store, "till~1", 2).task_id] == ["till~1", "till~2", "till~1~1"]
    with pytest.raises(InputError, match="task 'till~2' is in this store already"):
        fork(store, "till", 2, "till~2")
    for name in ("", "a\0b"):
        with pytest.raises(InputError, match="NUL"):
            fork(store, "till", 2, name)
    assert store.tasks() == ["till", "till~1", "till~1~1", "till~2"]


def test_two_who_fork_at_once_get_a_branch_each(shared_url: str) -> None:
    with EventStore.open(shared_url) as store, EventStore.open(shared_url) as another:
        begun(store)
        meanwhile(store, lambda: fork(another, "till", 3, runner="another"))
        assert fork(store, "till", 3, runner="one").task_id == "till~2"
        runners = [e.fact.data["runner"] for e in store.read(types=["BRANCHED"])]
        assert runners == ["another", "one"]


def test_a_name_that_another_takes_meanwhile_is_theirs(shared_url: str) -> None:
    with EventStore.open(shared_url) as store, EventStore.open(shared_url) as another:
        begun(store)
        meanwhile(store, lambda: another.append("mine", [TaskStarted()], after=0))
        with pytest.raises(ConflictError):
            fork(store, "till", 3, "mine")
        assert [event.type for event in store.read("mine")] == ["TASK_STARTED"]


def meanwhile(store: EventStore, happens: Any) -> None:
    """Something happens once, as soon as the first events of a task have been read."""
    read = store.recorder.rows

    def watched(*told: Any, **named: Any) -> Any:
        found = read(*told, **named)
        store.recorder.rows = read  # type: ignore[method-assign]
        happens()
        return found

    store.recorder.rows = watched  # type: ignore[method-assign]


# While the origin is written to, and where it is damaged


def test_a_task_can_be_forked_while_it_is_written_to(shared_url: str) -> None:
    with EventStore.open(shared_url) as store, EventStore.open(shared_url) as another:
        begun(store, events=1200)
        more = MessageReceived(role="user")
        meanwhile(store, lambda: another.append("till", [more], after=1200))
        assert fork(store, "till", 1200, "what-if") == Branch("what-if", "till", 1200, "till")
        assert told(store, "what-if")[:-1] == told(store, "till")[:-1]
        assert (store.version("till"), store.version("what-if")) == (1201, 1201)


@pytest.mark.parametrize("last", [3, 4, 6])
@pytest.mark.parametrize(
    "damage", ["UPDATE events SET body=x'00' WHERE version=3", "DELETE FROM events WHERE version=3"]
)
def test_an_event_that_is_damaged_or_missing_is_not_copied_as_if_it_were_sound(
    tmp_path: Path, damage: str, last: int
) -> None:
    with spoiled(tmp_path, damage) as store:
        with pytest.raises(DamagedError, match=f"needed events 1 to {last} .* found event 3 dam"):
            fork(store, "till", last, "what-if")
        assert store.tasks() == ["till"]


def test_before_the_damage_a_task_can_be_forked(tmp_path: Path) -> None:
    with spoiled(tmp_path, "DELETE FROM events WHERE version=3") as store:
        fork(store, "till", 2, "what-if")
        assert [event.version for event in store.read("what-if")] == [1, 2, 3]


def test_what_is_missing_at_the_end_is_missed(tmp_path: Path) -> None:
    with (
        spoiled(tmp_path, "DELETE FROM events WHERE version=6") as store,
        pytest.raises(DamagedError, match="found event 6 damaged or missing"),
    ):
        fork(store, "till", 6, "what-if")


@contextmanager
def spoiled(folder: Path, damage: str) -> Iterator[EventStore]:
    """A store that was changed behind its back."""
    with EventStore.open(f"sqlite:///{folder}/store.db") as store:
        begun(store)
        with closing(sqlite3.connect(folder / "store.db")) as raw:
            raw.execute("DROP TRIGGER events_are_not_rewritten")
            raw.execute("DROP TRIGGER events_are_not_deleted")
            raw.execute(damage)
            raw.commit()
        yield store


# The line


def test_a_branch_of_a_branch_knows_where_both_come_from(store: EventStore) -> None:
    begun(store)
    fork(store, "till", 4, "b")
    fork(store, "b", 5, "c")
    fork(store, "c", 2, "d")
    assert {task: one[1:] for task, one in branches(store).items()} == {
        "b": ("till", 4, "till"), "c": ("b", 5, "till"), "d": ("c", 2, "till"),
    }  # fmt: skip
    assert lineage_of(store, "c") == ("c", "till", 5, "till", 4)
    assert lineage_of(store, "d") == ("d", "till", 2, "till", 2)
    assert lineage_of(store, "till") == ("till", "till", 0, "", 0)


def test_a_line_that_a_log_only_claims_ends_where_it_comes_back_to_itself() -> None:
    with EventStore.open("sqlite://", clock=lambda: NOON) as store:
        a, b, first = Branched(origin="a"), Branched(origin="b"), TaskStarted(goal="one")
        for task, fact in [("a", first), ("b", first), ("b", a), ("a", a), ("a", b)]:
            store.append(task, [fact], after=store.version(task))
        assert lineage_of(store, "b") == ("b", "a", 1, "a", 1)
        assert lineage_of(store, "a") == ("a", "b", 2, "b", 2)


def test_what_is_no_origin_is_not_taken_for_one(store: EventStore) -> None:
    begun(store, "other", 9)
    begun(store, "own", 2)
    for origin in ("nobody", "own", None, "other"):
        store.append("own", [Branched(origin=origin, version=2)], after=store.version("own"))
        assert lineage_of(store, "own").origin == ""
