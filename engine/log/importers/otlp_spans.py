"""Spans of OpenTelemetry, kept until all are there.

Lines come as spans end, so a parent stands behind its children, and those of several traces are
mixed. They go into a file of their own first; what is held of each is its place there and in its
trace.
"""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json, to_json

from backcast.engine.log.importers import Report
from backcast.engine.log.importers.content import mapping, string
from backcast.engine.log.importers.lines import read_objects
from backcast.engine.log.importers.otlp_lines import (
    TOLD,
    Attributes,
    events_in,
    spans_in,
    told_by,
)


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
            without_ids += sum(not self._take(span, number) for span in spans_in(value))
            without_ids += sum(not self._take_event(event) for event in events_in(value))
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
