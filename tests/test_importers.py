"""Importers of foreign logs: whatever a file holds, what it tells is kept, once, or reported."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from backcast.domain.errors import InputError
from backcast.domain.events import UnknownFact, WorkflowEvent
from backcast.engine.interfaces.task_summaries import summary_of
from backcast.engine.log.importers import (
    Report,
    atif,
    claude_code,
    cline,
    codex,
    inspect_ai,
    openhands,
    otlp,
    pi,
    qwen,
    swe_agent,
)
from backcast.engine.log.importers.json_values import parse
from backcast.engine.log.importers.lines import MAX_LINE, read_lines, read_objects
from backcast.engine.log.rows import Damage
from backcast.engine.log.store import EventStore, refs_in
from tests.foreign_logs import imported

FOREIGN = Path(__file__).parent.parent / "fixtures" / "foreign"
REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "logs"
FORMATS = [swe_agent, openhands, claude_code, cline, inspect_ai, codex, pi, qwen, atif, otlp]
FOLDERS = {
    "swe-agent": swe_agent,
    "mini-swe-agent": swe_agent,
    "openhands": openhands,
    "claude-code": claude_code,
    "cline": cline,
    "inspect_ai": inspect_ai,
}
SAMPLES = [
    (swe_agent, "swe-agent.traj"),
    (swe_agent, "swe-agent-demonstration.traj"),
    (swe_agent, "mini-swe-agent.traj.json"),
    (openhands, "openhands.jsonl"),
    (openhands, "openhands-request.json"),
    (claude_code, "claude-code.jsonl"),
    (cline, "cline.json"),
    (cline, "cline-compaction.json"),
    (inspect_ai, "inspect.json"),
    (codex, "codex.jsonl"),
    (pi, "pi.jsonl"),
    (qwen, "qwen.jsonl"),
    (atif, "atif.json"),
]
REAL_SAMPLES = [
    pytest.param(FOLDERS[folder], path, id=f"{folder}/{path.name[:40]}")
    for folder in FOLDERS
    for path in sorted((REAL / folder).glob("*"))
] or [pytest.param(None, REAL, marks=pytest.mark.skip(f"no real logs: {REAL} is not there"))]


def damaged(damage: Damage) -> None:
    raise AssertionError(str(damage))


def store() -> EventStore:
    opened = EventStore.open("sqlite://")
    opened.report = damaged
    return opened


def events(format: ModuleType, path: Path) -> list[WorkflowEvent]:
    with store() as opened:
        imported(opened, format, path)
        return list(opened.read())


def kinds(events: list[WorkflowEvent]) -> list[str]:
    return [str(event.type) for event in events]


def leaves(value: object) -> Iterator[object]:
    """All that a JSON value says: its strings, numbers and booleans, without the names."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif value is not None:
        yield value


def told(opened: EventStore) -> set[str]:
    """All that a store says, in events and in the bodies that they point at."""
    found: set[str] = set()
    for event in opened.read():
        data = event.fact.data
        found.update(map(repr, leaves(data)))
        found.add(repr(to_json(data.get("arguments")).decode()))
        for ref in refs_in(to_json(data)):
            body = opened.get(ref).decode()
            found.add(repr(body))
            if body[:1] in "{[" and (values := maybe_json(body)):
                found.update(map(repr, leaves(values)))
    return found


def maybe_json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return None


def records(path: Path) -> list[Any]:
    if path.suffix != ".jsonl":
        return [parse(path.read_bytes())]
    return [value for _, _, value in read_objects(path, Report())]


def written(path: Path, value: object) -> Path:
    lines = value if isinstance(value, list) and path.suffix == ".jsonl" else [value]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize(("format", "name"), SAMPLES, ids=[name for _, name in SAMPLES])
def test_a_sample_imports_once_however_often_it_is_imported(format: ModuleType, name: str) -> None:
    with store() as opened:
        first = imported(opened, format, FOREIGN / name)
        again = imported(opened, format, FOREIGN / name)
        assert (first.added > 0, again.added, again.known >= first.added) == (True, 0, True)


