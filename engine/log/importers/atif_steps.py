"""The steps of a task's trajectory, from its events."""

from collections import Counter
from typing import Any

from pydantic_core import from_json

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    BlobRef,
    Imported,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    UnknownFact,
    WorkflowEvent,
)
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.exchanges.requests import RequestReader
from backcast.engine.log.importers.atif import COUNTS
from backcast.engine.log.importers.content import mapping, without
from backcast.engine.log.importers.people import MACHINE
from backcast.engine.log.store import EventStore, refs_in

SCHEMA = "ATIF-v1.7"
KEPT = ("reasoning_effort", "llm_call_count", "extra")
"What a step keeps of its fields beside its text."
METRICS = ("cost_usd", "prompt_token_ids", "completion_token_ids", "logprobs")
SILENT = ("IMPORTED", "TASK_STARTED", "CONTEXT_BUILT", "SCORED")
"Types of events that are no step, and need no mention."
Fields = dict[str, Any]


class TrajectoryWriter:
    """The writer of one task's trajectory."""

    def __init__(self, store: EventStore, task: str, left_out: Counter[str]) -> None:
        self.store, self.task, self.left_out = store, task, left_out
        self.steps: list[Fields] = []
        self.started: Fields = {}
        self.beside: Fields = {}
        "What an imported trajectory said beside its steps."
        self.agent, self.outcome, self.goal = "backcast", "", ""
        self.tools: dict[bytes, Any] = {}
        self.system: set[str] = set()
        self._at: dict[int, Fields] = {}
        "The step of each reply and call, by version."
        self._ids: dict[int, str] = {}
        "The id of each call, by version."
        self._unnamed = 0
        self._reader = RequestReader(store, task)

    def document(self) -> Fields:
        """Return the trajectory."""
        for event in self.store.read(self.task):
            self._take(event)
        spoke = any(step["source"] == "user" for step in self.steps)
        if self.goal and not spoke and self.steps:
            self.steps.insert(0, {**self.started, "source": "user", "message": self.goal})
        steps = [_step(number, step) for number, step in enumerate(self.steps, 1)]
        agent = mapping(self.beside.get("agent")) or {"name": self.agent, "version": "unknown"}
        if self.tools and "tool_definitions" not in agent:
            agent = {**agent, "tool_definitions": list(self.tools.values())}
        extra = mapping(self.beside.get("extra"))
        extra = {**extra, "outcome": self.outcome} if self.outcome else extra
        document = {**self.beside, "schema_version": SCHEMA, "session_id": self.task,
                    "agent": agent, "steps": steps}  # fmt: skip
        document.setdefault("final_metrics", _sums(steps))
        return ordered(document | ({"extra": extra} if extra else {}))

    def _take(self, event: WorkflowEvent) -> None:
        fact = event.fact
        match fact:
            case TaskStarted():
                self.goal = self.goal or fact.goal or ""
                self.started = {"timestamp": event.timestamp.isoformat()}
            case Imported(format=str(format)):
                self.agent = format
            case ContextBuilt():
                self._context(event, fact)
            case MessageReceived():
                self._message(event, fact)
            case ModelReplied():
                self._reply(event, fact)
            case ModelFailed():
                extra = {"model_failed": fact.kind or ""}
                step = self._begin(event, "agent", fact.reason or "")
                step["extra"] = {**mapping(step.get("extra")), **extra}
            case ToolCalled():
                self._call(event, fact)
            case ToolReturned():
                self._result(event, fact)
            case TaskComplete() | TaskFailed():
                self.outcome = "complete" if isinstance(fact, TaskComplete) else "failed"
            case UnknownFact(kind=("ATIF_COPIED_STEP" | "ATIF_STEP")):
                self.steps.append(mapping(self._rest(fact.payload).get("step")))
            case UnknownFact(kind="ATIF_TRAJECTORY"):
                beside = self._rest(fact.payload)
                self.beside = without(beside, "synthetic_time", "stated_time")
            case UnknownFact(kind="ATIF_DISPATCH"):
                text = self._rest(fact.payload).get("text")
                self._begin(event, "agent", text if isinstance(text, str) else "")
            case _ if str(event.type) not in SILENT:
                self.left_out[str(event.type)] += 1

    def _begin(self, event: WorkflowEvent, source: str, text: str) -> Fields:
        """Begin a step."""
        fact = event.fact
        more = fact.payload if isinstance(fact, UnknownFact) else fact.model_extra or {}
        rest = self._rest(more)
        step: Fields = {"source": source, "message": rest.get("message_parts", text)}
        if rest.get("synthetic_time") is not True:
            step["timestamp"] = event.timestamp.isoformat()
        step |= {name: rest[name] for name in KEPT if rest.get(name) is not None}
        self.steps.append(step)
        self._at[event.version] = step
        return step

    def _message(self, event: WorkflowEvent, fact: MessageReceived) -> None:
        role = fact.role or "user"
        text = self._text(fact.text)
        if role == "system":
            self.system.add(text)
        source = role if role in ("user", "system") else "user"
        step = self._begin(event, source, text)
        if role == MACHINE:
            step["extra"] = {**mapping(step.get("extra")), "role": MACHINE}

    def _reply(self, event: WorkflowEvent, fact: ModelReplied) -> None:
        step = self._begin(event, "agent", self._text(fact.text))
        if fact.model:
            step["model_name"] = fact.model
        if fact.thinking:
            step["reasoning_content"] = self._text(fact.thinking)
        rest = self._rest(fact.model_extra or {})
        counts = {name: getattr(fact, ours) for name, ours in COUNTS.items()}
        known = {name: count for name, count in counts.items() if count is not None}
        if metrics := {**known, **_metrics(mapping(rest.get("metrics")))}:
            step["metrics"] = metrics

    def _call(self, event: WorkflowEvent, fact: ToolCalled) -> None:
        step = next((self._at[v] for v in event.because if v in self._at), None)
        if step is None or step["source"] != "agent":
            step = self._begin(event, "agent", "")
        id = fact.call_id
        if not id:
            self._unnamed += 1
            id = f"call-{self._unnamed}"
        arguments = self._whole(fact.arguments)
        call: Fields = {"tool_call_id": id, "function_name": fact.tool, "arguments": (
            arguments if isinstance(arguments, dict) else {} if arguments is None
            else {"arguments": arguments})}  # fmt: skip
        if extra := mapping(self._rest(fact.model_extra or {}).get("extra")):
            call["extra"] = extra
        step.setdefault("tool_calls", []).append(call)
        self._at[event.version], self._ids[event.version] = step, id

    def _result(self, event: WorkflowEvent, fact: ToolReturned) -> None:
        called = next((v for v in event.because if v in self._ids), None)
        rest = self._rest(fact.model_extra or {})
        step = next((self._at[v] for v in event.because if v in self._at), None)
        if step is None:
            step = self._begin(event, "system", "")
        result: Fields = {} if called is None else {"source_call_id": self._ids[called]}
        if fact.output or "content_parts" in rest:
            result["content"] = rest.get("content_parts", self._text(fact.output))
        child = mapping(rest.get("metadata")).get("sessionId")
        if isinstance(child, str) and "\0" not in child and self.store.version(child):
            result["subagent_trajectory_ref"] = [{"trajectory_id": child}]
        if isinstance(refs := rest.get("subagent_trajectory_ref"), list):
            result["subagent_trajectory_ref"] = refs
        extra = mapping(rest.get("extra"))
        extra = {**extra, "failed": True} if fact.failed else extra
        if called is None and fact.tool:
            extra = {**extra, "tool": fact.tool}
        if extra:
            result["extra"] = extra
        step.setdefault("observation", {"results": []})["results"].append(result)

    def _context(self, event: WorkflowEvent, fact: ContextBuilt) -> None:
        """Take the instructions and tools of a request that were not there before."""
        if fact.request is None:
            self.left_out["CONTEXT_BUILT"] += 1
            return
        for part in self._reader.parts(event.version):
            if part.kind == "tool":
                body = self.store.get(part.text)
                self.tools.setdefault(body, from_json(body))
            elif part.kind == "system":
                text = part_text(self.store.get(part.text))
                if text not in self.system:
                    self.system.add(text)
                    step = {"timestamp": event.timestamp.isoformat(), "source": "system",
                            "message": text}  # fmt: skip
                    begun = any(step["source"] != "user" for step in self.steps)
                    self.steps.insert(len(self.steps) if begun else 0, step)

    def _rest(self, fields: Fields) -> Fields:
        """Return the fields that no fact names, at length."""
        whole = mapping(self._whole(fields))
        return {**mapping(whole.get("foreign")), **without(whole, "foreign")}

    def _text(self, ref: BlobRef | None) -> str:
        return self.store.get(ref).decode(errors="backslashreplace") if ref else ""

    def _whole(self, value: Any) -> Any:
        """Return a value with the bodies that stand elsewhere put in."""
        match value:
            case {"json": str() as ref} if len(value) == 1 and self._is_ref(ref):
                return from_json(self.store.get(ref))
            case str() if self._is_ref(value):
                return self.store.get(value).decode(errors="backslashreplace")
            case dict():
                return {name: self._whole(item) for name, item in value.items()}
            case list():
                return [self._whole(item) for item in value]
        return value

    def _is_ref(self, text: str) -> bool:
        return len(text) == 69 and bool(refs_in(f'"{text}"'.encode())) and self.store.holds(text)


