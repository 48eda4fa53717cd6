"""How much room snapshots take, and what a state is read from where they stand apart."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.events import Claim
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import Moment
from backcast.engine.history import snapshots
from backcast.engine.history.snapshots import RecentStates, save_snapshots, state_at, states_of
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.projections import ALL, fold, progress, versions
from tests.strategies import NOON, iteration

OF_A_TASK = [projection for projection in ALL if projection.SCOPE == "task"]


@pytest.fixture
def opened() -> Iterator[EventStore]:
    with EventStore.open("sqlite://", clock=lambda: NOON) as store:
        yield store


def grow(store: EventStore, size: int) -> None:
    """Let the log grow; every event is of a module of its own, so that the states grow with it."""
    begin = store.version("task")
    facts = [
        SummaryWritten(node=f"module:m{n}.py", text=f"the text of {n * 7919 % 9973}")
        if n % 3 == 0
        else iteration(f"package/m{n * 7919 % 9973}.py", n)
        for n in range(begin + 1, size + 1)
    ]
    store.append("task", facts, after=begin)


def taken(store: EventStore) -> tuple[int, int]:
    """The bytes of the snapshots, and their number."""
    room, count = store.recorder.one("SELECT sum(length(state)), count(*) FROM snapshots")
    return int(room), int(count)


def test_snapshots_take_room_like_the_events_and_not_like_their_square(
    opened: EventStore,
) -> None:
    room = []
    for size in (500, 2_000):
        grow(opened, size)
        save_snapshots(opened, OF_A_TASK, "task", spacing=10)
        room.append(taken(opened)[0])
    events = opened.recorder.body_bytes("task", 0, 2_000) + snapshots.ROW * 2_000
    assert room[1] < 6 * room[0]
    assert room[1] < len(OF_A_TASK) ** 0.5 * events
    for version in (1, 9, 777, 1_303, 2_000):
        for projection in OF_A_TASK:
            from_nothing = fold(projection, opened.read("task", last=version))
            assert state_at(opened, projection, "task", Moment(position=version)) == from_nothing


def test_a_store_with_a_snapshot_at_each_step_is_read_and_goes_on_with_fewer(
    opened: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(opened, 1_000)
    with monkeypatch.context() as older:
        older.setattr(snapshots, "_due", lambda sizes, index: 0)
        assert save_snapshots(opened, OF_A_TASK, "task", spacing=10) == 100 * len(OF_A_TASK)
    before = taken(opened)
    grow(opened, 2_000)
    count = save_snapshots(opened, OF_A_TASK, "task", spacing=10)
    assert 0 < count < 60 * len(OF_A_TASK)
    assert taken(opened)[1] == before[1] + count
    for version in (500, 999, 1_000, 1_500, 2_000):
        states = states_of(opened, OF_A_TASK, "task", Moment(position=version))
        events = list(opened.read("task", last=version))
        assert states == [fold(projection, events) for projection in OF_A_TASK]


def test_what_is_saved_now_and_then_takes_the_same_room_as_what_is_saved_at_the_end(
    opened: EventStore,
) -> None:
    for size in range(50, 1_001, 50):
        grow(opened, size)
        save_snapshots(opened, OF_A_TASK, "task", spacing=10)
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        grow(other, 1_000)
        save_snapshots(other, OF_A_TASK, "task", spacing=10)
        assert taken(opened)[0] < 1.3 * taken(other)[0]


def test_states_are_saved_from_wherever_the_last_ones_stand(opened: EventStore) -> None:
    grow(opened, 40)
    assert save_snapshots(opened, [progress], "task", spacing=10) > 0
    grow(opened, 103)
    assert save_snapshots(opened, [versions], "task", spacing=25) > 0
    grow(opened, 200)
    assert save_snapshots(opened, OF_A_TASK, "task", spacing=10) > 0
    for version in range(1, 201, 7):
        events = list(opened.read("task", last=version))
        states = states_of(opened, OF_A_TASK, "task", Moment(position=version))
        assert states == [fold(projection, events) for projection in OF_A_TASK]


def test_the_events_of_a_task_are_read_once_for_all_of_its_states(
    opened: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(opened, 30)
    save_snapshots(opened, [progress], "task", spacing=10)
    read: list[int] = []
    rows = opened.recorder.rows

    def watched(*arguments: Any, **named: Any) -> Any:
        found = rows(*arguments, **named)
        read.extend(row[2] for row in found)
        return found

    monkeypatch.setattr(opened.recorder, "rows", watched)
    states_of(opened, OF_A_TASK, "task", Moment(position=29))
    assert read == list(range(1, 30))


def test_a_state_in_memory_is_read_on_from_where_no_snapshot_is_much_later(
    opened: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(opened, 900)
    recent = RecentStates()
    state_at(opened, versions, "task", Moment(position=300), recent)
    begun: list[int] = []
    read = opened.read

    def watched(task: str, *, after: int = 0, **named: Any) -> Any:
        begun.append(after)
        return read(task, after=after, **named)

    monkeypatch.setattr(opened, "read", watched)
    expected = fold(versions, read("task", last=800))
    assert state_at(opened, versions, "task", Moment(position=800), recent) == expected
    assert begun == [300]
    save_snapshots(opened, [versions], "task", spacing=890)
    del begun[:]
    expected = fold(versions, read("task"))
    assert state_at(opened, versions, "task", Moment(position=900), RecentStates()) == expected
    assert begun == [890]


@pytest.mark.parametrize("disorder", [0, 7])
def test_who_reads_far_keeps_the_state_and_every_moment_is_as_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disorder: int
) -> None:
    monkeypatch.setattr(snapshots, "FAR", 40)
    with EventStore.open(f"sqlite:///{tmp_path / 'far.db'}", clock=lambda: NOON) as store:
        times = [NOON + timedelta(seconds=n if not disorder else n * disorder % 50)
                 for n in range(200)]  # fmt: skip
        facts = [iteration(f"package/m{n % 17}.py", n) for n in range(200)]
        claims = [Claim(fact, at, "", ()) for fact, at in zip(facts, times, strict=True)]
        store.append("task", claims, after=0)
        for last in (130, 39, 200, 60, 170):
            assert state_at(store, versions, "task", Moment(position=last)) == fold(
                versions, store.read("task", last=last)
            )
        count = store.recorder.one(
            "SELECT count(*) FROM snapshots WHERE projection=?", versions.NAME
        )
        assert count[0] >= 3
        for second in (0, 3, 21, 49, 120, 170, 199):
            at = Moment(at=NOON + timedelta(seconds=second))
            from_nothing = fold(versions, store.read("task", moment=at))
            assert state_at(store, versions, "task", at) == from_nothing, second


def test_who_reads_far_by_a_time_keeps_the_state_where_times_rise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "FAR", 40)
    with EventStore.open(f"sqlite:///{tmp_path / 'far.db'}", clock=lambda: NOON) as store:
        claims = [Claim(iteration("m.py", n), NOON + timedelta(seconds=n), "", ())
                  for n in range(100)]  # fmt: skip
        store.append("task", claims, after=0)
        found = state_at(store, versions, "task", Moment(at=NOON + timedelta(seconds=59)))
        assert found == fold(versions, store.read("task", last=60))
        row = store.recorder.one("SELECT version FROM snapshots")
        assert row == (60,)


def test_a_newer_version_that_keeps_states_drops_those_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path / 'run.db'}", clock=lambda: NOON) as store:
        store.append("other", [iteration("m.py", n) for n in range(100)], after=0)
        for projection in (versions, progress):
            save_snapshots(store, [projection], "other", spacing=10)
        grow(store, 300)
        save_snapshots(store, OF_A_TASK, "task", spacing=10)
        before = _kept_of(store, "task")
        now = versions.VERSION
        monkeypatch.setattr(versions, "VERSION", now + 1)
        grow(store, 305)
        assert state_at(store, versions, "task") == fold(versions, store.read("task"))
        assert _kept_of(store, "task") == before
        assert save_snapshots(store, [versions], "task", spacing=10) > 0
        after = _kept_of(store, "task")
        assert {code for name, code in after if name == versions.NAME} == {now + 1}
        others = {pair: count for pair, count in before.items() if pair[0] != versions.NAME}
        assert others == {pair: count for pair, count in after.items() if pair[0] != versions.NAME}
        assert set(_kept_of(store, "other")) == {("versions", now), ("progress", progress.VERSION)}
        # Code that is older still reads the store, and takes nothing from the newer one.
        monkeypatch.setattr(versions, "VERSION", now)
        assert save_snapshots(store, [versions], "task", spacing=10) > 0
        assert {code for name, code in _kept_of(store, "task") if name == versions.NAME} == {
            now, now + 1,
        }  # fmt: skip
        assert list(check(store)) == []


def _kept_of(store: EventStore, task: str) -> dict[tuple[str, int], int]:
    return {
        (name, code): count
        for name, code, count in store.recorder.all(
            "SELECT projection, projection_version, count(*) FROM snapshots WHERE task_id=?"
            " GROUP BY 1, 2", task,
        )
    }  # fmt: skip


def test_a_reader_that_met_damage_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "FAR", 40)
    path = tmp_path / "far.db"
    with EventStore.open(f"sqlite:///{path}", clock=lambda: NOON) as store:
        grow(store, 100)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TRIGGER events_are_not_rewritten")
        raw.execute("UPDATE events SET writer='bob' WHERE position=28")
    with EventStore.open(f"sqlite:///{path}", clock=lambda: NOON) as store:
        state_at(store, versions, "task")
        assert taken_count(store) == 0


def taken_count(store: EventStore) -> int:
    return int(store.recorder.one("SELECT count(*) FROM snapshots")[0])
