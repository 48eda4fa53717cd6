"""Chats of Qwen Code: JSON lines in the envelope of Claude Code, with the parts of Gemini.

A line is a batch under its uuid, and a session a task under its id. Each names the line that it
follows, so a chat that was taken back is a tree. The messages of each call are known, the system's
instructions and the tools are not.
"""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.engine.log.exchanges.bodies import CHAT
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
    mapping,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.context_tree import ContextStep, ContextTree
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.lines import first_object, read_objects
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, asked
from backcast.engine.log.importers.recognised import is_qwen
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord
from backcast.engine.log.importers.tree_lines import known_parent, read_again, tell_branches

FORMAT = "qwen"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "QWEN"
NEEDED = "a chat of Qwen Code (JSON lines with 'uuid', 'sessionId' and messages of 'parts')"
KNOWN = {"text", "functionCall", "functionResponse"}
"The parts that a message of the chat interface tells in its own form."
PEOPLE = ("real_user", None)
"Where a record in the user's name comes from, if a person wrote it."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line, and the start of the task before a person's first request."""
    first = first_object(path, is_qwen, NEEDED, FORMAT)
    report.session = string(first.get("sessionId")) or ""
    log = ForeignLog(PREFIX, task_id or task_of(first.get("sessionId"), path), report)
    log.modules.silent = log.modules.plain = True
    chat = _QwenChat(log, report, path)
    for number, line, entry in read_objects(path, report):
        yield from chat.line(number, line, entry)
    if chat.goal is None:
        report.notes.append(NO_GOAL)
    tell_branches(chat.tree, report)


def _id(entry: dict[str, Any], number: int) -> str:
    return id_of(entry.get("uuid"), hashed("line", to_json(entry)))


