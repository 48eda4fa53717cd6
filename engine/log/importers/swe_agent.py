"""Trajectories of SWE-agent and mini-swe-agent: thought, action and observation, step by step.

A `.traj` records its run twice: as steps, which become replies, calls and results, and as the
history of messages, whose beginning (the prompts) is in no step. The rest of the history is kept as
unknown facts. Demonstrations hold a history only, mini-swe-agent's files a chat. Only the newest
version of mini-swe-agent has times. The task is named after the file: several runs work on one
instance.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.events import TaskComplete, TaskFailed
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    arguments_of,
    hashed,
    mapping,
    parted,
    replaced,
    sequence,
    string,
    task_of,
    without,
)
from backcast.engine.log.importers.documents import UNREAD, read_json
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID, NO_EDITS, SED_SCRIPTS
from backcast.engine.log.importers.people import asked
from backcast.engine.log.importers.recognised import format_of
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord, all_calls
from backcast.engine.log.importers.shown_texts import broke_off

FORMAT = "swe-agent"
VERSION = 6
FAULTS = {
    1: "sessions of Cline and requests of OpenHands were taken for trajectories; the task of a"
    " demonstration could become the goal",
    2: NO_EDITS,
    3: SED_SCRIPTS,
    4: f"{FAILED_UNSAID}, nor did those of commands that an exception ended; a run of"
    " mini-swe-agent without an exit status never ended",
    5: "a run that was cut off at a limit, and whose changes were submitted for it, counted as"
    " complete; what the history repeats got times of its own, behind those of the steps",
}
"What was wrong with the facts of earlier versions."
PREFIX = "SWE_AGENT"
NEEDED = "a SWE-agent trajectory (JSON object with 'trajectory', 'history' or 'messages')"

LISTS = ("trajectory", "history", "messages")
SUBMIT = ("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "echo MINI_SWE_AGENT_FINAL_OUTPUT")
"The commands by which mini-swe-agent ends its run; its last message is what they printed."
SUBMITTED = "submitted"
"The exit status of a run that ended itself. `submitted (exit_cost)` is one that was cut off."
CONSTANT = ("environment", "replay_config")
"Fields that stay the same during a run."
OWN_FACTS = ("response", "action", "observation")
"Fields of a step that become facts of their own."

_COMMAND = re.compile(r"```(?:bash|mswea_bash_command)\s*\n(.*?)\n```", re.DOTALL)
_FOLDER = re.compile(r"^\(Current directory: (/.+?)\)$", re.MULTILINE)
_RESULT = re.compile(r"<returncode>(-?\d{1,9})</returncode>")


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield the batches of a trajectory: a step or a message each, and the end of the run."""
    document = read_json(path, NEEDED, _is_run, FORMAT, report)
    log = ForeignLog(PREFIX, task_id or task_of(None, path), report)
    run = mapping(document) or {"messages": document}
    environment = mapping(mapping(mapping(run.get("info")).get("config")).get("environment"))
    log.modules.texts.at(environment.get("cwd"))
    steps, history = sequence(run.get("trajectory")), sequence(run.get("history"))
    if steps or ("trajectory" in run and _is_chat(history)):
        yield from _steps(log, run, steps, history)
    elif _is_chat(history):
        yield from _chat("history", log, run, history)
    else:
        yield from _chat("message", log, run, run["messages"])
    yield from _end(log, run)


def _is_run(document: Any) -> bool:
    """Return whether a document is a trajectory; a chat of another agent has marks of its own."""
    run = mapping(document) or {"messages": document}
    steps, history = sequence(run.get("trajectory")), sequence(run.get("history"))
    if steps or _is_chat(history):
        return True
    return _is_chat(run.get("messages")) and format_of(document) in (None, FORMAT)


def _is_chat(value: Any) -> bool:
    return any(isinstance(mapping(message).get("role"), str) for message in sequence(value))


def _chat(name: str, log: ForeignLog, run: dict[str, Any], messages: list[Any]) -> Iterator[Batch]:
    """Yield the messages of a file without steps."""
    yield from _start(name, log, run, messages[: _first_reply(messages)])
    chat = _Chat(log, ends=not mapping(run.get("info")))
    for number, message in enumerate(messages, 1):
        if message is UNREAD:
            continue
        yield chat.batch(f"{name}:{number}", message)


def _steps(
    log: ForeignLog, run: dict[str, Any], steps: list[Any], history: list[Any]
) -> Iterator[Batch]:
    prompts = history[: _first_reply(history)]
    yield from _start("history", log, run, prompts)
    for number, message in enumerate(prompts, 1):
        if message is UNREAD:
            continue
        yield _Chat(log).batch(f"history:{number}", message)
    base: str | None = None
    model = mapping(mapping(_config(run).get("agent")).get("model")).get("name")
    for number, step in enumerate(steps, 1):
        if step is UNREAD:
            continue
        record = log.record(f"step:{number}", to_json(step))
        base = _step(record, step, model, base)
        yield record.batch
    last = log.last
    for number, message in enumerate(history[len(prompts) :], len(prompts) + 1):
        if message is UNREAD:
            continue
        record = log.record(f"history:{number}", to_json(message), beside=True)
        record.unknown("HISTORY", message)
        yield record.batch
    log.last = last


def _first_reply(messages: list[Any]) -> int:
    """Return the number of messages before the model's first one outside of demonstrations."""
    for place, message in enumerate(messages):
        if mapping(message).get("role") == "assistant" and not message.get("is_demo"):
            return place
    return len(messages)


def _config(run: dict[str, Any]) -> dict[str, Any]:
    return mapping(arguments_of(run.get("replay_config")))


