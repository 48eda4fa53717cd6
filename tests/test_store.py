"""The EventStore, in memory, in a file and on PostgreSQL: what is appended can be read."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest
import zstandard
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import ConflictError, InputError, UnknownTaskError
from backcast.domain.events import (
    Claim,
    Fact,
    ModuleIteration,
    ModuleStarted,
    TaskComplete,
    TaskStarted,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.moment import Moment
from backcast.engine.log import EventStore
from backcast.engine.log.codec import Codec
from backcast.engine.log.fsck import check
from backcast.engine.log.packing import LARGEST, packed, plain
from backcast.engine.log.recorder import LAST_US, Snapshot
from backcast.engine.log.rows import MAX_BODY

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def at(*seconds: float) -> Callable[[], datetime]:
    """A clock that shows these seconds after noon, one after the other."""
    times = iter(seconds)
    return lambda: after(next(times))


def started(goal: str, seconds: float | None = None) -> Claim:
    return Claim(TaskStarted(goal=goal), None if seconds is None else after(seconds))


def goals(store: EventStore, task: str | None = None, **where: object) -> list[str]:
    return [event.fact.data["goal"] for event in store.read(task, **where)]  # type: ignore[arg-type]


# Appending


def test_what_append_returns_is_what_is_read(store: EventStore) -> None:
    facts = [TaskStarted(goal="validate e-mail"), ModuleStarted(module_name="a.py"), TaskComplete()]
    events = store.append("task", facts, after=0, writer="ann")
    events += store.append("task", [TaskComplete()], after=3, because=[1, 3])
    assert list(store.read("task")) == events
    assert [event.fact for event in events] == [*facts, TaskComplete()]
    assert [(e.position, e.version, e.writer, e.because) for e in events] == [
        (1, 1, "ann", ()),
        (2, 2, "ann", ()),
        (3, 3, "ann", ()),
        (4, 4, "", (1, 3)),
    ]


@pytest.mark.parametrize("wrong", [0, 1, 3, -1, 2**70])
def test_an_append_after_any_version_but_the_last_is_refused(store: EventStore, wrong: int) -> None:
    store.append("task", [TaskStarted(), ModuleStarted(module_name="a.py")], after=0)
    with pytest.raises(ConflictError, match="task 'task': expected to append after") as caught:
        store.append("task", [TaskComplete()], after=wrong)
    assert (caught.value.task_id, caught.value.expected, caught.value.found) == ("task", wrong, 2)
    assert "\n" not in str(caught.value)
    assert store.version("task") == 2


def test_several_tasks_are_written_whole_or_not_at_all(store: EventStore) -> None:
    store.append("b", [TaskStarted()], after=0)
    for version in (1, 3):
        with pytest.raises(ConflictError):
            store.write([("a", 1, started("x")), ("b", version, started("y"))])
    assert store.tasks() == ["b"]
    events = store.write([("a", 1, started("x")), ("b", 2, started("y")), ("a", 2, started("z"))])
    assert [(e.position, e.task_id, e.version) for e in events] == [
        (2, "a", 1),
        (3, "b", 2),
        (4, "a", 2),
    ]
    assert list(store.read(after=1)) == events


def test_appending_nothing_changes_nothing(store: EventStore) -> None:
    store.append("task", [TaskStarted()], after=0)
    assert store.append("task", [], after=1) == []
    assert len(list(store.read())) == 1


def test_what_was_refused_leaves_no_gap_in_the_positions(store: EventStore) -> None:
    store.append("task", [TaskStarted()], after=0)
    with pytest.raises(ConflictError):
        store.append("task", [TaskComplete()], after=0)
    [event] = store.append("task", [TaskComplete()], after=1)
    assert event.position == 2


def test_appending_the_same_again_finds_the_events_that_stand_there(store: EventStore) -> None:
    store.clock = at(0, 1, 2, 3)
    first = store.append("task", [started("x", -60)], after=0, writer="ann")
    store.append("other", [TaskStarted()], after=0)
    second = store.append("task", [started("y"), started("z")], after=1)
    again = store.append("task", [started("x", -60), started("y"), started("z")], after=0)
    assert again == first + second
    assert [event.position for event in again] == [1, 3, 4]
    assert store.append("task", [TaskStarted(goal="x")], after=0) == first
    assert len(list(store.read())) == 4


def test_several_tasks_written_again_find_the_events_that_stand_there(store: EventStore) -> None:
    a = store.append("a", [TaskStarted()], after=0)
    store.append("c", [TaskStarted()], after=0)
    b = store.append("b", [TaskStarted()], after=0)
    claim = Claim(TaskStarted())
    assert store.write([("b", 1, claim), ("a", 1, claim)]) == b + a


@pytest.mark.parametrize(
    "other",
    [
        Claim(TaskStarted(goal="y"), NOON, "ann", (1,)),
        Claim(TaskComplete(goal="x"), NOON, "ann", (1,)),
        Claim(TaskStarted(goal="x"), after(1), "ann", (1,)),
        Claim(TaskStarted(goal="x"), NOON, "bob", (1,)),
        Claim(TaskStarted(goal="x"), NOON, "ann", ()),
    ],
)
def test_other_facts_where_some_stand_are_refused(store: EventStore, other: Claim) -> None:
    store.append("task", [TaskStarted()], after=0)
    events = store.append("task", [Claim(TaskStarted(goal="x"), NOON, "ann", (1,))], after=1)
    with pytest.raises(ConflictError):
        store.append("task", [other], after=1)
    assert list(store.read(after=1)) == events


def test_a_retry_that_adds_to_what_stands_is_refused_whole(store: EventStore) -> None:
    store.append("task", [started("x")], after=0)
    with pytest.raises(ConflictError):
        store.append("task", [started("x"), started("y")], after=0)
    assert goals(store) == ["x"]


@pytest.mark.parametrize("because", [[0], [2], [1, 5], [-1]])
def test_a_cause_that_does_not_stand_before_is_refused(
    store: EventStore, because: list[int]
) -> None:
    store.append("task", [TaskStarted()], after=0)
    with pytest.raises(InputError, match="because: needed versions from 1 to 1, found"):
        store.append("task", [TaskComplete()], after=1, because=because)


def test_a_large_fact_is_stored_compressed_and_found_again_however_it_was_packed(
    store: EventStore,
) -> None:
    large, small = TaskStarted(goal="why " * 5000), TaskStarted(goal="why")
    events = store.append("t", [large, small], after=0)
    assert list(store.read("t")) == events
    assert list(check(store)) == []
    bodies = [row[9] for row in store.recorder.rows("t", 0, None)]
    assert len(bodies[0]) < 200
    assert bodies[1] == b'{"goal":"why"}'
    assert store.append("t", [large, small], after=0) == events
    with pytest.raises(ConflictError):
        store.append("t", [TaskStarted(goal="who " * 5000), small], after=0)
    other = zstandard.compress(plain(bodies[0]), 19)
    assert packed(plain(bodies[0])) != other
    assert plain(other) == plain(bodies[0])


def test_what_claims_to_be_compressed_and_is_not_is_damage() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"0" * (LARGEST + 1))
    with pytest.raises(ValueError, match="needed a body of at most"):
        plain(bomb)
    with pytest.raises(ValueError, match="needed a zstd frame"):
        plain(packed(b"{" + b"x" * 9000)[:12])


def test_a_fact_larger_than_the_limit_is_refused_in_one_line(store: EventStore) -> None:
    with pytest.raises(InputError, match=r"at most 16,777,216 bytes, found .* belong in blobs"):
        store.append("task", [TaskStarted(goal="x" * MAX_BODY)], after=0)
    store.append("task", [TaskStarted(goal="x" * (MAX_BODY - 100))], after=0)
    [event] = store.read("task")
    assert len(event.fact.data["goal"]) == MAX_BODY - 100


@pytest.mark.parametrize("bad", ["", "a\0b", "\udc80"])
def test_a_task_that_cannot_be_named_is_refused_in_one_line(store: EventStore, bad: str) -> None:
    with pytest.raises(InputError) as caught:
        store.append(bad, [TaskStarted()], after=0)
    assert "\n" not in str(caught.value)
    if bad:
        with pytest.raises(InputError):
            store.append("task", [TaskStarted()], after=0, writer=bad)
    assert store.tasks() == []


@pytest.mark.parametrize("bad", ["a\0b", "\udc80"])
def test_asking_for_a_task_that_cannot_be_named_is_an_input_error(
    store: EventStore, bad: str
) -> None:
    with pytest.raises(InputError) as caught:
        store.require(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        "it's",
        '"quoted"',
        "a%",
        "a_",
        "a!",
        "?",
        "%s",
        "new\nline",
        " ",
        "\x01",
        "🦜é漢",
        "../../etc/passwd",
        "'; DROP TABLE events; --",
        "x" * 10_000,
    ],
)
def test_odd_names_are_kept_and_match_nothing_else(store: EventStore, odd: str) -> None:
    store.append("ab", [TaskStarted()], after=0)
    events = store.append(odd, [UnknownFact(kind=odd, payload={odd: odd})], after=0, writer=odd)
    assert list(store.read(odd)) == events
    assert list(store.read(types=[odd])) == events
    assert store.tasks() == sorted(["ab", odd])
    assert (events[0].task_id, events[0].writer, events[0].type) == (odd, odd, odd)


# Times


def test_recorded_times_never_run_backwards_when_the_clock_does(store: EventStore) -> None:
    store.clock = at(10, 5, 10, 11, -1e6, 12)
    for version in range(6):
        store.append("task", [TaskStarted()], after=version)
    recorded = [(event.recorded_at - NOON).total_seconds() for event in store.read()]
    assert recorded == [10, 10, 10, 11, 11, 12]


UNFROZEN = ["torch", "transformers", "sentence_transformers", "sklearn", "scipy", "numpy", "sympy"]
"""Large packages that other tests load: to freeze time looks through each module of them."""


def test_the_real_clock_may_jump_back_too(store: EventStore) -> None:
    recorded = []
    for version, day in enumerate(["2026-11-20", "2026-10-20", "2026-11-21"]):
        with freeze_time(day, tick=True, ignore=UNFROZEN):
            [event] = store.append(f"task{version}", [TaskStarted()], after=0)
        recorded.append(event.recorded_at)
    assert recorded == sorted(recorded)
    assert [time.day for time in recorded] == [20, 20, 21]


def test_what_states_no_time_happened_when_it_was_recorded(store: EventStore) -> None:
    store.clock = at(7.000001)
    events = store.append("task", [started("x"), started("y", -3)], after=0)
    assert [event.timestamp for event in events] == [after(7.000001), after(-3)]
    assert {event.recorded_at for event in events} == {after(7.000001)}


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2096, 10, 2, 7, 6, 40, 123457, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_every_time_comes_back_to_the_microsecond(store: EventStore, time: datetime) -> None:
    store.append("task", [Claim(TaskStarted(), time)], after=0)
    [event] = store.read(moment=Moment(at=time))
    assert event.timestamp == time


def test_a_time_without_a_zone_is_refused(store: EventStore) -> None:
    naive = datetime(2026, 11, 20)  # noqa: DTZ001
    with pytest.raises(InputError, match="zone"):
        store.append("task", [Claim(TaskStarted(), naive)], after=0)
    store.clock = lambda: naive
    with pytest.raises(InputError, match="zone"):
        store.append("task", [TaskStarted()], after=0)
    assert store.tasks() == []


def test_a_position_is_found_by_the_time_of_recording(store: EventStore) -> None:
    assert store.position_at(NOON) == 0
    store.clock = at(0, 0, 5, 4, 9)
    for version in range(5):
        store.append("task", [TaskStarted()], after=version)
    # Recorded at 0, 0, 5, 5, 9.
    asked = [-0.000001, 0, 4.999999, 5, 8, 9, 1e9]
    assert [store.position_at(after(seconds)) for seconds in asked] == [0, 2, 2, 4, 4, 5, 5]


def test_a_version_is_found_by_the_position(store: EventStore) -> None:
    assert store.version_at("a", Moment(position=3)) == 0
    for version in range(3):
        store.append("a", [TaskStarted()], after=version)  # positions 1, 3 and 5
        store.append("b", [TaskStarted()], after=version)
    found = [store.version_at("b", Moment(position=position)) for position in range(9)]
    assert found == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert store.version_at("b", Moment()) == 3
    assert store.version_at("b", Moment(position=2**70)) == 3


# Reading


def test_reading_goes_on_over_as_many_pages_as_there_are(store: EventStore) -> None:
    store.append("a", [started(str(n)) for n in range(1300)], after=0)
    store.append("b", [started(str(n)) for n in range(1300, 1400)], after=0)
    assert goals(store) == [str(n) for n in range(1400)]
    assert goals(store, "a") == [str(n) for n in range(1300)]
    assert goals(store, "a", after=511, last=1025) == [str(n) for n in range(511, 1025)]
    assert goals(store, after=1298, last=1302) == ["1298", "1299", "1300", "1301"]
    assert goals(store, moment=Moment(position=600)) == [str(n) for n in range(600)]


def test_versions_and_positions_beyond_any_are_no_error(store: EventStore) -> None:
    store.append("a", [started("x")], after=0)
    assert goals(store, after=2**70) == goals(store, "a", after=2**70) == []
    assert goals(store, last=2**70) == goals(store, "a", last=2**70) == ["x"]
    assert goals(store, after=-(2**70), last=-(2**70)) == []
    assert goals(store, moment=Moment(position=2**70)) == ["x"]
    assert goals(store, "no such task") == []


def test_types_are_matched_whole(store: EventStore) -> None:
    kinds = ["MODULE", "MODULE_X", "MODULE_X_2", "MODULE:X", "module"]
    store.append("a", [UnknownFact(kind=kind, payload={}) for kind in kinds], after=0)

    def types(*asked: str) -> list[str]:
        return [event.type for event in store.read("a", types=asked)]

    assert types("MODULE") == ["MODULE"]
    assert types("MODULE_X", "module", "OTHER") == ["MODULE_X", "module"]
    assert types("MODULE%") == types("MODULE%X") == []
    assert types() == kinds


def test_types_are_found_in_whatever_page_they_stand(store: EventStore) -> None:
    facts: list[Fact] = [TaskStarted() for _ in range(1200)]
    facts[5] = facts[600] = facts[1199] = TaskComplete()
    store.append("a", facts, after=0)
    assert [e.version for e in store.read("a", types=["TASK_COMPLETE"])] == [6, 601, 1200]


def test_a_moment_is_a_prefix_and_within_it_what_had_happened(store: EventStore) -> None:
    for version, seconds in enumerate([0, 10, 5, 20, 1]):
        store.append("a", [started(str(seconds), seconds)], after=version)
        store.append("b", [started(f"b{seconds}", seconds)], after=version)
    assert goals(store, "a", moment=Moment(at=after(5))) == ["0", "5", "1"]
    assert goals(store, "a", moment=Moment(position=6, at=after(5))) == ["0", "5"]
    assert goals(store, "a", moment=Moment(position=4)) == ["0", "10"]
    assert goals(store, moment=Moment(position=3, at=NOON)) == ["0", "b0"]
    assert goals(store, "a", last=4, moment=Moment(position=4)) == ["0", "10"]
    assert goals(store, "a", last=1, moment=Moment(position=4)) == ["0"]
    assert goals(store, "a", moment=Moment(position=0)) == []
    assert goals(store, "a", moment=Moment(at=after(-1))) == []


def test_an_unknown_task_says_so(store: EventStore) -> None:
    with pytest.raises(UnknownTaskError, match="no task 'nobody' in this store") as caught:
        store.require("nobody")
    assert caught.value.task_id == "nobody"
    assert store.version("nobody") == 0


@given(
    appends=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.lists(st.integers(-50, 50), max_size=4),  # the facts' timestamps
            st.integers(-50, 50),  # the clock
        ),
        max_size=12,
    ),
    position=st.integers(-1, 50),
    seconds=st.integers(-60, 60),
)
def test_a_store_is_a_list_of_events(
    appends: list[tuple[str, list[int], int]], position: int, seconds: int
) -> None:
    expected: list[WorkflowEvent] = []
    versions = dict.fromkeys("abc", 0)
    with EventStore.open("sqlite://") as store:
        for task, times, clock in appends:
            store.clock = at(clock)
            facts = [started(str(time), time) for time in times]
            events = store.append(task, facts, after=versions[task])
            versions[task] += len(events)
            expected += events
        assert [event.position for event in expected] == list(range(1, len(expected) + 1))
        recorded = [event.recorded_at for event in expected]
        assert recorded == sorted(recorded)
        assert list(store.read()) == expected
        assert store.position_at(after(seconds)) == sum(time <= after(seconds) for time in recorded)
        for task in "abc":
            ours = [event for event in expected if event.task_id == task]
            assert [event.version for event in ours] == list(range(1, len(ours) + 1))
            known = [event for event in ours if event.position <= position]
            assert store.version_at(task, Moment(position=position)) == len(known)
            moment = Moment(position=position, at=after(seconds))
            assert list(store.read(task, moment=moment)) == [
                event for event in known if event.timestamp <= after(seconds)
            ]


# Following


def test_a_follower_sees_what_is_appended_later_in_order(store: EventStore) -> None:
    store.append("a", [started("0")], after=0)
    seen: list[str] = []

    def follow() -> None:
        for event in store.follow("a", interval=0.002, until=lambda: len(seen) == 20):
            seen.append(event.fact.data["goal"])

    follower = Thread(target=follow)
    follower.start()
    for version in range(1, 20):
        store.append("a", [started(str(version))], after=version)
        store.append("b", [started("not followed")], after=version - 1)
    follower.join(timeout=30)
    assert seen == [str(n) for n in range(20)]


def test_a_follower_may_begin_anywhere_and_take_some_types_only(store: EventStore) -> None:
    store.append("a", [TaskStarted(), TaskComplete(), TaskStarted(), TaskComplete()], after=0)
    followed = store.follow(after=2, types=["TASK_COMPLETE"], until=lambda: True)
    assert [event.position for event in followed] == [4]


# Kinds


@pytest.mark.parametrize(
    "fact",
    [
        UnknownFact(kind="DREAMT", payload={"of": ["sheep", {"electric": True}], "é": None}),
        UnknownFact(kind="DREAMT", kind_version=7, payload={}),
        UnknownFact(kind="TASK_STARTED", kind_version=2, payload={"goal": {"text": "x"}}),
        UnknownFact(kind="os:system", payload={"command": "rm -rf /"}),
        ModuleIteration.model_validate({"module_name": "a.py", "iteration": 1, "later": [1, {}]}),
    ],
)
def test_what_this_version_does_not_know_is_kept_untouched(store: EventStore, fact: Fact) -> None:
    store.append("task", [fact], after=0)
    [event] = store.read("task")
    assert event.fact == fact
    assert event.fact.data == fact.data
    store.append("copy", [event.fact], after=0)
    first, second = store.recorder.rows(None, 0)
    assert (first[3], first[9]) == (second[3], second[9])


def test_nothing_that_a_log_names_is_imported(store: EventStore) -> None:
    assert "this" not in sys.modules
    for version, kind in enumerate(["this:s", "this", "this#s"]):
        store.append("task", [UnknownFact(kind=kind, payload={})], after=version)
    assert [event.type for event in store.read()] == ["this:s", "this", "this#s"]
    assert "this" not in sys.modules


class Learned(Fact):
    type = "LEARNED"
    text: str


class LearnedFrom(Fact):
    type = "LEARNED"
    schema_version = 3
    lesson: str
    source: str


def test_what_an_older_version_wrote_is_read_as_this_one_means_it(store: EventStore) -> None:
    older = EventStore(store.recorder, codec=Codec({"LEARNED": Learned}))
    older.append("task", [Learned(text="sort before you iterate")], after=0)
    upcasters = {
        ("LEARNED", 1): lambda data: {"lesson": data["text"]},
        ("LEARNED", 2): lambda data: data | {"source": "unknown"},
    }
    newer = EventStore(store.recorder, codec=Codec({"LEARNED": LearnedFrom}, upcasters))
    newer.append("task", [LearnedFrom(lesson="x", source="y")], after=1)
    assert [event.fact for event in newer.read()] == [
        LearnedFrom(lesson="sort before you iterate", source="unknown"),
        LearnedFrom(lesson="x", source="y"),
    ]
    assert [type(event.fact) for event in older.read()] == [Learned, UnknownFact]


def test_an_upcaster_that_is_missing_or_fails_costs_its_own_event_only(store: EventStore) -> None:
    older = EventStore(store.recorder, codec=Codec({"LEARNED": Learned}))
    older.append("task", [Learned(text="x")], after=0)
    store.append("task", [TaskStarted(goal="y")], after=1)
    facts: dict[str, type[Fact]] = {"LEARNED": LearnedFrom, "TASK_STARTED": TaskStarted}
    for upcasters in ({}, {("LEARNED", 1): lambda data: data["no such key"]}):
        skipped: list[object] = []
        newer = EventStore(store.recorder, codec=Codec(facts, upcasters), report=skipped.append)
        assert goals(newer) == ["y"]
        assert [str(damage).startswith("event 1 (task 'task'): LEARNED") for damage in skipped] == [
            True
        ]


# Foreign ids and kept states


def test_what_a_foreign_id_was_imported_as_is_found(store: EventStore) -> None:
    ids = ["a%b", "a_b", "axb", "a!b", "A%B", "a%bc", "é🦜\n"]
    rows = [store.row("task", n, started(id)) for n, id in enumerate(ids, 1)]
    sources = [("git:task", id, bytes([n] * 8), n) for n, id in enumerate(ids)]
    store.append("other", [TaskStarted()], after=0)
    store.write_rows(rows, sources=sources)
    for n, id in enumerate(ids):
        assert store.found("git:task", id) == (bytes([n] * 8), n + 2, n + 1)
    assert store.found("git:other", "a%b") is None
    assert store.found("git:task", "a") is None
    assert [found.version for found in store.found_like("git:task", "a_")] == [2]
    assert sorted(found.version for found in store.found_like("git:task", "a%")) == [1, 6]
    assert [found.version for found in store.found_like("git:task", "a!")] == [4]
    assert len(store.found_like("git:task", "")) == 2
    assert store.found_like("git:other", "") == []


def test_the_latest_kept_state_that_a_moment_can_begin_from_is_found(store: EventStore) -> None:
    early = Snapshot(10, 100, LAST_US, 0, b"[1]")
    partial = Snapshot(20, 100, 900, 0, b"[2]")  # leaves out an event of 900
    whole = Snapshot(20, 900, LAST_US, 0, b"[3]")
    store.recorder.save_snapshots("progress", 1, "task", [early, partial, whole])
    store.recorder.save_snapshots("progress", 1, "task", [early._replace(state=b"kept before")])

    def kept(last: int, at_us: int | None = None, version: int = 1) -> Snapshot | None:
        return store.recorder.snapshot_before("progress", version, "task", last, at_us)

    assert kept(9) is None
    assert kept(10) == kept(19) == early
    assert kept(20) == kept(99) == whole
    assert kept(99, 99) is None
    assert kept(99, 100) == kept(99, 899) == partial
    assert kept(99, 900) == whole
    assert kept(99, version=2) is None
    assert store.recorder.snapshot_before("versions", 1, "task", 99, None) is None
    assert store.recorder.snapshot_before("progress", 1, "other", 99, None) is None
