"""Spans and events of OpenTelemetry: both dialects, any order, and what is not there."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.importers import otlp
from backcast.engine.log.store import EventStore
from tests.foreign_logs import imported

OLD = 1_790_000_000 * 10**9
"A time long ago, in nanoseconds."
Line = dict[str, Any]
PAINT = {"type": "function", "function": {"name": "paint", "parameters": {"type": "object"}}}


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as opened:
        yield opened


def value(plain: object) -> Line:
    match plain:
        case bool():
            return {"boolValue": plain}
        case int():
            return {"intValue": str(plain)}
        case str():
            return {"stringValue": plain}
        case list():
            return {"arrayValue": {"values": [value(item) for item in plain]}}
        case dict():
            return {"kvlistValue": {"values": pairs(plain)}}
    return {"doubleValue": plain}


def pairs(fields: dict[str, Any]) -> list[Line]:
    return [{"key": name, "value": value(plain)} for name, plain in fields.items()]


def span(id: str, at: int, fields: dict[str, Any], parent: str = "a0", **more: Any) -> Line:
    """A line with a span that began `at` seconds after the first."""
    found = {
        "traceId": "t1", "spanId": id, "parentSpanId": parent, "name": id,
        "startTimeUnixNano": str(OLD + at * 10**9), "endTimeUnixNano": str(OLD + at * 10**9 + 5),
        "attributes": pairs(fields), "status": {}, **more,
    }  # fmt: skip
    resource = {"attributes": pairs({"service.name": "gate"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [found]}]}]}


def event(id: str, name: str, fields: dict[str, Any], body: object = None) -> Line:
    found = {"traceId": "t1", "spanId": id, "timeUnixNano": str(OLD), "eventName": name,
             "attributes": pairs(fields), "body": value(body) if body else {}}  # fmt: skip
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [found]}]}]}


def agent(**more: Any) -> Line:
    named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "gate-1"}
    return span("a0", 0, named, parent="", **more)


def said(role: str, *parts: Line) -> Line:
    return {"role": role, "parts": list(parts)}


def words(content: str) -> Line:
    return {"type": "text", "content": content}


CALL = {"type": "tool_call", "id": "c1", "name": "paint", "arguments": {"gate": "red"}}
RESULT = {"type": "tool_call_response", "id": "c1", "response": "ok"}
ASKED = [said("system", words("You paint.")), said("user", words("Paint the gate"))]
MADE = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m1",
        "gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 5}  # fmt: skip


def told(asked: list[Line], answered: list[Line]) -> dict[str, str]:
    return {"gen_ai.input.messages": json.dumps(asked),
            "gen_ai.output.messages": json.dumps(answered)}  # fmt: skip


def genai() -> list[Line]:
    later = [*ASKED, said("assistant", CALL), said("tool", RESULT)]
    tools = {"gen_ai.tool.definitions": json.dumps([PAINT])}
    used = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "paint",
            "gen_ai.tool.call.id": "c1", "gen_ai.tool.call.result": "ok"}  # fmt: skip
    return [
        span("s1", 1, MADE | tools | told(ASKED, [said("assistant", CALL)])),
        span("s2", 2, used),
        span("s3", 3, MADE | tools | told(later, [said("assistant", words("Done."))])),
        agent(),
    ]


def inference() -> list[Line]:
    one = {"openinference.span.kind": "LLM", "llm.model_name": "m1", "llm.token_count.prompt": 20,
           "llm.token_count.completion": 5, "llm.tools.0.tool.json_schema": json.dumps(PAINT),
           "llm.input_messages.0.message.role": "system",
           "llm.input_messages.0.message.content": "You paint.",
           "llm.input_messages.1.message.role": "user",
           "llm.input_messages.1.message.content": "Paint the gate"}  # fmt: skip
    called = "message.tool_calls.0.tool_call"
    call = {f"{called}.id": "c1", f"{called}.function.name": "paint",
            f"{called}.function.arguments": '{"gate":"red"}'}  # fmt: skip
    first = {f"llm.output_messages.0.{name}": text for name, text in call.items()}
    first |= {"llm.output_messages.0.message.role": "assistant"}
    second = {f"llm.input_messages.2.{name}": text for name, text in call.items()} | {
        "llm.input_messages.2.message.role": "assistant",
        "llm.input_messages.3.message.role": "tool",
        "llm.input_messages.3.message.content": "ok",
        "llm.input_messages.3.message.tool_call_id": "c1",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "Done.",
    }
    tool = {"openinference.span.kind": "TOOL", "tool.name": "paint", "output.value": "ok"}
    named = {"openinference.span.kind": "AGENT", "session.id": "gate-1"}
    return [span("s1", 1, one | first), span("s2", 2, tool), span("s3", 3, one | second),
            span("a0", 0, named, parent="")]  # fmt: skip


def as_events() -> list[Line]:
    """The same call, whose content stands in an event beside its span."""
    first, used, second, root = genai()
    lines = [span("s1", 1, MADE), used, span("s3", 3, MADE), root]
    for id, line in (("s1", first), ("s3", second)):
        [found] = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
        kept = [pair for pair in found["attributes"] if "messages" in pair["key"]
                or "definitions" in pair["key"]]  # fmt: skip
        beside = event(id, "gen_ai.client.inference.operation.details", {})
        beside["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"] = kept
        lines.append(beside)
    return lines


def by_message() -> list[Line]:
    """The same call, with an event for each message, as the conventions had it before."""
    tools = {"gen_ai.tool.definitions": json.dumps([PAINT])}
    call = {"id": "c1", "type": "function",
            "function": {"name": "paint", "arguments": '{"gate":"red"}'}}  # fmt: skip
    system = ("gen_ai.system.message", {"content": "You paint."})
    user = ("gen_ai.user.message", {"content": "Paint the gate"})
    first = [system, user, ("gen_ai.choice", {"index": 0, "message": {"tool_calls": [call]}})]
    second = [system, user, ("gen_ai.assistant.message", {"tool_calls": [call]}),
              ("gen_ai.tool.message", {"id": "c1", "content": "ok"}),
              ("gen_ai.choice", {"index": 0, "message": {"content": "Done."}})]  # fmt: skip
    beside = [event(id, name, {}, body) for id, found in (("s1", first), ("s3", second))
              for name, body in found]  # fmt: skip
    return [span("s1", 1, MADE | tools), genai()[1], span("s3", 3, MADE | tools), agent(), *beside]


def written(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def kinds(store: EventStore, task: str = "gate-1") -> list[str]:
    return [str(event.type) for event in store.read(task)]


def prompts(store: EventStore, task: str = "gate-1") -> list[Any]:
    found = RequestReader(store, task).all()
    return [json.loads(body_of(one, store.get)) for one in found]


ALL = [
    "OTLP_SPAN", "TASK_STARTED", "MESSAGE_RECEIVED", "MESSAGE_RECEIVED", "CONTEXT_BUILT",
    "MODEL_REPLIED", "TOOL_CALLED", "TOOL_RETURNED", "CONTEXT_BUILT", "MODEL_REPLIED",
]  # fmt: skip


@pytest.mark.parametrize("lines", [genai(), inference(), as_events(), by_message()],
                         ids=["genai", "openinference", "event", "an event a message"])  # fmt: skip
def test_both_dialects_say_the_same(store: EventStore, tmp_path: Path, lines: list[Line]) -> None:
    path = written(tmp_path / "a.jsonl", lines)
    report = imported(store, otlp, path)
    assert (kinds(store), report.calls, report.skipped) == (ALL, {"messages": 2}, [])
    first, second = prompts(store)
    assert first["tools"] == [PAINT]
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert second["messages"][2]["tool_calls"][0]["function"] == {
        "name": "paint", "arguments": '{"gate":"red"}',
    }  # fmt: skip
    assert second["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    reply = next(store.read("gate-1", types=["MODEL_REPLIED"])).fact.data
    assert [reply[n] for n in ("model", "prompt_tokens", "tokens")] == ["m1", 20, 5]
    assert imported(store, otlp, path).added == 0


def test_the_order_of_lines_changes_nothing(store: EventStore, tmp_path: Path) -> None:
    imported(store, otlp, written(tmp_path / "a.jsonl", genai()))
    for seed in range(6):
        lines = genai()
        random.Random(seed).shuffle(lines)
        with EventStore.open("sqlite://") as other:
            imported(other, otlp, written(tmp_path / "b.jsonl", lines))
            mine, others = (
                [(one.type, one.fact, one.because, one.timestamp) for one in held.read("gate-1")]
                for held in (store, other)
            )
            assert mine == others


def test_a_folder_brings_spans_and_events_together(store: EventStore, tmp_path: Path) -> None:
    lines = as_events()
    written(tmp_path / "spans.jsonl", lines[:4])
    written(tmp_path / "logs.jsonl", lines[4:])
    imported(store, otlp, tmp_path)
    assert kinds(store) == ALL


def test_calls_without_content_are_counted(store: EventStore, tmp_path: Path) -> None:
    hidden = inference()[2]
    [found] = hidden["resourceSpans"][0]["scopeSpans"][0]["spans"]
    found["attributes"] = [pair for pair in found["attributes"] if "messages" not in pair["key"]]
    found["attributes"] += pairs({"input.value": "__REDACTED__"})
    bare = span("s4", 4, MADE)
    report = imported(
        store, otlp, written(tmp_path / "a.jsonl", [genai()[0], hidden, bare, agent()])
    )
    assert report.notes[-1] == "3 calls: 1 by their messages, 2 have no content"
    assert kinds(store).count("CONTEXT_BUILT") == 1
    assert kinds(store).count("MODEL_REPLIED") == 3


def test_a_trace_that_still_misses_its_beginning_is_waited_for(
    store: EventStore, tmp_path: Path
) -> None:
    since = time.time_ns() - OLD
    lines = genai()
    for line in lines:
        [found] = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            found[name] = str(int(found[name]) + since - 60 * 10**9)
    report = imported(store, otlp, written(tmp_path / "a.jsonl", lines[:3]))
    assert (report.added, report.notes[0]) == (0, (
        "left for a later import: 1 trace without the first span, which is written when it ends"
    ))  # fmt: skip
    imported(store, otlp, written(tmp_path / "a.jsonl", lines))
    assert kinds(store) == ALL


def test_spans_that_come_late_change_nothing_and_are_told(
    store: EventStore, tmp_path: Path
) -> None:
    lines = genai()
    imported(store, otlp, written(tmp_path / "a.jsonl", [*lines[2:]]))
    before = list(store.read("gate-1"))
    report = imported(store, otlp, written(tmp_path / "b.jsonl", lines))
    assert list(store.read("gate-1"))[: len(before)] == before
    assert any(note.startswith("came late: 2 of the new records") for note in report.notes)
    assert kinds(store).count("TASK_STARTED") == 1
    assert kinds(store).count("MODEL_REPLIED") == 2


def test_spans_whose_parents_are_missing_or_themselves_are_read(
    store: EventStore, tmp_path: Path
) -> None:
    lines = [
        span("s1", 1, MADE | told(ASKED, []), parent="gone"),
        span("s2", 2, MADE, parent="s3"), span("s3", 3, MADE, parent="s2"),
        span("s4", 4, MADE, parent="s4"),
        span("s5", 5, MADE, parent="", endTimeUnixNano=str(OLD)),
    ]  # fmt: skip
    report = imported(store, otlp, written(tmp_path / "a.jsonl", lines))
    assert kinds(store, "t1").count("MODEL_REPLIED") == 5
    assert report.notes[0] == "line 5: span s5 ends before it begins"
    assert "not in the log: the span that 1 span stood in" in report.notes
    assert "2 spans in a circle of parents: the first of them leads" in report.notes


def test_a_span_that_comes_twice_is_one(store: EventStore, tmp_path: Path) -> None:
    lines = genai()
    other = span("s1", 1, MADE | {"gen_ai.usage.output_tokens": 6})
    report = imported(store, otlp, written(tmp_path / "a.jsonl", [*lines, lines[0], other]))
    assert kinds(store) == ALL
    assert report.skipped == ["line 6: span s1 came before with other content, which is kept"]


def test_what_is_no_span_of_a_model_is_kept_beside_it_or_left_out_with_its_trace(
    store: EventStore, tmp_path: Path
) -> None:
    web = span("h1", 4, {"http.method": "GET"})
    other = span("h2", 5, {"http.method": "GET"}, parent="", traceId="t2")
    unnamed = span("", 6, {})
    report = imported(store, otlp, written(tmp_path / "a.jsonl", [*genai(), web, other, unnamed]))
    assert kinds(store) == [*ALL, "OTLP_SPAN"]
    assert store.tasks() == ["gate-1"]
    assert report.notes[0] == "left out, as no model is called there: 1 trace (1 span)"
    assert report.skipped == ["a.jsonl: without 'traceId' and 'spanId': 1 of its spans and events"]


def test_a_failed_call_is_no_reply(store: EventStore, tmp_path: Path) -> None:
    failed = span("s1", 1, MADE | told(ASKED, []) | {"error.type": "timeout"},
                  status={"code": 2, "message": "the server was gone"})  # fmt: skip
    imported(store, otlp, written(tmp_path / "a.jsonl", [failed, agent()]))
    [fault] = store.read("gate-1", types=["MODEL_FAILED"])
    assert fault.fact.data["reason"] == "the server was gone"
    assert kinds(store)[-2:] == ["CONTEXT_BUILT", "MODEL_FAILED"]


def test_a_huge_attribute_and_a_torn_line_do_no_harm(store: EventStore, tmp_path: Path) -> None:
    huge = [said("user", words("x" * 20_000_000))]
    path = written(tmp_path / "a.jsonl", [span("s0", 1, MADE | told(huge, [])), *genai()])
    with path.open("a") as file:
        file.write('{"resourceSpans": [{"resource": {"attributes": [{"key": "ser')
    report = imported(store, otlp, path)
    assert [line.partition(":")[0] for line in report.skipped] == ["line 6"]
    assert len(prompts(store)) == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"schema_version": "ATIF-v1.7", "steps": []}', "for which 'backcast import atif' is"),
        ('{"resourceMetrics": []}', "found an object with 'resourceMetrics'"),
        ("", "found an empty file"),
    ],
)
def test_what_is_no_telemetry_is_refused_in_one_line(
    store: EventStore, tmp_path: Path, text: str, found: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=found) as error:
        imported(store, otlp, path)
    assert "\n" not in str(error.value)