@pytest.mark.parametrize(("format", "name"), SAMPLES, ids=[name for _, name in SAMPLES])
def test_nothing_of_a_sample_is_lost(format: ModuleType, name: str) -> None:
    with store() as opened:
        imported(opened, format, FOREIGN / name)
        found = told(opened)
        assert [v for v in leaves(records(FOREIGN / name)) if repr(v) not in found] == []


@pytest.mark.parametrize(("format", "path"), REAL_SAMPLES)
def test_a_real_log_imports_once_and_whole(format: ModuleType, path: Path) -> None:
    with store() as opened:
        first = imported(opened, format, path)
        refused = sum("other content" in reason for reason in first.skipped)
        assert first.added > 0
        assert imported(opened, format, path).added == 0
        found = told(opened)
        lost = [value for value in leaves(records(path)) if repr(value) not in found]
        assert len(lost) <= refused


def test_a_trajectory_tells_thought_call_and_result_in_turn() -> None:
    found = events(swe_agent, FOREIGN / "swe-agent.traj")
    assert kinds(found)[:6] == [
        "TASK_STARTED", "MESSAGE_RECEIVED", "MESSAGE_RECEIVED",
        "MODEL_REPLIED", "TOOL_CALLED", "TOOL_RETURNED",
    ]  # fmt: skip
    assert [event.because for event in found[3:6]] == [(3,), (4,), (5,)]
    assert found[0].fact.data["goal"] == "Circles are square."
    assert found[-1].type == "TASK_COMPLETE"


def test_a_run_that_was_cut_off_at_a_limit_did_not_complete(tmp_path: Path) -> None:
    log = records(FOREIGN / "swe-agent.traj")[0]
    log["info"]["exit_status"] = "submitted (exit_cost)"
    with store() as opened:
        imported(opened, swe_agent, written(tmp_path / "run.traj", log))
        [task] = opened.tasks()
        *_, last = opened.read(task)
        assert (last.type, last.fact.data["reason"]) == ("TASK_FAILED", "submitted (exit_cost)")
        about = summary_of(opened, task).words
        assert about.startswith("failed (submitted (exit_cost)), 2 answers: Circles")


def test_what_the_history_of_a_trajectory_repeats_takes_no_time(tmp_path: Path) -> None:
    found = events(swe_agent, FOREIGN / "swe-agent.traj")
    times = {event.timestamp for event in found if event.type == "SWE_AGENT_HISTORY"}
    assert times == {event.timestamp for event in found if event.type == "TOOL_RETURNED"} & times
    assert len(times) == 1


def test_a_chat_without_call_ids_still_pairs_commands_with_results() -> None:
    found = events(swe_agent, FOREIGN / "mini-swe-agent.traj.json")
    result = next(event for event in found if event.type == "TOOL_RETURNED")
    assert (result.writer, result.fact.data["failed"]) == ("tool:bash", True)
    assert found[result.because[0] - 1].fact.data["arguments"] == {"command": "ls | wc -l"}


def test_steps_without_times_follow_each_other_and_say_that_the_time_is_synthetic() -> None:
    found = events(swe_agent, FOREIGN / "swe-agent.traj")
    assert all(event.fact.data["synthetic_time"] for event in found)
    assert [event.timestamp for event in found] == sorted(event.timestamp for event in found)


def test_times_without_a_zone_are_read_as_utc_and_a_note_says_so_once() -> None:
    with store() as opened:
        report = imported(opened, openhands, FOREIGN / "openhands.jsonl")
        assert report.notes == ["times without a zone were read as UTC"]
        first = next(opened.read())
        assert first.timestamp.isoformat() == "2026-01-02T03:04:05.000001+00:00"


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_sample_tells_of_a_call_is_counted(tmp_path: Path, apart: bool) -> None:
    log = records(FOREIGN / "inspect.json")[0]
    output = log["samples"][0]["events"][1]["output"]
    output["usage"] = {
        "input_tokens": 32 if apart else 96, "output_tokens": 7, "total_tokens": 103,
        "input_tokens_cache_read": 64,
    }  # fmt: skip
    output["time"] = 1.5
    found = events(inspect_ai, written(tmp_path / "log.json", log))
    reply = next(event.fact.data for event in found if event.type == "MODEL_REPLIED")
    assert (reply["prompt_tokens"], reply["cached_tokens"]) == (96, 64)
    assert (reply["tokens"], reply["seconds"]) == (7, 1.5)


