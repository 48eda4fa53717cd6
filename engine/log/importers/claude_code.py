"""Sessions of Claude Code: JSON lines, each with a uuid and the uuid of the line it follows.

A line is a batch under its uuid. A line without one (a summary, a snapshot) goes under its hash,
since a continued session repeats it in another file at another place. A session is a task, under
its session id, and its side chains are part of it. Of the lines of one answer of the model the
first with more than thoughts is the reply, the others are `REPLY_PART`s of it; see `answers`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backcast.domain.events import ModelFailed
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.answers import StreamedAnswer, StreamedAnswers
from backcast.engine.log.importers.call_counts import NO_CONTEXTS
from backcast.engine.log.importers.claude_contexts import ClaudeContexts
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
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID, NO_EDITS, SED_SCRIPTS
from backcast.engine.log.importers.file_edits import Shown
from backcast.engine.log.importers.lines import first_object, read_objects
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, asked
from backcast.engine.log.importers.recognised import is_qwen
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord
from backcast.engine.log.importers.tool_edits import Truth

FORMAT = "claude-code"
VERSION = 6
FAULTS = {
    1: "summaries, markers and side chains counted as a person's words, also as the goal;"
    " each line of an answer counted as a reply",
    2: NO_EDITS,
    3: f"{NO_CONTEXTS}; {SED_SCRIPTS}",
    4: "where no line names the one that it follows, a prompt held the last message alone",
    5: FAILED_UNSAID,
}
"What was wrong with the facts of earlier versions."
UNLINKED = (
    "no line names the one that it follows (parentUuid), so the prompts are formed in the order of"
    " the file"
)
PREFIX = "CLAUDE_CODE"
NEEDED = "a Claude Code session (JSON lines with 'type' and 'sessionId' or 'uuid')"
GENERATED = ("isSidechain", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly")
"The marks of lines in the user's name that no person wrote."
SYNTHETIC = "<synthetic>"
"The model of an answer that the program wrote itself."
TEXTS = ("text", "tool_result")
"The blocks that need not come from a person; a picture does."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a line, and the start of the task before a person's first request."""
    first = first_object(path, _is_entry, NEEDED, FORMAT)
    session = _session(path, first)
    report.session = session
    log = ForeignLog(PREFIX, task_id or session, report)
    log.modules.silent = True
    goal: str | None = None
    linked = _is_linked(path)
    answers, contexts = StreamedAnswers(), ClaudeContexts(report.calls, linked=linked)
    for _, line, entry in read_objects(path, report, _is_whole):
        id = id_of(entry.get("uuid"), hashed("line", line))
        said = _words(entry)
        if goal is None and (goal := said):
            yield log.start(id, goal, time=entry.get("timestamp"))
        if said:
            answers.hear(entry)
        record = log.record(id, line, entry.get("timestamp"))
        log.modules.texts.at(entry.get("cwd"))
        _tell(record, entry, said, answers, contexts)
        yield record.batch
    if goal is None:
        report.notes.append(NO_GOAL)
    if report.calls and not linked:
        report.notes.append(UNLINKED)


def _is_entry(entry: dict[str, Any]) -> bool:
    ids = (entry.get(name) for name in ("sessionId", "uuid", "leafUuid"))
    named = isinstance(entry.get("type"), str) and any(isinstance(id, str) for id in ids)
    return named and not is_qwen(entry)


def _is_whole(entry: dict[str, Any]) -> bool:
    """Return whether an object on a damaged line is a line's own, not a part of one."""
    return _is_entry(entry) and isinstance(entry.get("sessionId", entry.get("leafUuid")), str)


def _session(path: Path, first: dict[str, Any]) -> str:
    """Return the first session id in the file; summaries, which have none, may precede it."""
    if string(first.get("sessionId")) is None:
        for _, _, entry in read_objects(path, Report()):
            if string(entry.get("sessionId")):
                return task_of(entry["sessionId"], path)
    return task_of(first.get("sessionId"), path)


def _is_linked(path: Path) -> bool:
    """Return whether any line in a file names the one that it follows."""
    entries = read_objects(path, Report(), _is_whole)
    return any(string(entry.get("parentUuid")) for _, _, entry in entries)


def _words(entry: dict[str, Any]) -> str | None:
    """Return what a person wrote in a line; None if nobody did."""
    if entry.get("type") != "user" or _is_generated(entry):
        return None
    return asked(mapping(entry.get("message")).get("content"))


def _is_generated(entry: dict[str, Any]) -> bool:
    """Return whether a line in the user's name says that no person wrote it."""
    origin = string(mapping(entry.get("origin")).get("kind"))
    if any(entry.get(name) is True for name in GENERATED) or origin not in (None, "human"):
        return True
    # The result of a tool as bare text; a person's words beside a result are in its blocks.
    content = mapping(entry.get("message")).get("content")
    return entry.get("toolUseResult") is not None and isinstance(content, str)


