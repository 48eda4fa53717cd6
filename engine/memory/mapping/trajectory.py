"""A finished run as lines that a model can read: what was asked, opened, written and refused.

A log may have a hundred thousand events: only so many of them are read, its beginning and its end.
"""

import json
from collections.abc import Iterator, Sequence

from backcast.domain.context_map import Tokens, plain
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Committed,
    Fact,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    ModuleDeleted,
    ModuleIteration,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.memory.mapping import FinishedRun

FIRST, LAST = 20, 100
"Events that are told, from both ends of a run."
WIDE = 240
"Characters of a line."
FAILURES = 3
"Of one run of tests."
TOLD: tuple[type[Fact], ...] = (
    AnswerRefused, ChecksRan, Committed, MessageReceived, ModelFailed, ModelReplied, ModuleDeleted,
    ModuleIteration, StepStarted, TaskComplete, TaskFailed, TaskStarted, ToolCalled, ToolReturned,
)  # fmt: skip


def trajectory(run: FinishedRun, tokens: int, count: Tokens) -> str:
    """The lines of a run within a number of tokens; what has no room is counted in their middle."""
    told = [event for event in run.events if isinstance(event.fact, TOLD)]
    first, last = told[:FIRST], told[max(FIRST, len(told) - LAST) :]
    head, left = _within((_line(run, one) for one in first), tokens // 3, count)
    tail, _ = _within((_line(run, one) for one in reversed(last)), left + tokens * 2 // 3, count)
    gap = len(told) - len(head) - len(tail)
    middle = [f"({gap:,} more events are left out)"] if gap else []
    return "\n".join([*head, *middle, *reversed(tail)])


def _within(lines: Iterator[str], tokens: int, count: Tokens) -> tuple[Sequence[str], int]:
    """The first lines that fit some tokens, and the tokens that they leave."""
    kept = list[str]()
    for line in lines:
        size = count(f"{line}\n")
        if size > tokens:
            break
        tokens -= size
        kept.append(line)
    return kept, tokens


def _line(run: FinishedRun, event: WorkflowEvent) -> str:
    return plain(f"{event.version}: {_told(run, event.fact)}", WIDE)


def _told(run: FinishedRun, fact: Fact) -> str:
    match fact:
        case Committed():
            return f"commit {fact.sha[:10]}: {fact.message}"
        case TaskStarted():
            return f"was asked: {fact.goal or ''}"
        case StepStarted():
            return f"step {fact.kind or ''} {fact.module_name or ''}"
        case ModelReplied():
            return f"the model answered: {run.text(fact.text) if fact.text else ''}"
        case MessageReceived():
            return f"{fact.role} said: {run.text(fact.text) if fact.text else ''}"
        case ModuleIteration():
            return f"wrote {fact.module_name}"
        case ModuleDeleted():
            return f"deleted {fact.module_name}"
        case TaskComplete():
            return "ended well"
    return _failing(fact) or _tool(run, fact)


def _failing(fact: Fact) -> str:
    match fact:
        case ChecksRan():
            why = [f"{one.at or one.name}: {one.message}" for one in fact.failures[:FAILURES]]
            return "; ".join([f"checks: {fact.passed} passed, {fact.failed} failed", *why])
        case AnswerRefused() | ModelFailed() | TaskFailed():
            return f"failed: {fact.reason or ''}"
    return ""


def _tool(run: FinishedRun, fact: Fact) -> str:
    match fact:
        case ToolCalled():
            asked = json.dumps(fact.arguments, ensure_ascii=False, default=str)
            return f"called {fact.tool} {asked}"
        case ToolReturned():
            body = run.text(fact.output) if fact.output else ""
            told = [*fact.nodes[:4], fact.message or "", body]
            return " ".join(["the tool failed:" if fact.failed else "the tool gave", *told])
    return ""
