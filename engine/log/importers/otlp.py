"""Spans and events of OpenTelemetry (JSON lines), in the GenAI and OpenInference dialects.

A conversation is a task, else a trace; a span is a batch. Spans stand in the order in which they
began, each behind the one that it is a part of. A trace whose beginning is missing is waited for,
unless it is a day old; spans that come later still stand behind what was imported before.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.domain.events import ModelFailed, ModelReplied
from backcast.engine.log.exchanges.bodies import CHAT
from backcast.engine.log.importers import Batch, Report, digest
from backcast.engine.log.importers.call_counts import MESSAGES, NONE, PARTS
from backcast.engine.log.importers.content import id_of, name_of, parted, string, without
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.lines import first_object
from backcast.engine.log.importers.otlp_lines import when
from backcast.engine.log.importers.otlp_messages import (
    CONTENT,
    FLAT,
    MODEL,
    TOOL,
    ModelCall,
    call_of,
    kind_of,
)
from backcast.engine.log.importers.otlp_order import traces_in_order
from backcast.engine.log.importers.otlp_spans import SpanPlace, SpanStore
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, words
from backcast.engine.log.importers.records import INLINE, ForeignLog, ForeignRecord

FORMAT = "otlp"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "OTLP"
NEEDED = "lines of OpenTelemetry (JSON objects with 'resourceSpans' or 'resourceLogs')"
ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")
PATIENCE = 24 * 3600 * 10**9
"Nanoseconds after which the missing beginning of a trace is not waited for."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a span of the traces in which a model is called."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(ENDINGS))
        if not files:
            raise InputError(f"{path}: needed a folder with {', '.join(ENDINGS[:2])}, found none")
    else:
        first_object(path, _is_line, NEEDED, FORMAT)
    spans = SpanStore(report)
    try:
        for file in files:
            spans.read(file)
        spans.events_alone()
        tasks: dict[str, _TracedTalk] = {}
        for trace in traces_in_order(spans.traces, report, time.time_ns() - PATIENCE):
            for place, conversation in trace:
                task = task_id or name_of(conversation) or id_of(conversation, "trace")
                if task not in tasks:
                    tasks[task] = _TracedTalk(ForeignLog(PREFIX, task, report))
                yield from tasks[task].batches(place, spans.span(place))
        if any(talk.goal is None for talk in tasks.values()):
            report.notes.append(NO_GOAL)
    finally:
        spans.close()


def _is_line(value: dict[str, Any]) -> bool:
    return bool({"resourceSpans", "resource_spans", "resourceLogs", "resource_logs"} & value.keys())


class _TracedTalk:
    """A conversation while its spans come."""

    def __init__(self, log: ForeignLog) -> None:
        self.log, self.report = log, log.report
        self.contexts = FormedContexts(log.report.calls, CHAT, PARTS)
        self.goal: str | None = None
        self._told = Counter[bytes]()
        "How often each message was a fact."
        self._open: dict[str, str] = {}
        "The tools of calls that await their result, by the id of the call."
        self._answered: set[str] = set()
        self._resource: object = None
        self._raw: dict[str, str] = {}
        "The last bodies of requests and answers, which the next resemble."

    def batches(self, place: SpanPlace, span: dict[str, Any]) -> Iterator[Batch]:
        """Yield the start of the task before a person's first words, and the span."""
        call = call_of(span["attributes"]) if kind_of(span["attributes"]) == MODEL else None
        new = self._new(call) if call else []
        said = next(filter(None, map(_said, new)), None)
        time = when(place.start)
        if self.goal is None and said:
            self.goal = said
            yield self.log.start("goal", said, time=time)
        record = self.log.record(f"{place.trace}:{place.span}", to_json(span), time)
        because = [f"{place.trace}:{place.parent}" if place.parent else None, self.log.last]
        if call:
            self._model(record, place, span, call, new, because)
        elif kind_of(span["attributes"]) == TOOL:
            self._tool(record, span, because)
        else:
            record.unknown("SPAN", self._rest(record, span, ()), because)
        yield record.batch

    def _new(self, call: ModelCall) -> list[dict[str, Any]]:
        """Return the messages of a call that no fact tells yet, without those of the model."""
        here, new = Counter[bytes](), []
        for message in call.messages:
            if message["role"] == "assistant":
                continue
            key = digest(to_json(message))
            here[key] += 1
            if here[key] > self._told[key]:
                self._told[key] += 1
                new.append(message)
        return new

    def _model(
        self, record: ForeignRecord, place: SpanPlace, span: dict[str, Any], call: ModelCall,
        new: list[dict[str, Any]], because: list[str | None],
    ) -> None:  # fmt: skip
        for message in new:
            id = string(message.get("tool_call_id"))
            text, rest = parted(message.get("content"))
            if message["role"] != "tool":
                role = (
                    MACHINE if message["role"] == "user" and not _said(message) else message["role"]
                )
                record.message(role, text, {"content": rest} if rest else {}, because)
            elif id is None or id not in self._answered:
                self._answered.add(id or "")
                tool = self._open.pop(id or "", None)
                record.answer(id, text, None, {"content": rest} if rest else {}, because, tool)
        context = self._context(record, call, because)
        error = (
            span["status"].get("code") in (2, "STATUS_CODE_ERROR")
            or "error.type" in span["attributes"]
        )
        rest = self._rest(record, span, CONTENT)
        writer = call.model or "agent"
        if error and not call.answer:
            reason = (
                span["status"].get("message") or span["attributes"].get("error.type") or "error"
            )
            record.tell(ModelFailed, {"reason": str(reason)}, rest, writer=writer,
                        because=[*because, context])  # fmt: skip
            return
        text, remaining = parted(call.answer.get("content"))
        rest |= {"content": remaining} if remaining else {}
        thinking = call.answer.get("reasoning_content")
        named: dict[str, Any] = {"model": call.model, **call.counts}
        named |= {"finish": call.finish} if call.finish else {}
        named |= {"text": record.keep(text)} if text else {}
        named |= {"thinking": record.keep(thinking)} if thinking else {}
        if place.end > place.start:
            named["seconds"] = round((place.end - place.start) / 10**9, 6)
        id = record.tell(ModelReplied, named, rest, writer=writer, because=[*because, context])
        for asked in call.answer.get("tool_calls", ()):
            function = asked["function"]
            tool = string(function.get("name"))
            if tool is None:
                self.report.skipped.append(f"{record.id}: a call without a tool's name")
                continue
            record.call(tool, asked.get("id"), function.get("arguments"), {}, (id,))
            if key := string(asked.get("id")):
                self._open[key] = tool

    def _context(
        self, record: ForeignRecord, call: ModelCall, because: list[str | None]
    ) -> str | None:
        """Form the context of a call; None where the span does not tell it."""
        if not call.messages:
            self.report.calls[NONE] = self.report.calls.get(NONE, 0) + 1
            return None
        system = any(message["role"] == "system" for message in call.messages)
        self.contexts.fidelity = MESSAGES if system else PARTS
        self.contexts.set_head({"tools": call.tools} if call.tools else {})
        self.contexts.replace(call.messages)
        return self.contexts.form(record, because)

    def _tool(self, record: ForeignRecord, span: dict[str, Any], because: list[str | None]) -> None:
        """Add the result of a tool, and the call where no answer of a model told it."""
        names = span["attributes"]
        tool = string(names.get("gen_ai.tool.name")) or string(names.get("tool.name"))
        tool = tool or str(span.get("name") or "tool")
        id = string(names.get("gen_ai.tool.call.id")) or string(names.get("tool_call.id"))
        id = id or next((open for open, name in self._open.items() if name == tool), None)
        output = names.get("gen_ai.tool.call.result", names.get("output.value"))
        text = output if isinstance(output, str) or output is None else to_json(output).decode()
        rest = self._rest(record, span, (*CONTENT, "output.value", "input.value"))
        if id is not None and id in self._answered:
            record.unknown("TOOL_SPAN", self._rest(record, span, ()), because)
            return
        if id is None or self._open.pop(id, None) is None:
            arguments = names.get("gen_ai.tool.call.arguments", names.get("input.value"))
            called = record.call(tool, id, arguments, {}, because)
            because = [called]
        self._answered.update([id] if id else [])
        failed = True if _error(span) else None
        record.answer(id, text, failed, rest, because, tool)

    def _rest(
        self, record: ForeignRecord, span: dict[str, Any], known: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return what no fact names of a span; the resource where it is another than before."""
        names = without(span["attributes"], *known)
        if known:
            names = {name: value for name, value in names.items() if not name.startswith(FLAT)}
        for name, value in names.items():
            if isinstance(value, str) and len(value) > INLINE:
                # Each request repeats the earlier ones, so they are stored as differences.
                self._raw[name] = names[name] = record.keep(value, self._raw.get(name))
        rest = {**without(span, "attributes", "resource"), "attributes": names}
        rest = {name: value for name, value in rest.items() if value not in (None, "", [], {})}
        if span["resource"] != self._resource:
            self._resource = rest["resource"] = span["resource"]
        return {"span": rest}


def _error(span: dict[str, Any]) -> str:
    """Return why what a span tells of failed; empty where it did not."""
    status, type = span["status"], span["attributes"].get("error.type")
    if type is None and status.get("code") not in (2, "STATUS_CODE_ERROR"):
        return ""
    return str(status.get("message") or type or "error")


def _said(message: dict[str, Any]) -> str | None:
    """Return what a person wrote in a message."""
    text = parted(message.get("content"))[0] if message["role"] == "user" else None
    return words(text) if text else None
