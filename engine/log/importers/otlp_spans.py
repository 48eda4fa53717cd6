r"""Spans and events of OpenTelemetry, as its JSON lines hold them, in the order of a run.

Lines come as spans end, so a parent stands behind its children, and those of several traces are
mixed. They go into a file of their own first; what is held of each is its place there and in its
trace.

>>> plain({"arrayValue": {"values": [{"intValue": "7"}, {"boolValue": True}]}})
[7, True]
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json, to_json

from backcast.engine.log.importers import Report
from backcast.engine.log.importers.content import mapping, sequence, string, without
from backcast.engine.log.importers.lines import read_objects
from backcast.engine.log.importers.times import EPOCH

DETAILS = "gen_ai.client.inference.operation.details"
"The event that tells what a call of a model was asked and answered."
BY_MESSAGE = {
    "gen_ai.system.message": "system", "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant", "gen_ai.tool.message": "tool", "gen_ai.choice": "",
}  # fmt: skip
"The events that tell a message each, as the conventions had it before, with its role."
TOLD = frozenset((DETAILS, *BY_MESSAGE))
DEEPEST = 100
"Values inside each other that are read."
Attributes = dict[str, Any]


class SpanPlace(NamedTuple):
    """Where a span is."""

    trace: str
    span: str
    parent: str
    start: int
    "Nanoseconds since 1970."
    end: int
    conversation: str
    of_model: bool
    "Whether it tells of a call of a model, of a tool, or of an agent."
    at: int
    size: int


class SpanStore:
    """The spans of one or several files."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.traces: dict[str, dict[str, SpanPlace]] = {}
        self._events: dict[tuple[str, str], list[tuple[int, int]]] = {}
        "Where the events are that tell what a span's call was asked, by trace and span."
        self._file: BinaryIO = TemporaryFile(prefix="backcast-")  # noqa: SIM115
        self._size = 0

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def read(self, path: Path) -> None:
        """Take the spans and events of a file."""
        without_ids = 0
        for number, _, value in read_objects(path, self.report):
            without_ids += sum(not self._take(span, number) for span in _spans(value))
            without_ids += sum(not self._take_event(event) for event in _events(value))
        if without_ids:
            self.report.skipped.append(
                f"{path.name}: without 'traceId' and 'spanId': {without_ids} of its spans and"
                f" events"
            )

    def span(self, place: SpanPlace) -> dict[str, Any]:
        """Return a span, with what an event beside it tells of its call."""
        events = [mapping(self._at(*event)) for event in self._events.get(_key(place), ())]
        events.sort(key=lambda event: int(event["start"]))
        span = mapping(self._at(place.at, place.size)) if place.size else {**events[0]}
        messages = [*span["events"], *events]
        more = told_by(messages)
        span["events"] = [event for event in span["events"] if event["name"] not in TOLD]
        span["attributes"] = {**more, **span["attributes"]}
        return span

    def events_alone(self) -> None:
        """Make a span of the events whose own span is in none of the files."""
        alone = 0
        for (trace, span), events in self._events.items():
            if span not in self.traces.get(trace, {}):
                alone += 1
                event = mapping(self._at(*events[0]))
                place = SpanPlace(trace, span, "", event["start"], event["start"],
                                  conversation_of(event["attributes"]), True, 0, 0)  # fmt: skip
                self.traces.setdefault(trace, {})[span] = place
        if alone:
            self.report.notes.append(
                f"calls that only events tell, without their spans: {alone}; give the folder with"
                f" both files, to have each call once"
            )

    def _take(self, span: dict[str, Any], line: int) -> bool:
        trace, id = string(span["trace"]), string(span["span"])
        if trace is None or id is None:
            return False
        known = self.traces.setdefault(trace, {})
        body = to_json(span)
        if before := known.get(id):
            if self._bytes(before.at, before.size) != body:
                self.report.skipped.append(
                    f"line {line}: span {id[:32]} came before with other content, which is kept"
                )
            return True
        if span["end"] < span["start"]:
            self.report.notes.append(f"line {line}: span {id[:32]} ends before it begins")
        known[id] = SpanPlace(
            trace, id, span["parent"], span["start"], span["end"],
            conversation_of(span["attributes"]), is_of_model(span), *self._kept(body),
        )  # fmt: skip
        return True

    def _take_event(self, event: dict[str, Any]) -> bool:
        trace, id = string(event["trace"]), string(event["span"])
        if trace is None or id is None:
            return False
        body = to_json(event)
        known = self._events.setdefault((trace, id), [])
        if all(self._bytes(*before) != body for before in known):
            known.append(self._kept(body))
        return True

    def _kept(self, body: bytes) -> tuple[int, int]:
        at, self._size = self._size, self._size + len(body)
        self._file.seek(at)
        self._file.write(body)
        return at, len(body)

    def _bytes(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)

    def _at(self, at: int, size: int) -> Any:
        return from_json(self._bytes(at, size))


def told_by(events: list[dict[str, Any]]) -> Attributes:
    """Return what events tell of a call, as the attributes that a span would have."""
    found: Attributes = {}
    asked, answers = list[Any](), list[Any]()
    for event in events:
        body = mapping(event.get("body")) or mapping(event["attributes"])
        if event["name"] == DETAILS:
            found |= {**mapping(event.get("body")), **event["attributes"]}
        elif event["name"] == "gen_ai.choice":
            answers.append({**mapping(body.get("message")), **without(body, "message")})
        elif event["name"] in BY_MESSAGE:
            asked.append({"role": BY_MESSAGE[event["name"]], **body})
    found |= {"gen_ai.input.messages": asked} if asked else {}
    return found | ({"gen_ai.output.messages": answers} if answers else {})


