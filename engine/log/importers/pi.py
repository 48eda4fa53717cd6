"""Sessions of pi: JSON lines, each with an id and the id of the line that it follows.

A line is a batch under its id, or under its number in files from before there were ids; a session
is a task. The messages of each call are known, the system's instructions and the tools are not.
"""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from backcast.domain.events import ModelFailed
from backcast.engine.log.exchanges.bodies import CHAT
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    id_of,
    is_block,
    mapping,
    parted,
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
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord
from backcast.engine.log.importers.tree_lines import known_parent, read_again, tell_branches

FORMAT = "pi"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "PI"
NEEDED = "a session of pi (JSON lines that begin with one of type 'session')"
TYPES = ("session", "message", "compaction", "branch_summary", "custom", "custom_message",
         "model_change", "thinking_level_change", "label", "session_info")  # fmt: skip
FAILED = ("error", "aborted")
"The ends of an answer that did not come whole."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line, and the start of the task before a person's first request."""
    first = first_object(path, _is_entry, NEEDED, FORMAT)
    id = first.get("id") if first.get("type") == "session" else None
    report.session = string(id) or ""
    log = ForeignLog(PREFIX, task_id or task_of(id, path), report)
    log.modules.silent = log.modules.plain = True
    session = _PiSession(log, report, path)
    for number, line, entry in read_objects(path, report, _is_entry):
        yield from session.line(number, line, entry)
    if session.goal is None:
        report.notes.append(NO_GOAL)
    tell_branches(session.tree, report)


def _is_entry(entry: dict[str, Any]) -> bool:
    type = entry.get("type")
    return type == "session" or (type in TYPES and {"parentId", "timestamp"} & entry.keys() != set()
                                 and "sessionId" not in entry)  # fmt: skip


def _id(entry: dict[str, Any], number: int) -> str:
    return id_of(entry.get("id"), f"line:{number}")


