"""One wild time spoils no later one: the rule for commits, and that for records of agents."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.views import event_line
from backcast.engine.log import EventStore
from backcast.engine.log.importers.times import DAY, EPOCH, JUMP, NEAR, Timeline
from backcast.engine.memory.import_log import run

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Dates = list[tuple[datetime | None, datetime | None]]


def year(number: int, day: int = 1) -> datetime:
    return datetime(number, 3, 1, tzinfo=UTC) + timedelta(days=day)


def both(*years: int) -> Dates:
    return [(year(number), year(number)) for number in years]


def times(dates: Dates, now: datetime = NOW) -> list[int]:
    """Return the years of the times that commits get."""
    timeline, found = Timeline(now), []
    for authored, committed in dates:
        timeline.commit(authored, committed)
        assert timeline.last is not None
        found.append(timeline.last.year)
    return found


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (both(2020, 2120, 2021, 2022), [2020, 2020, 2021, 2022]),
        (both(2020, 2120, 2120, 2121, 2022), [2020, 2020, 2020, 2020, 2022]),
        (both(2120, 2021, 2022), [1970, 2021, 2022]),
        (both(2020, 2021, 2120), [2020, 2021, 2021]),
        (both(2020, 2027, 2021), [2020, 2020, 2021]),
        (both(2010, 2020, 2021), [2010, 2020, 2021]),
        (both(2008, 2025, 2009, 2010), [2008, 2008, 2009, 2010]),
        (both(2005, 2025, 2025, 2026), [2005, 2005, 2025, 2026]),
        (both(1970, 2021, 2022), [1970, 2021, 2022]),
        (both(2020, 1970, 2021), [2020, 2020, 2021]),
        (both(1970, 2120, 2021), [1970, 1970, 2021]),
        (both(1965, 1966, 1985), [1965, 1966, 1985]),
        ([(None, year(2020)), (None, None), (year(2021), None)], [2020, 2020, 2021]),
        ([(None, None), *both(2021)], [1970, 2021]),
        ([(year(2120), year(2020)), *both(2021)], [2020, 2021]),
        ([*both(2020), (year(2024), year(2021)), *both(2022)], [2020, 2021, 2022]),
        ([*both(2020), (year(2021), year(2120)), *both(2022)], [2020, 2021, 2022]),
        ([*both(2020), (year(2021), year(1970)), *both(2022)], [2020, 2021, 2022]),
        ([(EPOCH, year(2020)), *both(2021)], [2020, 2021]),
        ([*both(2020), (year(2001), year(2021)), *both(2022)], [2020, 2020, 2022]),
    ],
)  # fmt: skip
def test_each_commit_gets_a_time_that_the_next_can_live_with(
    dates: Dates, expected: list[int]
) -> None:
    assert times(dates) == expected


def test_a_machine_whose_own_clock_is_wild_believes_what_it_reads() -> None:
    assert times(both(2020, 2021, 2022), now=EPOCH) == [2020, 2021, 2022]
    assert times(both(2020, 2021, 2120, 2022), now=EPOCH) == [2020, 2021, 2021, 2022]


def test_an_old_patch_is_not_wild_and_a_clock_that_was_never_set_is() -> None:
    timeline = Timeline(NOW)
    assert timeline.commit(year(2020), year(2020))
    assert timeline.commit(year(2001), year(2021))
    assert not timeline.commit(year(1970), year(1970))
    assert not timeline.commit(year(2024), year(2020))


days = st.integers(-7000, 90_000).map(lambda day: EPOCH + timedelta(days=day))
moments = st.one_of(
    st.none(),
    days,
    st.sampled_from([EPOCH, year(2021), year(2021, 20), year(2022), year(2036), year(2120)]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(moments, moments), max_size=8), st.integers(0, 8))
def test_a_history_read_in_two_parts_gets_the_times_of_one(dates: Dates, cut: int) -> None:
    at_once, first = Timeline(NOW), Timeline(NOW)
    whole: list[tuple[bool, datetime | None]] = []
    for pair in dates:
        whole.append((at_once.commit(*pair), at_once.last))
    for pair in dates[:cut]:
        first.commit(*pair)
    second = Timeline(NOW)
    for pair, (_, stored) in zip(dates[:cut], whole[:cut], strict=False):
        assert stored is not None
        second.restore(*pair, stored)
    assert [(second.commit(*pair), second.last) for pair in dates[cut:]] == whole[cut:]
    given_times = [last for _, last in whole if last is not None]
    assert given_times == sorted(given_times)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(1, 700), min_size=2, max_size=8),
    st.integers(1, 7),
    days,
)
def test_a_wild_commit_changes_no_later_time_but_by_a_jump_that_is_believed(
    gaps: list[int], place: int, wild: datetime
) -> None:
    dates, when = list[datetime](), year(2005)
    for gap in gaps:
        when += timedelta(days=gap)
        dates.append(when)
    place = min(place, len(dates) - 1)
    timeline, spoiled = Timeline(NOW), Timeline(NOW)
    for date in dates[:place]:
        timeline.commit(date, date)
        spoiled.commit(date, date)
    spoiled.commit(wild, wild)
    for date in dates[place:]:
        timeline.commit(date, date)
        spoiled.commit(date, date)
        assert timeline.last is not None
        assert spoiled.last is not None
        believed = dates[place - 1] < wild <= min(NOW + DAY, dates[place - 1] + JUMP)
        if not believed and abs(wild - date) > NEAR:
            assert spoiled.last == timeline.last


# Logs of agents


def claude(times: list[object]) -> str:
    lines = [
        {"type": "user", "uuid": f"u{n}", "sessionId": "s",
         "message": {"role": "user", "content": f"do {n}"},
         **({} if time is None else {"timestamp": time})}
        for n, time in enumerate(times)
    ]  # fmt: skip
    return "".join(json_text(line) + "\n" for line in lines)


def openhands(times: list[object]) -> str:
    lines = [
        {"kind": "MessageEvent", "id": f"m{n}", "source": "user",
         "llm_message": {"role": "user", "content": f"do {n}"},
         **({} if time is None else {"timestamp": time})}
        for n, time in enumerate(times)
    ]  # fmt: skip
    return "".join(json_text(line) + "\n" for line in lines)


def cline(times: list[object]) -> str:
    messages = [
        {"id": f"m{n}", "role": "user", "content": f"do {n}", "ts": time}
        for n, time in enumerate(times)
    ]
    return json_text({"sessionId": "s", "messages": messages})


def inspected(times: list[object]) -> str:
    events = [
        {"event": "info", "uuid": f"e{n}", "data": n, "timestamp": time}
        for n, time in enumerate(times)
    ]
    sample = {"uuid": "s", "input": "do", "events": events}
    return json_text({"eval": {"eval_id": "e"}, "status": "success", "samples": [sample]})


def swe(times: list[object]) -> str:
    messages = [
        {"role": "user", "content": f"do {n}", "extra": {"timestamp": time}}
        for n, time in enumerate(times)
    ]
    return json_text({"messages": messages})


WRITERS = {
    "claude-code": (claude, "s.jsonl"),
    "openhands": (openhands, "o.jsonl"),
    "cline": (cline, "c.json"),
    "inspect": (inspected, "i.json"),
    "swe-agent": (swe, "s.traj"),
}
WILD = (
    "2120-01-01T00:00:00Z",
    "1970-01-01T00:00:10Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2001-01-01T00:00:00+00:00",
    4_733_510_400,
    4_733_510_400_000,
    1.5,
    12_345.678,
)
"Times that wrong clocks and unset fields write, as text, seconds and milliseconds."


@pytest.mark.parametrize("wild", WILD, ids=str)
@pytest.mark.parametrize("format", WRITERS)
def test_a_wild_line_takes_the_time_before_it_and_the_next_keeps_its_own(
    format: str, wild: object, tmp_path: Path
) -> None:
    write, name = WRITERS[format]
    stated = ["2025-03-01T10:00:00Z", wild, None, "2025-03-01T10:05:00Z"]
    (tmp_path / name).write_text(write(stated))
    store = EventStore.open("sqlite://")
    report = run(store, format, tmp_path / name, "t")
    first, last = datetime(2025, 3, 1, 10, tzinfo=UTC), datetime(2025, 3, 1, 10, 5, tzinfo=UTC)
    events = [e for e in store.read("t") if "eval" not in e.fact.data.get("payload", {})]
    assert {event.timestamp for event in events} - {EPOCH + timedelta(seconds=1)} <= {first, last}
    assert {first, last} <= {event.timestamp for event in events}
    [marked] = [event for event in events if event.fact.data.get("stated_time") == wild]
    assert marked.timestamp == first
    assert marked.fact.data["synthetic_time"] is True
    notes = [note for note in report.notes if note.startswith("wild times: 1 record takes")]
    assert len(notes) == 1
    assert str(wild) in notes[0]


def test_a_first_line_that_is_wild_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(
        claude(["2120-01-01T00:00:00Z", "2025-03-01T10:00:00Z", "2025-03-01T10:01:00Z"])
    )
    store = EventStore.open("sqlite://")
    report = run(store, "claude-code", tmp_path / "s.jsonl", "t")
    *_, second, third = store.read("t")
    assert (second.timestamp.minute, third.timestamp.minute) == (0, 1)
    assert second.timestamp.year == 2025
    assert [note for note in report.notes if "1 record" in note]


def test_a_log_that_grew_gets_the_times_of_one_read_at_once(tmp_path: Path) -> None:
    stated: list[object] = [
        "2025-03-01T10:00:00Z", "2120-01-01T00:00:00Z", None, "2025-03-01T10:01:00Z",
        "2012-01-01T00:00:00Z", "2012-01-02T00:00:00Z", None, "2025-03-01T10:02:00Z",
        "2025-03-01T10:03:00Z", "1970-01-01T00:00:00Z", "2025-03-01T10:04:00Z",
    ]  # fmt: skip
    log = tmp_path / "s.jsonl"
    parts, at_once = EventStore.open("sqlite://"), EventStore.open("sqlite://")
    for count in range(1, len(stated) + 1):
        log.write_text(claude(stated[:count]))
        run(parts, "claude-code", log, "t")
    run(at_once, "claude-code", log, "t")
    facts = [[(e.fact, e.timestamp) for e in store.read("t")] for store in (parts, at_once)]
    assert facts[0] == facts[1]
    assert len(facts[0]) == len(stated) + 2


def test_the_log_prints_the_time_that_a_record_states(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(claude(["2025-03-01T10:00:00Z", "2120-01-01T00:00:00Z"]))
    store = EventStore.open("sqlite://")
    run(store, "claude-code", tmp_path / "s.jsonl", "t")
    start, _, first, wild = map(event_line, store.read("t"))
    assert "2025-03-01 10:00:00" in wild
    assert " dated 2120-01-01T00:00:00Z  user" in wild
    assert " dated " not in start + first


def test_an_event_that_was_never_completed_has_the_time_of_its_beginning(tmp_path: Path) -> None:
    event = {"event": "info", "uuid": "e", "data": 1, "completed": None,
             "timestamp": "2025-03-01T10:00:00Z"}  # fmt: skip
    sample = {"uuid": "s", "input": "do", "events": [event]}
    document = {"eval": {"eval_id": "e"}, "status": "started", "samples": [sample]}
    (tmp_path / "i.json").write_text(json_text(document))
    store = EventStore.open("sqlite://")
    run(store, "inspect", tmp_path / "i.json")
    assert {event.timestamp for event in store.read("s")} == {datetime(2025, 3, 1, 10, tzinfo=UTC)}
