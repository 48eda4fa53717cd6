"""What a task knows of others is found by how many of them ended, not by how much they did."""

import sqlite3
from contextlib import closing
from typing import Any

import psycopg
import pytest

from backcast.domain.events import (
    Branched,
    MessageReceived,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    UnknownFact,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.engine.history.task_states import ENDS, contributions_at
from backcast.engine.log import EventStore
from backcast.engine.log.recorder.across import ACROSS
from backcast.projections import fold, offline_cache

TYPES = (*ENDS, "BRANCHED")


def fill(store: EventStore) -> None:
    """Tasks of many events; each third one ended, and each sixth one is a branch."""
    for number in range(30):
        facts: list[Any] = [TaskStarted(goal=f"goal {number}")]
        facts += [MessageReceived(role="user", words="go on")] * 60
        if number % 6 == 0:
            facts.append(Branched(origin="elsewhere"))
        facts.append(SummaryWritten(node=f"task:t{number}", text="it was done"))
        if number % 3 == 0:
            facts.append(TaskFailed(reason="no") if number % 9 == 0 else TaskComplete())
        store.append(f"t{number}", facts, after=0)


def without_index(url: str) -> None:
    """Take the index away, as from a store of an older version."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url[10:], isolation_level=None)) as raw:
            raw.execute("DROP INDEX events_across")
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP INDEX events_across")


def plans(store: EventStore, monkeypatch: pytest.MonkeyPatch, *types: str) -> str:
    """How the database finds the events of some types in the whole store."""
    asked: list[tuple[Any, ...]] = []
    every = store.recorder.all

    def watched(*query: Any) -> list[Any]:
        asked.append(query)
        return every(*query)

    with monkeypatch.context() as now:
        now.setattr(store.recorder, "all", watched)
        list(store.read(types=types))
    word = "EXPLAIN QUERY PLAN" if "sqlite" in type(store.recorder).__module__ else "EXPLAIN"
    sql, *parameters = asked[0]
    return str(every(f"{word} {sql}", *parameters))


def test_ends_of_tasks_are_found_by_their_index(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open(shared_url) as store:
        fill(store)
        if shared_url.startswith("postgresql"):
            with psycopg.connect(shared_url, autocommit=True) as connection:
                connection.execute("ANALYZE events")
        assert "events_across" in plans(store, monkeypatch, *TYPES)
        assert "events_across" in plans(store, monkeypatch, *ACROSS)
        assert "events_across" not in plans(store, monkeypatch, *TYPES, "TASK_STARTED")


@pytest.mark.parametrize("indexed", [True, False])
def test_what_ended_tasks_leave_is_the_same_with_the_index_and_without(
    shared_url: str, indexed: bool
) -> None:
    with EventStore.open(shared_url) as store:
        fill(store)
    if not indexed:
        without_index(shared_url)
    with EventStore.open(shared_url) as store:
        events = list(store.read())
        for position in (0, 1, 700, 1_300, len(events)):
            known = contributions_at(store, Moment(position=position))
            whole = fold(offline_cache, events[:position])
            assert known.complete == whole.complete
            assert known.failed == whole.failed
        assert sorted(known.complete) == ["t15", "t21", "t3"]
        assert sorted(known.failed) == ["t27", "t9"]


def test_an_older_store_gets_the_index_with_its_next_events(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open(shared_url) as store:
        fill(store)
        before = list(store.read())
    without_index(shared_url)
    with EventStore.open(shared_url) as store:
        known = contributions_at(store, NOW)
        assert "events_across" not in plans(store, monkeypatch, *TYPES)
        store.append("new", [TaskStarted(goal="new"), TaskComplete()], after=0)
        if shared_url.startswith("sqlite"):
            assert "events_across" in plans(store, monkeypatch, *TYPES)
        assert sorted(contributions_at(store, NOW).complete) == sorted([*known.complete, "new"])
    with EventStore.open(shared_url) as store:
        assert list(store.read())[: len(before)] == before
        names = "sqlite_master" if shared_url.startswith("sqlite") else "pg_indexes"
        column = "name" if shared_url.startswith("sqlite") else "indexname"
        found = store.recorder.one(f"SELECT count(*) FROM {names} WHERE {column}='events_across'")
        assert found[0] >= 1


def test_a_type_that_only_begins_like_the_end_of_a_task_is_no_end(store: EventStore) -> None:
    kinds = ("TASK_COMPLETELY", "TASK_FAILED_ONCE", "TASK_COMPLETE:AGAIN", "BRANCHED_OFF")
    facts = [UnknownFact(kind=kind, payload={}) for kind in kinds]
    store.append("odd", [TaskStarted(goal="odd"), *facts], after=0)
    assert contributions_at(store, NOW) == offline_cache.initial
