"""Trajectories in ATIF: read step by step, and written so that reading them gives the same."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.importers import Report, atif, events, import_batches
from backcast.engine.log.importers.atif_export import exported
from backcast.engine.log.store import EventStore
from tests.foreign_logs import imported

FIXTURES = Path(__file__).parent.parent / "fixtures"
SAMPLE = FIXTURES / "foreign" / "atif.json"


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as opened:
        yield opened


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def sample() -> Any:
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


def prompts(store: EventStore, task: str) -> list[Any]:
    found = RequestReader(store, task).all()
    return [json.loads(body_of(one, store.get)) for one in found]


def test_a_step_is_a_batch_and_a_subagent_a_task(store: EventStore) -> None:
    report = imported(store, atif, SAMPLE)
    assert sorted(report.tasks) == ["gate-1", "gate-1:helper-1"]
    assert [str(event.type) for event in store.read("gate-1")] == [
        "MESSAGE_RECEIVED", "TASK_STARTED", "MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED",
        "TOOL_CALLED", "TOOL_CALLED", "TOOL_RETURNED", "MODULE_ITERATION", "TOOL_RETURNED",
        "CONTEXT_BUILT", "MODEL_REPLIED", "ATIF_TRAJECTORY",
    ]  # fmt: skip
    reply = next(store.read("gate-1", types=["MODEL_REPLIED"])).fact.data
    assert [reply[name] for name in ("prompt_tokens", "tokens", "cached_tokens")] == [30, 12, 8]
    assert reply["metrics"] == {"cost_usd": 0.25}
    [start] = store.read("gate-1:helper-1", types=["TASK_STARTED"])
    assert start.fact.data["parent_session"] == "gate-1"
    assert imported(store, atif, SAMPLE).added == 0


def test_a_context_holds_the_tools_and_all_steps_before(store: EventStore) -> None:
    report = imported(store, atif, SAMPLE)
    first, second = prompts(store, "gate-1")
    assert [tool["function"]["name"] for tool in first["tools"]] == ["write_file"]
    roles = [message["role"] for message in second["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert report.calls == {"messages": 2, "parts": 1}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_trajectory_that_has_grown_adds_only_its_new_steps(tmp_path: Path, count: int) -> None:
    parts, whole = EventStore.open("sqlite://"), EventStore.open("sqlite://")
    with parts, whole:
        cut = sample() | {"steps": sample()["steps"][:count]}
        imported(parts, atif, written(tmp_path / "cut.json", cut))
        imported(parts, atif, SAMPLE)
        imported(whole, atif, SAMPLE)
        kinds = [[(str(event.type), event.timestamp) for event in store.read("gate-1")
                  if str(event.type) != "ATIF_TRAJECTORY"] for store in (parts, whole)]  # fmt: skip
        assert kinds[0] == kinds[1]


def test_copied_steps_are_shown_to_the_model_and_are_no_events_of_their_own(
    store: EventStore, tmp_path: Path
) -> None:
    steps = [
        {"step_id": 1, "source": "user", "message": "Old ask", "is_copied_context": True},
        {"step_id": 2, "source": "agent", "message": "Old answer", "is_copied_context": True},
        {"step_id": 3, "source": "user", "message": "New ask"},
        {"step_id": 4, "source": "agent", "message": "New answer"},
    ]
    imported(store, atif, written(tmp_path / "a.json", sample() | {"steps": steps}))
    replies = list(store.read("gate-1", types=["MODEL_REPLIED"]))
    assert len(replies) == 1
    assert [message["content"] for message in prompts(store, "gate-1")[0]["messages"]] == [
        "Old ask", "Old answer", "New ask",
    ]  # fmt: skip
    [start] = store.read("gate-1", types=["TASK_STARTED"])
    assert start.fact.data["goal"] == "New ask"


def test_a_step_without_a_model_asks_none(store: EventStore, tmp_path: Path) -> None:
    steps = [*sample()["steps"][:2], {"step_id": 3, "source": "agent", "message": "By rote",
                                      "llm_call_count": 0}]  # fmt: skip
    report = imported(store, atif, written(tmp_path / "a.json", sample() | {"steps": steps}))
    assert list(store.read("gate-1", types=["MODEL_REPLIED"])) == []
    assert report.calls == {"parts": 1}


def test_steps_without_an_id_or_with_one_that_came_before_keep_their_places(
    store: EventStore, tmp_path: Path
) -> None:
    steps = sample()["steps"]
    del steps[1]["step_id"]
    steps[3]["step_id"] = 3
    report = imported(store, atif, written(tmp_path / "a.json", sample() | {"steps": [*steps, 7]}))
    assert any(
        note.endswith("no ids of their own: 2 of the steps of gate-1") for note in report.notes
    )
    assert report.skipped == ["step 5: needed a JSON object"]
    assert len(list(store.read("gate-1", types=["MODEL_REPLIED"]))) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"schema_version": "ATIF-v2.0", "steps": []}', "found an object with"),
        ('{"resourceSpans": []}', "traces of OpenTelemetry, for which 'backcast import otlp'"),
        ("", "found an empty file"),
        ("SQLite format 3\0", "found a SQLite database"),
    ],
)
def test_what_is_no_trajectory_is_refused_in_one_line(
    store: EventStore, tmp_path: Path, text: str, found: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=found) as error:
        imported(store, atif, path)
    assert "\n" not in str(error.value)


def test_a_trajectory_that_is_torn_is_read_as_far_as_it_is_whole(
    store: EventStore, tmp_path: Path
) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "a.json"
    path.write_text(text[: text.index('"message": "Done."')])
    report = imported(store, atif, path)
    assert len(report.skipped) == 1
    assert len(list(store.read("gate-1", types=["MODEL_REPLIED"]))) == 1


@pytest.mark.parametrize("task", ["till-agent", "palindrome", "validators", "gate-1"])
def test_what_is_exported_and_imported_is_exported_to_the_same_bytes(
    store: EventStore, tmp_path: Path, task: str
) -> None:
    logs = {"till-agent": "recorded/agent.jsonl", "palindrome": "logs/palindrome.jsonl",
            "validators": "logs/validators.jsonl"}  # fmt: skip
    if task in logs:
        report = Report()
        import_batches(store, "events", events.read(FIXTURES / logs[task], None, report), report)
    else:
        imported(store, atif, SAMPLE)
    first = exported(store, task).text
    (tmp_path / "a.json").write_text(first, encoding="utf-8")
    with EventStore.open("sqlite://") as other:
        imported(other, atif, tmp_path / "a.json")
        assert exported(other, task).text == first
    assert json.loads(first)["steps"]


def test_an_imported_trajectory_is_exported_as_it_was(store: EventStore) -> None:
    imported(store, atif, SAMPLE)
    found = json.loads(exported(store, "gate-1").text)
    found["subagent_trajectories"][0].pop("final_metrics")
    wanted = sample()
    for step in wanted["steps"]:
        step["timestamp"] = step["timestamp"].replace("Z", "+00:00")
    assert found == wanted


def test_instructions_and_tools_of_requests_are_a_step_and_definitions(store: EventStore) -> None:
    report, path = Report(), FIXTURES / "recorded" / "agent.jsonl"
    import_batches(store, "events", events.read(path, None, report), report)
    document = exported(store, "till-agent").document
    assert [step["source"] for step in document["steps"][:2]] == ["system", "user"]
    assert document["final_metrics"]["total_steps"] == len(document["steps"])
    cut = islice(atif.read(SAMPLE, None, report), 5)  # without what stands beside the steps
    import_batches(store, "atif", cut, report)
    agent = exported(store, "gate-1").document["agent"]
    assert agent["tool_definitions"] == sample()["agent"]["tool_definitions"]


def test_the_command_writes_a_trajectory_and_tells_what_it_leaves_out(
    backcast: Callable[..., tuple[str, str, int]], tmp_path: Path
) -> None:
    backcast("import", "events", FIXTURES / "logs" / "palindrome.jsonl")
    out, told, code = backcast("export", "palindrome", "--format", "atif", "a.json")
    assert (out, code) == ("", 0)
    assert "a trajectory has no place for 2 CHECKS_RAN, 1 CONTEXT_BUILT," in told
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document["session_id"] == "palindrome"
    assert backcast("export", "palindrome", "--format", "atif", "--redact", "-")[2] == 2
    started = {"type": "TASK_STARTED", "task_id": "t", "timestamp": "2026-11-20T10:00:00Z"}
    backcast("import", "events", written(tmp_path / "t.jsonl", started))
    _, told, code = backcast("export", "t", "--format", "atif", "-")
    assert (code, told) == (2, (
        "backcast: t: needed messages or replies of a model, found none: it is no run of an agent\n"
    ))  # fmt: skip
