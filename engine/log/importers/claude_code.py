"""Sessions of Claude Code: JSON lines, each with a uuid and the uuid of the line it follows.

A line is a batch under its uuid. A line without one (a summary, a snapshot) goes under its hash,
since a continued session repeats it in another file at another place. A session is a task, under
its session id, and its side chains are part of it.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from backcast.domain.events import SourceRead
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
    is_block,
    mapping,
    parted,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.lines import first_object, read_objects
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "claude-code"
PREFIX = "CLAUDE_CODE"
NEEDED = "a Claude Code session (JSON lines with 'type' and 'sessionId' or 'uuid')"
MACHINERY = ("<command-", "<local-command-", "Caveat: The messages below")
"The beginnings of generated texts in the user's name, which are no request of the user."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line, and the start of the task before the user's first request."""
    first = first_object(path, _is_entry, NEEDED)
    log = ForeignLog(PREFIX, task_id or _session(path, first), report)
    goal: str | None = None
    for _, line, entry in read_objects(path, report):
        id = id_of(entry.get("uuid"), hashed("line", line))
        if goal is None and (goal := _goal(entry)):
            yield log.start(id, goal, time=entry.get("timestamp"))
        record = log.record(id, line, entry.get("timestamp"))
        _tell(record, entry)
        yield record.batch


def _is_entry(entry: dict[str, Any]) -> bool:
    ids = (entry.get(name) for name in ("sessionId", "uuid", "leafUuid"))
    return isinstance(entry.get("type"), str) and any(isinstance(id, str) for id in ids)


def _session(path: Path, first: dict[str, Any]) -> str:
    """Return the first session id in the file; summaries, which have none, may precede it."""
    if string(first.get("sessionId")) is None:
        for _, _, entry in read_objects(path, Report()):
            if string(entry.get("sessionId")):
                return task_of(entry["sessionId"], path)
    return task_of(first.get("sessionId"), path)


def _goal(entry: dict[str, Any]) -> str | None:
    if entry.get("type") != "user" or entry.get("isSidechain") or entry.get("isMeta"):
        return None
    content = mapping(entry.get("message")).get("content")
    text = string(parted(content)[0])
    return None if text is None or text.startswith(MACHINERY) else text


def _tell(record: ForeignRecord, entry: dict[str, Any]) -> None:
    """Add the facts of a line, caused by the line that it follows."""
    because = [entry.get(name) for name in ("parentUuid", "leafUuid", "logicalParentUuid")]
    causes = [id_of(id, "") for id in because]
    message = mapping(entry.get("message"))
    if entry.get("type") == "assistant" and "content" in message:
        _assistant(record, entry, message, causes)
    elif entry.get("type") == "user" and "content" in message:
        _user(record, entry, message, causes)
    else:
        record.unknown(entry.get("type"), entry, causes)


def _assistant(
    record: ForeignRecord, entry: dict[str, Any], message: dict[str, Any], because: list[str]
) -> None:
    text, remaining = parted(message["content"])
    calls = [block for block in sequence(message["content"]) if is_block(block, "tool_use", "name")]
    rest = _envelope(entry, without(message, "model"), remaining)
    id = record.reply(text, message.get("model"), rest, because)
    for block in calls:
        record.call(block["name"], block.get("id"), block.get("input"), {}, (id,))


def _user(
    record: ForeignRecord, entry: dict[str, Any], message: dict[str, Any], because: list[str]
) -> None:
    """Add results first, then the message: the first of these facts carries the line."""
    text, remaining = parted(message["content"])
    rest = _envelope(entry, message, remaining)
    results = [b for b in sequence(message["content"]) if is_block(b, "tool_result", "tool_use_id")]
    for block in results:
        output, failed = parted(block.get("content"))[0], block.get("is_error")
        id = record.answer(block["tool_use_id"], output, failed, rest, because)
        rest = {}
        if not failed:
            _source(record, entry, id)
    if text is not None or not results:
        role = string(message.get("role")) or "user"
        record.message(role, text, rest, because)


def _source(record: ForeignRecord, entry: dict[str, Any], answer: str) -> None:
    """Add the whole text of a file if the result of a writing tool contains it."""
    result = mapping(entry.get("toolUseResult"))
    path, folder = string(result.get("filePath")), string(entry.get("cwd"))
    content = result.get("content")
    if result.get("type") not in ("create", "update") or not isinstance(content, str):
        return
    if path and folder and PurePosixPath(path).is_relative_to(folder) and ".." not in path:
        relative = PurePosixPath(path).relative_to(folder).as_posix()
        named = {"path": relative, "source": record.keep(content)}
        record.tell(SourceRead, named, writer=record.facts[-1].writer, because=(answer,))


def _envelope(entry: dict[str, Any], message: dict[str, Any], remaining: object) -> dict[str, Any]:
    """Return a line without the parts that its facts name; the rest of the blocks stays in it."""
    kept = without(message, "content")
    if isinstance(remaining, list):
        kept["content"] = [*map(_without_fact, remaining)]
    elif remaining is not None:
        kept["content"] = remaining
    return {**entry, "message": kept}


def _without_fact(block: object) -> object:
    if is_block(block, "tool_use", "name"):
        return without(mapping(block), "name", "input")
    if is_block(block, "tool_result", "tool_use_id"):
        output = parted(mapping(block).get("content"))[1]
        kept = without(mapping(block), "content", "is_error")
        return kept if output is None else {**kept, "content": output}
    return block
