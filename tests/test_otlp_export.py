"""Runs as spans of OpenTelemetry: its own parser reads them, and our importer takes them back."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from backcast.domain.events import ModelReplied, ToolCalled, ToolReturned
from backcast.engine.log.exchanges.chat_form import chat_form
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.importers import Report, import_batches, otlp
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.otlp_export import exported_spans
from backcast.engine.replay.tool_calls import whole

Call = Callable[..., tuple[str, str, int]]
FIXTURES = Path(__file__).parents[1] / "fixtures"
TILL, AGENT = FIXTURES / "logs" / "till.jsonl", FIXTURES / "recorded" / "agent.jsonl"
IDS = ("traceId", "spanId", "parentSpanId")


def spans_of(lines: list[str]) -> Iterator[Span]:
    """Spans as the OpenTelemetry packages read them; an unknown field is an error.

    Their JSON has ids in hexadecimal digits, and protobuf's own reader takes them in base64.
    """
    for line in lines:
        found = json.loads(line)
        for span in found["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for name in set(IDS) & span.keys():
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        data = json_format.ParseDict(found, TracesData())
        for resource in data.resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans


def named(span: Span) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in span.attributes
    }


@pytest.fixture
def foreign(backcast: Call, tmp_path: Path) -> Path:
    """A store with imported runs of several programs."""
    url = f"sqlite:///{tmp_path}/foreign.db"
    for format in ("codex", "pi"):
        path = FIXTURES / "foreign" / f"{format}.jsonl"
        assert backcast("import", format, path, "--as", format, "--store", url)[2] == 0
    assert backcast("import", "atif", FIXTURES / "foreign" / "atif.json", "--store", url)[2] == 0
    return tmp_path / "foreign.db"


def lines_of(store: EventStore, task: str, *, content: bool = True) -> list[str]:
    return list(exported_spans(store, task, content=content, left_out=Counter()))


def answers(store: EventStore, task: str) -> list[tuple[Any, ...]]:
    """What models answered and were told, without what a span has no place for."""

    def text(ref: str | None) -> str | None:
        return store.get(ref).decode() if ref else None

    found = list[tuple[Any, ...]]()
    for event in store.read(task):
        match event.fact:
            case ModelReplied() as fact:
                counts = fact.prompt_tokens, fact.tokens, fact.cached_tokens
                found.append(
                    (fact.model, text(fact.text), text(fact.thinking), fact.finish, *counts)
                )
            case ToolCalled() as fact:
                found.append(("call", fact.tool, fact.call_id, whole(fact.arguments, store)))
            case ToolReturned() as fact:
                found.append(("result", fact.call_id, text(fact.output), fact.failed))
    return sorted(found, key=repr)


def asked(store: EventStore, task: str) -> list[list[Any]]:
    """The messages of each prompt; spans keep neither the blanks of arguments nor blocks apart."""
    return [
        [plain(message) for message in chat_form(
            json.loads(body_of(found, store.get)), found.request.dialect)["messages"]]
        for found in RequestReader(store, task).all()
    ]  # fmt: skip


def plain(message: dict[str, Any]) -> dict[str, Any]:
    content, calls = message.get("content") or "", message.get("tool_calls", ())
    if isinstance(content, list):
        content = "\n".join(block["text"] for block in content)
    functions = [call["function"] for call in calls]
    called = [(function["name"], arguments_of(function["arguments"])) for function in functions]
    thoughts = message.get("reasoning_content")
    return {"role": message["role"], "content": content, "calls": called, "thoughts": thoughts,
            "answers": message.get("tool_call_id")}  # fmt: skip


def arguments_of(given: Any) -> Any:
    return json.loads(given) if isinstance(given, str) else given


def read_back(lines: list[str], folder: Path) -> EventStore:
    path = folder / "spans.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    store, report = EventStore.open("sqlite://", create=True), Report()
    import_batches(store, "otlp", otlp.read(path, None, report), report)
    assert report.skipped == []
    return store


@pytest.mark.parametrize("content", [False, True])
def test_the_packages_of_opentelemetry_read_every_line(foreign: Path, content: bool) -> None:
    operations = Counter[str]()
    with EventStore.open(f"sqlite:///{foreign}") as store, opened(str(TILL), None) as till:
        logs = [(store, task) for task in store.tasks()] + [(till.store, "till")]
        for log, task in logs:
            lines = lines_of(log, task, content=content)
            spans = list(spans_of(lines))
            assert len(spans) == len(lines)
            ids = [span.span_id for span in spans]
            assert len(set(ids)) == len(ids)
            assert {span.trace_id for span in spans} == {spans[0].trace_id}
            assert spans[0].parent_span_id == b""
            assert all(span.parent_span_id in ids for span in spans[1:])
            assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
            operations.update(named(span)["gen_ai.operation.name"] for span in spans)
    assert operations["invoke_agent"] == len(logs) + 1  # a subagent stands in the run that began it
    assert operations["chat"] >= 34 + 6 + 5
    assert operations["execute_tool"] >= 5


def test_without_content_no_word_of_a_run_stands_in_its_spans(backcast: Call) -> None:
    out, _, code = backcast("export", AGENT, "--format", "otlp", "-")
    assert code == 0
    chats = [span for span in spans_of(out.splitlines()) if span.name.startswith("chat")]
    assert [named(chat)["gen_ai.usage.input_tokens"] for chat in chats] == [86, 141, 213, 266]
    assert "messages" not in out
    assert "till.py" not in out
    whole_run, _, _ = backcast("export", AGENT, "--format", "otlp", "--content", "-")
    assert "till.py" in whole_run
    assert all(
        "gen_ai.input.messages" in named(s) for s in list(spans_of(whole_run.splitlines()))[1:]
    )


@pytest.mark.parametrize("task", ["codex", "pi", "gate-1"])
def test_what_is_exported_comes_back_by_import(foreign: Path, tmp_path: Path, task: str) -> None:
    with (
        EventStore.open(f"sqlite:///{foreign}") as store,
        read_back(lines_of(store, task), tmp_path) as again,
    ):
        assert answers(again, task) == answers(store, task) != []
        if task != "codex":  # its prompts hold items that have no words
            assert asked(again, task) == asked(store, task) != []
        if task == "gate-1":
            assert "gate-1:helper-1" in again.tasks()


def test_a_recorded_run_comes_back_with_the_prompts_it_had(tmp_path: Path) -> None:
    with (
        opened(str(AGENT), None) as log,
        read_back(lines_of(log.store, "till-agent"), tmp_path) as again,
    ):
        assert answers(again, "till-agent") == answers(log.store, "till-agent") != []
        assert asked(again, "till-agent") == asked(log.store, "till-agent") != []


def test_equal_logs_give_equal_spans_and_what_has_no_place_is_told(backcast: Call) -> None:
    first, told, code = backcast("export", TILL, "--format", "otlp", "--content", "-")
    assert code == 0
    assert "a span has no place for" in told
    assert "21 SUMMARY_WRITTEN" in told
    assert backcast("export", TILL, "--format", "otlp", "--content", "-")[0] == first


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "otlp", "--redact", "-"], "goes without --redact"),
        (["--format", "atif", "--content", "-"], "--content goes with --format otlp"),
    ],
)
def test_what_does_not_go_together_is_refused(
    backcast: Call, arguments: list[str], told: str
) -> None:
    _, said, code = backcast("export", TILL, *arguments)
    assert code == 2
    assert told in said


def test_a_log_without_calls_has_no_spans(backcast: Call) -> None:
    _, told, code = backcast(
        "export", FIXTURES / "logs" / "addresses.jsonl", "--format", "otlp", "-"
    )
    assert code == 2
    assert "needed calls of a model or a tool, found none" in told
