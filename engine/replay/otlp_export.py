"""A task as spans of OpenTelemetry, by the GenAI conventions: JSON lines, a span each.

The task is an `invoke_agent` span, each call of a model a `chat` below it, each result of a tool an
`execute_tool`; tasks of subagents stand inside of the one that started them. Ids follow from the
names of tasks and the numbers of events, so equal logs give equal lines. What was said stands in
them on request alone. What no span has a place for is counted, and left out.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import DamagedError, InputError
from backcast.domain.events import (
    Imported,
    ModelFailed,
    ModelReplied,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.context.recorded import messages
from backcast.engine.log.exchanges.bodies import COMPLETION, RESPONSES
from backcast.engine.log.exchanges.chat_form import chat_form
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.importers.atif import DEEPEST
from backcast.engine.log.importers.atif_export import children_of
from backcast.engine.log.importers.content import mapping, sequence
from backcast.engine.log.store import EventStore
from backcast.engine.replay.otlp_forms import (
    Fields,
    clean,
    json_of,
    message_of,
    nanoseconds,
    pairs,
    spoken_item,
)
from backcast.engine.replay.tool_calls import whole

SCOPE = "backcast"
INTERNAL, CLIENT = 1, 3
"Kinds of span: a call of a model leaves the process, all else does not."
FAILED = 2
"The code of a status."
SILENT = (
    "IMPORTED",
    "TOOL_CALLED",
    "TASK_STARTED",
    "TASK_COMPLETE",
    "SCORED",
    "STEP_STARTED",
    "CONTEXT_BUILT",
)
"Types of events that are no span of their own, and need no mention."
SAID = ("MESSAGE_RECEIVED",)
"Types of events that stand in what a model was asked."


def exported_spans(
    store: EventStore, task_id: str, *, content: bool, left_out: Counter[str]
) -> Iterator[str]:
    """Yield a task as lines of spans, and those of its subagents. `InputError` without a call."""
    kinds = ["MODEL_REPLIED", "MODEL_FAILED", "TOOL_RETURNED"]
    if next(store.read(task_id, types=kinds), None) is None:
        raise InputError(
            f"{task_id}: needed calls of a model or a tool, found none: there is no span to write"
        )
    children = children_of(store)
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(task_id, "", (task_id,))]
    trace = _digest(task_id)[:32]
    while waiting:
        task, parent, above = waiting.pop(0)
        writer = _SpanWriter(store, task, trace, parent, content=content, left_out=left_out)
        yield from writer.lines()
        if len(above) < DEEPEST:
            waiting += [(child, writer.root, (*above, child))
                        for child in children.get(task, ()) if child not in above]  # fmt: skip


class _SpanWriter:
    """The writer of one task's spans."""

    def __init__(
        self, store: EventStore, task: str, trace: str, parent: str, *, content: bool,
        left_out: Counter[str],
    ) -> None:  # fmt: skip
        self.store, self.task, self.trace, self.parent = store, task, trace, parent
        self.content, self.left_out = content, left_out
        self.root = self._id(0)
        self.reader = RequestReader(store, task)
        self.contexts: dict[int, tuple[datetime, ContextBuilt]] = {}
        self.steps: dict[int, int] = {}
        "The prompt of each step, by the step's version."
        self.step = self.last = 0
        self.calls: dict[int, WorkflowEvent] = {}
        self.answered: set[int] = set()
        self.asked: dict[int, list[ToolCalled]] = {}
        "The calls of tools in each answer, by its version."

    def lines(self) -> Iterator[str]:
        """Yield the lines: the agent's span first."""
        events = list(self.store.read(self.task))
        agent = "backcast"
        for event in events:
            match event.fact:
                case Imported(format=str(format)):
                    agent = format
                case ToolCalled() as fact:
                    self.calls[event.version] = event
                    for cause in event.because:
                        self.asked.setdefault(cause, []).append(fact)
                case ToolReturned():
                    self.answered.update(event.because)
        times = [event.timestamp for event in events]
        named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
        kind = {"name": f"invoke_agent {agent}", "kind": INTERNAL}
        yield self._line(self.root, self.parent, min(times), max(times), kind, named)
        for event in events:
            yield from self._taken(event)

    def _taken(self, event: WorkflowEvent) -> Iterator[str]:
        match event.fact:
            case ContextBuilt() as fact:
                self.contexts[event.version] = event.timestamp, fact
                if self.step not in self.steps:
                    self.steps[self.step] = event.version
                self.last = event.version
            case ModelReplied() as fact:
                yield self._chat(event, fact)
            case ModelFailed(kind=kind) as fact if kind != "answer":
                yield self._chat(event, fact)
            case ToolReturned() as fact:
                yield self._tool(event, fact)
            case ToolCalled() if event.version not in self.answered:
                self.left_out["TOOL_CALLED without a result"] += not self.content
            case _ if event.type == "STEP_STARTED":
                self.step = event.version
            case _ if event.type in SAID:
                self.left_out[str(event.type)] += not self.content
            case _ if event.type not in SILENT:
                self.left_out[str(event.type)] += 1

    def _chat(self, event: WorkflowEvent, fact: ModelReplied | ModelFailed) -> str:
        built = self._context_of(event, fact)
        begun, context = self.contexts.get(built, (None, None))
        seconds = fact.seconds if isinstance(fact, ModelReplied) else None
        lasted = timedelta(seconds=seconds) if seconds and 0 < seconds < 1e8 else timedelta()
        start = event.timestamp - lasted if begun is None else begun
        named: Fields = {"gen_ai.operation.name": "chat", "backcast.event": event.version}
        kind: Fields = {"name": "chat", "kind": CLIENT}
        if isinstance(fact, ModelReplied):
            kind["name"] = f"chat {fact.model}" if fact.model else "chat"
            named |= {
                "gen_ai.request.model": fact.model, "gen_ai.response.model": fact.model,
                "gen_ai.usage.input_tokens": fact.prompt_tokens,
                "gen_ai.usage.output_tokens": fact.tokens,
                "gen_ai.usage.cache_read.input_tokens": fact.cached_tokens,
                "gen_ai.response.finish_reasons": [fact.finish] if fact.finish else None,
            }  # fmt: skip
        else:
            named["error.type"] = fact.kind or "error"
            kind["status"] = {"code": FAILED}
            if self.content and fact.reason:
                kind["status"]["message"] = clean(fact.reason)
        if context is not None:
            named["backcast.prompt.tokens"] = context.tokens
            named["backcast.prompt.shared_prefix"] = context.shared_prefix
        if self.content:
            named |= self._asked(built, context)
            if isinstance(fact, ModelReplied):
                named["gen_ai.output.messages"] = self._answer(event.version, fact)
        return self._line(self._id(event.version), self.root, start, start + lasted, kind, named)

    def _context_of(self, event: WorkflowEvent, fact: ModelReplied | ModelFailed) -> int:
        """Return the prompt that was answered: by the call, by the causes, else the last one."""
        if fact.call is not None and fact.call in self.steps:
            return self.steps[fact.call]
        return max((cause for cause in event.because if cause in self.contexts), default=self.last)

    def _asked(self, version: int, context: ContextBuilt | None) -> Fields:
        """Return what a model was asked, as attributes."""
        if context is None:
            return {}
        try:
            if context.request is None:
                form: Fields = {"messages": [
                    {"role": role, "content": text}
                    for role, text in messages(context, self.store.get)
                ]}  # fmt: skip
            else:
                form = self._request(version)
        except (DamagedError, ValueError):  # a text is masked or gone, or no chat has its form
            self.left_out["prompt that cannot be read"] += 1
            return {}
        asked = [message_of(mapping(message)) for message in sequence(form.get("messages"))]
        tools = sequence(form.get("tools"))
        return {
            "gen_ai.input.messages": json.dumps(asked) if asked else None,
            "gen_ai.tool.definitions": json.dumps(tools) if tools else None,
        }

    def _request(self, version: int) -> Fields:
        found = self.reader.at(version)
        if found is None:
            raise DamagedError(f"{self.task}@{version}: needed a recorded request, found none")
        body = mapping(json.loads(body_of(found, self.store.get)))
        if found.request.dialect == COMPLETION:
            return {"messages": [{"role": "user", "content": body.get("prompt")}]}
        if found.request.dialect == RESPONSES and isinstance(body.get("input"), list):
            items = list(filter(None, map(spoken_item, body["input"])))
            lost = len(body["input"]) - len(items)
            self.left_out["item of a prompt that has no words"] += lost
            body["input"] = items
        return chat_form(body, found.request.dialect)

    def _answer(self, version: int, fact: ModelReplied) -> str | None:
        """Return the answer's message, as JSON; None where the log does not hold it."""
        parts: list[Fields] = []
        if fact.thinking:
            parts.append({"type": "reasoning", "content": self._text(fact.thinking)})
        if fact.text:
            parts.append({"type": "text", "content": self._text(fact.text)})
        for call in self.asked.get(version, ()):
            parts.append({"type": "tool_call", "id": call.call_id, "name": call.tool,
                          "arguments": whole(call.arguments, self.store)})  # fmt: skip
        message: Fields = {"role": "assistant", "parts": parts}
        message |= {"finish_reason": fact.finish} if fact.finish else {}
        return json.dumps([message]) if parts else None

    def _tool(self, event: WorkflowEvent, fact: ToolReturned) -> str:
        called = next((self.calls[v] for v in event.because if v in self.calls), None)
        call = called.fact if called and isinstance(called.fact, ToolCalled) else None
        tool = fact.tool or (call.tool if call else "") or "tool"
        named: Fields = {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool,
            "gen_ai.tool.call.id": fact.call_id or (call.call_id if call else None),
            "backcast.event": event.version,
        }  # fmt: skip
        kind: Fields = {"name": f"execute_tool {tool}", "kind": INTERNAL}
        if fact.failed:
            named["error.type"], kind["status"] = "tool_error", {"code": FAILED}
        if self.content:
            if call is not None and call.arguments is not None:
                named["gen_ai.tool.call.arguments"] = json_of(whole(call.arguments, self.store))
            named["gen_ai.tool.call.result"] = self._text(fact.output) if fact.output else None
        start = called.timestamp if called else event.timestamp
        end = max(start, event.timestamp)
        return self._line(self._id(event.version), self.root, start, end, kind, named)

    def _line(
        self, id: str, parent: str, start: datetime, end: datetime, kind: Fields, named: Fields
    ) -> str:
        named = {**named, "gen_ai.conversation.id": self.task}
        span: Fields = {
            "traceId": self.trace, "spanId": id, **({"parentSpanId": parent} if parent else {}),
            "name": clean(kind["name"]), "kind": kind["kind"],
            "startTimeUnixNano": nanoseconds(start), "endTimeUnixNano": nanoseconds(end),
            "attributes": pairs(named), "status": kind.get("status", {}),
        }  # fmt: skip
        scopes = [{"scope": {"name": SCOPE}, "spans": [span]}]
        resource = {"attributes": pairs({"service.name": SCOPE})}
        return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]})

    def _id(self, version: int) -> str:
        """Return the id of an event's span; ids of a task rise with its events."""
        return f"{_digest(self.task)[:8]}{version + 1:08x}"

    def _text(self, ref: str) -> str:
        return self.store.get(ref).decode(errors="replace")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
