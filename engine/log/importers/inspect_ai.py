"""Evaluation logs of Inspect: the typed events of each sample, and the results.

A log is one JSON file, or an `.eval` archive of several; each of its samples is a task. A fact's
text is taken from the sample's attachments; elsewhere references to attachments stay as they are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.events import ModelFailed
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
    mapping,
    name_of,
    parted,
    replaced,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.documents import UNREAD, read_json
from backcast.engine.log.importers.edited_modules import (
    FAILED_UNSAID,
    NO_EDITS,
    NO_REPLACED,
    SED_SCRIPTS,
)
from backcast.engine.log.importers.eval_archive import is_archive, read_archive
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "inspect"
VERSION = 6
FAULTS = {
    1: "a sample without events had no goal",
    2: NO_EDITS,
    3: f"{NO_REPLACED}; {SED_SCRIPTS}",
    4: FAILED_UNSAID,
    5: "the tokens and seconds of a call were left in fields that nobody counts",
}
"What was wrong with the facts of earlier versions."
PREFIX = "INSPECT"
NEEDED = "an Inspect eval log (.eval, or a JSON object with 'eval' and 'samples' or 'status')"
ATTACHMENT = "attachment://"


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch an event, one for the rest of each sample, one for the rest of the log."""
    if is_archive(path):
        document, samples = read_archive(path, report)
    else:
        document = read_json(path, NEEDED, _is_log, FORMAT, report)
        samples = iter(sequence(document.get("samples")))
    about = mapping(document["eval"])
    eval_id = task_of(about.get("eval_id"), path)
    for number, sample in enumerate(samples, 1):
        if sample is UNREAD:
            continue
        fields = mapping(sample)
        name = name_of(fields.get("uuid")) or f"{eval_id}:{number}"
        yield from _sample(ForeignLog(PREFIX, task_id or name, report), name, sample)
    rest = without(document, "samples" if isinstance(document.get("samples"), list) else "")
    record = ForeignLog(PREFIX, task_id or eval_id, report).record(
        hashed("log", to_json(rest)), to_json(rest), about.get("created")
    )
    record.unknown("LOG", rest)
    yield record.batch


def _is_log(document: Any) -> bool:
    fields = mapping(document)
    return isinstance(fields.get("eval"), dict) and bool({"samples", "status"} & fields.keys())


def _sample(log: ForeignLog, name: str, sample: Any) -> Iterator[Batch]:
    fields = mapping(sample)
    attached, asked, started = mapping(fields.get("attachments")), None, False
    for number, event in enumerate(sequence(fields.get("events")), 1):
        id = f"{name}:{id_of(mapping(event).get('uuid'), str(number))}"
        time = mapping(event).get("completed") or mapping(event).get("timestamp")
        if not started and (goal := _goal(fields, attached)):
            started = True
            yield log.start(name, goal, time=mapping(event).get("timestamp"))
        record = log.record(id, to_json(event), time)
        asked = _tell(record, event, attached, asked)
        yield record.batch
    if not started and (goal := _goal(fields, attached)):
        yield log.start(name, goal)
    rest = without(fields, "events") if isinstance(fields.get("events"), list) else sample
    raw = to_json(rest)
    record = log.record(hashed(f"{name}:sample", raw), raw)
    record.unknown("SAMPLE", rest)
    yield record.batch


def _goal(sample: dict[str, Any], attached: dict[str, Any]) -> str | None:
    asked = sample.get("input")
    users = [m for m in map(mapping, sequence(asked)) if m.get("role") == "user"]
    return string(_full(asked if isinstance(asked, str) else _content(users), attached)[0])


def _content(messages: list[dict[str, Any]]) -> object:
    return messages[0].get("content") if messages else None


def _full(content: object, attached: dict[str, Any]) -> tuple[str | None, object]:
    """Return the text of a content, from the attachments if it is there, and the rest."""
    text, remaining = parted(content)
    whole = attached.get((text or "").removeprefix(ATTACHMENT))
    named = text is not None and text.startswith(ATTACHMENT) and isinstance(whole, str)
    return (whole, content) if named else (text, remaining)


def _tell(
    record: ForeignRecord, event: Any, attached: dict[str, Any], asked: str | None
) -> str | None:
    """Add an event's facts; return the blob name of the last request to the model."""
    fields = mapping(event)
    match fields.get("event"):
        case "sample_init":
            _init(record, fields, attached)
        case "model":
            return _model(record, fields, attached, asked)
        case "tool" if string(fields.get("function")):
            output, remaining = _full(fields.get("result"), attached)
            rest = replaced(without(fields, "function", "id"), "result", remaining)
            failed = fields.get("error") is not None
            record.answer(fields.get("id"), output, failed, rest, (), fields["function"])
        case kind:
            record.unknown(kind, event)
    return asked


def _init(record: ForeignRecord, fields: dict[str, Any], attached: dict[str, Any]) -> None:
    """Add the first messages that the sample gives to the model."""
    asked = mapping(fields.get("sample")).get("input")
    messages = sequence(asked) or [{"role": "user", "content": asked}]
    for message in map(mapping, messages):
        role = string(message.get("role")) or "user"
        text, _ = _full(message.get("content"), attached)
        record.message(role, text, {} if record.facts else fields, ())


def _model(
    record: ForeignRecord, fields: dict[str, Any], attached: dict[str, Any], asked: str | None
) -> str | None:
    rest = dict(fields)
    for name in ("input", "call", "tools"):
        if isinstance(rest.get(name), dict | list):
            # Each request repeats the earlier ones, so they are stored as differences.
            rest[name] = {"json": record.keep(to_json(rest[name]), asked)}
            asked = rest["input"]["json"] if name == "input" else asked
    output = mapping(fields.get("output"))
    choice, *others = sequence(output.get("choices")) or [None]
    message = mapping(mapping(choice).get("message"))
    if not message:
        reason = string(fields.get("error"))
        if reason is None:
            record.unknown("model", fields)
        else:
            record.tell(ModelFailed, {"reason": reason}, rest, writer="agent")
        return asked
    text, remaining = _full(message.get("content"), attached)
    calls = sequence(message.get("tool_calls"))
    valid = [call for call in map(mapping, calls) if string(call.get("function"))]
    all_valid = 0 < len(calls) == len(valid)
    kept = without(message, "tool_calls") if all_valid else message
    choices = [{**choice, "message": replaced(kept, "content", remaining)}, *others]
    rest["output"] = {**output, "choices": choices}
    id = record.reply(text, output.get("model"), rest, (), counts=_counts(output))
    for call in valid:
        about = without(call, "function", "id", "arguments")
        record.call(call["function"], call.get("id"), call.get("arguments"), about, (id,))
    return asked


def _counts(output: dict[str, Any]) -> dict[str, float]:
    """Return the tokens and seconds of a call. Some servers count cached tokens apart, the total
    holds them."""
    usage = mapping(output.get("usage"))
    read, made, whole, cached = (
        value if type(value := usage.get(name)) is int and value >= 0 else None
        for name in ("input_tokens", "output_tokens", "total_tokens", "input_tokens_cache_read")
    )
    if whole is not None and made is not None:
        read = max(read or 0, whole - made)
    seconds = output.get("time")
    found = {"prompt_tokens": read, "tokens": made, "cached_tokens": cached,
             "seconds": seconds if isinstance(seconds, int | float) else None}  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}
