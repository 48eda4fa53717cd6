"""Trajectories in the Agent Trajectory Interchange Format (ATIF): JSON, a batch a step.

A trajectory is a task, under its session; each subagent's trajectory in it is one of its own, under
the name of both. A file is rewritten as a run continues, so what stands beside the steps goes under
its hash, behind them. Steps that were copied from another trajectory are shown to the model again:
they are in its contexts, and no events of their own but `ATIF_COPIED_STEP`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.events import (
    ModelFailed,
    ModelReplied,
    TaskComplete,
    TaskFailed,
)
from backcast.engine.log.exchanges.bodies import CHAT
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.call_counts import MESSAGES, PARTS
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
    mapping,
    name_of,
    parted,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.documents import UNREAD, read_json
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, words
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord

FORMAT = "atif"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "ATIF"
NEEDED = "an ATIF trajectory (JSON object with 'schema_version' of ATIF-v1 and 'steps')"
SOURCES = ("system", "user", "agent")
COUNTS = {"prompt_tokens": "prompt_tokens", "completion_tokens": "tokens",
          "cached_tokens": "cached_tokens"}  # fmt: skip
"The counts of a step's metrics, under our names."
DEEPEST = 50
"Trajectories of subagents inside each other that are read."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a step, one for the rest of the trajectory; then those of its subagents."""
    found = read_json(path, NEEDED, _is_trajectory, FORMAT, report)
    documents = sequence(found) or [found]
    if task_id and len(documents) > 1:
        report.notes.append(f"{len(documents)} trajectories go into one task, by --as")
    for document in map(mapping, documents):
        if _is_one(document):
            name = name_of(document.get("session_id")) or document.get("trajectory_id")
            yield from _trajectory(task_id or task_of(name, path), document, report)


def _is_trajectory(value: Any) -> bool:
    return _is_one(value) or (isinstance(value, list) and any(map(_is_one, value)))


def _is_one(value: object) -> bool:
    fields = mapping(value)
    version = str(fields.get("schema_version", ""))
    return version.startswith("ATIF-v1") and isinstance(fields.get("steps"), list)


def _trajectory(
    task: str, document: dict[str, Any], report: Report, parent: str | None = None, depth: int = 0
) -> Iterator[Batch]:
    reader = _TrajectoryReader(ForeignLog(PREFIX, task, report), document, parent)
    yield from reader.batches()
    names = set[str]()
    for number, child in enumerate(sequence(document.get("subagent_trajectories")), 1):
        if not _is_one(child) or depth == DEEPEST:
            report.skipped.append(f"subagent {number} of {task}: needed {NEEDED}")
            continue
        name = name_of(child.get("trajectory_id")) or str(number)
        name = f"{name}-{number}" if name in names else name
        names.add(name)
        yield from _trajectory(f"{task}:{name}", child, report, task, depth + 1)


