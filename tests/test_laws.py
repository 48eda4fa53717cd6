"""The laws of the design, each over every projection there is."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Claim,
    Fact,
    ModuleIteration,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.fact_types import FACTS
from backcast.domain.moment import Moment, upto
from backcast.domain.score_events import Scored
from backcast.engine.history.snapshots import RecentStates, save_snapshots, state_at
from backcast.engine.history.state_json import dump, load
from backcast.engine.log import EventStore
from backcast.engine.log.codec import Codec, to_microseconds
from backcast.projections import ALL, ASKED, Projection, fold, versions
from tests.strategies import NOON, each_of, facts, iteration, logs, stored, times

HERE = Path(__file__).parents[1]
KINDS = HERE / "fixtures/kinds.jsonl"
EVERY: tuple[Projection, ...] = (*ALL, *ASKED)
every_projection = each_of(EVERY)
moments = st.builds(Moment, st.none() | st.integers(0, 30), st.none() | times)


def save_each(store: EventStore, spacing: int) -> None:
    """Keep states as close as they can be: where many are kept at once, each is kept less often."""
    for projection in EVERY:
        save_snapshots(store, [projection], "task", spacing)


@settings(max_examples=60)
@given(log=logs(), later=logs(), moment=moments)
@every_projection
def test_events_after_a_moment_cannot_change_it(
    projection: Projection, log: list[WorkflowEvent], later: list[WorkflowEvent], moment: Moment
) -> None:
    more = [e._replace(position=e.position + len(log), version=e.version + len(log)) for e in later]
    known = moment._replace(position=len(log))
    then = fold(projection, upto(known, log))
    assert fold(projection, upto(known, log + more)) == then


@given(log=logs(), cut=st.integers(0, 24))
@every_projection
def test_a_fold_can_be_cut_anywhere(
    projection: Projection, log: list[WorkflowEvent], cut: int
) -> None:
    first = fold(projection, log[:cut])
    assert fold(projection, log[cut:], first) == fold(projection, log)


@given(log=logs(), at=times)
@every_projection
def test_a_fold_can_be_cut_and_kept_as_json_anywhere(
    projection: Projection, log: list[WorkflowEvent], at: datetime
) -> None:
    state = fold(projection, upto(Moment(at=at), log))
    kept = load(projection.State, dump(state))
    assert kept == state
    assert dump(kept) == dump(state)


@given(log=logs(), fact=facts())
@every_projection
def test_every_fact_can_be_met_in_every_state(
    projection: Projection, log: list[WorkflowEvent], fact: Fact
) -> None:
    n = len(log) + 1
    event = WorkflowEvent(n, "task", n, fact, NOON, NOON, "ann", ())
    state = projection.evolve(fold(projection, log), event)
    assert isinstance(state, projection.State)


@settings(max_examples=60)
@given(log=logs(), fact=facts())
@every_projection
def test_asking_changes_nothing(
    projection: Projection, log: list[WorkflowEvent], fact: Fact
) -> None:
    untouched = deepcopy(log)
    state = fold(projection, log)
    before = dump(state)
    n = len(log) + 1
    projection.evolve(state, WorkflowEvent(n, "task", n, fact, NOON, NOON, "bob", ()))
    assert dump(state) == before
    assert log == untouched
    assert fold(projection, log) == state


@given(log=logs(), score=facts(kinds=(Scored,)).filter(lambda fact: fact.type == "SCORED"))
@every_projection
def test_no_projection_takes_notice_of_a_score(
    projection: Projection, log: list[WorkflowEvent], score: Scored
) -> None:
    state = fold(projection, log)
    number = len(log) + 1
    event = WorkflowEvent(number, "task", number, score, NOON, NOON, "score", (1,))
    assert projection.evolve(state, event) == state
    assert projection.evolve(projection.initial, event) == projection.initial


@settings(max_examples=40)
@given(log=logs(), moment=moments, spacing=st.integers(1, 6))
def test_a_state_from_a_kept_one_is_the_state_from_nothing(
    log: list[WorkflowEvent], moment: Moment, spacing: int
) -> None:
    with stored(log) as store:
        save_each(store, spacing)
        for projection in EVERY:
            from_nothing = fold(projection, upto(moment, log))
            kept = state_at(store, projection, "task", moment)
            assert kept == from_nothing, projection.NAME


@settings(max_examples=40)
@given(log=logs(), asked=st.lists(moments, max_size=8), size=st.integers(1, 4))
def test_a_state_from_one_asked_for_lately_is_the_state_from_nothing(
    log: list[WorkflowEvent], asked: list[Moment], size: int
) -> None:
    with stored(log) as store:
        for projection in EVERY:
            recent = RecentStates(size)
            for moment in asked:
                from_nothing = fold(projection, upto(moment, log))
                lately = state_at(store, projection, "task", moment, recent)
                assert lately == from_nothing, projection.NAME
            assert len(recent.states) <= size


@settings(max_examples=40)
@given(log=logs(), grown=logs(), moment=moments, spacing=st.integers(1, 4))
def test_states_kept_before_a_log_grew_serve_it_after(
    log: list[WorkflowEvent],
    grown: list[WorkflowEvent],
    moment: Moment,
    spacing: int,
) -> None:
    with stored(log) as store:
        save_each(store, spacing)
        store.clock = lambda: NOON + timedelta(days=1)
        for n, e in enumerate(grown, len(log) + 1):
            store.append("task", [Claim(e.fact, e.timestamp, e.writer)], after=n - 1)
        save_each(store, spacing)
        events = list(store.read("task"))
        for projection in EVERY:
            from_nothing = fold(projection, upto(moment, events))
            kept = state_at(store, projection, "task", moment)
            assert kept == from_nothing, projection.NAME


@settings(max_examples=60)
@given(log=logs(max_size=12), jumps=st.lists(st.integers(-100, 100), min_size=12, max_size=12))
def test_a_recorded_time_names_a_prefix_even_where_the_clock_jumps_back(
    log: list[WorkflowEvent], jumps: list[int]
) -> None:
    seconds = accumulate(jumps)
    with EventStore.open(
        "sqlite://", clock=lambda: NOON + timedelta(seconds=next(seconds))
    ) as store:
        for event in log:
            store.append("task", [event.fact], after=event.version - 1)
        events = list(store.read())
        assert [e.recorded_at for e in events] == sorted(e.recorded_at for e in events)
        for event in events:
            known = store.position_at(event.recorded_at)
            prefix = [e for e in events if e.recorded_at <= event.recorded_at]
            assert events[:known] == prefix


@settings(max_examples=300)
@given(fact=facts())
def test_nothing_is_lost_in_writing(fact: Fact) -> None:
    codec = Codec()
    topic, body = codec.encode(fact)
    again = codec.decode(topic, body)
    assert again == fact
    assert codec.encode(again) == (topic, body)


@pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
def test_numbers_that_json_does_not_have_are_written_as_json_and_come_back(number: str) -> None:
    topic, body = Codec().encode(iteration("a.py", score=float(number)))
    assert isinstance(json.loads(body)["score"], str)
    again = Codec().decode(topic, body)
    assert isinstance(again, ModuleIteration)
    assert repr(again.score) == number


def test_every_kind_and_version_ever_written_still_decodes() -> None:
    codec = Codec()
    lines = [json.loads(line) for line in KINDS.read_text().splitlines()]
    for line in lines:
        fact = codec.decode(f"{line['type']}:{line['schema']}", json.dumps(line["data"]).encode())
        assert not isinstance(fact, UnknownFact), line
        for key, value in line["data"].items():
            assert fact.data[key] == value, line
    written = {(line["type"], line["schema"]) for line in lines}
    current = {(name, fact.schema_version) for name, fact in FACTS.items()}
    assert current <= written, "add a line for the new kind or version; never change one"


def test_the_same_log_gives_the_same_bytes_under_any_hash_seed() -> None:
    script = (
        "import sys; from backcast.engine.log import EventStore;"
        "from backcast.engine.memory.import_log import run; from pathlib import Path;"
        "from backcast.projections import ALL, fold;"
        "from backcast.engine.history.state_json import dump; store = EventStore.open('sqlite://');"
        "run(store, 'events', Path('fixtures/logs/addresses.jsonl'));"
        "[sys.stdout.buffer.write(dump(fold(p, store.read('task-abc123')))) for p in ALL]"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=HERE,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(told) == 1
    # All projections name the module but eight: nobody wrote a summary, built a context, edited a
    # map, asked a model or a question, paid for a call, kept its answer or warmed a prompt.
    assert told.pop().count(b"validators.py") >= len(ALL) - 8


@pytest.mark.parametrize("kept_after_each", [False, True])
def test_a_wild_timestamp_does_not_spoil_the_kept_states_after_it(kept_after_each: bool) -> None:
    store = EventStore.open("sqlite://", clock=lambda: NOON)
    wild = datetime(9999, 1, 1, tzinfo=UTC)
    for n in range(1, 101):
        time = wild if n == 7 else NOON + timedelta(minutes=n)
        store.append("task", [Claim(iteration(f"m{n % 5}.py", n), time)], after=n - 1)
        if kept_after_each:
            save_snapshots(store, [versions], "task", 10)
    save_snapshots(store, [versions], "task", 10)
    at = to_microseconds(NOON + timedelta(minutes=88))
    kept = store.recorder.snapshot_before("versions", versions.VERSION, "task", 100, at)
    assert kept is not None
    assert kept.version == 80


@dataclass(frozen=True)
class Counted:
    """How many events of a kind are there? (a projection with a parameter)"""

    kind: str
    VERSION: int
    NAME: str = "counted"
    SCOPE: Literal["task", "store"] = "task"
    State: type = int
    initial: int = 0

    def evolve(self, state: int, event: WorkflowEvent) -> int:
        return state + (event.type == self.kind)


def test_a_projection_may_have_parameters_and_a_new_version_ignores_states_kept_by_an_old_one() -> (
    None
):
    store = EventStore.open("sqlite://")
    store.append("task", [iteration("a.py", n) for n in range(1, 21)], after=0)
    old, new = Counted("MODULE_ITERATION", 1), Counted("TASK_STARTED", 2)
    assert save_snapshots(store, [old], "task", 5) == 4
    assert state_at(store, old, "task") == 20
    assert state_at(store, new, "task") == 0


def test_a_clock_without_a_zone_is_refused_in_words() -> None:
    store = EventStore.open("sqlite://", clock=lambda: datetime(2026, 11, 20))  # noqa: DTZ001
    with pytest.raises(InputError, match="clock: needed a time with a zone"):
        store.append("task", [iteration("a.py")], after=0)
    assert store.tasks() == []
