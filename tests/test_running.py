"""What is known of a task that runs is read on from where the log was read last."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.events import MessageReceived, TaskComplete, TaskStarted
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import Moment
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import contributions_at, states_at
from backcast.engine.log import EventStore


def happened(store: EventStore, task: str, *facts: Any) -> None:
    store.append(task, facts, after=store.version(task))


def test_what_a_task_leaves_is_known_from_the_next_event_on_after_its_end() -> None:
    with EventStore.open("sqlite://") as store:
        happened(store, "own", TaskStarted(goal="one"))
        running = TaskFollower(store, "own")
        running.read_on()
        for number in range(3):
            other = f"other {number}"
            summary = SummaryWritten(node=f"task:{other}", text="it was done")
            happened(store, other, TaskStarted(goal="other"), summary, TaskComplete())
            happened(store, "own", MessageReceived(role="user", words="go on"))
            running.read_on()
            now = Moment(position=running.position)
            assert running.states == states_at(store, "own", now)
            assert running.states.offline == contributions_at(store, now)
        assert sorted(running.states.offline.complete) == ["other 0", "other 1", "other 2"]


def test_each_event_is_looked_at_once_for_the_end_of_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with EventStore.open("sqlite://") as store:
        looked: list[tuple[int, int]] = []
        rows = store.recorder.rows

        def watched(task: str | None, after: int, last: int | None = None, **named: Any) -> Any:
            if task is None:
                looked.append((after, last or 0))
            return rows(task, after, last, **named)

        monkeypatch.setattr(store.recorder, "rows", watched)
        happened(store, "own", TaskStarted(goal="one"))
        running = TaskFollower(store, "own")
        for others in (0, 2, 1, 0):
            for _ in range(others):
                happened(store, "other", MessageReceived(role="user", words="go on"))
            happened(store, "own", MessageReceived(role="user", words="go on"))
            running.read_on()
        # Where all events since are its own, they are known already.
        assert looked == [(2, 5), (5, 7)]


def test_a_task_that_goes_on_after_its_end_knows_what_it_left_itself() -> None:
    with EventStore.open("sqlite://") as store:
        running = TaskFollower(store, "own")
        facts = TaskStarted(goal="one"), TaskComplete(), SummaryWritten(node="task:own", text="so")
        for fact in (*facts, MessageReceived(role="user", words="go on")):
            happened(store, "own", fact)
            running.read_on()
            assert running.states == states_at(store, "own", Moment(position=running.position))
        assert list(running.states.offline.complete) == ["own"]


def test_what_is_told_of_a_task_after_its_end_is_known_too() -> None:
    with EventStore.open("sqlite://") as store:
        happened(store, "other", TaskStarted(goal="other"), TaskComplete())
        happened(store, "own", TaskStarted(goal="one"))
        running = TaskFollower(store, "own")
        running.read_on()
        happened(store, "other", SummaryWritten(node="task:other", text="it was done"))
        happened(store, "own", MessageReceived(role="user", words="go on"))
        running.read_on()
        assert running.states.offline == contributions_at(store, Moment(position=running.position))
        assert "task:other" in running.states.offline.complete["other"].summaries


def test_a_damaged_event_at_the_end_of_a_log_does_not_stop_a_run(tmp_path: Path) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.report = lambda damage: None
        happened(store, "own", TaskStarted(goal="one"), MessageReceived(role="user"))
        with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
            raw.execute("DROP TRIGGER events_are_not_rewritten")
            raw.execute("UPDATE events SET body=x'00' WHERE version=2")
            raw.commit()
        running = TaskFollower(store, "own")
        running.read_on()
        assert (running.version, running.stood_at) == (2, 1)
        store.append("own", [MessageReceived(role="user")], after=running.version)
        running.read_on()
        assert (running.version, running.stood_at) == (3, 3)
