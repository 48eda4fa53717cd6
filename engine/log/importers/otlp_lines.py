r"""Spans and events of OpenTelemetry as its JSON lines hold them, with plain attributes.

>>> plain({"arrayValue": {"values": [{"intValue": "7"}, {"boolValue": True}]}})
[7, True]
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from backcast.engine.log.importers.content import mapping, sequence, without
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


def spans_in(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
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


def events_in(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
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
