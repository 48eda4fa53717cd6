"""Conversations of OpenHands: events, the state of a conversation, and its requests to a model.

The path is a file of events, one JSON a line; a JSON file with an event, a list of them, a base
state or a logged request; or a folder of such files, as the SDK keeps a conversation. The task is
the conversation's id if a base state has it, else the name of the file or folder.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.domain.events import Fact, TaskComplete, TaskFailed
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    hashed,
    id_of,
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
from backcast.engine.log.importers.file_edits import Shown
from backcast.engine.log.importers.lines import first_object, read_objects
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, asked
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord, all_calls
from backcast.engine.log.importers.tool_edits import Truth

FORMAT = "openhands"
VERSION = 5
FAULTS = {
    1: "results of tools, summaries and the example before the task counted as a person's words,"
    " also in the goal; a reply that several calls share counted once for each",
    2: NO_EDITS,
    3: SED_SCRIPTS,
    4: f"{FAILED_UNSAID}; several conversations in a folder became a single task; results of"
    " runs without calls of functions were messages",
}
"What was wrong with the facts of earlier versions."
PREFIX = "OPENHANDS"
NEEDED = "OpenHands events (objects with 'kind' and 'source'), a base state or a logged request"
SAID = (
    "thought", "reasoning_content", "thinking_blocks", "responses_reasoning_item",
    "llm_response_id",
)  # fmt: skip
"The fields of an action event that belong to its reply."
PARTED = 5
"The version that first tells conversations in a folder apart."
_CODE = re.compile(r"^\[(?:The command completed|Command finished) with exit code (-?\d+)\.?\]",
                   re.MULTILINE)  # fmt: skip
_RESULT = re.compile(r"(EXECUTION RESULT of \[([\w.-]{1,80})\]:)\n(.*)\Z", re.DOTALL)
"How a result is told to a model that calls no functions."
_REFUSED = re.compile(r"ERROR:|Ran into |Invalid `")
"How the editor begins to say that it did nothing."
ENDS: Mapping[str, type[Fact]] = {
    "finished": TaskComplete,
    "error": TaskFailed,
    "stuck": TaskFailed,
}
"The fact for each final execution status."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch an event, in the order of lines, or of the files' names."""
    if path.is_dir():
        yield from _folder(path, task_id, report)
    elif path.suffix == ".json":
        document = read_json(path, NEEDED, _is_ours, FORMAT, report, whole=True)
        id = mapping(document).get("id") if _is_base_state(document) else None
        task = task_id or task_of(id, path)
        conversation = _Conversation(ForeignLog(PREFIX, task, report))
        yield from conversation.document(path, document)
        conversation.close()
    else:
        first_object(path, _is_event, NEEDED, FORMAT)
        conversation = _Conversation(ForeignLog(PREFIX, task_id or task_of(None, path), report))
        yield from conversation.lines(path)
        conversation.close()


