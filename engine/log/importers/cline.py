"""Sessions of Cline: the messages of a session, its summary record, and its compactions.

Each is a JSON file that names its session, which is the task. A file is rewritten as the session
continues, so its fields beside the messages go under their hash. The extension of VS Code keeps a
task as a bare list of messages, `api_conversation_history.json`, in a folder with the task's name.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

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
from backcast.engine.log.importers.documents import UNREAD, read_json
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID, NO_EDITS, SED_SCRIPTS
from backcast.engine.log.importers.file_edits import Shown
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, asked
from backcast.engine.log.importers.recognised import format_of
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "cline"
VERSION = 5
FAULTS = {
    1: "what Cline adds to a request (environment details, results, resumptions) counted as a"
    " person's words, also in the goal",
    2: NO_EDITS,
    3: SED_SCRIPTS,
    4: FAILED_UNSAID,
}
"What was wrong with the facts of earlier versions."
PREFIX = "CLINE"
NEEDED = (
    "a Cline session (JSON object with 'session_id', or 'sessionId' and 'messages'; or the list"
    " of messages in api_conversation_history.json)"
)
HISTORY = "api_conversation_history"
_FOLDER = re.compile(r"Working Directory(?: \(|: *)(/[^\n)]+)")
TEXTS = ("text", "tool_result")
"The blocks that need not come from a person; a picture or a file does."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a message; a compaction and a session record are one batch each."""
    found = read_json(path, NEEDED, _is_session, FORMAT, report)
    document = {"messages": found} if isinstance(found, list) else found
    messages, session = document.get("messages"), string(document.get("session_id"))
    home = path.resolve().parent
    name = home.name if path.stem == HISTORY and home.name.isdigit() else None
    task = task_id or task_of(session or document.get("sessionId") or name, path)
    log = ForeignLog(PREFIX, task, report)
    log.modules.silent = True
    if session is not None:
        yield _session(log, document)
    elif any(map(_is_compaction, sequence(messages))):
        record = _whole(log, "compaction", document, document.get("updated_at"))
        record.unknown("COMPACTION", document)
        yield record.batch
    else:
        yield from _messages(log, document)


def _is_session(value: Any) -> bool:
    if isinstance(value, list):
        return any(
            mapping(message).get("role") in ("user", "assistant") and "content" in message
            for message in value
        )
    fields = mapping(value)
    if string(fields.get("session_id")) is not None:  # other formats have such a field, too
        return format_of(fields) in (None, FORMAT)
    return "sessionId" in fields and isinstance(fields.get("messages"), list)


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
    messages = [
        message if message is UNREAD else mapping(message) or {"value": message}
        for message in document["messages"]
    ]
    time = next(filter(None, (mapping(message).get("ts") for message in messages)), None)
    if goal := next(filter(None, map(_words, messages)), None):
        yield log.start("session", goal, time=time)
    else:
        log.report.notes.append(NO_GOAL)
    if prompt := string(document.get("system_prompt")):
        log.modules.texts.at(_folder(prompt))
        record = _whole(log, "system", {"system_prompt": prompt}, time)
        record.message("system", prompt, None, ())
        yield record.batch
    for number, message in enumerate(messages, 1):
        if isinstance(message, dict):
            id = id_of(message.get("id"), f"message:{number}")
            record = log.record(id, to_json(message), message.get("ts"))
            _message(record, message)
            yield record.batch
    if rest := without(document, "messages", "system_prompt" if prompt else ""):
        record = _whole(log, "file", rest, document.get("updated_at"))
        record.unknown("FILE", rest)
        yield record.batch


def _words(message: object) -> str | None:
    """Return what a person wrote in a message; None if nobody did."""
    fields = mapping(message)
    shown_as = mapping(fields.get("metadata")).get("displayRole")
    if fields.get("role") != "user" or fields.get("isSummary") is True or shown_as == "system":
        return None
    return asked(fields.get("content"))


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
            record.log.modules.texts.at(_folder(text or ""))
            _say(record, message, text, role, rest)
            _attached(record, message)


def _say(
    record: ForeignRecord, message: dict[str, Any], text: str | None, role: str, rest: object
) -> None:
    """Add a message in the user's name, from a person or from Cline itself."""
    said, fields = _words(message), mapping(rest)
    blocks = [mapping(block) for block in sequence(message.get("content"))]
    only_text = all(block.get("type", "text") in TEXTS for block in blocks)
    because = (record.log.last,)
    if role == "user" and said is None and text is not None and only_text:
        record.message(MACHINE, text, fields, because)
    else:
        shown = {"asked": said} if said and said != text else {}
        record.message(role, text, without(fields, "role") | shown, because)


def _folder(text: str) -> str | None:
    """Return the working folder that a prompt states."""
    match = _FOLDER.search(text)
    return match[1] if match else None


def _attached(record: ForeignRecord, message: dict[str, Any]) -> None:
    """Add the files that a person put to a message, with their whole texts."""
    id = str(record.log.last)
    for block in map(mapping, sequence(message.get("content"))):
        path, content = string(block.get("path")), block.get("content")
        if block.get("type") == "file" and path and isinstance(content, str):
            record.log.modules.shown(record, id, path, Shown(content, exact=False))


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
