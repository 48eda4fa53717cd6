"""Which format does a JSON value have?

The answer decides what is imported: where fields do not tell formats apart, an importer takes only
what has its own format here, or none (`events`, `swe_agent` and `cline` do). It is also said where
a file was given as another. So a rule that is too loose makes logs of other formats unreadable:
`tests/test_no_logs.py` tries each log of `fixtures/foreign` as each format.
"""

from collections.abc import Mapping
from typing import Any

from backcast.engine.log.importers.content import mapping, sequence

NAMES = {
    "events": "Backcast's own events",
    "swe-agent": "a trajectory of SWE-agent",
    "openhands": "a log of OpenHands",
    "claude-code": "a session of Claude Code",
    "cline": "a session of Cline",
    "inspect": "an evaluation log of Inspect",
    "codex": "a rollout of Codex",
    "pi": "a session of pi",
    "qwen": "a chat of Qwen Code",
    "raw-bodies": "the raw bodies of requests and answers",
    "atif": "an ATIF trajectory",
    "otlp": "traces of OpenTelemetry",
    "opencode": "a database of opencode",
}
"What each word of `backcast import` reads."
OTHERS = {
    "cline-shown": "what Cline shows; its messages stand in api_conversation_history.json",
}
"What is said of other files that are known."


def format_of(value: object) -> str | None:
    """Return the word for the format of a JSON value, or None.

    >>> format_of({"type": "user", "uuid": "u1", "sessionId": "s"})
    'claude-code'
    """
    if isinstance(value, list):
        if any(map(_is_anthropic, value)):
            return "cline"
        return next((word for item in value[:20] if (word := format_of(item))), None)
    return _of(mapping(value))


def _of(fields: Mapping[str, Any]) -> str | None:
    keys = fields.keys()
    if isinstance(fields.get("eval"), dict) and keys & {"samples", "status", "version"}:
        return "inspect"
    if isinstance(fields.get("trajectory"), list) or "trajectory_format" in keys:
        return "swe-agent"
    if isinstance(fields.get("messages"), list):
        if {"sessionId", "session_id"} & keys:
            return "cline"
        if isinstance(fields.get("response"), dict):
            return "openhands"
        return "raw-bodies" if "model" in keys else None
    if {"request", "response", "context"} <= keys:
        return "raw-bodies"
    if isinstance(fields.get("history"), list):
        return "swe-agent"
    if str(fields.get("schema_version", "")).startswith("ATIF"):
        return "atif"
    if {"resourceSpans", "resource_spans"} & keys:
        return "otlp"
    return _of_line(fields)


def _of_line(fields: Mapping[str, Any]) -> str | None:
    keys, is_typed = fields.keys(), isinstance(fields.get("type"), str)
    if fields.get("type") in ("say", "ask") and {"ts", "say", "ask"} & keys:
        return "cline-shown"
    if is_typed and {"task_id", "timestamp"} <= keys:
        return "events"
    if is_typed and {"payload", "timestamp"} <= keys:
        return "codex"
    if is_qwen(fields):
        return "qwen"
    if is_typed and {"sessionId", "uuid", "leafUuid"} & keys:
        return "claude-code"
    if is_typed and ("parentId" in keys or (fields["type"] == "session" and "cwd" in keys)):
        return "pi"
    if {"kind", "action", "observation"} & keys and {"source"} <= keys:
        return "openhands"
    if isinstance(fields.get("agent"), dict) and "id" in keys:
        return "openhands"
    return "cline" if "session_id" in keys and "status" in keys else None


def is_qwen(entry: Mapping[str, Any]) -> bool:
    """Return whether a line is one of Qwen Code, whose envelope is that of Claude Code."""
    if not (isinstance(entry.get("type"), str) and isinstance(entry.get("sessionId"), str)):
        return False
    typed = entry["type"] == "tool_result" or "systemPayload" in entry
    return typed or isinstance(mapping(entry.get("message")).get("parts"), list)


def _is_anthropic(message: object) -> bool:
    """Return whether a message of a bare list has the form in which Cline keeps its own."""
    blocks = [mapping(b) for b in sequence(mapping(message).get("content"))]
    return any(b.get("type") in ("tool_use", "tool_result") for b in blocks) or (
        str(blocks[0].get("text", "")).startswith(("<task>", "<user_input")) if blocks else False
    )


def hint(value: object, word: str) -> str:
    """Return what a message about a value of another format than that of a word adds."""
    found = format_of(value)
    if found is None or found == word:
        return ""
    if found in OTHERS:
        return f": {OTHERS[found]}"
    return f": {NAMES[found]}, for which 'backcast import {found}' is meant"