def _key(place: SpanPlace) -> tuple[str, str]:
    return place.trace, place.span


def conversation_of(attributes: Attributes) -> str:
    """Return the conversation that attributes name; empty for none."""
    for name in ("gen_ai.conversation.id", "session.id"):
        if value := string(attributes.get(name)):
            return value
    return ""


def is_of_model(span: dict[str, Any]) -> bool:
    """Return whether a span tells of a call of a model or a tool, or of an agent."""
    names = span["attributes"]
    return any(name in names for name in (
        "gen_ai.operation.name", "gen_ai.system", "gen_ai.provider.name", "openinference.span.kind",
        "gen_ai.request.model", "llm.model_name",
    ))  # fmt: skip


def _spans(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the spans of a line, each with plain attributes."""
    for resource in _of(value, "resourceSpans", "resource_spans"):
        about = attributes_of(mapping(resource.get("resource")))
        scopes = _of(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")
        for scope in scopes:
            for span in _of(scope, "spans"):
                found = attributes_of(span)
                events = [
                    {"name": event.get("name"), "attributes": attributes_of(event)}
                    for event in _of(span, "events")
                ]
                status = mapping(span.get("status"))
                yield {
                    "trace": _id(span, "traceId", "trace_id"),
                    "span": _id(span, "spanId", "span_id"),
                    "parent": _id(span, "parentSpanId", "parent_span_id"),
                    "name": span.get("name"),
                    "start": _whole(span, "startTimeUnixNano", "start_time_unix_nano"),
                    "end": _whole(span, "endTimeUnixNano", "end_time_unix_nano"),
                    "attributes": found,
                    "events": events,
                    "status": status,
                    "links": _of(span, "links"),
                    "scope": mapping(scope.get("scope")).get("name"),
                    "resource": about,
                }


def _events(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a line that tell of a call of a model."""
    for resource in _of(value, "resourceLogs", "resource_logs"):
        for scope in _of(resource, "scopeLogs", "scope_logs"):
            for event in _of(scope, "logRecords", "log_records"):
                found = attributes_of(event)
                name = event.get("eventName") or event.get("event_name") or found.get("event.name")
                if name in TOLD:
                    yield {
                        "trace": _id(event, "traceId", "trace_id"),
                        "span": _id(event, "spanId", "span_id"),
                        "parent": "",
                        "start": _whole(event, "timeUnixNano", "time_unix_nano",
                                        "observedTimeUnixNano"),
                        "end": 0,
                        "attributes": found,
                        "name": name,
                        "body": plain(mapping(event.get("body"))),
                        "events": [],
                        "status": {},
                        "links": [],
                        "scope": mapping(scope.get("scope")).get("name"),
                        "resource": attributes_of(mapping(resource.get("resource"))),
                    }  # fmt: skip


def attributes_of(value: dict[str, Any]) -> Attributes:
    """Return attributes as plain values, by name."""
    listed = value.get("attributes")
    if isinstance(listed, dict):  # as some write them
        return {str(name): plain(item) for name, item in listed.items()}
    pairs = map(mapping, sequence(listed))
    return {
        pair["key"]: plain(pair.get("value")) for pair in pairs if isinstance(pair.get("key"), str)
    }


def plain(value: Any, depth: int = 0) -> Any:
    """Return the value that an AnyValue holds."""
    if not isinstance(value, dict) or depth > DEEPEST:
        return value
    for name, item in value.items():
        match name:
            case "stringValue" | "boolValue" | "bytesValue" | "string_value" | "bool_value":
                return item
            case "intValue" | "int_value":
                return _int(item)
            case "doubleValue" | "double_value":
                return item
            case "arrayValue" | "array_value":
                values = sequence(mapping(item).get("values"))
                return [plain(one, depth + 1) for one in values]
            case "kvlistValue" | "kvlist_value":
                pairs = map(mapping, sequence(mapping(item).get("values")))
                return {str(pair.get("key")): plain(pair.get("value"), depth + 1) for pair in pairs}
    return value or None


def when(nanoseconds: int) -> str | None:
    """Return a time as text; None for a missing one, or one that no calendar holds."""
    try:
        time: datetime = EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
    return time.isoformat() if nanoseconds > 0 else None


def _of(value: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    for name in names:
        if isinstance(value.get(name), list):
            return [item for item in value[name] if isinstance(item, dict)]
    return []


def _id(value: dict[str, Any], *names: str) -> str:
    found = next((value[name] for name in names if isinstance(value.get(name), str)), "")
    return "" if not found.strip("0") else found


def _whole(value: dict[str, Any], *names: str) -> int:
    found = next((_int(value[name]) for name in names if name in value), 0)
    return found if isinstance(found, int) and abs(found) < 2**63 else 0


def _int(value: object) -> object:
    """Return a whole number, which JSON of OpenTelemetry holds as a string."""
    if isinstance(value, str) and len(value) < 40:
        try:
            return int(value)
        except ValueError:
            return value
    return value
