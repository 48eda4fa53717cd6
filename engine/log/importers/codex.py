"""Rollouts of Codex: JSON lines `{"timestamp", "type", "payload"}`, appended as a session goes on.

A line is a batch under its number in the file, and a session a task under its id. What the model
was shown at a call follows from the items before it: a compaction puts others in their place, and
taking back turns leaves the last of them out. So each call has a context; the tools are no part of
it, which no line tells.

The items of one answer stand in lines of their own: the first with more than thoughts is the reply.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.log.exchanges.bodies import RESPONSES
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.call_counts import MESSAGES, PARTS
from backcast.engine.log.importers.content import (
    mapping,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.json_values import parse
from backcast.engine.log.importers.lines import first_object, read_objects
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, asked
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "codex"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "CODEX"
NEEDED = "a rollout of Codex (JSON lines with 'type' and 'payload')"
CALLS = ("function_call", "custom_tool_call", "local_shell_call", "web_search_call",
         "image_generation_call", "tool_search_call")  # fmt: skip
RESULTS = ("function_call_output", "custom_tool_call_output", "tool_search_output")
ITEMS = ("message", "reasoning", "compaction", "compaction_summary", "ghost_snapshot", *CALLS,
         *RESULTS)  # fmt: skip
"The types of items, which stand bare in rollouts of 2025."
UNSHOWN = "ghost_snapshot"
"An item that is kept for the program and never shown to the model."
PASSED_ON = "internal_chat_message_metadata_passthrough"
"A field of items that is for the program alone."
COMPACTED = "a compaction told only its summary: what it kept beside that is not in the log"
QUESTION = "no log holds the question by which a model is asked for the summary of a compaction"
SECTION = "requests may have left out what the instructions say of {}: no such tool was called"
_OF_A_TOOL = re.compile(r"^## `(\w+)`$", re.M)
"""The heading of a section of the instructions, which Codex leaves out of requests that do not
offer that tool; which tools there are no line tells."""
_PROGRAM = re.compile(r"\s*(?:<([A-Za-z][\w -]*)>.*</\1>|# AGENTS\.md instructions\b.*)\s*", re.S)
"What the program writes in the user's name."
_SHOWN = re.compile(
    r"(?:(?:Exit code|Chunk ID|Wall time|Process |Original token count|Total output lines|Session)"
    r"[^\n]*\n)+Output:\n"
)
"What a shell's result begins with, before what the command printed."
_CODE = re.compile(r"(?:Exit code: |Process exited with code )(-?\d+)")


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line, and the start of the task before a person's first request."""
    first = _parted(first_object(path, _is_entry, NEEDED, FORMAT))[1]
    id = string(first.get("id")) or string(first.get("session_id"))
    report.session = id or ""
    log = ForeignLog(PREFIX, task_id or task_of(id, path), report)
    log.modules.silent = True
    rollout = _Rollout(log, report)
    numbers: dict[int, int] = {}
    for number, line, entry in read_objects(path, report, _is_entry):
        numbers = {number: numbers.get(number, 0) + 1}
        place = numbers[number]
        yield from rollout.line(f"{number}.{place}" if place > 1 else str(number), line, entry)
    if rollout.goal is None:
        report.notes.append(NO_GOAL)
    if rollout.uncalled:
        report.notes.append(SECTION.format(", ".join(rollout.uncalled)))


def _is_entry(entry: dict[str, Any]) -> bool:
    type = entry.get("type")
    if isinstance(type, str) and isinstance(entry.get("payload"), dict):
        return True
    if type in ITEMS:
        return "parentId" not in entry and (type != "message" or "role" in entry)
    return "record_type" in entry or {"id", "instructions"} <= entry.keys()


