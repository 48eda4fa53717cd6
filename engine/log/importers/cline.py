"""Sessions of Cline: the messages of a session, its summary record, and its compactions.

Each is a JSON file that names its session, which is the task. A file is rewritten as the session
continues, so its fields beside the messages go under their hash.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.domain.events import TaskComplete, TaskFailed
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
    is_block,
    mapping,
    parted,
    replaced,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.lines import named, read_json
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "cline"
PREFIX = "CLINE"
NEEDED = "a Cline session (JSON object with 'session_id', or 'sessionId' and 'messages')"


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a message; a compaction and a session record are one batch each."""
    document = mapping(read_json(path, NEEDED))
    messages, session = document.get("messages"), string(document.get("session_id"))
    if session is None and not ("sessionId" in document and isinstance(messages, list)):
        raise InputError(f"{path}: needed {NEEDED}, found {named(document)}")
    task = task_id or task_of(session or document.get("sessionId"), path)
    log = ForeignLog(PREFIX, task, report)
    if session is not None:
        yield _session(log, document)
    elif any(map(_is_compaction, sequence(messages))):
        record = _whole(log, "compaction", document, document.get("updated_at"))
        record.unknown("COMPACTION", document)
        yield record.batch
    else:
        yield from _messages(log, document)


def _is_compaction(message: object) -> bool:
    kind = mapping(mapping(message).get("metadata")).get("kind")
    return isinstance(kind, str) and kind.startswith("compaction")


def _whole(log: ForeignLog, name: str, fields: dict[str, Any], time: object) -> ForeignRecord:
    raw = to_json(fields)
    return log.record(hashed(name, raw), raw, time)


def _session(log: ForeignLog, document: dict[str, Any]) -> Batch:
    times = (document.get("ended_at"), document.get("started_at"))
    record = _whole(log, "session", document, times[0] or times[1])
    if document.get("status") == "completed":
        record.tell(TaskComplete, {}, document, writer="agent")
    elif document.get("status") == "failed":
        record.tell(TaskFailed, {"reason": "failed"}, document, writer="agent")
    else:
        record.unknown("SESSION", document)
    return record.batch


def _messages(log: ForeignLog, document: dict[str, Any]) -> Iterator[Batch]:
    messages = [mapping(message) or {"value": message} for message in document["messages"]]
    time = next(filter(None, (message.get("ts") for message in messages)), None)
    for message in messages:
        goal = string(parted(message.get("content"))[0])
        if message.get("role") == "user" and goal:
            yield log.start("session", goal, time=time)
            break
    if prompt := string(document.get("system_prompt")):
        record = _whole(log, "system", {"system_prompt": prompt}, time)
        record.message("system", prompt, None, ())
        yield record.batch
    for number, message in enumerate(messages, 1):
        id = id_of(message.get("id"), f"message:{number}")
        record = log.record(id, to_json(message), message.get("ts"))
        _message(record, message)
        yield record.batch
    rest = without(document, "messages", "system_prompt" if prompt else "")
    record = _whole(log, "file", rest, document.get("updated_at"))
    record.unknown("FILE", rest)
    yield record.batch


def _message(record: ForeignRecord, message: dict[str, Any]) -> None:
    """Add the facts of a message: a reply and its calls, or results and the user's text."""
    text, remaining = parted(message.get("content"))
    blocks = [*map(_without_fact, remaining)] if isinstance(remaining, list) else remaining
    role, rest = string(message.get("role")), replaced(message, "content", blocks)
    because = (record.log.last,)
    if role == "assistant":
        model = mapping(message.get("modelInfo")).get("id")
        id = record.reply(text, model, rest, because)
        for block in _blocks(message, "tool_use", "name"):
            record.call(block["name"], block.get("id"), block.get("input"), {}, (id,))
    elif role is None or "content" not in message:
        record.unknown("MESSAGE", message, because)
    else:
        for block in _blocks(message, "tool_result", "tool_use_id"):
            _answer(record, block, rest)
            rest = {}
        if text is not None or not record.facts:
            record.message(role, text, without(rest, "role"), because)


def _answer(record: ForeignRecord, block: dict[str, Any], rest: dict[str, Any]) -> None:
    """Add a result; content that is no text is stored as JSON."""
    content, failed = block.get("content"), block.get("is_error")
    output = content if isinstance(content, str) else to_json(content).decode()
    answers = [mapping(answer).get("success") for answer in sequence(content)]
    failed = (False in answers) if failed is None and answers else failed
    record.answer(block["tool_use_id"], output, failed, rest, (), block.get("name"))


def _blocks(message: dict[str, Any], type: str, name: str) -> list[dict[str, Any]]:
    return [mapping(b) for b in sequence(message.get("content")) if is_block(b, type, name)]


def _without_fact(block: object) -> object:
    """Return the rest of a block that became a fact."""
    if is_block(block, "tool_use", "name"):
        return without(mapping(block), "name", "input")
    if is_block(block, "tool_result", "tool_use_id"):
        return without(mapping(block), "content")
    return block
