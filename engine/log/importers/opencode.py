"""Sessions of opencode, from its database: each is a task, under its id.

A message is a batch, or several where it holds several calls of the model. opencode does not keep
its system prompts and tools, so a context is what was said before the call: with a summary in the
place of what it sums up, and without the results that were cleared by then. A session that is going
on is read up to the first message that may still change; the rest comes with the next import.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.events import ModelFailed, ModelReplied
from backcast.engine.log.importers import Batch, Report
from backcast.engine.log.importers.content import (
    id_of,
    mapping,
    parted,
    string,
    task_of,
    time_of,
)
from backcast.engine.log.importers.database_copies import (
    DamagedDatabase,
    DatabaseCopy,
    copied_database,
)
from backcast.engine.log.importers.edited_modules import FAILED_UNSAID
from backcast.engine.log.importers.opencode_prompts import OpencodePrompts
from backcast.engine.log.importers.opencode_reads import truth_of
from backcast.engine.log.importers.opencode_rows import (
    MODEL,
    OTHER,
    PERSON,
    Fields,
    OpencodeCall,
    OpencodeSaid,
    finished,
    headers,
    layout_of,
    said_in,
)
from backcast.engine.log.importers.people import MACHINE, NO_GOAL, words
from backcast.engine.log.importers.records import ForeignLog, ForeignRecord
from backcast.engine.log.importers.tool_edits import Truth

FORMAT = "opencode"
VERSION = 2
FAULTS = {1: FAILED_UNSAID}
"What was wrong with the facts of earlier versions."
PREFIX = "OPENCODE"
NEEDED = (
    "an opencode database (SQLite with the tables 'session' and 'message' and 'part', or"
    " 'session_message')"
)
NAME = "opencode.db"
PATIENCE = 24 * 3600 * 1000
"Milliseconds without a change after which an answer that has no end was broken off."
FIXED = ("id", "parent_id", "time_created")
"The columns of a session that do not change."


def read(path: Path, task_id: str | None, report: Report) -> Iterator[Batch]:
    """Yield a batch a message, session by session in the order in which they began."""
    path = path / NAME if path.is_dir() and (path / NAME).exists() else path
    with copied_database(path, NEEDED, FORMAT, report) as opened:
        try:
            tables = opened.tables()
            sessions = _sessions(path, opened, tables)
        except DamagedDatabase as error:
            raise InputError(f"{path}: needed a whole SQLite database: {error}") from None
        if task_id and len(sessions) > 1:
            raise InputError(f"--as: needed a database of one session, found {len(sessions)}")
        for id, about in sessions.items():
            session = _OpencodeSession(
                opened, tables, task_id or task_of(id, path), id, about, report
            )
            try:
                yield from session.batches()
            except DamagedDatabase as error:
                report.skipped.append(f"session {id}: from here on {error}")


def _sessions(
    path: Path, opened: DatabaseCopy, tables: Mapping[str, frozenset[str]]
) -> dict[str, Fields]:
    """Return the sessions, with what of each does not change."""
    first = {"message", "part"} <= tables.keys() and "data" in tables["message"] & tables["part"]
    second = {"session_id", "type", "data"} <= tables.get("session_message", frozenset())
    if not (first or second):
        held = ", ".join(repr(name) for name in list(tables)[:5]) or "no tables"
        raise InputError(f"{path}: needed {NEEDED}, found a SQLite database with {held}")
    rows: dict[str, Fields] = {}
    kept = {table: sorted(columns & {*FIXED, "directory"}) for table, columns in tables.items()}
    for table in ("session", "session_v2"):
        for row in opened.rows(f"SELECT * FROM {table}") if table in tables else ():
            rows[str(row["id"])] = {name: row[name] for name in kept[table]}
    for table in ("message", "session_message"):
        named = f"SELECT DISTINCT session_id AS id FROM {table} ORDER BY 1"
        for row in opened.rows(named) if table in tables else ():
            rows.setdefault(str(row["id"]), {"id": row["id"]})
    began = sorted(rows, key=lambda id: (str(rows[id].get("time_created") or ""), id))
    return {id: rows[id] for id in began}


class _OpencodeSession:
    """A session while it is read."""

    def __init__(
        self, opened: DatabaseCopy, tables: dict[str, frozenset[str]], task: str, id: str,
        about: Fields, report: Report,
    ) -> None:  # fmt: skip
        self.opened, self.tables, self.id, self.about = opened, tables, id, about
        self.report = report
        self.log = ForeignLog(PREFIX, task, report)
        self.log.modules.silent = True
        self.log.modules.texts.at(about.get("directory"))
        self.prompts = OpencodePrompts(report.calls)
        self.goal: str | None = None

    def batches(self) -> Iterator[Batch]:
        """Yield what was said."""
        table = layout_of(self.opened, self.id, self.tables)
        if not table:
            return
        rows = headers(self.opened, table, self.id, self.tables[table])
        whole = finished(rows, int(time.time() * 1000), PATIENCE)
        if whole < len(rows):
            self.report.notes.append(
                f"session {self.id} goes on: what may still change, from {rows[whole].id} on, comes"
                f" with a later import"
            )
        for row in rows[:whole]:
            for said in said_in(self.opened, table, row.id, self.report):
                yield from self._batches(said)
        if self.goal is None and whole:
            self.report.notes.append(f"session {self.id}: {NO_GOAL}")

    def _batches(self, said: OpencodeSaid) -> Iterator[Batch]:
        id = id_of(said.id, "message")
        asked = _asked(said) if said.who == PERSON else None
        if self.goal is None and asked:
            self.goal = asked
            about = {"parent_session" if name == "parent_id" else name: value
                     for name, value in self.about.items()
                     if name in FIXED and value is not None}  # fmt: skip
            yield self.log.start(self.id, asked, about, time=said.time)
        record = self.log.record(id, said.raw, said.time)
        self.log.modules.texts.at(mapping(said.info.get("path")).get("cwd"))
        causes = [string(said.info.get("parentID")), self.log.last]
        if said.who == MODEL:
            self._model(record, said, causes)
        elif said.who == OTHER:
            record.unknown(said.kind, {**said.info, "parts": list(said.parts)}, causes)
        else:
            self._message(record, said, causes)
        self.prompts.say(said)
        yield record.batch

    def _message(self, record: ForeignRecord, said: OpencodeSaid, causes: list[str | None]) -> None:
        """Add what a person wrote, then what opencode put beside it."""
        mine = [part for part in said.parts if not _is_made(part)]
        made = [part for part in said.parts if _is_made(part)]
        by_agent = said.who != PERSON or bool(self.about.get("parent_id"))
        if mine or not made:
            text, rest = parted(mine)
            role = MACHINE if by_agent or (text and not words(text)) else PERSON
            about = {**said.info, "parts": rest} if rest else said.info
            about = about if said.kind == PERSON else {**about, "type": said.kind}
            record.message(role, text, about, causes)
        if made:
            text, rest = parted(made)
            record.message(MACHINE, text, {"parts": rest} if mine else {**said.info, "parts": rest},
                           causes)  # fmt: skip

    def _model(self, record: ForeignRecord, said: OpencodeSaid, causes: list[str | None]) -> None:
        context = self.prompts.form(record, said, causes)
        because = [*causes, context]
        texts = [part for part in said.parts if part.get("type") == "text"]
        text, remaining = parted(texts)
        others = [part for part in said.parts if part not in texts and not _is_plain(part)]
        kept = [*(remaining if isinstance(remaining, list) else []), *others]
        rest = {"message": said.info, "parts": kept}
        error = mapping(said.info.get("error"))
        if error and not (texts or said.calls):
            reason = mapping(error.get("data")).get("message") or error.get("message")
            record.tell(
                ModelFailed, {"reason": str(reason or error.get("name") or "error")},
                rest, writer=said.model or "agent", because=because,
            )  # fmt: skip
            return
        named: dict[str, Any] = {"model": said.model, **_counts(said)}
        named |= {"text": record.keep(text)} if text is not None else {}
        named |= {"thinking": record.keep(said.thinking)} if said.thinking else {}
        if isinstance(finish := said.info.get("finish"), str):
            named["finish"] = finish
        id = record.tell(ModelReplied, named, rest, writer=said.model or "agent",
                         because=because)  # fmt: skip
        for call in said.calls:
            self._call(record, call, id)

    def _call(self, record: ForeignRecord, call: OpencodeCall, reply: str) -> None:
        id = record.call(call.tool, call.id, call.input, call.rest, (reply,))
        if call.answered:
            ended = time_of(call.ended)
            if ended is not None and record.when <= ended <= record.when + timedelta(days=1):
                record.when = ended
            truth: Truth | None = truth_of(call)
            record.answer(call.id if string(call.id) else None, call.output, call.failed,
                          call.state, (id,), call.tool, truth)  # fmt: skip


def _asked(said: OpencodeSaid) -> str | None:
    texts = [part["text"] for part in said.parts
             if part.get("type") == "text" and isinstance(part.get("text"), str)
             and not _is_made(part)]  # fmt: skip
    return "\n".join(filter(None, map(words, texts))) or None


def _is_made(part: Fields) -> bool:
    """Return whether opencode wrote a part, and not the person."""
    return part.get("synthetic") is True


def _is_plain(part: Fields) -> bool:
    """Return whether a fact tells all of a part of thoughts."""
    return part.get("type") == "reasoning" and part.keys() <= {"type", "text", "id"}


def _counts(said: OpencodeSaid) -> dict[str, int]:
    """Return the tokens of an answer under our names."""
    tokens = mapping(said.tokens)
    cache = mapping(tokens.get("cache"))
    asked = [tokens.get("input"), cache.get("read"), cache.get("write")]
    made = [tokens.get("output"), tokens.get("reasoning")]
    found = {"prompt_tokens": asked, "tokens": made, "cached_tokens": [cache.get("read")]}
    return {
        name: sum(int(count) for count in counts if isinstance(count, int | float))
        for name, counts in found.items()
        if isinstance(counts[0], int | float)
    }