def _parted(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type and the payload of a line, also of one from the time without payloads."""
    type = string(entry.get("type"))
    if isinstance(entry.get("payload"), dict):
        return type or "", entry["payload"]
    if type in ITEMS:
        return "response_item", entry
    return ("session_meta" if "instructions" in entry else "state"), entry


class _Rollout:
    """A rollout while it is read."""

    def __init__(self, log: ForeignLog, report: Report) -> None:
        self.log, self.report = log, report
        self.contexts = FormedContexts(report.calls, RESPONSES, PARTS)
        self.goal: str | None = None
        self.model: str | None = None
        self.begun = False
        self.context: str | None = None
        "The context of the answer that comes; None between answers."
        self.answering = False
        self.reply: str | None = None
        self.thinking: list[str] = []
        self.uncalled: dict[str, None] = {}
        "Tools that the instructions have a section on, and that were not called so far."
        self.turns: list[int] = []
        "How many messages stood before each turn of a person."

    def line(self, id: str, line: bytes, entry: dict[str, Any]) -> Iterator[Batch]:
        """Yield the batch of a line."""
        type, payload = _parted(entry)
        said = _words(payload) if type == "response_item" else None
        time = entry.get("timestamp")
        if self.goal is None and said:
            self.goal = said
            yield self.log.start(id, said, time=time)
        last = self.log.last or ""
        record = self.log.record(id, line, time)
        if type == "response_item":
            around = {} if payload is entry else {**without(entry, "payload")}
            self._item(record, payload, around, said, last)
        else:
            self._beside(type, payload)
            because = self.reply if payload.get("type") == "token_count" else last
            name = payload.get("type") if type == "event_msg" else type
            record.unknown(name, entry, (because,))
        yield record.batch

    def _beside(self, type: str, payload: dict[str, Any]) -> None:
        """Take in what a line tells that is no item."""
        kind = payload.get("type")
        if type == "session_meta" and not self.begun:
            self._begin(payload)
        elif type == "turn_context":
            self.model = string(payload.get("model")) or self.model
            if cwd := string(payload.get("cwd")):
                self.log.modules.texts.at(cwd)
        elif type == "compacted":
            self._compact(payload)
        elif kind == "thread_rolled_back":
            turns = payload.get("num_turns")
            if isinstance(turns, int) and turns > 0 and self.turns:
                self.contexts.cut(self.turns[-turns:][0])
                del self.turns[-turns:]
        ends = kind == "token_count" and payload.get("info") is not None
        if ends or type in ("compacted", "turn_context") or kind == "task_started":
            self.answering = False

    def _begin(self, payload: dict[str, Any]) -> None:
        self.begun = True
        if cwd := string(payload.get("cwd")):
            self.log.modules.texts.at(cwd)
        given = payload.get("base_instructions")
        if instructions := string(mapping(given).get("text")) or string(given):
            self.contexts.set_head({"instructions": instructions})
            self.uncalled = dict.fromkeys(_OF_A_TOOL.findall(instructions))
            self.contexts.fidelity = MESSAGES

    def _compact(self, payload: dict[str, Any]) -> None:
        self.report.notes += [QUESTION] if QUESTION not in self.report.notes else []
        history = payload.get("replacement_history")
        if isinstance(history, list):
            items = [_shown(item) for item in history if isinstance(item, dict)]
        else:
            message = payload.get("message")
            items = [{"type": "message", "role": "user", "content": message}] if message else []
            self.contexts.fidelity = PARTS
            self.report.notes += [COMPACTED] if COMPACTED not in self.report.notes else []
        items = [item for item in items if item.get("type") != UNSHOWN]
        self.contexts.replace(items)
        self.turns = [place for place, item in enumerate(items) if _words(item)]

    def _item(
        self, record: ForeignRecord, item: dict[str, Any], around: dict[str, Any],
        said: str | None, last: str,
    ) -> None:  # fmt: skip
        """Add the facts of an item, and put it into the context; `around` stands beside it."""
        type = string(item.get("type")) or ""
        is_reply = type == "message" and item.get("role") == "assistant"
        if is_reply or type == "reasoning" or type in CALLS:
            self._answer(record, item, around, type, last)
        else:
            if type != UNSHOWN:
                self.answering = False
            if said:
                self.turns.append(self.contexts.said)
            if type in RESULTS:
                self._result(record, item, around)
            elif type == "message":
                role = string(item.get("role")) or "user"
                by_machine = role in ("developer", "system") or (not said and _text(item))
                rest = {**around, "payload": without(item, "content") | _beside_text(item)}
                record.message(MACHINE if by_machine else role, _text(item), rest, (last,))
            else:
                record.unknown(type, {**around, "payload": item}, (last,))
        if type != UNSHOWN:
            self.contexts.say(_shown(item))

    def _answer(
        self, record: ForeignRecord, item: dict[str, Any], around: dict[str, Any], type: str,
        last: str,
    ) -> None:  # fmt: skip
        if not self.answering:
            self.answering, self.reply, self.thinking = True, None, []
            self.context = self.contexts.form(record, (last,))
        because = self.reply or self.context or last
        if type == "reasoning":
            blocks = [*sequence(item.get("summary")), *sequence(item.get("content"))]
            self.thinking += [text for block in blocks if (text := mapping(block).get("text"))]
            record.unknown(type, {**around, "payload": item}, (because,))
            return
        text = _text(item) if type == "message" else None
        if self.reply is None:
            kept = without(item, "content") | _beside_text(item) if type == "message" else {}
            rest = {**around, "payload": kept} if kept else around
            thoughts = "\n".join(self.thinking) or None
            self.reply = record.reply(text, self.model, rest, (self.context or last,), thoughts)
        elif type == "message":
            record.unknown("REPLY_PART", {**around, "payload": item}, (self.reply,))
        if type != "message":
            self._call(record, item, around, type)

    def _call(
        self, record: ForeignRecord, item: dict[str, Any], around: dict[str, Any], type: str
    ) -> None:
        name = string(item.get("name")) or type.removesuffix("_call")
        given = item.get("arguments", item.get("action", item.get("input")))
        if type == "custom_tool_call":
            given = {"input": item.get("input")}
        rest = {
            **around,
            "payload": without(item, "name", "call_id", "arguments", "action", "input"),
        }
        id = item.get("call_id") or item.get("id")
        self.uncalled.pop(name, None)
        record.call(name, id, given, rest, (self.reply or "",), writer=self.model or "agent")

    def _result(self, record: ForeignRecord, item: dict[str, Any], around: dict[str, Any]) -> None:
        output, failed, rest = _output(item.get("output"))
        kept = {**around, "payload": without(item, "call_id", "output"), **rest}
        record.answer(item.get("call_id"), output, failed, kept)


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as the model is shown it."""
    return without(item, PASSED_ON, "timestamp")


def _text(item: dict[str, Any]) -> str | None:
    """Return the text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    texts = [mapping(block).get("text") for block in sequence(content)]
    return "\n".join(text for text in texts if isinstance(text, str)) or None


def _beside_text(item: dict[str, Any]) -> dict[str, Any]:
    """Return the blocks of a message without the text, if there is one; else as they are."""
    blocks = sequence(item.get("content"))
    if len(blocks) == 1:
        return {"content": [without(mapping(blocks[0]), "text")]}
    return {"content": blocks} if blocks else {}


def _words(item: dict[str, Any]) -> str | None:
    """Return what a person wrote in an item; None if nobody did."""
    if item.get("type", "message") != "message" or item.get("role") != "user":
        return None
    content = item.get("content")
    blocks = sequence(content) if isinstance(content, list) else [{"text": content}]
    texts = [text for block in blocks if isinstance(text := mapping(block).get("text"), str)]
    own = [{"type": "text", "text": text} for text in texts if not _PROGRAM.fullmatch(text)]
    return asked(own) if own else None


def _output(output: object) -> tuple[str | None, bool | None, dict[str, Any]]:
    """Return what a tool printed, whether it failed, and what else its result tells."""
    if isinstance(output, dict):  # of 2025, and never shown so to the model
        success = output.get("success")
        failed = not success if isinstance(success, bool) else None
        text, said, rest = _output(output.get("content"))
        return text, said if failed is None else failed, rest | without(output, "content")
    if isinstance(output, list):
        texts = [mapping(block).get("text") for block in output]
        text = "\n".join(text for text in texts if isinstance(text, str))
        rest = {} if all(mapping(b).keys() == {"type", "text"} for b in output) else {
            "output_blocks": output}  # fmt: skip
        found, failed, more = _output(text)
        return found, failed, rest | more
    if not isinstance(output, str):
        return None, None, {} if output is None else {"output_value": output}
    if output.startswith('{"output":'):
        value = mapping(_parsed(output))
        if isinstance(printed := value.get("output"), str):
            code = mapping(value.get("metadata")).get("exit_code")
            failed = code != 0 if isinstance(code, int) else None
            return printed, failed, {"output_text": output}
    if head := _SHOWN.match(output):
        code = _CODE.search(head[0])
        failed = code[1] != "0" if code else None
        return output[head.end() :], failed, {"output_head": head[0]}
    return output, None, {}


def _parsed(text: str) -> object:
    try:
        return parse(text.encode(errors="surrogatepass"))
    except InputError:
        return None