class _TrajectoryReader:
    """A trajectory while it is read."""

    def __init__(self, log: ForeignLog, document: dict[str, Any], parent: str | None) -> None:
        self.log, self.report, self.document, self.parent = log, log.report, document, parent
        self.agent = mapping(document.get("agent"))
        own = name_of(document.get("trajectory_id"))
        self.prefix = f"{own}:" if own else ""
        steps = [mapping(step) for step in document["steps"]]
        system = any(step.get("source") == "system" and step.get("message") for step in steps)
        self.contexts = FormedContexts(self.report.calls, CHAT, MESSAGES if system else PARTS)
        if tools := sequence(self.agent.get("tool_definitions")):
            self.contexts.set_head({"tools": tools})
        self.goal: str | None = None

    def batches(self) -> Iterator[Batch]:
        """Yield the steps, and what stands beside them."""
        seen, unnamed = set[str](), 0
        for number, step in enumerate(self.document["steps"], 1):
            if step is UNREAD:
                continue
            if not isinstance(step, dict):
                self.report.skipped.append(f"step {number}: needed a JSON object")
                continue
            id = id_of(step.get("step_id"), "")
            if not id or id in seen:
                id, unnamed = f"place:{number}", unnamed + 1
            seen.add(id)
            yield from self._step(f"{self.prefix}{id}", step)
        if unnamed:
            self.report.notes.append(
                f"known by their places, as they have no ids of their own: {unnamed} of the steps"
                f" of {self.log.task_id}"
            )
        if self.goal is None:
            self.report.notes.append(NO_GOAL)
        children = isinstance(self.document.get("subagent_trajectories"), list)
        beside = without(self.document, "steps", "subagent_trajectories" if children else "")
        raw = to_json(beside)
        record = self.log.record(hashed(f"{self.prefix}trajectory", raw), raw)
        outcome = mapping(beside.get("extra")).get("outcome")
        record.unknown("TRAJECTORY", beside)
        if outcome == "complete":
            record.tell(TaskComplete, {}, writer="agent")
        elif outcome == "failed":
            record.tell(TaskFailed, {"reason": "failed"}, writer="agent")
        yield record.batch

    def _step(self, id: str, step: dict[str, Any]) -> Iterator[Batch]:
        said = _said(step)
        asked = said if step.get("is_copied_context") is not True else None
        if self.parent and self.goal is None:  # what an agent asks another is its goal
            asked = parted(step.get("message"))[0] if step.get("source") == "user" else ""
        if self.goal is None and asked is not None:
            self.goal = asked
            rest = {"parent_session": self.parent} if self.parent else {}
            yield self.log.start(f"{self.prefix}start", asked or None, rest, step.get("timestamp"))
        because = (self.log.last,)
        record = self.log.record(id, to_json(step), step.get("timestamp"))
        if step.get("is_copied_context") is True:
            record.unknown("COPIED_STEP", {"step": step}, because)
        elif step.get("source") == "agent":
            self._agent(record, step, because)
        elif step.get("source") in SOURCES:
            self._message(record, step, said, because)
        else:
            record.unknown("STEP", {"step": step}, because)
        for message in _messages(step):
            self.contexts.say(message)
        yield record.batch

    def _message(
        self, record: ForeignRecord, step: dict[str, Any], said: str | None, because: Any
    ) -> None:
        text, rest = _parts_of(step, "message")
        role = str(step["source"])
        role = MACHINE if role == "user" and text and not said else role
        id = record.message(role, text, _beside(rest), because)
        self._results(record, step, id)

    def _agent(self, record: ForeignRecord, step: dict[str, Any], because: Any) -> None:
        text, rest = _parts_of(step, "message")
        extra = mapping(rest.get("extra"))
        writer = string(step.get("model_name")) or string(self.agent.get("model_name")) or "agent"
        if step.get("llm_call_count") == 0:
            id = record.unknown("DISPATCH", {**_beside(rest), "text": text}, because)
        else:
            context = self.contexts.form(record, because)
            because = (*because, context)
            if "model_failed" in extra:
                failure = {"reason": text, "kind": string(extra["model_failed"])}
                id = record.tell(
                    ModelFailed, failure, _beside(rest), writer=writer, because=because
                )
            else:
                id = self._reply(record, step, text, rest, writer, because)
        for call in sequence(step.get("tool_calls")):
            if tool := _tool_of(call):
                about = without(call, "function_name", "tool_call_id", "arguments")
                record.call(tool, call.get("tool_call_id"), call.get("arguments"), about, (id,))
        self._results(record, step, id)

    def _reply(
        self, record: ForeignRecord, step: dict[str, Any], text: str | None, rest: dict[str, Any],
        writer: str, because: Any,
    ) -> str:  # fmt: skip
        metrics = mapping(rest.get("metrics"))
        counted = [name for name in COUNTS if type(metrics.get(name)) is int]
        named = {"model": step.get("model_name")}
        named |= {COUNTS[name]: metrics[name] for name in counted}
        thinking = step.get("reasoning_content")
        named |= {"text": record.keep(text)} if text is not None else {}
        named |= {"thinking": record.keep(thinking)} if isinstance(thinking, str) else {}
        rest = without(rest, "model_name", "reasoning_content" if "thinking" in named else "")
        if counted:
            rest["metrics"] = without(metrics, *counted)
        return record.tell(ModelReplied, named, _beside(rest), writer=writer, because=because)

    def _results(self, record: ForeignRecord, step: dict[str, Any], id: str) -> None:
        for result in sequence(mapping(step.get("observation")).get("results")):
            if not isinstance(result, dict):
                continue
            output, rest = _parts_of(result, "content")
            extra = mapping(rest.get("extra"))
            failed = True if extra.get("failed") is True else None
            rest = without(rest, "source_call_id")
            call, tool = result.get("source_call_id"), string(extra.get("tool"))
            record.answer(call, output, failed, rest, (id,), tool)


def _said(step: dict[str, Any]) -> str | None:
    """Return what a person wrote in a step."""
    if step.get("source") != "user" or mapping(step.get("extra")).get("role") == MACHINE:
        return None
    text = parted(step.get("message"))[0]
    return words(text) if text else None


def _parts_of(fields: dict[str, Any], name: str) -> tuple[str | None, dict[str, Any]]:
    """Return the text of a message or a result, and all but that; a list of parts stays whole."""
    value = fields.get(name)
    text = value if isinstance(value, str) else parted(value)[0]
    rest = without(fields, name)
    return text, rest | (
        {} if value is None or isinstance(value, str) else {f"{name}_parts": value}
    )


def _beside(rest: dict[str, Any]) -> dict[str, Any]:
    """Return what stays of a step on its first fact: all that is not told by itself."""
    kept = dict(rest)
    if isinstance(calls := kept.get("tool_calls"), list):
        kept["tool_calls"] = [call for call in calls if not _tool_of(call)]
    observed = kept.get("observation")
    if isinstance(observed, dict) and isinstance(observed.get("results"), list):
        odd = [result for result in observed["results"] if not isinstance(result, dict)]
        kept["observation"] = {**observed, "results": odd} if odd else without(observed, "results")
    return {name: value for name, value in kept.items() if value not in ([], {})}


def _tool_of(call: object) -> str | None:
    return string(mapping(call).get("function_name"))


def _messages(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a step adds to what the model is shown."""
    role = {"agent": "assistant"}.get(str(step.get("source")), str(step.get("source")))
    message: dict[str, Any] = {"role": role, "content": step.get("message") or None}
    if isinstance(thinking := step.get("reasoning_content"), str) and thinking:
        message["reasoning_content"] = thinking
    calls = [mapping(call) for call in sequence(step.get("tool_calls"))]
    if calls:
        message["tool_calls"] = [
            {"id": call.get("tool_call_id"), "type": "function",
             "function": {"name": call.get("function_name"),
                          "arguments": to_json(call.get("arguments")).decode()}}
            for call in calls
        ]  # fmt: skip
    if message["content"] or calls or "reasoning_content" in message:
        yield message
    for result in sequence(mapping(step.get("observation")).get("results")):
        fields = mapping(result)
        content = fields.get("content")
        if content is None:
            continue
        id = fields.get("source_call_id")
        yield {"role": "user", "content": content} if id is None else {
            "role": "tool", "tool_call_id": id, "content": content}  # fmt: skip