def test_a_sample_without_events_still_has_its_goal(tmp_path: Path) -> None:
    log = records(FOREIGN / "inspect.json")[0]
    log["samples"] = [{"id": 1, "input": "Greet the world."}]
    found = events(inspect_ai, written(tmp_path / "log.json", log))
    assert [event.fact.data.get("goal") for event in found if event.type == "TASK_STARTED"] == [
        "Greet the world."
    ]


def test_a_result_is_caused_by_the_call_that_it_answers() -> None:
    for format, name in SAMPLES:
        found = events(format, FOREIGN / name)
        for event in found:
            if event.type == "TOOL_RETURNED":
                calls = [e for e in found if e.task_id == event.task_id]
                assert [calls[cause - 1].type for cause in event.because] == ["TOOL_CALLED"]


def test_the_whole_text_that_a_tool_wrote_is_a_version() -> None:
    with store() as opened:
        imported(opened, claude_code, FOREIGN / "claude-code.jsonl")
        (made,) = opened.read(types=["MODULE_ITERATION"])
        assert (made.fact.data["module_name"], opened.get(made.fact.data["source"])) == (
            "one.py",
            b"one = 1\n",
        )


def test_lines_that_are_no_records_are_reported_and_passed_over() -> None:
    with store() as opened:
        report = imported(opened, claude_code, FOREIGN / "claude-code.jsonl")
        assert [reason[:14] for reason in report.skipped] == ["line 9: not JS", "line 10: neede"]


def test_events_in_files_of_their_own_import_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "conversation" / "events"
    folder.mkdir(parents=True)
    for number, event in enumerate(records(FOREIGN / "openhands.jsonl")):
        written(folder / f"event-{number * 50_000:05}-{event['id']}.json", event)
    written(folder.parent / "base_state.json", {"id": "our-talk", "agent": {}})
    with store() as opened:
        imported(opened, openhands, folder)
        assert opened.tasks() == ["our-talk"]
        assert imported(opened, openhands, folder.parent).added == 1
        assert kinds(list(opened.read()))[-2:] == ["TASK_COMPLETE", "OPENHANDS_base_state"]


def test_requests_that_repeat_each_other_tell_each_message_once(tmp_path: Path) -> None:
    later = records(FOREIGN / "openhands-request.json")[0]
    earlier = {**later, "messages": later["messages"][:2], "timestamp": 1757015020.0}
    earlier["response"] = {
        "id": "response-1",
        "model": "scripted",
        "choices": [{"message": later["messages"][2]}],
    }
    written(tmp_path / "model-1757015020.json", earlier)
    alone = kinds(events(openhands, FOREIGN / "openhands-request.json"))
    written(tmp_path / "model-1757015029.json", later)
    assert kinds(events(openhands, tmp_path)) == alone


def first_lines(document: Any, count: int) -> Any:
    return document[:count]


def first_steps(document: Any, count: int) -> Any:
    kept = {"trajectory": document["trajectory"][:1], "history": document["history"][:count]}
    return document | kept | {"info": {"exit_status": None}}


def first_messages(document: Any, count: int) -> Any:
    return document | {"messages": document["messages"][:count], "updated_at": "2026-01-01"}


def first_events(document: Any, count: int) -> Any:
    sample = document["samples"][0]
    return document | {"samples": [sample | {"events": sample["events"][:count]}]}


GROWING: list[tuple[ModuleType, str, Callable[[Any, int], Any], int]] = [
    (swe_agent, "swe-agent.traj", first_steps, 3),
    (openhands, "openhands.jsonl", first_lines, 4),
    (claude_code, "claude-code.jsonl", first_lines, 3),
    (cline, "cline.json", first_messages, 2),
    (inspect_ai, "inspect.json", first_events, 2),
]


