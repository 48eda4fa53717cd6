"""The actions of an imported agent as steps whose outcome is known: each is what it sent next.

Such a log holds no prompt that Backcast built. What the agent had been told until then stands in
it, message by message; that is the recorded prompt, beside the one that a policy would give. The
text of an action is the tool and its arguments, or a command alone where its first word is the
tool, without the thoughts before it, which say it already.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backcast.domain.events import (
    MessageReceived,
    ModelReplied,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.context.request import Request
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import KnownState, ReplayStep, SaidPart, SentAction

KINDS = ("TASK_STARTED", "MESSAGE_RECEIVED", "MODEL_REPLIED", "TOOL_CALLED", "TOOL_RETURNED")
ANSWER = "answer"
PERSON = "user"
"The role of what a person wrote."


class AgentReply(NamedTuple):
    """A reply of an agent's model that calls tools, and what stood before it."""

    version: int
    name: str
    words: str
    "What a person asked for last, where that is not the goal."
    action: SentAction


def actions(store: EventStore, task_id: str) -> Iterator[ReplayStep]:
    """Yield each action of an imported agent, with the state before it.

    A run of Backcast's own has none: its prompts are its steps.
    """
    running = TaskFollower(store, task_id)
    for reply in replies(store, task_id):
        running.read_on(reply.version - 1)
        known = KnownState(running.states, running.graph)
        yield ReplayStep(
            task_id, reply.version, reply.name, Request("", reply.words), None, known, known,
            action=reply.action,
        )  # fmt: skip


def replies(store: EventStore, task_id: str) -> Iterator[AgentReply]:
    """Yield the replies of a task that call tools, in order."""
    if any(True for _ in store.read(task_id, types=["STEP_STARTED"])):
        return
    events = list(store.read(task_id, types=KINDS))
    calls = _calls(events)
    parts, seen, goal, words = list[SaidPart](), set[str](), "", ""

    def said(role: str, kind: str, ref: str | None, version: int, tool: str | None = "") -> str:
        text = store.get(ref).decode(errors="replace") if ref else ""
        if text.strip():
            parts.append(SaidPart(role, kind, _named(kind, version, tool), text))
            seen.update(line.strip() for line in text.split("\n"))
        return text

    for event in events:
        match event.fact:
            case TaskStarted(goal=str() as goal):
                seen.update(line.strip() for line in goal.split("\n"))
            case MessageReceived(role=role, text=ref):
                spoken = role if role in ("system", "assistant") else PERSON
                kind = {"system": "system", "assistant": ANSWER}.get(spoken, "message")
                text = said(spoken, kind, ref, event.version)
                if role == PERSON and text.strip():
                    words = "" if text.strip() == goal.strip() else text
            case ToolReturned(output=ref, tool=tool):
                said(PERSON, "result", ref, event.version, tool)
            case ModelReplied(text=ref):
                if facts := calls.get(event.version):
                    sent = "\n".join(map(action_text, facts)).rstrip()
                    lines = (line.strip() for line in sent.split("\n"))
                    new = tuple(bool(line) and line not in seen for line in lines)
                    name = f"action {facts[0].tool}"
                    action = SentAction(sent, new, joined(parts), (*parts,))
                    yield AgentReply(event.version, name, words, action)
                    text = store.get(ref).decode(errors="replace") if ref else ""
                    if sent not in text:
                        text = f"{text}\n{sent}".strip()
                    named = _named(ANSWER, event.version, facts[0].tool)
                    parts.append(SaidPart("assistant", ANSWER, named, text))
                else:
                    said("assistant", ANSWER, ref, event.version)


def _calls(events: list[WorkflowEvent]) -> dict[int, list[ToolCalled]]:
    """Return the calls of each reply, by its version."""
    found: dict[int, list[ToolCalled]] = {}
    replied = {event.version for event in events if isinstance(event.fact, ModelReplied)}
    for event in events:
        if isinstance(event.fact, ToolCalled):
            for cause in event.because:
                if cause in replied:
                    found.setdefault(cause, []).append(event.fact)
    return found


def action_text(call: ToolCalled) -> str:
    r"""Return a call as a text to read.

    >>> action_text(ToolCalled(tool="ls", arguments={"command": "ls -l\n"}))
    'ls -l\n'
    >>> action_text(ToolCalled(tool="Edit", arguments={"path": "a.py", "new": "a = 1\nb = 2"}))
    'Edit\npath: a.py\nnew:\na = 1\nb = 2'
    """
    match call.arguments:
        case None:
            return call.tool
        case {"command": str() as command} if len(call.arguments) == 1:
            first = next(iter(command.split()), "")
            return command if first == call.tool else f"{call.tool}\n{command}"
        case dict() as arguments:
            return "\n".join([call.tool, *(_argument(*pair) for pair in arguments.items())])
        case other:
            return f"{call.tool}\n{_plain(other)}"


def _argument(name: str, value: object) -> str:
    text = _plain(value)
    return f"{name}:\n{text}" if "\n" in text else f"{name}: {text}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _named(kind: str, version: int, tool: str | None) -> str:
    return f"{kind}{f' {tool}' if tool else ''} @{version}"


def joined(parts: Iterable[SaidPart]) -> tuple[tuple[str, str], ...]:
    """Return parts as messages, role and text, whose roles alternate as templates need it."""
    talk = list[tuple[str, str]]()
    for part in parts:
        _add(talk, part.role, part.text)
    return tuple(talk)


def _add(talk: list[tuple[str, str]], role: str, text: str) -> None:
    """Add a message; it joins one before it of the same role."""
    if talk and talk[-1][0] == role:
        text = f"{talk.pop()[1]}\n\n{text}"
    talk.append((role, text))