def _step(number: int, step: Fields) -> Fields:
    """Return a step in the order in which its fields are written."""
    order = ("timestamp", "source", "model_name", "reasoning_effort", "message",
             "reasoning_content", "tool_calls", "observation", "metrics")  # fmt: skip
    named = {"step_id": number, **{name: step[name] for name in order if name in step}}
    return {**named, **without(step, *named)}


def _metrics(found: Fields) -> Fields:
    """Return metrics by the names that the format has; others stand under `extra`."""
    named = {name: value for name, value in found.items() if name in METRICS}
    others = {**mapping(found.get("extra")), **without(found, "extra", *named)}
    return {**named, "extra": others} if others else named


def _sums(steps: list[Fields]) -> Fields:
    """Return the sums of the steps' tokens."""
    found: Fields = {}
    for name in COUNTS:
        counts = [count for step in steps
                  if type(count := mapping(step.get("metrics")).get(name)) is int]  # fmt: skip
        if counts:
            found[f"total_{name}"] = sum(counts)
    return {**found, "total_steps": len(steps)}


def ordered(document: Fields) -> Fields:
    """Return a trajectory in the order in which its fields are written."""
    order: tuple[str, ...] = (
        "schema_version", "session_id", "trajectory_id", "agent", "steps", "notes",
        "final_metrics", "continued_trajectory_ref", "extra", "subagent_trajectories",
    )  # fmt: skip
    named = {name: document[name] for name in order if name in document}
    return {**named, **without(document, *named)}
