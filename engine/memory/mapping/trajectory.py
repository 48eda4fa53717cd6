"""Renders a finished run as lines for a model: requests, opened nodes, writes and refusals.

A log may have a hundred thousand events, so only the beginning and the end of a run are rendered.
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
"Events that are rendered, from both ends of a run."
WIDE = 240
"Characters of a line."
FAILURES = 3
"Failures of one test run that are rendered."
RENDERED: tuple[type[Fact], ...] = (
    AnswerRefused, ChecksRan, Committed, MessageReceived, ModelFailed, ModelReplied, ModuleDeleted,
    ModuleIteration, StepStarted, TaskComplete, TaskFailed, TaskStarted, ToolCalled, ToolReturned,
)  # fmt: skip


def trajectory(run: FinishedRun, tokens: int, count: Tokens) -> str:
    """Return the lines of a run within a number of tokens; the middle counts events left out."""
    events = [event for event in run.events if isinstance(event.fact, RENDERED)]
    first, last = events[:FIRST], events[max(FIRST, len(events) - LAST) :]
    head, free = _within((_line(run, event) for event in first), tokens // 3, count)
    free += tokens * 2 // 3
    tail, _ = _within((_line(run, event) for event in reversed(last)), free, count)
    gap = len(events) - len(head) - len(tail)
    middle = [f"({gap:,} more events are left out)"] if gap else []
    return "\n".join([*head, *middle, *reversed(tail)])


def _within(lines: Iterator[str], tokens: int, count: Tokens) -> tuple[Sequence[str], int]:
    """Return the first lines that fit a number of tokens, and the tokens that remain."""
    kept = list[str]()
    for line in lines:
        size = count(f"{line}\n")
        if size > tokens:
            break
        tokens -= size
        kept.append(line)
    return kept, tokens


def _line(run: FinishedRun, event: WorkflowEvent) -> str:
    return plain(f"{event.version}: {_describe(run, event.fact)}", WIDE)


def _describe(run: FinishedRun, fact: Fact) -> str:
    match fact:
        case Committed():
            return f"commit {fact.sha[:10]}: {fact.message}"
        case TaskStarted():
            return f"was asked: {fact.goal or ''}"
        case StepStarted():
            return f"step {fact.kind or ''} {fact.module_name or ''}"
        case ModelReplied():
            about = f" about {fact.module_name}" if fact.module_name else ""
            return f"the model answered{about}: {run.text(fact.text) if fact.text else ''}"
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
            why = [f"{f.at or f.name}: {f.message}" for f in fact.failures[:FAILURES]]
            return "; ".join([f"checks: {fact.passed} passed, {fact.failed} failed", *why])
        case AnswerRefused() | ModelFailed() | TaskFailed():
            return f"failed: {fact.reason or ''}"
    return ""


def _tool(run: FinishedRun, fact: Fact) -> str:
    match fact:
        case ToolCalled():
            arguments = json.dumps(fact.arguments, ensure_ascii=False, default=str)
            return f"called {fact.tool} {arguments}"
        case ToolReturned():
            body = run.text(fact.output) if fact.output else ""
            parts = [*fact.nodes[:4], fact.message or "", body]
            return " ".join(["the tool failed:" if fact.failed else "the tool gave", *parts])
    return ""
