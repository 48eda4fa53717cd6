"""Records of a foreign log as batches: ids, times, bodies, and the fields that no fact names.

No part of a record is lost: a field that a fact does not name stays on it under its own name. A
string over `INLINE` characters is replaced by the name of its blob; a list or an object that is
still over `INLINE_JSON` bytes by `{"json": name}`. A field that would hide one of the fact's own
stands under `foreign`. A time that is not believed stands under `stated_time`.
"""

import math
import re
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic_core import from_json, to_json

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    Fact,
    MessageReceived,
    ModelReplied,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    UnknownFact,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers import (
    Batch,
    ContextBase,
    ForeignFact,
    Report,
    digest,
    synthetic_time,
)
from backcast.engine.log.importers.content import (
    arguments_of,
    mapping,
    sequence,
    string,
    time_of,
    without,
)
from backcast.engine.log.importers.edited_modules import EditedModules
from backcast.engine.log.importers.times import Timeline
from backcast.engine.log.importers.tool_edits import Truth

INLINE = 1024
"Characters of the longest string that stays in a fact."
INLINE_JSON = 64 * 2**10
"Bytes of the largest list or object that stays in a fact."
MAX_GOAL = 64 * 2**10
"Characters of a goal; a longer one is cut, and its whole text is a blob."
PLAIN = frozenset((int, bool, type(None)))
"The types whose values stay in a fact as they are."
RESERVED = frozenset(("foreign", "stated_time", "synthetic_time"))

_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class ForeignLog:
    """A foreign log while it is read: its task, the time, and the calls that await an answer."""

    def __init__(
        self, prefix: str, task_id: str, report: Report, now: datetime | None = None
    ) -> None:
        self.prefix, self.task_id, self.report = prefix, task_id, report
        self.timeline = Timeline(now or datetime.now(UTC))
        self.calls: dict[str, tuple[str, str]] = {}
        "The foreign id of the fact, and the tool, by the log's id of the call."
        self.replies: dict[str, str] = {}
        "The foreign id of the reply, by the log's id of the model's answer."
        self.last: str | None = None
        "The foreign id of the last fact."
        self.modules = EditedModules(report)
        "The files that the run's tools write and read."
        self._step = 0

    def record(
        self, id: str, raw: bytes, time: object = None, *, beside: bool = False
    ) -> "ForeignRecord":
        """Begin a record. Without a time, or with a wild one, it takes that of the one before.

        In a log without times each is a second later, unless it stands `beside` the one before.
        """
        self._step += not beside
        stated = self._with_zone(time)
        wild = stated is not None and not self.timeline.record(stated)
        named = f"{id.removeprefix('start:')[:48]} ({str(time)[:40]})"
        if wild and self.report.wild[-1:] != [named]:
            self.report.wild.append(named)
        when = self.timeline.last or synthetic_time(self._step)
        record = ForeignRecord(self, id, raw, when, synthetic=stated is None or wild)
        record.wild = time if wild else None
        return record

    def start(self, id: str, goal: str | None, rest: object = None, time: object = None) -> Batch:
        """Return the start of the task, as the record of that id states it."""
        start = self.record(f"start:{id}", to_json([goal, rest]), time)
        named = {"goal": None if goal is None else goal[:MAX_GOAL]}
        if goal is not None and len(goal) > MAX_GOAL:
            named["text"] = start.keep(goal)
        start.tell(TaskStarted, named, rest, writer="user")
        return start.batch

    def _with_zone(self, value: object) -> datetime | None:
        time = time_of(value)
        if time is None or time.tzinfo is not None:
            return time
        note = "times without a zone were read as UTC"
        self.report.notes.extend([note] if note not in self.report.notes else [])
        return time.replace(tzinfo=UTC)