def _start(name: str, log: ForeignLog, run: dict[str, Any], prompts: list[Any]) -> Iterator[Batch]:
    """Yield the start with its goal: the configured problem, else the last prompt."""
    goal = string(mapping(_config(run).get("problem_statement")).get("text"))
    for prompt in reversed(prompts):
        is_demo = mapping(prompt).get("is_demo") is True
        if goal is None and mapping(prompt).get("role") == "user" and not is_demo:
            goal = asked(prompt.get("content"))
    rest = {key: run[key] for key in CONSTANT if key in run}
    if goal is not None or rest:
        yield log.start(name, goal, rest)


def _step(record: ForeignRecord, step: object, model: object, base: str | None) -> str | None:
    """Add a step as reply, call and result; return the blob name of its messages."""
    fields, last = mapping(step), (record.log.last,)
    texts = {name: fields[name] for name in OWN_FACTS if isinstance(fields.get(name), str)}
    if not texts:
        record.unknown("STEP", step, last)
        return base
    rest = without(fields, *texts)
    for name in ("messages", "query"):
        # Each step repeats the messages of all earlier ones, so they are stored as differences.
        if isinstance(rest.get(name), list):
            base = record.keep(to_json(rest[name]), base)
            rest[name] = {"json": base}
    id, tool = record.reply(texts.get("response"), model, rest, last), None
    if "action" in texts:
        tool = next(iter(texts["action"].split()), "shell")[:80]
        id = record.call(tool, None, {"command": texts["action"]}, {}, (id,))
    if "observation" in texts:
        record.log.modules.texts.at(mapping(arguments_of(fields.get("state"))).get("working_dir"))
        broke = broke_off(texts["observation"])
        record.answer(None, texts["observation"], None, {}, (id,), tool, broke=broke)
    return base


def _end(log: ForeignLog, run: dict[str, Any]) -> Iterator[Batch]:
    """Yield the end of the run by its exit status, or the information of a growing run."""
    lists = [name for name in LISTS if isinstance(run.get(name), list)]
    rest = without(run, *lists, *CONSTANT)
    if not rest:
        return
    raw = to_json(rest)
    record = log.record(hashed("end", raw), raw)
    status = string(mapping(rest.get("info")).get("exit_status"))
    if status is None:
        record.unknown("INFO", rest, (log.last,))
    elif status.lower() == SUBMITTED:
        record.tell(TaskComplete, {}, rest, writer="agent", because=(log.last,))
    else:
        record.tell(TaskFailed, {"reason": status}, rest, writer="agent", because=(log.last,))
    yield record.batch


class _Chat:
    """Messages in order, and the call without an id that the next one may answer."""

    def __init__(self, log: ForeignLog, *, ends: bool = False) -> None:
        self.log, self.ends = log, ends
        self.submits = False
        "Whether the open call ends the run, where nothing else tells the end."
        self.open: tuple[str, str] | None = None
        "The foreign id of the call, and its tool."

    def batch(self, id: str, message: object) -> Batch:
        """Return the batch of one message."""
        fields = mapping(message)
        extra = mapping(fields.get("extra"))
        record = self.log.record(id, to_json(message), extra.get("timestamp"))
        role = string(fields.get("role"))
        text, remaining = parted(fields.get("content"))
        rest = replaced(fields, "content", remaining)
        if role == "assistant" and not fields.get("is_demo"):
            self._reply(record, text, rest)
        elif role == "tool" or (
            self.open and role == "user" and (self.submits or _is_result(text, fields))
        ):
            self._answer(record, text, rest)
            if self.submits:
                record.tell(TaskComplete, {}, writer="agent", because=(self.log.last,))
        elif role in ("system", "developer", "user", "assistant"):
            record.message(str(role), text, without(rest, "role"), (self.log.last,))
        else:
            record.unknown(role or "MESSAGE", message, (self.log.last,))
        return record.batch

    def _reply(self, record: ForeignRecord, text: str | None, rest: dict[str, Any]) -> None:
        model = mapping(mapping(rest.get("extra")).get("response")).get("model")
        kept = without(rest, "tool_calls") if all_calls(rest) else rest
        id = record.reply(text, model, kept, (self.log.last,))
        record.openai_calls(rest, (id,))
        self.open, self.submits = None, False
        if self.log.last == id and (command := _command(text, rest)):
            tool = "bash" if "action" not in rest else next(iter(command.split()), "shell")[:80]
            self.open = (record.call(tool, None, {"command": command}, {}, (id,)), tool)
            self.submits = self.ends and command.lstrip().startswith(SUBMIT)

    def _answer(self, record: ForeignRecord, text: str | None, rest: dict[str, Any]) -> None:
        ids = sequence(rest.get("tool_call_ids"))
        call_id = rest.get("tool_call_id", ids[0] if len(ids) == 1 else None)
        because, tool = ((self.open[0],), self.open[1]) if self.open else ((self.log.last,), None)
        code = mapping(rest.get("extra")).get("returncode")
        if code is None and (found := _RESULT.match(text or "")):
            code = int(found[1])
        failed = code != 0 if isinstance(code, int) else None
        if stands := _FOLDER.search(text or ""):
            self.log.modules.texts.at(stands[1])
        broke = broke_off(text or "")
        record.answer(call_id, text, failed, rest, because, tool, broke=broke)
        self.open = None


def _command(text: str | None, rest: dict[str, Any]) -> str | None:
    """Return the one command of a reply: its action, or its only block of shell code."""
    if "action" in rest:
        return string(rest["action"])
    found = _COMMAND.findall(text or "")
    return found[0] if len(found) == 1 else None


def _is_result(text: str | None, fields: dict[str, Any]) -> bool:
    return fields.get("message_type") == "observation" or bool(_RESULT.match(text or ""))
