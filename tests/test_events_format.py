"""Backcast's own JSON lines: what is taken, what is refused, and in which words."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.events import ModuleIteration, UnknownFact, WorkflowEvent
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.fsck import check
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.events import export_lines
from backcast.engine.memory.import_log import run
from tests.strategies import logs, stored

LINE = {
    "type": "MODULE_ITERATION",
    "task_id": "task-abc123",
    "timestamp": "2026-11-20T10:00:00Z",
    "data": {"module_name": "validators.py", "iteration": 3, "score": 0.92},
}


@pytest.fixture
def store() -> EventStore:
    return EventStore.open("sqlite://")


def imported(store: EventStore, tmp_path: Path, *lines: Any, task: str | None = None) -> Report:
    file = tmp_path / "log.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts) + "\n")
    return run(store, "events", file, task)


def test_the_four_fields_of_the_seeds_are_enough(store: EventStore, tmp_path: Path) -> None:
    assert imported(store, tmp_path, LINE).added == 1
    [event] = store.read()
    assert (event.task_id, event.version, event.fact) == (
        "task-abc123",
        1,
        ModuleIteration(module_name="validators.py", iteration=3, score=0.92),
    )
    assert event.timestamp.isoformat() == "2026-11-20T10:00:00+00:00"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "line 1: not JSON"),
        ('{"a": NaN}', "line 1: task_id: needed a text, found nothing"),
        ('{"a": nan}', "line 1: not JSON"),
        (LINE | {"version": float("nan")}, "version: needed a whole number from 1, found nan"),
        (LINE | {"because": [float("inf")]}, "because: needed a list of versions"),
        ("[1]", "line 1: needed a JSON object, found list"),
        ("[" * 100_000, "line 1: not JSON"),
        (LINE | {"type": None}, "line 1: type: needed a text, found None"),
        (LINE | {"task_id": ""}, "line 1: task_id: needed a text, found ''"),
        ({k: v for k, v in LINE.items() if k != "timestamp"}, "timestamp: needed a text"),
        (LINE | {"timestamp": "2026-11-20T10:00:00"}, "needed a time with a zone"),
        (LINE | {"timestamp": "9999-12-31T23:59:59-01:00"}, "from year 1 to 9999"),
        (LINE | {"timestamp": 5}, "timestamp: needed a text, found 5"),
        (LINE | {"data": [1]}, "data: needed an object, found list"),
        (LINE | {"data": {"iteration": 1}}, "MODULE_ITERATION: module_name: field required"),
        (LINE | {"data": {"module_name": "a", "iteration": "x"}}, "iteration: input should be"),
        (LINE | {"because": "1"}, "because: needed a list of versions"),
        (LINE | {"because": [7]}, "because: needed versions from 1 to 0, found 7"),
        (LINE | {"version": 0}, "version: needed a whole number from 1"),
        (LINE | {"version": 2}, "needed version 1 next, found 2"),
        (LINE | {"task_id": "a\0b"}, "without NUL"),
        ({"blob": "blob:" + "0" * 64, "text": "x"}, "blob: the body is blob:2d71"),
        ({"blob": "blob:" + "0" * 64}, "blob: needed 'text' or 'base64'"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_in_one_line_and_the_rest_is_imported(
    store: EventStore, tmp_path: Path, line: Any, reason: str
) -> None:
    good = LINE | {"task_id": "good"}
    report = imported(store, tmp_path, line, good)
    assert (report.added, [e.task_id for e in store.read()]) == (1, ["good"])
    [told] = report.skipped
    assert reason in told
    assert "\n" not in told
    assert len(told) < 300


def test_year_9999_and_year_1_are_times_like_any_other(store: EventStore, tmp_path: Path) -> None:
    times = ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"]
    imported(store, tmp_path, *(LINE | {"timestamp": time} for time in times))
    assert [e.timestamp.year for e in store.read()] == [9999, 1]


def test_unknown_kinds_and_keys_are_kept_as_they_came(store: EventStore, tmp_path: Path) -> None:
    odd = {"deep": [{"big": 2**80, "null": None, "emoji": "🦜", "1": 1.5}], "type": "x"}
    imported(store, tmp_path, LINE | {"type": "ODD:KIND", "data": odd, "recorded_at": "then"})
    [event] = store.read()
    assert isinstance(event.fact, UnknownFact)
    assert (event.type, event.fact.data) == ("ODD:KIND", odd | {"recorded_at": "then"})


def test_a_line_that_stands_twice_is_two_events(store: EventStore, tmp_path: Path) -> None:
    assert imported(store, tmp_path, LINE, LINE).added == 2
    assert imported(store, tmp_path, LINE, LINE).added == 0
    assert imported(store, tmp_path, LINE, LINE, LINE).added == 1


def test_source_text_in_a_line_becomes_a_blob(store: EventStore, tmp_path: Path) -> None:
    text = "def f():\n    return '🦜'\n"
    data = LINE["data"] | {"source": text}  # type: ignore[operator]
    imported(store, tmp_path, LINE | {"data": data})
    [event] = store.read()
    assert isinstance(event.fact, ModuleIteration)
    assert event.fact.source is not None
    assert store.get(event.fact.source) == text.encode()


def test_another_task_can_be_named(store: EventStore, tmp_path: Path) -> None:
    imported(store, tmp_path, LINE, task="mine")
    assert store.tasks() == ["mine"]


def test_an_exported_line_that_stands_with_other_content_is_refused(
    store: EventStore, tmp_path: Path
) -> None:
    imported(store, tmp_path, LINE | {"version": 1})
    changed = LINE | {"version": 1, "data": {"module_name": "b.py", "iteration": 1}}
    report = imported(store, tmp_path, changed)
    assert report.added == 0
    assert "another event stands at version 1" in report.skipped[0]


def test_a_log_that_contradicts_the_store_leaves_its_task_as_it_was_and_others_come_in(
    store: EventStore, tmp_path: Path
) -> None:
    def read(version: int, body: str, task: str = "task-abc123") -> list[dict[str, Any]]:
        data = {"path": "a.py", "source": Blob(body.encode()).ref}
        line = LINE | {"type": "SOURCE_READ", "task_id": task, "version": version, "data": data}
        return [{"blob": data["source"], "text": body}, line]

    imported(store, tmp_path, *read(1, "ours"), *read(2, "ours too"))
    [shared, *_] = theirs = [*read(2, "theirs"), *read(3, "theirs alone")]
    other = read(1, "theirs", task="task-other")[1]  # its body came with a refused event
    report = imported(store, tmp_path, *read(1, "ours"), *theirs, other)
    assert (report.added, report.known, store.version("task-abc123")) == (1, 1, 2)
    [line] = report.skipped
    assert line == (
        "line 4: task 'task-abc123': another event stands at version 2, so the file tells of"
        " another run: from there on 2 events are not taken; to keep both, import it as another"
        " task, with --as NAME"
    )
    assert store.get(shared["blob"]) == b"theirs"
    assert not store.holds(Blob(b"theirs alone").ref)
    assert list(check(store)) == []
    assert imported(store, tmp_path, *read(1, "ours"), *theirs, task="mine").added == 3


def test_a_part_of_an_exported_log_is_completed_by_the_whole(
    store: EventStore, tmp_path: Path
) -> None:
    lines = [LINE | {"version": n, "writer": "ann", "because": [n - 1] if n > 1 else []}
             for n in range(1, 6)]  # fmt: skip
    assert imported(store, tmp_path, *lines[:2]).added == 2
    report = imported(store, tmp_path, *lines)
    assert (report.added, report.known, report.skipped) == (3, 2, [])


def told(events: list[WorkflowEvent]) -> list[WorkflowEvent]:
    return [e._replace(position=0, recorded_at=e.timestamp) for e in events]


@settings(max_examples=50, deadline=None)
@given(log=logs(max_size=8))
def test_any_log_survives_export_and_import(
    log: list[WorkflowEvent], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("export") / "log.jsonl"
    with stored(log) as origin, EventStore.open("sqlite://") as other:
        file.write_text("".join(f"{line}\n" for line in export_lines(origin, "task")))
        report = run(other, "events", file)
        assert report.skipped == []
        assert told(list(other.read("task"))) == told(list(origin.read("task")))


@settings(max_examples=100)
@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x) | st.dictionaries(st.sampled_from([*LINE, "blob", "text", "version"]), x)
        ),
    )
)
def test_no_json_at_all_makes_an_import_stumble(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with EventStore.open("sqlite://") as store:
        folder = tmp_path_factory.mktemp("odd")
        odd = LINE | (value if isinstance(value, dict) else {})
        report = imported(store, folder, value, odd, LINE | {"task_id": "good"})
        assert store.version("good") == 1
        assert all("\n" not in line for line in report.skipped)


def test_many_tiny_lines_of_several_tasks_are_imported(store: EventStore, tmp_path: Path) -> None:
    file = tmp_path / "tiny.jsonl"
    with file.open("w") as out:
        for n in range(20_000):
            line = {"type": "T", "task_id": f"t{n % 3}", "timestamp": "2026-11-20T10:00:00Z"}
            out.write(json.dumps(line | {"data": {"n": n}}) + "\n")
    assert run(store, "events", file).added == 20_000
    assert [store.version(task) for task in store.tasks()] == [6667, 6667, 6666]


def test_a_foreign_key_that_a_kind_has_been_given_since_is_put_aside(
    store: EventStore, tmp_path: Path
) -> None:
    usage = {"prompt": 900, "answer": 50}
    line = LINE | {"type": "MODEL_REPLIED", "data": {"model": "m", "tokens": usage, "seconds": 2}}
    assert imported(store, tmp_path, line).skipped == []
    [event] = store.read()
    assert event.fact.data == {"model": "m", "seconds": 2, "foreign": {"tokens": usage}}
    body = b'{"model":"m","tokens":{"prompt":900}}'
    assert store.codec.decode("MODEL_REPLIED:1", body).data["foreign"] == {
        "tokens": {"prompt": 900}
    }
    odd = LINE | {"type": "MODEL_REPLIED", "data": {"model": 3, "tokens": usage}}
    [skipped] = imported(store, tmp_path, odd).skipped
    assert "model: input should be a valid string" in skipped