@pytest.mark.parametrize(
    ("format", "name", "cut", "count"), GROWING, ids=[one[1] for one in GROWING]
)
def test_a_log_that_has_grown_adds_only_what_is_new(
    format: ModuleType, name: str, cut: Callable[[Any, int], Any], count: int, tmp_path: Path
) -> None:
    found = records(FOREIGN / name)
    whole = found if name.endswith("jsonl") else found[0]
    path = tmp_path / name
    with store() as opened:
        before = imported(opened, format, written(path, cut(whole, count)))
        after = imported(opened, format, written(path, whole))
        grown = [event.fact for event in opened.read() if not isinstance(event.fact, UnknownFact)]
        assert (before.added > 0, after.added > 0, after.skipped) == (True, True, [])
    at_once = [event.fact for event in events(format, path)]
    assert grown == [fact for fact in at_once if not isinstance(fact, UnknownFact)]


def test_a_line_that_was_half_written_is_imported_when_it_is_whole(tmp_path: Path) -> None:
    text = (FOREIGN / "openhands.jsonl").read_bytes()
    path = tmp_path / "growing.jsonl"
    path.write_bytes(text[: len(text) // 2])
    with store() as opened:
        assert len(imported(opened, openhands, path).skipped) == 1
        path.write_bytes(text)
        assert imported(opened, openhands, path).skipped == []
        assert kinds(list(opened.read())) == kinds(events(openhands, path))


REWRITTEN = [
    (swe_agent, "swe-agent.traj", "area.py\\n", "other.py\\n"),
    (swe_agent, "mini-swe-agent.traj.json", "I give up", "I go on"),
    (openhands, "openhands.jsonl", "No such file", "Not there"),
    (claude_code, "claude-code.jsonl", "I write it", "I wrote it"),
    (cline, "cline.json", "It is one", "It is two"),
    (inspect_ai, "inspect.json", "I shall", "I will"),
]


@pytest.mark.parametrize(("format", "name", "old", "new"), REWRITTEN)
def test_the_same_id_with_other_content_is_refused(
    format: ModuleType, name: str, old: str, new: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text((FOREIGN / name).read_text().replace(old, new, 1))
    with store() as opened:
        imported(opened, format, FOREIGN / name)
        before = list(opened.read())
        report = imported(opened, format, tmp_path / name)
        assert [r for r in report.skipped if "came before with other content" in r]
        assert list(opened.read())[: len(before)] == before


NOT_LOGS = {
    "nothing": b"",
    "words": b"no log at all",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a number": b"42",
    "a list of lists": b"[[], [[]]]",
    "null": b"null",
    "other bytes": b"\xff\xfe\x00",
    "a nest": b"[" * 100_000,
    "not a number": b'{"trajectory": NaN}',
    "wrong types": b'{"trajectory": 1, "history": {}, "messages": "", "eval": [], "sessionId": 0}',
    "half a line": b'{"type": "user", "uuid": "u',
}


@pytest.mark.parametrize("name", NOT_LOGS)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.FORMAT)
def test_what_is_no_log_of_a_format_is_refused_in_one_line(
    format: ModuleType, suffix: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(NOT_LOGS[name])
    with pytest.raises(InputError, match=r"^[^\n]+: needed [^\n]+, found [^\n]+$"):
        events(format, path)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.FORMAT)
def test_a_path_without_a_log_is_refused_in_one_line(format: ModuleType, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=r"^[^\n]+: needed [^\n]+, found[^\n]+$"):
            events(format, path)


NAMES = (
    "type", "kind", "role", "content", "text", "model", "id", "uuid", "tool", "data", "foreign",
    "synthetic_time", "messages", "response", "timestamp", "message", "schema_version", "arguments",
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**320), 10**320),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["user", "assistant", "tool_use", "\ud800", "\0", "2026-01-01", "#", "9" * 99]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one of its parts replaced by any other."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        copy = value.copy()
        copy[key] = draw(spoilt(value[key]))
        return copy
    return draw(VALUES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spoilt")


@pytest.mark.parametrize(("format", "name"), SAMPLES, ids=[name for _, name in SAMPLES])
@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
def test_whatever_stands_in_a_log_it_is_imported_or_refused(
    format: ModuleType, name: str, folder: Path, data: st.DataObject
) -> None:
    found = records(FOREIGN / name)
    whole = found if name.endswith("jsonl") else found[0]
    path = written(folder / name, data.draw(spoilt(data.draw(spoilt(whole)))))
    with store() as opened:
        try:
            first = imported(opened, format, path)
        except InputError:
            return
        assert imported(opened, format, path).added == 0
        assert first.added == len(list(opened.read()))
        have = told(opened)
        lost = [value for value in leaves(records(path)) if repr(value) not in have]
        assert lost == [] or first.skipped


def test_a_text_that_is_no_text_is_kept_as_it_stands(tmp_path: Path) -> None:
    first, *_ = records(FOREIGN / "qwen.jsonl")
    odd = first | {"message": {"role": "user", "parts": [{"text": [20261130]}]}}
    with store() as opened:
        assert imported(opened, qwen, written(tmp_path / "s.jsonl", [odd])).skipped == []
        assert "20261130" in told(opened)


def test_ids_that_look_like_ours_do_no_harm(tmp_path: Path) -> None:
    lines = records(FOREIGN / "claude-code.jsonl")
    odd = [lines[1] | {"uuid": id} for id in ("u2#1", "start:u1", "a\nb", "x" * 5000, "u2")]
    with store() as opened:
        report = imported(opened, claude_code, written(tmp_path / "s.jsonl", [*odd, *lines]))
        assert [reason[:4] for reason in report.skipped] == ["u2: "]


def test_a_record_that_is_too_large_for_an_event_stands_in_a_blob(tmp_path: Path) -> None:
    large = {f"key-{number:06}": number for number in range(200_000)}
    lines = [*records(FOREIGN / "claude-code.jsonl")[:2], {"type": "system", "uuid": "u9", **large}]
    with store() as opened:
        imported(opened, claude_code, written(tmp_path / "s.jsonl", lines))
        last = list(opened.read())[-1]
        body = opened.get(last.fact.data["foreign"]["json"])
        assert from_json(body) == lines[-1]


def test_a_goal_that_is_too_long_is_cut_and_kept_whole_in_a_blob(tmp_path: Path) -> None:
    goal = "make it round " * 10_000
    message = {"message": {"role": "user", "content": goal}}
    line = records(FOREIGN / "claude-code.jsonl")[1] | message
    with store() as opened:
        imported(opened, claude_code, written(tmp_path / "s.jsonl", [line]))
        started = next(opened.read())
        assert goal.startswith(started.fact.data["goal"])
        assert opened.get(started.fact.data["text"]).decode() == goal


def test_a_line_that_is_too_long_is_passed_over_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b"\xef\xbb\xbf{}\r\n\n")
        file.truncate(5 + MAX_LINE + 100)
        file.seek(0, 2)
        file.write(b"\n{}")
    report = Report()
    assert list(read_lines(path, report)) == [(1, b"{}"), (4, b"{}")]
    assert report.skipped == ["line 3: needed at most 67,108,864 bytes, found more"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"a\ud83d"', "a\\ud83d"),
        (rb'"\\ud83d\ud83d\ud83d\ude00\udc00"', "\\ud83d\\ud83d\U0001f600\\udc00"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"1" * 400, int("1" * 400)),
    ],
)
def test_json_is_read_to_values_that_can_be_written_again(line: bytes, value: object) -> None:
    assert parse(line) == value
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("line", [b"", b"nan", b"+Infinity", b"[1],[2]", b"[" * 500, b'"\xed"'])
def test_what_is_not_json_has_a_reason(line: bytes) -> None:
    with pytest.raises(InputError, match=r"^not JSON: [^\n]+$"):
        parse(line)