class _PiSession:
    """A session while it is read."""

    def __init__(self, log: ForeignLog, report: Report, path: Path) -> None:
        self.log, self.report, self.path = log, report, path
        self.tree = ContextTree(FormedContexts(report.calls, CHAT), _step, self._again)
        self.goal: str | None = None
        self._numbered: dict[int, str] = {}
        "In a file without ids: the ids of the lines, by their places."

    def _again(self, ids: Set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        return read_again(self.path, _is_entry, _id, ids)

    def line(self, number: int, line: bytes, entry: dict[str, Any]) -> Iterator[Batch]:
        """Yield the batch of a line."""
        id, time = _id(entry, number), entry.get("timestamp")
        if entry.get("type") == "session":
            if cwd := string(entry.get("cwd")):
                self.log.modules.texts.at(cwd)
            record = self.log.record(f"session:{id}", line, time)
            record.unknown("session", entry)
            self._numbered.setdefault(0, "")
            yield record.batch
            return
        message = mapping(entry.get("message"))
        said = asked(message.get("content")) if message.get("role") == "user" else None
        if self.goal is None and said:
            self.goal = said
            yield self.log.start(id, said, time=time)
        record = self.log.record(id, line, time)
        new = id not in self.tree
        if new:
            follows = entry.get("parentId", self.tree.last)
            self.tree.go_to(known_parent(self.tree, follows, number, self.report))
        because = [self.tree.last or ""]
        if message.get("role") == "assistant":
            _assistant(record, entry, message, because, self.tree.contexts if new else None)
        else:
            _other(record, entry, message, because, said)
        if new:
            if "parentId" not in entry:
                self._numbered[len(self._numbered)] = id
                entry = _with_kept(entry, self._numbered)
            self.tree.add(id, entry)
        yield record.batch


def _with_kept(entry: dict[str, Any], numbered: dict[int, str]) -> dict[str, Any]:
    """Return a compaction of a file without ids with the id of what it keeps."""
    place = entry.get("firstKeptEntryIndex")
    if entry.get("type") != "compaction" or not isinstance(place, int):
        return entry
    return {**entry, "firstKeptEntryId": numbered.get(place, "")}


def _step(entry: dict[str, Any]) -> ContextStep:
    """Return what an entry adds to the context."""
    match entry.get("type"):
        case "message":
            return ContextStep(_shown(mapping(entry.get("message"))))
        case "custom_message":
            return ContextStep([{"role": "user", "content": _content(entry.get("content"))}])
        case "branch_summary" if summary := string(entry.get("summary")):
            return ContextStep([{"role": "user", "content": summary}])
        case "compaction":
            summary = string(entry.get("summary")) or ""
            kept = string(entry.get("firstKeptEntryId"))
            return ContextStep([{"role": "user", "content": summary}], compacts=True, kept=kept)
    return ContextStep()


def _shown(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a message in the form of the chat interface; none where the model is not shown it."""
    content = message.get("content")
    match message.get("role"):
        case "user" | "custom" | "hookMessage":
            return [{"role": "user", "content": _content(content)}]
        case "assistant" if message.get("stopReason") not in FAILED:
            return [_said(message)]
        case "toolResult":
            id = message.get("toolCallId")
            return [{"role": "tool", "tool_call_id": id, "content": _content(content)}]
        case "bashExecution" if not message.get("excludeFromContext"):
            ran = f"{message.get('command')}\n{message.get('output')}"
            return [{"role": "user", "content": ran}]
        case "compactionSummary" | "branchSummary":
            return [{"role": "user", "content": message.get("summary")}]
    return []


def _said(message: dict[str, Any]) -> dict[str, Any]:
    blocks = [mapping(block) for block in sequence(message.get("content"))]
    thoughts = [block.get("thinking") for block in blocks if block.get("type") == "thinking"]
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    calls = [
        {"id": block.get("id"), "type": "function",
         "function": {"name": block.get("name"), "arguments": block.get("arguments")}}
        for block in blocks if block.get("type") == "toolCall"
    ]  # fmt: skip
    fields = {
        "reasoning_content": "\n".join(filter(None, thoughts)),
        "content": "\n".join(filter(None, texts)), "tool_calls": calls,
    }  # fmt: skip
    return {"role": "assistant"} | {name: value for name, value in fields.items() if value}


def _content(content: object) -> object:
    """Return a content: a text where it is nothing else."""
    blocks = sequence(content)
    if len(blocks) == 1 and is_block(blocks[0], "text", "text"):
        return blocks[0]["text"]
    return content if isinstance(content, str | list) else ""


def _assistant(
    record: ForeignRecord, entry: dict[str, Any], message: dict[str, Any], because: list[str],
    contexts: FormedContexts | None,
) -> None:  # fmt: skip
    text, _ = parted(message.get("content"))
    blocks = sequence(message.get("content"))
    calls = [block for block in blocks if is_block(block, "toolCall", "name")]
    thoughts = [
        string(mapping(b).get("thinking")) for b in blocks if is_block(b, "thinking", "thinking")
    ]
    context = contexts.form(record, because) if contexts else None
    causes = [context] if context else because
    remaining: list[Any] = [_without_facts(block) for block in blocks]
    if sum(is_block(block, "text", "text") for block in blocks) > 1:
        remaining = blocks
    rest = {**entry, "message": {**message, "content": remaining}}
    if message.get("stopReason") in FAILED and not (text or calls):
        named = {"reason": string(message.get("errorMessage")) or message["stopReason"]}
        record.tell(ModelFailed, named, rest, writer="agent", because=causes)
        return
    thinking = "\n".join(filter(None, thoughts)) or None
    reply = record.reply(text or None, message.get("model"), rest, causes, thinking,
                         _counts(mapping(message.get("usage"))))  # fmt: skip
    for block in calls:
        record.call(block["name"], block.get("id"), block.get("arguments"), {}, (reply,))


def _without_facts(block: object) -> object:
    """Return a block of an answer without what its facts name."""
    if is_block(block, "toolCall", "name"):
        return without(mapping(block), "id", "name", "arguments")
    for type in ("text", "thinking"):
        if is_block(block, type, type):
            return without(mapping(block), type)
    return block


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    """Return the tokens that the server counted."""
    given, read, written, out = (
        value if isinstance(value := usage.get(name), int) else 0
        for name in ("input", "cacheRead", "cacheWrite", "output")
    )
    whole = given + read + written
    return {"prompt_tokens": whole, "cached_tokens": read, "tokens": out} if whole else {}


def _other(
    record: ForeignRecord, entry: dict[str, Any], message: dict[str, Any], because: list[str],
    said: str | None,
) -> None:  # fmt: skip
    role = string(message.get("role"))
    text, remaining = parted(message.get("content"))
    kept = without(message, "content") | ({} if remaining is None else {"content": remaining})
    rest = {**entry, "message": kept}
    if role == "toolResult":
        kept.pop("toolCallId", None)
        failed = kept.pop("isError", None)
        record.answer(message.get("toolCallId"), text, failed, rest, because)
    elif role == "user":
        record.message("user" if said or not text else MACHINE, text, rest, because)
    elif role:
        record.unknown(role, entry, because)
    else:
        record.unknown(entry.get("type"), entry, because)
