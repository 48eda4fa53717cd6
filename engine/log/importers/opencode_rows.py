"""Rows of opencode's database as what was said, in both of its layouts.

Until 1.x a message is a row of `message`, with its parts in `part`; an assistant's message is a
call of the model, or several, each from a `step-start` on. From 2.x it is a row of
`session_message` with all that is in it. opencode changes rows afterwards: what it changes so is no
part of a record.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.content import mapping, sequence, string, without
from backcast.engine.log.importers.database_copies import DatabaseCopy
from backcast.engine.log.importers.json_values import named, parse

PERSON, MODEL, PROGRAM, COMPACTED, OTHER = "user", "assistant", "program", "compaction", "other"
"Who said something: a person, the model, opencode; a summary in place of all before; or no one."
Fields = dict[str, Any]


class OpencodeCall(NamedTuple):
    """A call of a tool, with its result."""

    tool: str
    id: object
    input: object
    rest: Fields
    answered: bool
    output: str | None
    failed: bool | None
    state: Fields
    "What its result says beside its output."
    ended: object
    cleared: int | None = None
    "When opencode took its output out of later prompts, in milliseconds."


class OpencodeSaid(NamedTuple):
    """What a row says, or a step of it."""

    id: str
    raw: bytes
    time: object
    who: str
    kind: str
    "The type of a row that nobody says."
    info: Fields
    "The fields beside the parts."
    parts: tuple[Fields, ...]
    "The parts beside calls and thoughts."
    calls: tuple[OpencodeCall, ...] = ()
    thinking: str = ""
    model: str | None = None
    tokens: Fields | None = None
    is_summary: bool = False
    "Whether the model was asked to sum up all before it."


class Header(NamedTuple):
    """The place of a row, and whether it will change no more."""

    id: str
    who: str
    ended: bool
    updated: int


def layout_of(opened: DatabaseCopy, session: str, tables: dict[str, frozenset[str]]) -> str:
    """Return the table that holds what was said in a session; empty for none."""
    for table, more in (("message", ""), ("session_message", " AND type IN ('user', 'assistant')")):
        asked = f"SELECT 1 FROM {table} WHERE session_id = ?{more} LIMIT 1"
        if table in tables and list(opened.rows(asked, session)):
            return table
    return ""


def headers(
    opened: DatabaseCopy, table: str, session: str, columns: frozenset[str]
) -> list[Header]:
    """Return the rows of a session in order, without what they hold."""
    valid = "CASE WHEN json_valid(data) THEN data ELSE '{}' END"
    kind = f"json_extract({valid}, '$.role')" if table == "message" else "type"
    order = [name for name in ("seq", "time_created") if name in columns][:1]
    times: list[str] = [name for name in ("time_updated", "time_created") if name in columns]
    times += [f"json_extract({valid}, '$.time.{name}')" for name in ("completed", "created")]
    found = opened.rows(
        f"SELECT id, {kind} AS who, coalesce({', '.join(times)}) AS updated,"
        f" json_extract({valid}, '$.time.completed') IS NOT NULL"
        f" OR json_extract({valid}, '$.error') IS NOT NULL AS ended"
        f" FROM {table} WHERE session_id = ? ORDER BY {', '.join([*order, 'id'])}",
        session,
    )
    return [
        Header(str(row["id"]), str(row["who"]), bool(row["ended"]), _whole(row["updated"]))
        for row in found
    ]


def finished(rows: list[Header], now: int, patience: int) -> int:
    """Return how many leading rows will change no more.

    The model's answer is whole when it says so, when another one stands behind it, or when nothing
    came to it for `patience` milliseconds; and so is then what it answers.
    """
    if rows and now - rows[-1].updated > patience:
        return len(rows)
    for place in range(len(rows), 0, -1):
        row, behind = rows[place - 1], any(later.who == MODEL for later in rows[place:])
        if row.who == MODEL and (row.ended or behind):
            return place
    return 0


def said_in(opened: DatabaseCopy, table: str, row: str, report: Report) -> Iterator[OpencodeSaid]:
    """Yield what a row says, a step of it at a time."""
    [found] = opened.rows(f"SELECT * FROM {table} WHERE id = ?", row)
    info = _object(found["data"], f"message {row}", report)
    if info is None:
        return
    time = mapping(info.get("time")).get("created") or found.get("time_created")
    if table == "message":
        parts = []
        for part in opened.rows("SELECT * FROM part WHERE message_id = ? ORDER BY id", row):
            value = _object(part["data"], f"part {part['id']}", report)
            parts += [] if value is None else [value]
        yield from _first_layout(row, time, info, parts)
    else:
        yield _second_layout(row, time, str(found["type"]), info)


def _object(text: object, name: str, report: Report) -> Fields | None:
    try:
        value = parse(text.encode() if isinstance(text, str) else b"")
        if isinstance(value, dict):
            return value
        reason = f"needed a JSON object, found {named(value)}"
    except InputError as error:
        reason = str(error)
    report.skipped.append(f"{name}: {reason}")
    return None


def _first_layout(
    id: str, time: object, info: Fields, parts: list[Fields]
) -> Iterator[OpencodeSaid]:
    role = string(info.get("role")) or ""
    if role != MODEL:
        info = without(info, "summary")
        who = PERSON if role == PERSON else OTHER
        yield OpencodeSaid(id, to_json([info, parts]), time, who, role, info, tuple(parts))
        return
    model = string(info.get("modelID"))
    steps = _steps(parts)
    for number, step in enumerate(steps, 1):
        last = [part for part in step if part.get("type") == "step-finish"]
        tokens = mapping(info.get("tokens")) if len(steps) == 1 or not last else {}
        tokens = tokens or mapping(last[-1].get("tokens") if last else None)
        about = info if number == 1 else {"messageID": id, "path": info.get("path")}
        tools = [part for part in step if part.get("type") == "tool" and string(part.get("tool"))]
        thoughts = [part for part in step if part.get("type") == "reasoning"]
        fixed = [_fixed(part) for part in step]
        began = mapping(tools[0].get("state")).get("time") if tools and number > 1 else None
        yield OpencodeSaid(
            id if number == 1 else f"{id}:{number}", to_json([about, fixed]),
            mapping(began).get("start") or time, MODEL, role, about,
            tuple(part for part in step if part not in tools),
            tuple(map(_called, tools)), _texts(thoughts), model, tokens,
            is_summary=info.get("summary") is True,
        )  # fmt: skip


def _steps(parts: list[Fields]) -> list[list[Fields]]:
    steps: list[list[Fields]] = [[]]
    for part in parts:
        begins = part.get("type") == "step-start"
        if begins and any(before.get("type") == "step-start" for before in steps[-1]):
            steps.append([])
        steps[-1].append(part)
    return steps


def _fixed(part: Fields) -> Fields:
    """Return a part without what opencode writes into it when it prunes old results."""
    state = mapping(part.get("state"))
    if "compacted" not in mapping(state.get("time")):
        return part
    return {**part, "state": {**state, "time": without(state["time"], "compacted")}}


def _called(part: Fields) -> OpencodeCall:
    state = mapping(_fixed(part).get("state"))
    status, times = state.get("status"), mapping(mapping(part.get("state")).get("time"))
    output = state.get("error" if status == "error" else "output")
    cleared = times.get("compacted")
    return OpencodeCall(
        str(part["tool"]), part.get("callID"), state.get("input"),
        without(part, "tool", "callID", "state"), status in ("completed", "error"),
        output if isinstance(output, str) else None, status == "error",
        without(state, "input", "error" if status == "error" else "output"), times.get("end"),
        cleared if isinstance(cleared, int) else None,
    )  # fmt: skip


def _second_layout(id: str, time: object, kind: str, data: Fields) -> OpencodeSaid:
    if kind == MODEL:
        content = [mapping(part) for part in sequence(data.get("content"))]
        fixed = [_unpruned(part) for part in content]
        raw = to_json([kind, {**data, "content": fixed}])
        tools = [part for part in content if part.get("type") == "tool" and part.get("name")]
        model = string(mapping(data.get("model")).get("id"))
        return OpencodeSaid(
            id, raw, time, MODEL, kind, without(data, "content"),
            tuple(part for part in content if part not in tools), tuple(map(_second_call, tools)),
            _texts([part for part in content if part.get("type") == "reasoning"]), model,
            mapping(data.get("tokens")),
        )  # fmt: skip
    raw = to_json([kind, data])
    text = data.get("text") if kind != COMPACTED else data.get("summary")
    part = {"type": "text", "text": text} if isinstance(text, str) else None
    who = {PERSON: PERSON, COMPACTED: COMPACTED, "synthetic": PROGRAM, "system": PROGRAM,
           "shell": PROGRAM}.get(kind, OTHER)  # fmt: skip
    rest = without(data, *(["summary" if kind == COMPACTED else "text"] if part else []))
    return OpencodeSaid(id, raw, time, who, kind, rest, (part,) if part else ())


def _second_call(part: Fields) -> OpencodeCall:
    state = mapping(part.get("state"))
    status = state.get("status")
    output = _texts([mapping(block) for block in sequence(state.get("content"))])
    error = mapping(state.get("error")).get("message")
    shown = error if status == "error" and not output else output
    cleared = mapping(part.get("time")).get("pruned")
    rest = _unpruned(part)
    return OpencodeCall(
        str(part["name"]), part.get("id"), state.get("input"),
        without(rest, "name", "id", "state"), status in ("completed", "error"),
        shown if isinstance(shown, str) else None, status == "error",
        without(state, "input"), mapping(part.get("time")).get("completed"),
        cleared if isinstance(cleared, int) else None,
    )  # fmt: skip


def _unpruned(part: Fields) -> Fields:
    time = mapping(part.get("time"))
    return {**part, "time": without(time, "pruned")} if "pruned" in time else part


def _texts(parts: list[Fields]) -> str:
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "\n".join(texts)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