def _tell(
    record: ForeignRecord, entry: dict[str, Any], said: str | None, answers: StreamedAnswers,
    contexts: ClaudeContexts,
) -> None:  # fmt: skip
    """Add the facts of a line, caused by the line that it follows."""
    because = [entry.get(name) for name in ("parentUuid", "leafUuid", "logicalParentUuid")]
    causes = [id_of(id, "") for id in because if id]
    message = mapping(entry.get("message"))
    shown = entry.get("isVisibleInTranscriptOnly") is not True
    if entry.get("type") == "assistant" and "content" in message:
        if entry.get("isApiErrorMessage") is True or message.get("model") == SYNTHETIC:
            shown = False
            _synthetic(record, entry, message, causes)
        else:
            answer = answers.of(entry)
            context = contexts.answer(record, entry, answer, causes)
            _assistant(record, entry, message, [*causes, context], answer)
    elif entry.get("type") == "user" and "content" in message:
        _user(record, entry, message, causes, said)
    else:
        record.unknown(entry.get("type"), entry, causes)
    contexts.read(entry, said, shown=shown)


def _synthetic(
    record: ForeignRecord, entry: dict[str, Any], message: dict[str, Any], because: list[str]
) -> None:
    """Add what the program wrote in the model's name: an error of the server, or a stopgap."""
    text = string(parted(message["content"])[0])
    if text and (entry.get("isApiErrorMessage") is True or text.startswith("API Error")):
        record.tell(ModelFailed, {"reason": text}, entry, writer="agent", because=because)
    else:
        record.unknown("SYNTHETIC", entry, because)


def _assistant(
    record: ForeignRecord,
    entry: dict[str, Any],
    message: dict[str, Any],
    because: list[str],
    answer: StreamedAnswer,
) -> None:
    content = message["content"]
    blocks = [block for block in sequence(content) if is_block(block, "tool_use", "name")]
    calls = [block for block in blocks if string(block.get("id")) not in answer.calls]
    only_thoughts = answer.take_thoughts(content) and string(message.get("id"))
    if answer.reply is None and not only_thoughts:
        text, remaining = parted(content)
        rest = _envelope(entry, without(message, "model"), remaining, calls)
        thinking = answer.thinking or None
        id = answer.reply = record.reply(text, message.get("model"), rest, because, thinking)
    else:
        # Each line repeats the usage of the whole answer, which counts once, with the reply.
        rest = _envelope(entry, without(message, "usage"), content, calls)
        if message.get("usage", answer.usage) != answer.usage:
            rest["usage_so_far"] = message["usage"]
        id = record.unknown("REPLY_PART", rest, [*because, answer.reply or ""])
    answer.usage = message.get("usage", answer.usage)
    for block in calls:
        record.call(block["name"], block.get("id"), block.get("input"), {}, (answer.reply or id,))
        answer.calls.update([block["id"]] if string(block.get("id")) else [])


def _user(
    record: ForeignRecord,
    entry: dict[str, Any],
    message: dict[str, Any],
    because: list[str],
    said: str | None,
) -> None:
    """Add results first, then the message: the first of these facts carries the line."""
    text, remaining = parted(message["content"])
    results = [b for b in sequence(message["content"]) if is_block(b, "tool_result", "tool_use_id")]
    rest = _envelope(entry, message, remaining, results)
    for block in results:
        output, failed = parted(block.get("content"))[0], block.get("is_error")
        truth = _truth(entry) if len(results) == 1 else None
        record.answer(block["tool_use_id"], output, failed, rest, because, truth=truth)
        rest = {}
    if text is not None or not results:
        role = string(message.get("role")) or "user"
        content = message["content"]
        by_machine = said is None and (_is_generated(entry) or (text and _is_text(content)))
        if said and said != text:
            rest = {**rest, "asked": said}
        record.message(MACHINE if by_machine else role, text, rest, because)


def _is_text(content: object) -> bool:
    return all(mapping(block).get("type", "text") in TEXTS for block in sequence(content))


def _truth(entry: dict[str, Any]) -> Truth | None:
    """Return the texts of a file that a result tells beside what the model was shown."""
    result = mapping(entry.get("toolUseResult"))
    file = mapping(result.get("file"))
    if path := string(file.get("filePath")):
        text, lines = file.get("content"), file.get("totalLines")
        whole = file.get("startLine", 1) == 1 and file.get("numLines") == lines is not None
        known = Shown(text, exact=False) if isinstance(text, str) and whole else None
        return Truth(path, after=known)
    path = string(result.get("filePath"))
    if path is None:
        return None
    before, content = result.get("originalFile"), result.get("content")
    written = result.get("type") in ("create", "update") and isinstance(content, str)
    return Truth(
        path,
        Shown(before, exact=False) if isinstance(before, str) and before else None,
        Shown(content) if written and isinstance(content, str) else None,
    )


def _envelope(
    entry: dict[str, Any], message: dict[str, Any], remaining: object, facts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return a line without the parts that its facts name; the rest of the blocks stays in it."""
    kept = without(message, "content")
    if isinstance(remaining, list):
        kept["content"] = [_without_fact(block) if block in facts else block for block in remaining]
    elif remaining is not None:
        kept["content"] = remaining
    return {**entry, "message": kept}


def _without_fact(block: object) -> object:
    if is_block(block, "tool_use", "name"):
        return without(mapping(block), "name", "input")
    output = parted(mapping(block).get("content"))[1]
    kept = without(mapping(block), "content", "is_error")
    return kept if output is None else {**kept, "content": output}
