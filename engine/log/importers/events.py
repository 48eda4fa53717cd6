"""Backcast's own lines, in and out: one JSON object a line, in the form of the seeds.

`type`, `task_id`, `timestamp` and `data` are enough. A line that states its `version`, as exported
ones do, is the event of that version: it adds nothing if the same event is stored, and is refused
if another one is, with all that follows of its task. Bodies travel in lines of their own, before
the event that points at them: `{"blob": "blob:…", "text": "…"}`, or `"base64"` if they are not
UTF-8. A line `{"note": "…"}` is for people, and is skipped.
"""

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.domain.events import BlobRef, Fact, WorkflowEvent, line_of
from backcast.domain.fact_types import FACTS
from backcast.domain.json_text import json_text
from backcast.domain.memory_events import SummaryWritten
from backcast.engine.log.blobs import Blob
from backcast.engine.log.codec import Codec
from backcast.engine.log.importers import Batch, ForeignFact, Report, digest
from backcast.engine.log.importers.first_bytes import refuse_binary
from backcast.engine.log.importers.lines import first_object, read_values
from backcast.engine.log.importers.recognised import format_of
from backcast.engine.log.store import EventStore, refs_in

FORMAT = "events"
NEEDED = "Backcast's own lines (JSON objects with 'type', 'task_id' and 'timestamp')"
LONGEST = 256 * 2**20
"Bytes of the longest line that is read: the largest body of a git object, as base64."
Part = Blob | dict[str, Any]
"The content of an exported line: a body, or an event's public form."
Lacking = Callable[[WorkflowEvent, str], None]
"Called with an event and the name of a body that it points at."
ENVELOPE = ("type", "task_id", "timestamp", "data", "writer", "because", "version", "schema")
_BLOB_FIELDS = {
    name: [
        field
        for field, about in fact.model_fields.items()
        if BlobRef in get_args(about.annotation) or about.metadata
    ]
    for name, fact in FACTS.items()
}


def ignore(event: WorkflowEvent, ref: str) -> None:
    """Do nothing about a body that is missing."""


def export_lines(store: EventStore, task_id: str, lacking: Lacking = ignore) -> Iterator[str]:
    """Yield a task as lines from which another store imports the same events."""
    return map(line_for, parts(store, task_id, lacking=lacking))


def parts(
    store: EventStore, task_id: str, last: int | None = None, lacking: Lacking = ignore
) -> Iterator[Part]:
    """Yield the events of a task up to a version, each after the bodies that it first points at.

    `lacking` is called for each body that the store should hold and does not.
    """
    yielded: set[str] = set()
    for event in store.read(task_id, last=last):
        line = line_of(event)
        for ref in refs_in(to_json(line["data"])):
            if ref in yielded:
                continue
            if not store.holds(ref):
                lacking(event, ref)
                continue
            yielded.add(ref)
            yield Blob(store.get(ref))
        yield line


def line_for(part: Part) -> str:
    """Return a part of a log as a line."""
    if isinstance(part, Blob):
        return _blob_line(part.ref, part.body)
    return json_text(part)


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line; unusable lines are reported and skipped, `InputError` for no text."""
    refuse_binary(path, NEEDED)
    reader = _Reader(task_id)
    for number, raw, line in read_values(path, report, LONGEST, _is_whole):
        try:
            batch = reader.batch(raw, line, f"line {number}")
        except InputError as error:
            report.skipped.append(f"line {number}: {error}")
            continue
        if batch is not None:
            report.notes += [f"line {number}: {note}" for note in map(_note, batch.facts) if note]
            yield batch


def _note(foreign: ForeignFact) -> str:
    """Return what to know of a fact that is kept, and that nothing will show; empty for others."""
    if isinstance(foreign.fact, SummaryWritten) and None in (foreign.fact.node, foreign.fact.text):
        lacks = "node" if foreign.fact.node is None else "text"
        return f"a summary without its {lacks!r} is kept, and shown nowhere"
    return ""


def require(path: Path) -> None:
    """Raise `InputError` if no line of a file is one of ours, whole or not."""
    first_object(path, _is_line, NEEDED, FORMAT)


def _is_line(line: dict[str, Any]) -> bool:
    ours = isinstance(line.get("type"), str) and format_of(line) in (None, FORMAT)
    return ours or bool({"blob", "note"} & line.keys())


def _is_whole(line: dict[str, Any]) -> bool:
    """Return whether an object on a damaged line is a line's own, not a part of one."""
    is_event = "type" in line and "task_id" in line and "timestamp" in line
    return is_event or ("blob" in line and bool({"text", "base64"} & line.keys()))