class ForeignRecord:
    """One record of a foreign log while its batch is built."""

    def __init__(
        self, log: ForeignLog, id: str, raw: bytes, when: datetime, *, synthetic: bool
    ) -> None:
        self.log, self.id, self.when, self.synthetic = log, id, when, synthetic
        self.wild: object = None
        "The time that the record states, if it is not believed."
        self.digest = digest(raw)
        self.facts: list[ForeignFact] = []
        self.blobs: list[Blob] = []
        self._contexts = 0

    @property
    def batch(self) -> Batch:
        """The facts and bodies so far."""
        return Batch(self.log.task_id, self.facts, self.blobs, id=self.id)

    def keep(self, body: str | bytes, base: str | None = None) -> str:
        """Put a body into a blob and return its name."""
        body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        self.blobs.append(Blob(body, base))
        return self.blobs[-1].ref

    def tell(
        self,
        kind: type[Fact],
        named: Mapping[str, Any],
        rest: object = None,
        *,
        writer: str,
        because: Iterable[object] = (),
    ) -> str:
        """Add a fact, and return its foreign id: the record's own for the first of them."""
        fits = {name: value for name, value in named.items() if _fits(name, value)}
        fields = rest if isinstance(rest, dict) else {} if rest is None else {"value": rest}
        fields = fields | {
            name: value for name, value in named.items() if name not in fits and value is not None
        }
        if kind is UnknownFact:
            fact: Fact = kind.model_validate({"payload": self._shelved(fields, ())} | fits)
        else:
            shelved = self._shelved(fields, _fields_of(kind) | named.keys())
            fact = kind.model_validate(shelved | fits)
        causes = tuple(id for id in because if isinstance(id, str) and id)
        number = len(self.facts) - self._contexts
        id = f"{self.id}#{number}" if number else self.id
        writer = writer.replace("\0", "")[:200]
        self.facts.append(ForeignFact(fact, self.when, writer, id, causes, self.digest))
        self.log.last = id
        return id

    def context(
        self, fact: ContextBuilt, digest: bytes, base: ContextBase | None,
        because: Iterable[object], blobs: Iterable[Blob],
    ) -> str:  # fmt: skip
        """Add a context in which the record's reply was asked, and return its foreign id.

        `digest` is that of all its parts.
        """
        self._contexts += 1
        id = f"context:{self.id}" if self._contexts == 1 else f"context:{self.id}#{self._contexts}"
        if self.synthetic:
            fact = fact.model_copy(update={"synthetic_time": True})
        causes = tuple(id for id in because if isinstance(id, str) and id)
        self.facts.append(ForeignFact(fact, self.when, "agent", id, causes, digest, base=base))
        self.blobs.extend(blobs)
        return id

    def message(self, role: str, text: str | None, rest: object, because: Iterable[object]) -> str:
        """Add a message to the model from somebody else."""
        named = {"role": role} | self._body("text", text)
        return self.tell(MessageReceived, named, rest, writer=role, because=because)

    def reply(
        self,
        text: str | None,
        model: object,
        rest: object,
        because: Iterable[object],
        thinking: str | None = None,
        counts: Mapping[str, float] = {},
    ) -> str:
        """Add a reply of the model; `counts` are the tokens and seconds that its server told."""
        named: dict[str, Any] = {"model": model, **counts}
        named |= self._body("text", text) | self._body("thinking", thinking)
        writer = string(model) or "agent"
        return self.tell(ModelReplied, named, rest, writer=writer, because=because)

    def call(
        self,
        tool: str,
        call_id: object,
        arguments: object,
        rest: Mapping[str, Any],
        because: Iterable[object],
        writer: str = "agent",
    ) -> str:
        """Add a tool call of the model; arguments in a string of JSON are parsed."""
        parsed = arguments_of(arguments)
        if parsed is not arguments and to_json(parsed) != str(arguments).encode():
            rest = {**rest, "arguments_text": arguments}
        named = {"tool": tool, "call_id": call_id, "arguments": self.shelf(parsed)}
        id = self.tell(ToolCalled, named, rest, writer=writer, because=because)
        if isinstance(call_id, str):
            self.log.calls[call_id] = (id, tool)
        self.log.modules.called(id, tool, parsed)
        return id

    def openai_calls(self, message: Mapping[str, Any], because: Iterable[object]) -> None:
        """Add the calls of a message in the form of the OpenAI interface."""
        because = tuple(because)
        for call in sequence(message.get("tool_calls")):
            if tool := tool_of(call):
                function = without(call["function"], "name", "arguments")
                rest = {**without(call, "id"), "function": function}
                self.call(tool, call.get("id"), call["function"].get("arguments"), rest, because)

    def answer(
        self,
        call_id: object,
        output: str | None,
        failed: object,
        rest: object,
        because: Iterable[object] = (),
        tool: object = None,
        truth: Truth | None = None,
        *,
        broke: bool = False,
    ) -> str:
        """Add a tool's result, caused by the call that it answers, and what it did to files.

        Where the log does not state whether the call `failed`, it did if an edit of it did, or if
        the importer knows by its words that it `broke`; the latter tells nothing of its files.
        """
        call, called = self.log.calls.get(string(call_id) or "", (None, None))
        tool = called if tool is None else tool
        named = {"tool": tool, "call_id": call_id, "failed": failed} | self._body("output", output)
        writer = f"tool:{tool}" if string(tool) else "environment"
        causes = (call,) if call else tuple(because)
        id = self.tell(ToolReturned, named, rest, writer=writer, because=causes)
        place = len(self.facts) - 1
        broke |= self.log.modules.answered(self, id, causes, output or "", failed, truth)
        if broke and not isinstance(failed, bool):
            result = self.facts[place]
            marked = result.fact.model_copy(update={"failed": True})
            self.facts[place] = result._replace(fact=marked)
        return id

    def unknown(
        self, name: object, rest: object, because: Iterable[object] = (), writer: str = ""
    ) -> str:
        """Add an unknown fact for a record without a matching kind."""
        kind = _NAME.sub("_", name)[:80] if isinstance(name, str) and name else "UNKNOWN"
        named = {"kind": f"{self.log.prefix}_{kind}"}
        return self.tell(UnknownFact, named, rest, writer=writer, because=because)

    def _body(self, name: str, text: str | None) -> dict[str, Any]:
        return {} if text is None else {name: self.keep(text)}

    def _shelved(self, fields: dict[str, Any], hidden: Container[str]) -> dict[str, Any]:
        """Return fields as a fact holds them, with the large ones in blobs."""
        blobs = len(self.blobs)
        kept = {
            name: value if _is_small(value) else self.shelf(value) for name, value in fields.items()
        }
        clash = {name: kept[name] for name in kept if name in hidden or name in RESERVED}
        kept = {name: value for name, value in kept.items() if name not in clash}
        kept |= {"foreign": clash} if clash else {}
        if len(to_json(kept)) > 16 * INLINE_JSON:
            del self.blobs[blobs:]
            kept = {"foreign": {"json": self.keep(to_json(fields))}}
        kept |= {} if self.wild is None else {"stated_time": self.wild}
        return kept | ({"synthetic_time": True} if self.synthetic else {})

    def shelf(self, value: object) -> object:
        """Return a value as a fact holds it, with a blob's name in place of a large one."""
        if isinstance(value, str):
            return self.keep(value) if len(value) > INLINE else value
        blobs = len(self.blobs)
        small = self._strings(value)
        if isinstance(small, dict | list) and len(to_json(small)) > INLINE_JSON:
            del self.blobs[blobs:]
            return {"json": self.keep(to_json(value))}
        return small

    def _strings(self, value: object) -> object:
        match value:
            case str():
                return self.keep(value) if len(value) > INLINE else value
            case dict():
                return {
                    name: item if _is_small(item) else self._strings(item)
                    for name, item in value.items()
                }
            case list():
                return [item if _is_small(item) else self._strings(item) for item in value]
            case float() if not math.isfinite(value):
                return str(from_json(to_json(value, inf_nan_mode="strings")))
        return value


def _is_small(value: object) -> bool:
    """Return whether a value certainly stays in a fact as it is."""
    return len(value) <= INLINE if type(value) is str else type(value) in PLAIN


@cache
def _fields_of(kind: type[Fact]) -> frozenset[str]:
    return frozenset(kind.model_fields)


def tool_of(call: object) -> str | None:
    """Return the tool of a call in the form of the OpenAI interface."""
    return string(mapping(mapping(call).get("function")).get("name"))


def all_calls(message: Mapping[str, Any]) -> bool:
    """Return whether all calls of a message become facts and can leave the message."""
    calls = message.get("tool_calls")
    return isinstance(calls, list) and all(tool_of(call) for call in calls)


def _fits(name: str, value: object) -> bool:
    """Return whether a foreign value has the type that the field of a fact needs."""
    if name == "failed":
        return isinstance(value, bool)
    return isinstance(value, str) or name not in ("call_id", "model", "tool")
