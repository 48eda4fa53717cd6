"""opencode's database, in both layouts: what is said, in order, once, and as the model saw it."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import ToolReturned
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.importers import opencode
from backcast.engine.log.store import EventStore
from tests.foreign_logs import imported

OLD = 1_790_000_000_000
"A time long ago, in milliseconds."
FIRST = """
CREATE TABLE session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, time_created INTEGER);
CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER,
    time_updated INTEGER, data TEXT);
CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT, time_created INTEGER,
    time_updated INTEGER, data TEXT);
CREATE INDEX part_message_id_id_idx ON part (message_id, id);
"""
SECOND = """
CREATE TABLE session_v2 (id TEXT PRIMARY KEY, directory TEXT, time_created INTEGER);
CREATE TABLE session_message (id TEXT PRIMARY KEY, session_id TEXT, type TEXT, seq INTEGER,
    data TEXT);
"""


class Opencode:
    """A database as opencode writes it."""

    def __init__(self, path: Path, schema: str = FIRST) -> None:
        self.path, self.count, self.at = path, 0, OLD
        with closing(sqlite3.connect(path)) as database:
            database.executescript(schema)

    def run(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(sql, values)

    def session(self, id: str, parent: str | None = None) -> None:
        self.run("INSERT INTO session VALUES (?, ?, '/home/ann/gate', ?)", id, parent, self.at)

    def message(self, session: str, info: dict[str, Any], *parts: dict[str, Any]) -> str:
        self.count, self.at = self.count + 1, self.at + 1000
        id, times = f"msg_{self.count:03}", {"created": self.at, **info.pop("time", {})}
        data = json.dumps({"time": times, **info})
        self.run("INSERT INTO message VALUES (?, ?, ?, ?, ?)", id, session, self.at, self.at, data)
        for number, part in enumerate(parts):
            self.run("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)", f"prt_{self.count:03}_{number}",
                     id, session, self.at, self.at, json.dumps(part))  # fmt: skip
        return id

    def asked(self, session: str, text: str, **more: Any) -> str:
        return self.message(session, {"role": "user", **more}, {"type": "text", "text": text})

    def answered(
        self, session: str, *parts: dict[str, Any], ended: bool = True, **more: Any
    ) -> str:
        tokens = {"input": 10, "output": 4, "reasoning": 1, "cache": {"read": 5, "write": 0}}
        time = {"completed": self.at + 1500} if ended else {}
        info = {
            "role": "assistant",
            "modelID": "m1",
            "tokens": tokens,
            "finish": "stop",
            "time": time,
        }
        return self.message(session, info | more, *parts)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool(name: str, id: str, input: Any, output: str, **times: int) -> dict[str, Any]:
    state = {"status": "completed", "input": input, "output": output, "time": {"end": OLD, **times}}
    return {"type": "tool", "tool": name, "callID": id, "state": state}


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as opened:
        yield opened


def kinds(store: EventStore, task: str) -> list[str]:
    return [str(event.type) for event in store.read(task)]


def prompts(store: EventStore, task: str) -> list[list[Any]]:
    """The messages of each context of a task."""
    found = RequestReader(store, task).all()
    return [json.loads(body_of(one, store.get))["messages"] for one in found]


def gate(path: Path) -> Opencode:
    """A session in which a file is written, a helper is asked, and the file is changed."""
    made = Opencode(path)
    made.session("ses_1")
    made.asked("ses_1", "Paint the gate")
    write = {"filePath": "/home/ann/gate/a.py", "content": "red\n"}
    step = {"type": "step-start"}
    made.answered("ses_1", step, text("I write."), tool("write", "c1", write, "Wrote"))
    made.session("ses_2", "ses_1")
    made.asked("ses_2", "Look at a.py")
    made.answered("ses_2", text("It is red."))
    edit = {"filePath": "/home/ann/gate/a.py", "oldString": "red", "newString": "green"}
    made.answered("ses_1", text("I edit."), tool("edit", "c2", edit, "Edit applied"))
    made.answered("ses_1", text("Done."))
    return made


def test_each_session_is_a_task_and_comes_once(store: EventStore, tmp_path: Path) -> None:
    path = gate(tmp_path / "opencode.db").path
    report = imported(store, opencode, path)
    assert sorted(report.tasks) == ["ses_1", "ses_2"]
    assert kinds(store, "ses_1") == [
        "TASK_STARTED", "MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED", "TOOL_CALLED",
        "TOOL_RETURNED", "MODULE_ITERATION", "CONTEXT_BUILT", "MODEL_REPLIED", "TOOL_CALLED",
        "TOOL_RETURNED", "MODULE_ITERATION", "CONTEXT_BUILT", "MODEL_REPLIED",
    ]  # fmt: skip
    [start, *_] = store.read("ses_2")
    assert (start.fact.data["goal"], start.fact.data["parent_session"]) == ("Look at a.py", "ses_1")
    reply = next(store.read("ses_1", types=["MODEL_REPLIED"])).fact.data
    assert [reply[n] for n in ("prompt_tokens", "tokens", "cached_tokens")] == [15, 5, 5]
    again = imported(store, opencode, path)
    assert (again.added, again.skipped, again.known) == (0, [], 18)


def test_a_context_is_what_the_model_was_shown(store: EventStore, tmp_path: Path) -> None:
    report = imported(store, opencode, gate(tmp_path / "opencode.db").path)
    first, second, _ = prompts(store, "ses_1")
    assert first == [{"role": "user", "content": "Paint the gate"}]
    assert [message["role"] for message in second] == ["user", "assistant", "tool"]
    assert second[1]["tool_calls"][0]["function"]["name"] == "write"
    assert report.notes[-1] == "4 calls: 4 by parts only, as the log holds no system prompt"


def test_a_session_that_goes_on_is_read_up_to_what_may_change(tmp_path: Path) -> None:
    whole, parts = EventStore.open("sqlite://"), EventStore.open("sqlite://")
    made = gate(tmp_path / "opencode.db")
    made.at = int(time.time() * 1000)
    made.asked("ses_1", "And again")
    running = {"type": "tool", "tool": "bash", "callID": "c9",
               "state": {"status": "running", "input": {"command": "ls"}}}  # fmt: skip
    id = made.answered("ses_1", text("I list."), running, ended=False)
    with whole, parts:
        report = imported(parts, opencode, made.path)
        assert any(
            "goes on: what may still change, from msg_007 on" in note for note in report.notes
        )
        ended = json.dumps(tool("bash", "c9", {"command": "ls"}, "a.py"))
        made.run("UPDATE part SET data = ? WHERE message_id = ? AND id LIKE '%_1'", ended, id)
        made.run("UPDATE message SET data = json_set(data, '$.time.completed', ?) WHERE id = ?",
                 made.at + 5, id)  # fmt: skip
        made.run("UPDATE message SET data = json_set(data, '$.summary', 'x') WHERE id = 'msg_001'")
        report = imported(parts, opencode, made.path)
        assert report.skipped == []
        imported(whole, opencode, made.path)
        for task in ("ses_1", "ses_2"):
            assert [e.fact for e in parts.read(task)] == [e.fact for e in whole.read(task)]


def test_a_summary_stands_for_what_it_sums_up(store: EventStore, tmp_path: Path) -> None:
    made = Opencode(tmp_path / "opencode.db")
    made.session("ses_1")
    made.asked("ses_1", "Paint the gate")
    made.answered("ses_1", text("Red?"))
    tail = made.asked("ses_1", "Green")
    compaction = {"type": "compaction", "auto": True, "tail_start_id": tail}
    asked = made.message("ses_1", {"role": "user"}, compaction)
    made.answered("ses_1", text("A gate is to be green."), summary=True, parentID=asked)
    made.answered("ses_1", text("It is."))
    imported(store, opencode, made.path)
    assert [message["content"] for message in prompts(store, "ses_1")[-1]] == [
        "What did we do so far?", "A gate is to be green.", "Green",
    ]  # fmt: skip


def test_a_cleared_result_is_gone_from_later_contexts_alone(
    store: EventStore, tmp_path: Path
) -> None:
    made = Opencode(tmp_path / "opencode.db")
    made.session("ses_1")
    made.asked("ses_1", "Read it")
    long = tool("read", "c1", {"filePath": "/a"}, "long text", compacted=OLD + 4500)
    made.answered("ses_1", text("I read."), long)
    made.answered("ses_1", text("Hm."))
    made.asked("ses_1", "And?")
    made.answered("ses_1", text("Yes."))
    imported(store, opencode, made.path)
    results = [[m["content"] for m in found if m["role"] == "tool"] for found in
               prompts(store, "ses_1")]  # fmt: skip
    assert results == [[], ["long text"], ["[Old tool result content cleared]"]]
    [returned] = store.read("ses_1", types=["TOOL_RETURNED"])
    assert isinstance(returned.fact, ToolReturned)
    assert store.get(returned.fact.output or "") == b"long text"
    made.run("UPDATE part SET data = json_remove(data, '$.state.time.compacted')")
    assert imported(store, opencode, made.path).skipped == []


def test_the_later_layout_is_read_by_its_numbers(store: EventStore, tmp_path: Path) -> None:
    made = Opencode(tmp_path / "opencode.db", SECOND)
    made.run("INSERT INTO session_v2 VALUES ('ses_1', '/home/ann/gate', ?)", OLD)
    call = {"type": "tool", "id": "c1", "name": "shell", "time": {"created": OLD},
            "state": {"status": "completed", "input": {"command": "ls"}, "structured": {},
                      "content": [{"type": "text", "text": "a.py"}]}}  # fmt: skip
    rows: list[tuple[str, dict[str, Any]]] = [
        ("user", {"text": "Look", "time": {"created": OLD}}),
        ("assistant", {"model": {"id": "m2"}, "content": [call, text("I looked.")],
                       "time": {"created": OLD + 1, "completed": OLD + 2}}),
        ("model-switched", {"model": {"id": "m3"}, "time": {"created": OLD + 3}}),
        ("compaction", {"summary": "There is a.py.", "recent": "", "reason": "auto",
                        "time": {"created": OLD + 4}}),
        ("user", {"text": "Go on", "time": {"created": OLD + 5}}),
        ("assistant", {"model": {"id": "m3"}, "content": [text("Gone.")],
                       "time": {"created": OLD + 6, "completed": OLD + 7}}),
    ]  # fmt: skip
    for number, (kind, data) in reversed(list(enumerate(rows, 1))):
        made.run("INSERT INTO session_message VALUES (?, 'ses_1', ?, ?, ?)", f"m{9 - number}", kind,
                 number, json.dumps(data))  # fmt: skip
    imported(store, opencode, made.path)
    assert kinds(store, "ses_1") == [
        "TASK_STARTED", "MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED", "TOOL_CALLED",
        "TOOL_RETURNED", "OPENCODE_model-switched", "MESSAGE_RECEIVED", "MESSAGE_RECEIVED",
        "CONTEXT_BUILT", "MODEL_REPLIED",
    ]  # fmt: skip
    last = prompts(store, "ses_1")[-1]
    assert [message["content"] for message in last] == ["There is a.py.", "Go on"]
    assert imported(store, opencode, made.path).added == 0


def test_what_was_not_written_into_the_database_yet_is_read_from_its_log(
    store: EventStore, tmp_path: Path
) -> None:
    made = gate(tmp_path / "live.db")
    live = sqlite3.connect(made.path)
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("PRAGMA wal_autocheckpoint = 0")
    live.execute("INSERT INTO session VALUES ('ses_9', NULL, '/', 1)")
    user = json.dumps({"role": "user", "time": {"created": OLD}})
    live.execute("INSERT INTO message VALUES ('m9', 'ses_9', ?, ?, ?)", (OLD, OLD, user))
    live.execute(
        "INSERT INTO part VALUES ('p9', 'm9', 'ses_9', 1, 1, ?)", (json.dumps(text("Hi")),)
    )
    live.commit()
    live.execute("BEGIN EXCLUSIVE")  # a lock stops no copy
    held = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    (tmp_path / "copied").mkdir()
    for end in ("", "-wal"):  # without the -shm
        source = made.path.with_name(made.path.name + end)
        (tmp_path / "copied" / f"opencode.db{end}").write_bytes(source.read_bytes())
    try:
        assert "ses_9" in imported(store, opencode, made.path).tasks
        assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir()
                      if path.is_file()) == held  # fmt: skip
    finally:
        live.rollback()
        live.close()
    assert imported(store, opencode, tmp_path / "copied").known == 20


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b'{"type": "user", "uuid": "u", "sessionId": "s"}', "a session of Claude Code, for which"),
        (b"SQLite format 3\0 and then rubbish", "needed a whole SQLite database"),
    ],
)
def test_what_is_no_database_is_refused_in_one_line(
    store: EventStore, tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "opencode.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found) as error:
        imported(store, opencode, path)
    assert "\n" not in str(error.value)


def test_another_schema_is_refused_by_its_tables(store: EventStore, tmp_path: Path) -> None:
    made = Opencode(tmp_path / "other.db", "CREATE TABLE chats (id TEXT);")
    with pytest.raises(InputError, match="found a SQLite database with 'chats'"):
        imported(store, opencode, made.path)


def test_several_sessions_do_not_go_into_one_task(store: EventStore, tmp_path: Path) -> None:
    made = gate(tmp_path / "opencode.db")
    with pytest.raises(InputError, match="needed a database of one session, found 2"):
        imported(store, opencode, made.path, "mine")
    assert store.tasks() == []


def test_what_is_damaged_is_told_and_the_rest_read(store: EventStore, tmp_path: Path) -> None:
    made = gate(tmp_path / "opencode.db")
    made.run("UPDATE part SET data = '{\"type\": \"te' WHERE id = 'prt_002_1'")
    report = imported(store, opencode, made.path)
    assert [line.partition(":")[0] for line in report.skipped] == ["part prt_002_1"]
    assert len(prompts(store, "ses_1")) == 3


def test_a_database_that_is_cut_off_is_told(store: EventStore, tmp_path: Path) -> None:
    made = gate(tmp_path / "opencode.db")
    body = made.path.read_bytes()
    made.path.write_bytes(body[: len(body) - 8192])
    with pytest.raises(InputError, match="needed a whole SQLite database: the database is damaged"):
        imported(store, opencode, made.path)


def test_a_session_is_read_up_to_where_its_database_is_damaged(
    store: EventStore, tmp_path: Path
) -> None:
    made = Opencode(tmp_path / "opencode.db")
    made.session("ses_1")
    for number in range(20):
        made.asked("ses_1", f"Ask {number:02}: {'x' * 3000}")
        made.answered("ses_1", text("So."))
    body = bytearray(made.path.read_bytes())
    page = body.index(b"Ask 11:") // 4096 * 4096
    body[page : page + 4096] = b"\xff" * 4096
    made.path.write_bytes(body)
    report = imported(store, opencode, made.path)
    assert len(report.skipped) == 1
    assert report.skipped[0].startswith("session ses_1: from here on the database is damaged")
    assert kinds(store, "ses_1").count("MODEL_REPLIED") == 11