def _folder(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a folder's files, events first: a record without a time takes the last one."""
    files = sorted((file for file in path.rglob("*.json*") if file.is_file()), key=_place)
    talks = _Talks(task_id or _task(path, files), report)
    found = False
    for file in files:
        try:
            if file.suffix == ".jsonl":
                first_object(file, _is_event, NEEDED, FORMAT)
                batches = talks.main.lines(file)
            else:
                document = read_json(file, NEEDED, _is_ours, FORMAT, report, whole=True)
                batches = talks.of(document).document(file, document)
        except InputError as error:
            report.skipped.append(str(error))
            continue
        found = True
        yield from batches
    talks.close()
    if not found:
        raise InputError(f"{path}: needed {NEEDED}, found a folder without them")


def _place(file: Path) -> tuple[bool, str, list[tuple[int, str]]]:
    """Return a file's sort key: numbers in names count as numbers."""
    parts = re.findall(r"(\d{1,18})|(\D+)", file.name)
    order = [(int(number or -1), text) for number, text in parts]
    return not file.name.startswith("event"), file.parent.as_posix(), order


def _task(path: Path, files: list[Path]) -> str:
    """Return the id in a base state in the folder or beside its events, else the folder's name."""
    home = path.resolve().parent if path.resolve().name == "events" else path.resolve()
    for file in (*files, home / "base_state.json"):
        if file.name == "base_state.json" and file.is_file():
            with suppress(InputError):
                return task_of(
                    mapping(read_json(file, NEEDED, _is_ours, FORMAT, Report(), whole=True)).get(
                        "id"
                    ),
                    home,
                )
    return task_of(None, home)


def _is_ours(value: object) -> bool:
    return any(map(_is_event, sequence(value))) or (
        _is_event(value) or _is_request(value) or _is_base_state(value)
    )


def _is_event(value: object) -> bool:
    event = mapping(value)
    return _kind(event) is not None and ("id" in event or "source" in event)


def _is_request(value: object) -> bool:
    fields = mapping(value)
    return isinstance(fields.get("messages"), list) and isinstance(fields.get("response"), dict)


def _is_base_state(value: object) -> bool:
    fields = mapping(value)
    return isinstance(fields.get("agent"), dict) and "id" in fields


def _kind(event: Mapping[str, Any]) -> str | None:
    """Return the SDK's kind of an event, or in older versions its action or observation."""
    names = (string(event.get(name)) for name in ("kind", "action", "observation"))
    return next(filter(None, names), None)


class _Talks:
    """The conversations in a folder: that of its events, and those of logged requests.

    A request belongs to the events whose goal or answer it has, else to the requests that begin
    alike. Where there are no events, the first one's keeps the name of the folder.
    """

    def __init__(self, task: str, report: Report) -> None:
        self.task, self.report = task, report
        self.main = _Conversation(ForeignLog(PREFIX, task, report))
        self.others: dict[str, _Conversation] = {}
        "By how their requests begin."

    def of(self, document: Any) -> "_Conversation":
        """Return the conversation of a JSON file."""
        if not _is_request(document):
            return self.main
        begins, goal = _beginning(document)
        same_goal = goal is not None and goal == self.main.goal
        if same_goal or id_of(document["response"].get("id"), "") in self.main.log.replies:
            return self.main
        if begins not in self.others:
            if not self.others and not self.main.events:
                self.others[begins] = self.main
            else:
                name = f"{self.task}-{begins[-6:]}"
                self.others[begins] = _Conversation(ForeignLog(PREFIX, name, self.report))
                self.report.parted[name] = (self.task, PARTED)
        return self.others[begins]

    def close(self) -> None:
        """Note what each conversation lacks."""
        talks = [self.main, *(talk for talk in self.others.values() if talk is not self.main)]
        for talk in talks:
            talk.close()


def _beginning(request: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return what tells a conversation by what was said before its first answer, and its goal."""
    said, goal = list[object](), None
    for message in map(mapping, request["messages"]):
        if message.get("role") == "assistant":
            break
        said.append([message.get("role"), parted(message.get("content"))[0]])
        if message.get("role") == "user":
            goal = goal or asked(message.get("content"))
    return hashed("talk", to_json(said)), goal


class _Conversation:
    """Events and requests in order."""

    def __init__(self, log: ForeignLog) -> None:
        self.log = log
        self.events = 0
        self.goal: str | None = None
        self.started = self.heard = False
        self.replies = 0
        "How many of the model's replies, which later requests repeat, were imported."
        self.asked: str | None = None
        "The blob of the previous request's messages."

    def close(self) -> None:
        """Note what the whole conversation lacks."""
        if self.heard and not self.started:
            self.log.report.notes.append(NO_GOAL)

    def lines(self, path: Path) -> Iterator[Batch]:
        """Yield the batches of a file with an event a line."""
        for number, _, event in read_objects(path, self.log.report, _is_event):
            yield from self._event(event, f"{path.stem}:{number}")

    def document(self, path: Path, document: Any) -> Iterator[Batch]:
        """Yield the batches of a JSON file."""
        if isinstance(document, list):
            for number, event in enumerate(document, 1):
                if event is not UNREAD:
                    yield from self._event(event, f"{path.stem}:{number}")
        elif _is_request(document):
            yield from self._request(document, path.stem)
        elif _is_event(document):
            yield from self._event(document, path.stem)
        else:
            raw = to_json(document)
            record = self.log.record(hashed("base_state", raw), raw)
            record.unknown("base_state", document)
            yield record.batch

    def _start(self, id: str, goal: str | None, time: object) -> Iterator[Batch]:
        if goal and not self.started:
            self.started, self.goal = True, goal
            yield self.log.start(id, goal, time=time)

    def _event(self, value: object, default: str) -> Iterator[Batch]:
        event = mapping(value)
        self.events += 1
        id, kind, time = id_of(event.get("id"), default), _kind(event), event.get("timestamp")
        self.heard = self.heard or kind == "MessageEvent"
        if kind == "MessageEvent" and event.get("source") == "user":
            goal = asked(mapping(event.get("llm_message")).get("content"))
            yield from self._start(id, goal, time)
        record = self.log.record(id, to_json(value), time)
        tell = TELL.get(kind or "")
        if tell is None or not tell(record, event):
            causes = [id_of(event.get(name), "") for name in ("action_id", "cause")]
            record.unknown(kind, value, causes, string(event.get("source")) or "")
        yield record.batch

    def _request(self, request: dict[str, Any], default: str) -> Iterator[Batch]:
        """Yield the new messages of a request, and the model's reply."""
        messages = [mapping(message) for message in request["messages"]]
        self.heard = True
        sent = time = request.get("timestamp")
        with suppress(TypeError, OverflowError):  # either may be anything
            sent = time - request.get("latency_sec")  # type: ignore[operator]
        goals = (asked(m.get("content")) for m in messages if m.get("role") == "user")
        yield from self._start("request", next(filter(None, goals), None), sent)
        replies = 0
        count: Counter[str] = Counter()
        for message in messages:
            # Marks such as cache_control change on a message from request to request.
            text, calls = parted(message.get("content"))[0], message.get("tool_calls")
            raw = to_json([message.get("role"), text, calls, message.get("tool_call_id")])
            count[id := hashed("message", raw)] += 1
            if message.get("role") == "assistant":
                replies += 1
                if replies <= self.replies:
                    continue  # the reply to a request before
            record = self.log.record(f"{id}:{count[id]}", raw, sent)
            _message(record, message)
            yield record.batch
        self.replies = max(self.replies, replies) + 1
        record = self.log.record(
            id_of(request["response"].get("id"), default), to_json(request), time
        )
        self.asked = _response(record, request, self.asked)
        yield record.batch


def _message(record: ForeignRecord, message: dict[str, Any]) -> None:
    text, remaining = parted(message.get("content"))
    role, rest = string(message.get("role")), replaced(message, "content", remaining)
    if role == "tool":
        call_id, tool = message.get("tool_call_id"), message.get("name")
        rest = without(rest, "tool_call_id", "name")
        _result(record, call_id, text, rest, (), tool)
    elif role == "user" and text and (found := _RESULT.match(text)):
        last = next(reversed(record.log.calls.values()), None)
        because = (last[0],) if last and last[1] == found[2] else (record.log.last,)
        headed = {**without(rest, "role"), "output_head": found[1]}
        _result(record, None, found[3], headed, because, found[2])
    elif role == "assistant":
        kept = without(rest, "tool_calls") if all_calls(message) else rest
        record.openai_calls(message, (record.reply(text, None, kept, ()),))
    elif role is not None:
        _hear(record, role, text, message.get("content"), without(rest, "role"))
    else:
        record.unknown("MESSAGE", message)


def _result(
    record: ForeignRecord, call_id: object, text: str | None, rest: object,
    because: tuple[object, ...], tool: object,
) -> None:  # fmt: skip
    """Add a result in a request, which failed by the exit code or the words in it."""
    codes = _CODE.findall(text or "")
    failed = codes[-1] != "0" if codes else None
    broke = bool(_REFUSED.match(text or ""))
    record.answer(call_id, text, failed, rest, because, tool, broke=broke)


def _hear(
    record: ForeignRecord, role: str, text: str | None, content: object, rest: dict[str, Any]
) -> None:
    """Add a message to the model, from a person or from a program in the user's name."""
    said = asked(content) if role == "user" else None
    pictures = any(mapping(b).get("type", "text") != "text" for b in sequence(content))
    if role == "user" and said is None and text and not pictures:
        record.message(MACHINE, text, {**rest, "role": role}, ())
    else:
        record.message(role, text, rest | ({"asked": said} if said and said != text else {}), ())


def _response(record: ForeignRecord, request: dict[str, Any], base: str | None) -> str:
    """Add a reply and its calls; return the blob name of the request's messages."""
    sent = record.keep(to_json(request["messages"]), base)
    rest = {**request, "messages": {"json": sent}}
    for name in ("tools", "kwargs", "raw_messages", "raw_response"):
        if isinstance(rest.get(name), dict | list):
            rest[name] = {"json": record.keep(to_json(rest[name]))}
    response = request["response"]
    choice, *others = sequence(response.get("choices")) or [None]
    message = mapping(mapping(choice).get("message"))
    text, remaining = parted(message.get("content"))
    if message:
        kept = without(message, "tool_calls") if all_calls(message) else message
        choices = [{**choice, "message": replaced(kept, "content", remaining)}, *others]
        rest["response"] = {**response, "choices": choices}
    id = record.reply(text, response.get("model"), rest, ())
    record.openai_calls(message, (id,))
    return sent


def _say(record: ForeignRecord, event: dict[str, Any]) -> bool:
    """Add a message of the user or the model, or the system prompt."""
    if "llm_message" not in event:
        prompt = mapping(event.get("system_prompt"))
        rest = {**event, "system_prompt": without(prompt, "text")}
        if text := string(prompt.get("text")):
            record.message("system", text, rest, ())
        return text is not None
    message = mapping(event["llm_message"])
    text, remaining = parted(message.get("content"))
    rest = {**event, "llm_message": replaced(message, "content", remaining)}
    if text is not None and event.get("source") == "agent":
        record.reply(text, None, rest, ())
    elif text is not None:
        role = string(message.get("role")) or "user"
        by_program = role == "user" and event.get("source") != "user"
        content = () if by_program else message.get("content")
        _hear(record, role, text, content, rest)
    return text is not None


def _act(record: ForeignRecord, event: dict[str, Any]) -> bool:
    """Add the model's thoughts, if there are any, and its call."""
    tool = string(event.get("tool_name"))
    if tool is None:
        return False
    said = {name: event[name] for name in SAID if name in event}
    text, said["thought"] = parted(event.get("thought"))
    call = mapping(event.get("tool_call"))
    used = call if "arguments" in call else event
    rest = without(event, "tool_name", "tool_call_id", *SAID)
    if used is call:
        rest["tool_call"] = without(call, "arguments")
    else:
        rest.pop("action", None)
    arguments = used.get("arguments") if used is call else event.get("action")
    answer = string(event.get("llm_response_id")) or ""
    id = record.log.replies.get(answer)
    if text and id is None:
        id = record.reply(text, None, said, ())
        record.log.replies.update({answer: id} if answer else {})
    else:  # the calls of an answer share its thoughts
        rest |= said if text is None or said["thought"] else {**said, "thought": event["thought"]}
    record.call(tool, event.get("tool_call_id"), arguments, rest, (id,))
    return True


def _observe(record: ForeignRecord, event: dict[str, Any]) -> bool:
    """Add a tool's output, or why there is none."""
    seen = mapping(event.get("observation"))
    rest = without(event, "tool_name", "tool_call_id")
    output, failed = None, None
    if seen:
        output, remaining = parted(seen.get("content"))
        rest["observation"] = replaced(seen, "content", remaining)
        code = seen.get("exit_code")
        failed = bool(seen.get("is_error")) or (isinstance(code, int) and code > 0)
    for name in ("error", "rejection_reason"):
        if output is None and isinstance(event.get(name), str):
            output, failed = rest.pop(name), True
    causes = (id_of(event.get("action_id"), ""),)
    record.log.modules.texts.at(mapping(seen.get("metadata")).get("working_dir"))
    record.answer(
        event.get("tool_call_id"), output, failed, rest, causes, event.get("tool_name"),
        truth=_truth(seen),
    )  # fmt: skip
    return True


def _truth(seen: Mapping[str, Any]) -> Truth | None:
    """Return the texts of a file before and after an edit, as an observation tells them."""
    path = string(seen.get("path"))
    before, after = seen.get("old_content"), seen.get("new_content")
    if path is None or seen.get("is_error") or seen.get("error"):
        return None
    return Truth(
        path,
        Shown(before) if isinstance(before, str) and before else None,
        Shown(after) if isinstance(after, str) else None,
    )


def _end(record: ForeignRecord, event: dict[str, Any]) -> bool:
    """Add the end of the conversation if a change of state reports it."""
    status = event.get("value")
    if event.get("key") != "execution_status" or not isinstance(status, str) or status not in ENDS:
        return False
    named = {"reason": status} if ENDS[status] is TaskFailed else {}
    record.tell(ENDS[status], named, event, writer=string(event.get("source")) or "")
    return True


TELL: Mapping[str, Callable[[ForeignRecord, dict[str, Any]], bool]] = {
    "MessageEvent": _say,
    "SystemPromptEvent": _say,
    "ActionEvent": _act,
    "ObservationEvent": _observe,
    "AgentErrorEvent": _observe,
    "UserRejectObservation": _observe,
    "ConversationStateUpdateEvent": _end,
}
"The functions for kinds of event that have a matching fact; each returns whether it found one."