class _Reader:
    """A reader of line after line that holds bodies until the event that points at them comes."""

    def __init__(self, task_id: str | None) -> None:
        self.task_id, self.codec = task_id, Codec()
        self.seen: Counter[bytes] = Counter()
        self.bodies: list[bytes] = []
        self.sources: dict[str, str] = {}
        "The last source of each module, which the next one will resemble."

    def batch(self, raw: bytes, line: object, name: str) -> Batch | None:
        """Return the batch of a line; None for a body or a note."""
        if not isinstance(line, dict):
            raise InputError(f"needed a JSON object, found {type(line).__name__}")
        if "blob" in line:
            self.bodies.append(_body(line))
            return None
        if line.keys() == {"note"}:
            return None
        task_id = self.task_id or _text(line, "task_id")
        data = _data(line)
        kind = _text(line, "type")
        bodies = self.bodies + _bodies_moved_out(kind, data)
        fact = self.codec.fact(kind, _whole(line, "schema") or 1, data)
        self.bodies = []
        blobs = [Blob(body, self.sources.get(str(data.get("module_name")))) for body in bodies]
        self._remember(fact)
        return Batch(task_id, [self._foreign(raw, line, fact)], blobs, name)

    def _foreign(self, raw: bytes, line: dict[str, Any], fact: Fact) -> ForeignFact:
        version = _whole(line, "version")
        timestamp, writer = _timestamp(line), _text(line, "writer", "")
        because = line.get("because", [])
        if not isinstance(because, list) or not all(type(cause) is int for cause in because):
            raise InputError(f"because: needed a list of versions, found {because!r}")
        if version is not None:
            return ForeignFact(fact, timestamp, writer, because=tuple(because), version=version)
        # A log may hold the same line twice: the count makes their ids differ.
        known = digest(raw)
        self.seen[known] += 1
        id = f"{known.hex()}#{self.seen[known]}"
        return ForeignFact(fact, timestamp, writer, id, tuple(because), known)

    def _remember(self, fact: Fact) -> None:
        name, source = getattr(fact, "module_name", None), getattr(fact, "source", None)
        if isinstance(name, str) and isinstance(source, str):
            self.sources[name] = source


def _data(line: dict[str, Any]) -> dict[str, Any]:
    """Return the payload with all other fields of the line added."""
    data = line.get("data", {})
    if not isinstance(data, dict):
        raise InputError(f"data: needed an object, found {type(data).__name__}")
    return {key: value for key, value in line.items() if key not in ENVELOPE} | data


def _bodies_moved_out(kind: str, data: dict[str, Any]) -> list[bytes]:
    """Move texts out of the line that belong into bodies, and return them."""
    bodies = []
    for field in _BLOB_FIELDS.get(kind, ()):
        text = data.get(field)
        if isinstance(text, str) and not _is_ref(text):
            bodies.append(text.encode())
            data[field] = Blob(bodies[-1]).ref
    return bodies


def _is_ref(text: str) -> bool:
    return len(text) == 69 and bool(refs_in(f'"{text}"'.encode()))


def _body(line: dict[str, Any]) -> bytes:
    """Return the body in a line, which must match its name."""
    try:
        body = (
            b64decode(line["base64"], validate=True) if "base64" in line else line["text"].encode()
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        raise InputError("blob: needed 'text' or 'base64'") from None
    if Blob(body).ref != line["blob"]:
        raise InputError(f"blob: the body is {Blob(body).ref[:17]}…, named {line['blob']!r:.40}")
    return body


def _blob_line(ref: str, body: bytes) -> str:
    try:
        held = {"text": body.decode()}
    except UnicodeDecodeError:
        held = {"base64": b64encode(body).decode()}
    return json_text({"blob": ref} | held)


def _text(line: dict[str, Any], key: str, default: str | None = None) -> str:
    value = line.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise InputError(f"{key}: needed a text, found {_found(line, key)}")
    return value


def _whole(line: dict[str, Any], key: str) -> int | None:
    value = line.get(key)
    if value is not None and (type(value) is not int or not 0 < value < 2**31):
        raise InputError(f"{key}: needed a whole number from 1, found {_found(line, key)}")
    return value


def _timestamp(line: dict[str, Any]) -> datetime:
    text = _text(line, "timestamp")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InputError(
        f"timestamp: needed a time with a zone from year 1 to 9999,"
        f" such as 2026-11-20T10:00:00Z, found {text[:40]!r}"
    )


def _found(line: dict[str, Any], key: str) -> str:
    return repr(line[key])[:40] if key in line else "nothing"