class _QwenChat:
    """A chat while it is read."""

    def __init__(self, log: ForeignLog, report: Report, path: Path) -> None:
        self.log, self.report, self.path = log, report, path
        self.tree = ContextTree(FormedContexts(report.calls, CHAT), _step, self._again)
        self.goal: str | None = None

    def _again(self, ids: Set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        return read_again(self.path, lambda entry: True, _id, ids)

    def line(self, number: int, line: bytes, entry: dict[str, Any]) -> Iterator[Batch]:
        """Yield the batch of a line."""
        id, time, said = _id(entry, number), entry.get("timestamp"), _words(entry)
        if self.goal is None and said:
            self.goal = said
            yield self.log.start(id, said, time=time)
        record = self.log.record(id, line, time)
        if cwd := string(entry.get("cwd")):
            self.log.modules.texts.at(cwd)
        new = id not in self.tree
        if new:
            follows = entry.get("parentUuid", self.tree.last)
            self.tree.go_to(known_parent(self.tree, follows, number, self.report))
        because, message = [self.tree.last or ""], mapping(entry.get("message"))
        kind, parts = entry.get("type"), sequence(message.get("parts"))
        if kind == "assistant" and parts:
            _assistant(record, entry, parts, because, self.tree.contexts if new else None)
        elif kind == "tool_result" and parts:
            _results(record, entry, parts, because)
        elif kind == "user" and parts:
            role = "user" if said else MACHINE
            record.message(role, _text(parts), _rest(entry, parts, ("text",)), because)
        else:
            name = entry.get("subtype") if kind == "system" else kind
            record.unknown(name or kind, entry, because)
        if new:
            self.tree.add(id, entry)
        yield record.batch


def _words(entry: dict[str, Any]) -> str | None:
    """Return what a person wrote in a record; None if nobody did."""
    if entry.get("type") != "user" or entry.get("provenance") not in PEOPLE:
        return None
    if entry.get("isSidechain") is True or entry.get("subtype") in ("notification", "cron"):
        return None
    return asked([{"type": "text", "text": text} for text in _texts(entry)])


def _texts(entry: dict[str, Any]) -> list[str]:
    parts = sequence(mapping(entry.get("message")).get("parts"))
    return [text for part in parts if (text := string(mapping(part).get("text")))]


def _step(entry: dict[str, Any]) -> ContextStep:
    """Return what an entry adds to the context."""
    payload = mapping(entry.get("systemPayload"))
    if entry.get("subtype") == "chat_compression":
        history = [mapping(content) for content in sequence(payload.get("compressedHistory"))]
        shown = [message for content in history for message in _shown(content)]
        return ContextStep(shown, compacts=True)
    if entry.get("type") in ("user", "assistant", "tool_result"):
        return ContextStep(_shown(mapping(entry.get("message"))))
    return ContextStep()


def _shown(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a content of Gemini's form as messages of the chat interface."""
    parts = [mapping(part) for part in sequence(content.get("parts"))]
    results = [
        {"role": "tool", "tool_call_id": result.get("id"), "content": _output(result)}
        for part in parts if (result := mapping(part.get("functionResponse")))
    ]  # fmt: skip
    texts = [part["text"] for part in parts if string(part.get("text")) and not part.get("thought")]
    others = [
        part for part in parts if not {"text", "functionCall", "functionResponse"} & part.keys()
    ]
    said: object = "\n".join(texts)
    if others:
        said = [*({"type": "text", "text": text} for text in texts), *others]
    if content.get("role") != "model":
        return [*results, *([{"role": "user", "content": said}] if said else [])]
    thoughts = [part["text"] for part in parts if part.get("thought") and string(part.get("text"))]
    calls = [
        {"id": call.get("id"), "type": "function",
         "function": {"name": call.get("name"), "arguments": call.get("args")}}
        for part in parts if (call := mapping(part.get("functionCall")))
    ]  # fmt: skip
    fields = {"reasoning_content": "\n".join(thoughts), "content": said, "tool_calls": calls}
    given = {name: value for name, value in fields.items() if value}
    return [*results, {"role": "assistant"} | given] if given else results


def _output(result: dict[str, Any]) -> str:
    """Return what a tool gave: its output as a text, or the JSON of its answer."""
    response = result.get("response")
    fields = mapping(response)
    for name in ("output", "error"):
        if isinstance(text := fields.get(name), str):
            return text
    return response if isinstance(response, str) else to_json(response).decode()


def _text(parts: list[Any]) -> str | None:
    texts = [part["text"] for part in map(mapping, parts) if string(part.get("text"))]
    return "\n".join(texts) or None


def _rest(entry: dict[str, Any], parts: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return a record without the parts that its facts name."""
    kept = [
        part if not mapping(part) or not isinstance(part.get("text", ""), str)
        else without(part, *names) for part in parts
    ]  # fmt: skip
    if sum("text" in mapping(part) for part in parts) > 1 and "text" in names:
        kept = parts
    message = without(mapping(entry.get("message")), "parts") | ({"parts": kept} if kept else {})
    return {**entry, "message": message}


def _assistant(
    record: ForeignRecord, entry: dict[str, Any], parts: list[Any], because: list[str],
    contexts: FormedContexts | None,
) -> None:  # fmt: skip
    context = contexts.form(record, because) if contexts else None
    spoken = [part for part in map(mapping, parts) if not part.get("thought")]
    thoughts = [part for part in map(mapping, parts) if part.get("thought")]
    calls = [part for part in spoken if string(mapping(part.get("functionCall")).get("name"))]
    rest = _rest(entry, [part for part in parts if part not in calls], ("text",))
    causes, counts = [context] if context else because, _counts(mapping(entry.get("usageMetadata")))
    reply = record.reply(_text(spoken), entry.get("model"), rest, causes, _text(thoughts), counts)
    for part in calls:
        call = part["functionCall"]
        more = without(part, "functionCall") | without(call, "id", "name", "args")
        record.call(call["name"], call.get("id"), call.get("args"), more, (reply,))


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    """Return the tokens that the server counted."""
    names = {"prompt_tokens": "promptTokenCount", "cached_tokens": "cachedContentTokenCount",
             "tokens": "candidatesTokenCount"}  # fmt: skip
    found = {ours: usage.get(name) for ours, name in names.items()}
    return {name: count for name, count in found.items() if isinstance(count, int)}


def _results(
    record: ForeignRecord, entry: dict[str, Any], parts: list[Any], because: list[str]
) -> None:
    results = [part for part in map(mapping, parts) if mapping(part.get("functionResponse"))]
    rest = _rest(entry, [part for part in parts if part not in results], ())
    status = mapping(entry.get("toolCallResult")).get("status")
    failed = status == "error" if isinstance(status, str) and len(results) == 1 else None
    for part in results:
        result = part["functionResponse"]
        more = without(part, "functionResponse") | without(result, "id", "response")
        record.answer(result.get("id"), _output(result), failed, rest | more, because)
        rest = {}
    if not results:
        record.message(MACHINE, _text(parts), _rest(entry, parts, ("text",)), because)
