"""Prompts of an imported run, which are formed of the messages, calls and results in its log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backcast.domain.events import (
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    ToolCalled,
    ToolReturned,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.message_parts import CALL, MESSAGE, THINKING, Count, MessagePart
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt, as_read, read_text
from backcast.engine.replay.result_parts import result_part
from backcast.engine.replay.tool_calls import argument_line, argument_text, called, whole

TYPES = ("MESSAGE_RECEIVED", "MODEL_REPLIED", "TOOL_CALLED", "TOOL_RETURNED", "MODULE_ITERATION",
         "CLAUDE_CODE_REPLY_PART")  # fmt: skip
"Kinds of events of which prompts are formed."


@dataclass
class _OpenThread:
    """A conversation while it is read."""

    parts: list[MessagePart] = field(default_factory=list)
    turn: int = 0
    places: dict[int, int] = field(default_factory=dict)
    "Where the part of an event stands."
    waiting: AgentPrompt | None = None
    "The prompt whose calls may still come."


class PromptFormer:
    """Forms the prompts of a run of its messages."""

    def __init__(self, store: EventStore, task_id: str, count: Count) -> None:
        self.store, self.task_id, self.count = store, task_id, count
        self.threads: dict[str, _OpenThread] = {}
        self.calls: dict[str, ToolCalled] = {}
        "Calls by their ids, and by their events."
        self.events: dict[int, str] = {}
        "The thread of each event."
        self.event = 0
        "The event that is read."
        self.told: list[MessagePart] = []
        "All parts so far, in log order."

    def prompts(self) -> Iterator[AgentPrompt]:
        """Yield the prompts in the order of their answers."""
        for event in self.store.read(self.task_id, types=TYPES):
            name = self._thread(event)
            self.events[event.version] = name
            self.event = event.version
            thread = self.threads.setdefault(name, _OpenThread())
            if isinstance(event.fact, ModelReplied):
                if thread.waiting:
                    yield thread.waiting
                parts = tuple(thread.parts)
                thread.waiting = AgentPrompt(
                    self.task_id, event.version, parts, (), formed=True, thread=name
                )
            self._take(thread, event)
        last = [thread.waiting for thread in self.threads.values() if thread.waiting]
        yield from sorted(last, key=lambda prompt: prompt.version)

    def _thread(self, event: WorkflowEvent) -> str:
        """Return the thread of an event: that of its cause, where it does not name its own."""
        extra = _extra(event.fact)
        if extra.get("isSidechain"):
            return str(extra.get("agentId") or "side chain")
        if isinstance(event.fact, ToolCalled | ToolReturned | UnknownFact):
            return self.events.get(max(event.because, default=0), "")
        return ""

    def _take(self, thread: _OpenThread, event: WorkflowEvent) -> None:
        match event.fact:
            case MessageReceived() as fact:
                self._message(thread, fact)
            case ModelReplied() as fact:
                thread.turn += 1
                self._says(thread, read_text(self.store, fact.thinking), THINKING)
                self._says(thread, read_text(self.store, fact.text), MESSAGE)
            case UnknownFact() as fact:
                for text in _texts(fact.payload, self.store):
                    self._says(thread, text, MESSAGE)
            case ToolCalled() as fact:
                self._call(thread, event, fact)
            case ToolReturned() as fact:
                self._result(thread, event, fact)
            case ModuleIteration() as fact:
                self._left(thread, event, fact)

    def _add(self, thread: _OpenThread, part: MessagePart) -> None:
        tokens = self.count(part.text)
        self.told.append(part._replace(tokens=tokens, turn=thread.turn, event=self.event))
        thread.parts.append(self.told[-1])

    def _message(self, thread: _OpenThread, fact: MessageReceived) -> None:
        text = read_text(self.store, fact.text)
        if _extra(fact).get("isCompactSummary"):  # the agent itself began anew with this
            thread.parts = [part for part in thread.parts if part.kind == "system"]
            thread.turn = 0
        kind = "system" if fact.role in ("system", "developer") else MESSAGE
        if text:
            self._add(thread, MessagePart(fact.role, kind, text, ref=fact.text or ""))

    def _says(self, thread: _OpenThread, text: str, kind: str) -> None:
        if not text:
            return
        self._add(thread, MessagePart("assistant", kind, text))
        if thread.waiting and kind == MESSAGE:
            thread.waiting = thread.waiting._replace(action=(*thread.waiting.action, text))

    def _call(self, thread: _OpenThread, event: WorkflowEvent, fact: ToolCalled) -> None:
        self.calls[str(event.version)] = fact
        if fact.call_id:
            self.calls[fact.call_id] = fact
        arguments = whole(fact.arguments, self.store)
        text = called(fact.tool, argument_text(arguments))
        key = fact.call_id or str(event.version)
        self._add(thread, MessagePart("assistant", CALL, text, tool=fact.tool, call=key,
                                      arguments=argument_line(arguments)))  # fmt: skip
        if thread.waiting:
            thread.waiting = thread.waiting._replace(action=(*thread.waiting.action, text))

    def _result(self, thread: _OpenThread, event: WorkflowEvent, fact: ToolReturned) -> None:
        key = fact.call_id if fact.call_id in self.calls else str(max(event.because, default=0))
        call = self.calls.get(str(key))
        text = read_text(self.store, fact.output)
        part = result_part(
            text or fact.message or "", fact.tool or (call.tool if call else ""),
            whole(call.arguments, self.store) if call else None, call=str(key) if call else "",
            ref=fact.output or "", failed=fact.failed,
        )  # fmt: skip
        thread.places[event.version] = len(thread.parts)
        self._add(thread, part)

    def _left(self, thread: _OpenThread, event: WorkflowEvent, fact: ModuleIteration) -> None:
        """Note that a call changed a file, and the text that it left, where the log knows that."""
        found = [thread.places[cause] for cause in event.because if cause in thread.places]
        if found:
            part = thread.parts[max(found)]
            path = part.writes or as_read(thread.parts, fact.module_name)
            thread.parts[max(found)] = part._replace(leaves=fact.source or "", writes=path)


def _extra(fact: Fact) -> Mapping[str, Any]:
    if isinstance(fact, UnknownFact):
        return fact.payload
    return fact.model_extra or {}


def _texts(payload: Mapping[str, Any], store: EventStore) -> Iterator[str]:
    """Yield the texts of a part of an answer that came in several lines of a log."""
    message = payload.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and isinstance(text := block.get("text"), str):
            yield read_text(store, text) if text.startswith("blob:") else text
