"""Logs that agents keep of their sessions: each call has the context that the log tells of it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import Imported, ModelReplied
from backcast.engine.interfaces.cli import main
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.exchanges.spool import FINISHED, Exchange, ExchangeHead
from backcast.engine.log.exchanges.writer import ExchangeWriter
from backcast.engine.log.importers import (
    NOT_FORMED,
    claude_code,
    codex,
    pi,
    qwen,
)
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.foreign_prompts import rebuilt_bodies
from tests.foreign_logs import imported

FOREIGN = Path(__file__).parent.parent / "fixtures" / "foreign"


def contexts(store: EventStore, task: str = "t") -> list[dict[str, Any]]:
    """The bodies of a task's contexts, which are as long as they say."""
    found = []
    for request in RequestReader(store, task).all():
        body = body_of(request, store.get)
        assert len(body) == request.request.size
        found.append(json.loads(body))
    return found


def written(folder: Path, lines: Sequence[object], name: str = "log.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def items(name: str) -> list[Any]:
    return [json.loads(line) for line in (FOREIGN / name).read_text().splitlines()]


# Codex


def test_each_call_of_a_rollout_has_its_items_before_and_after_a_compaction() -> None:
    with EventStore.open("sqlite://") as store:
        report = imported(store, codex, FOREIGN / "codex.jsonl", "t")
        found = contexts(store)
        history = [line["payload"] for line in items("codex.jsonl")
                   if line["type"] == "response_item"]  # fmt: skip
        [compacted] = [line["payload"] for line in items("codex.jsonl")
                       if line["type"] == "compacted"]  # fmt: skip
        assert {body["instructions"] for body in found} == {"You are a coding agent."}
        assert [body["input"] for body in found[:3]] == [history[:3], history[:6], history[:8]]
        kept = compacted["replacement_history"]
        assert found[3]["input"] == [*kept, history[9]]
        assert found[4]["input"] == [*kept, *history[9:12]]
        assert found[5]["input"] == [*kept, history[13]]  # the turn before was taken back
        assert report.calls == {"messages": 6}
        assert "6 calls: 6 by their messages" in report.notes


def test_a_context_that_was_formed_has_no_bytes_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with EventStore.open(url) as store:
        imported(store, codex, FOREIGN / "codex.jsonl", "t")
        facts = [event.fact for event in store.read("t", types=["CONTEXT_BUILT"])]
        requests = [fact.request for fact in facts if isinstance(fact, ContextBuilt)]
        assert {(r.fidelity, r.digest) for r in requests if r} == {("messages", "")}
        assert list(rebuilt_bodies(store, "t")) == []
        replies = [event for event in store.read("t") if isinstance(event.fact, ModelReplied)]
        built = [event.version for event in store.read("t", types=["CONTEXT_BUILT"])]
        assert [event.because[0] for event in replies] == built
    with pytest.raises(SystemExit):
        main(["context", f"t@{built[0]}", "--anatomy", "--store", url])
    assert f"t@{built[0]} formed from the agent's log" in capsys.readouterr().out


def test_only_what_is_new_in_a_context_is_stored_with_it() -> None:
    with EventStore.open("sqlite://") as store:
        imported(store, codex, FOREIGN / "codex.jsonl", "t")
        facts = [event.fact for event in store.read("t", types=["CONTEXT_BUILT"])]
        requests = [fact.request for fact in facts if isinstance(fact, ContextBuilt)]
        assert [len(request.parts) for request in requests if request] == [4, 3, 2, 3, 2, 1]


def test_a_compressed_rollout_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    whole = tmp_path / "rollout-1.jsonl.zst"
    lines = items("codex.jsonl")
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    frames = b"".join(zstandard.compress(line) for line in text.splitlines(keepends=True))
    whole.write_bytes(frames)
    with EventStore.open("sqlite://") as store, EventStore.open("sqlite://") as plain:
        imported(plain, codex, FOREIGN / "codex.jsonl", "t")
        whole.write_bytes(frames[: len(frames) // 2])
        report = imported(store, codex, whole, "t")
        assert len(report.skipped) == 1
        assert "cut off" in report.skipped[0]
        assert 0 < report.added < plain.version("t")
        whole.write_bytes(frames)
        imported(store, codex, whole, "t")
        assert contexts(store) == contexts(plain)
        assert [e.fact for e in store.read("t")] == [e.fact for e in plain.read("t")]


def test_a_rollout_without_its_instructions_is_known_in_part(tmp_path: Path) -> None:
    first, *others = items("codex.jsonl")
    del first["payload"]["base_instructions"]
    compacted = next(line for line in others if line["type"] == "compacted")
    compacted["payload"] = {"message": "The price was halved."}
    with EventStore.open("sqlite://") as store:
        report = imported(store, codex, written(tmp_path, [first, *others]), "t")
        assert report.calls == {"parts": 6}
        assert codex.COMPACTED in report.notes
        shown = contexts(store)[3]["input"]
        assert next(item["content"] for item in shown) == "The price was halved."


def test_what_no_rollout_tells_of_a_request_is_said(tmp_path: Path) -> None:
    first, *others = items("codex.jsonl")
    called = next(line["payload"]["name"] for line in others if "call_id" in line["payload"])
    text = f"You are a coding agent.\n\n## `update_plan`\n\nPlan.\n\n## `{called}`\n\nCall it."
    first["payload"]["base_instructions"] = {"text": text}
    with EventStore.open("sqlite://") as store:
        report = imported(store, codex, written(tmp_path, [first, *others]), "t")
        assert codex.SECTION.format("update_plan") in report.notes
        assert report.notes.count(codex.QUESTION) == 1
    before = [line for line in others if line["type"] != "compacted"]
    with EventStore.open("sqlite://") as store:
        report = imported(store, codex, written(tmp_path, [items("codex.jsonl")[0], *before]), "t")
        assert codex.QUESTION not in report.notes
        assert not [note for note in report.notes if "left out" in note]


def test_a_line_that_comes_twice_is_two_lines(tmp_path: Path) -> None:
    lines = items("codex.jsonl")
    path = written(tmp_path, [*lines[:14], *lines[5:14]])
    with EventStore.open("sqlite://") as store:
        assert imported(store, codex, path, "t").skipped == []
        assert imported(store, codex, path, "t").added == 0
        assert len(contexts(store)[-1]["input"]) == 8 + 1 + 6


# Trees


def test_a_call_of_another_branch_has_the_context_of_its_branch() -> None:
    with EventStore.open("sqlite://") as store:
        report = imported(store, pi, FOREIGN / "pi.jsonl", "t")
        texts = [[str(m.get("content")) for m in body["messages"]] for body in contexts(store)]
        assert texts[3] == ["The price was halved.", "Successfully replaced text in price.py.",
                            "Done.", "Now test it"]  # fmt: skip
        assert texts[4] == ["Give the price a discount", "I look.",
                            "def price(n):\n    return n * 3\n", "No, look elsewhere"]  # fmt: skip
        assert [note for note in report.notes if note.startswith("2 branches: b1 begins anew")]
        assert report.calls == {"parts": 5}


@pytest.mark.parametrize("parent", ["e9", "b1", "nobody"])
def test_a_parent_that_does_not_stand_before_is_told(parent: str, tmp_path: Path) -> None:
    lines = items("pi.jsonl")
    assert lines[11]["id"] == "b1"
    lines[11]["parentId"] = parent
    with EventStore.open("sqlite://") as store:
        report = imported(store, pi, written(tmp_path, lines), "t")
        assert [note for note in report.notes if note.startswith(f"line 12: it follows '{parent}'")]
        assert contexts(store)[4]["messages"][-1]["content"] == "No, look elsewhere"
        assert contexts(store)[4]["messages"][0]["content"] == "The price was halved."


def test_a_compression_of_qwen_begins_the_context_anew() -> None:
    with EventStore.open("sqlite://") as store:
        imported(store, qwen, FOREIGN / "qwen.jsonl", "t")
        found = [[m["role"] for m in body["messages"]] for body in contexts(store)]
        assert found == [["user"], ["user", "assistant", "tool"], ["user", "assistant", "user"],
                         ["user", "assistant", "user"]]  # fmt: skip
        assert contexts(store)[2]["messages"][0]["content"] == "The price was asked for."
        assert contexts(store)[3]["messages"][2]["content"] == "No, look elsewhere"
        counts = [event.fact for event in store.read("t", types=["MODEL_REPLIED"])]
        replies = [fact for fact in counts if isinstance(fact, ModelReplied)]
        assert [fact.prompt_tokens for fact in replies] == [900, 990, None, None]


# Claude Code


def claude(folder: Path, *lines: dict[str, Any]) -> Path:
    return written(folder, [{"sessionId": "s-1", "timestamp": "2026-11-01T10:00:00Z"} | line
                            for line in lines])  # fmt: skip


def said(id: str, parent: str | None, content: object, **more: object) -> dict[str, Any]:
    message = {"role": "user", "content": content}
    return {"type": "user", "uuid": id, "parentUuid": parent, "message": message} | more


def answered(id: str, parent: str, message: str, *blocks: object) -> dict[str, Any]:
    found = {"id": message, "role": "assistant", "model": "m", "content": list(blocks)}
    return {"type": "assistant", "uuid": id, "parentUuid": parent, "message": found}


def use(id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "Bash", "input": {"command": "ls"}}


def result(id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "a.py"}


def test_the_lines_of_an_answer_are_one_message_and_a_summary_begins_anew(tmp_path: Path) -> None:
    text = {"type": "text", "text": "I look."}
    path = claude(
        tmp_path,
        said("u1", None, "Fix it"),
        answered("a1", "u1", "m1", text),
        answered("a2", "a1", "m1", use("t1")),
        said("u2", "a2", [result("t1")]),
        answered("a3", "u2", "m2", {"type": "text", "text": "Done."}),
        said("u3", "a3", "More"),
        answered("a4", "u3", "m3", {"type": "text", "text": "What?"}),
        said("u4", "a3", "Less"),  # a person went back
        answered("a5", "u4", "m4", {"type": "text", "text": "Less."}),
        {"type": "system", "subtype": "compact_boundary", "uuid": "c1", "parentUuid": None},
        said("u5", "c1", "Summary: fixed.", isCompactSummary=True),
        answered("a6", "u5", "m5", {"type": "text", "text": "Yes."}),
    )
    with EventStore.open("sqlite://") as store:
        report = imported(store, claude_code, path, "t")
        found = [body["messages"] for body in contexts(store)]
        assert found[1] == [
            {"role": "user", "content": [{"type": "text", "text": "Fix it"}]},
            {"role": "assistant", "content": [text, use("t1")]},
            {"role": "user", "content": [result("t1")]},
        ]
        assert [message["content"][0].get("text") for message in found[3]] == [
            "Fix it", "I look.", None, "Done.", "Less",
        ]  # fmt: skip
        assert [message["content"][0]["text"] for message in found[4]] == ["Summary: fixed."]
        assert report.calls == {"parts": 5}
        assert imported(store, claude_code, path, "t").added == 0


def test_where_no_line_names_a_parent_the_order_of_the_file_is_the_conversation(
    tmp_path: Path,
) -> None:
    yes = {"type": "text", "text": "Yes."}

    def session(parents: list[str | None]) -> Path:
        first, second, third, fourth = parents
        answers = [answered("a1", "", "m1", yes), answered("a2", "", "m2", yes)]
        return claude(
            tmp_path,
            said("u1", first, "One"), answers[0] | {"parentUuid": second},
            said("u2", third, "Two"), answers[1] | {"parentUuid": fourth},
        )  # fmt: skip

    with EventStore.open("sqlite://") as store:
        report = imported(store, claude_code, session([None] * 4), "t")
        assert claude_code.UNLINKED in report.notes
        last = contexts(store)[-1]["messages"]
        assert [m["content"][0]["text"] for m in last] == ["One", "Yes.", "Two"]
    with EventStore.open("sqlite://") as store:  # where some do, a line without one begins anew
        report = imported(store, claude_code, session([None, "u1", None, "u2"]), "t")
        assert claude_code.UNLINKED not in report.notes
        last = contexts(store)[-1]["messages"]
        assert [m["content"][0]["text"] for m in last] == ["Two"]


def test_a_log_begun_by_an_importer_without_contexts_gets_none_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = items("codex.jsonl")
    with EventStore.open("sqlite://") as store:
        with monkeypatch.context() as older:
            older.setattr(FormedContexts, "form", lambda *_: None)
            imported(store, codex, written(tmp_path, lines[:12]), "t")
        before = list(store.read("t"))
        report = imported(store, codex, written(tmp_path, lines), "t")
        assert report.notes.count(NOT_FORMED) == 1
        assert list(store.read("t"))[: len(before)] == before
        contexts(store)  # none of them lacks a part


# Raw bodies


def bodies(folder: Path) -> list[bytes]:
    """Write what Claude Code writes of two calls and a title, and what Qwen Code writes of one."""
    user = {"user_id": "user_1_account_2_session_s-1"}
    first: list[Any] = [{"role": "user", "content": "Fix it é"}]
    called = [{"type": "text", "text": "I look."}, use("toolu_0123456789")]
    then = [*first, {"role": "assistant", "content": called},
            {"role": "user", "content": [result("toolu_0123456789")]}]  # fmt: skip
    requests = {
        "a": {"model": "big", "messages": first, "tools": [{"name": "Bash"}], "metadata": user},
        "b": {"model": "small", "messages": first, "system": "Write a title", "metadata": user},
        "c": {"model": "big", "messages": then, "tools": [{"name": "Bash"}], "metadata": user},
    }
    answers = {
        "y": ("small", [{"type": "text", "text": "Fixing"}]), "x": ("big", called),
        "z": ("big", [{"type": "text", "text": "Done."}]),
    }  # fmt: skip
    written_bodies, now = [], 1_790_000_000
    for name, body in requests.items():
        text = json.dumps(body, ensure_ascii=False).encode()
        written_bodies.append(text)
        (folder / f"{name}.request.json").write_bytes(text)
    for name, (model, content) in answers.items():
        answer = {"type": "message", "role": "assistant", "model": model, "content": content}
        (folder / f"{name}.response.json").write_text(json.dumps(answer))
    order = ["a.request", "b.request", "y.response", "x.response", "c.request", "z.response"]
    for place, name in enumerate(order):
        os.utime(folder / f"{name}.json", (now + place, now + place))
    request = {"model": "qwen", "messages": [{"role": "user", "content": 'Say  "hi"'}]}
    logged = {
        "timestamp": "2026-11-01T10:00:00.000Z", "request": request,
        "response": {"choices": [{"message": {"role": "assistant", "content": "hi"}}]},
        "error": None, "context": {"sessionId": "q-1"},
    }  # fmt: skip
    (folder / "openai-1.json").write_text(json.dumps(logged, indent=2))
    return [*written_bodies, json.dumps(request, separators=(",", ":")).encode()]


def test_raw_bodies_come_in_to_the_byte_with_their_answers(tmp_path: Path) -> None:
    expected = bodies(tmp_path)
    with EventStore.open("sqlite://") as store:
        report = run(store, "raw-bodies", tmp_path)
        assert set(store.tasks()) == {"s-1-bodies", "q-1-bodies"}
        found = {}
        for task in store.tasks():
            for request in RequestReader(store, task).all():
                body = body_of(request, store.get)
                [reply] = [event.fact for event in store.read(task, types=["MODEL_REPLIED"])
                           if request.version in event.because]  # fmt: skip
                assert isinstance(reply, ModelReplied)
                assert reply.text
                found[body] = store.get(reply.text).decode()
            assert all(verdict.same for verdict in rebuilt_bodies(store, task))
        assert found == dict(zip(expected, ["I look.", "Fixing", "Done.", "hi"], strict=True))
        assert report.calls == {"bytes": 4}
        again = run(store, "raw-bodies", tmp_path)
        assert (again.added, again.known, again.skipped) == (0, 4, [])


def test_a_request_without_an_answer_waits_for_it(tmp_path: Path) -> None:
    bodies(tmp_path)
    answer = (tmp_path / "z.response.json").read_bytes()
    (tmp_path / "z.response.json").unlink()
    (tmp_path / "openai-2.json").write_text('{"request": {"mod')
    with EventStore.open("sqlite://") as store:
        report = run(store, "raw-bodies", tmp_path)
        assert sorted(report.skipped)[0] == "c.request.json: no answer stands beside it yet"
        assert report.skipped[1].startswith("openai-2.json: not JSON")
        (tmp_path / "z.response.json").write_bytes(answer)
        assert len(contexts(store, "s-1-bodies")) == 2
        run(store, "raw-bodies", tmp_path)
        assert len(contexts(store, "s-1-bodies")) == 3


# The same session twice


def exchange(
    id: str, body: dict[str, Any], text: str, at: str = "2026-11-01T10:00:00+00:00"
) -> Exchange:
    answer = {"output": [{"type": "message", "content": [{"text": text}]}], "status": "completed"}
    head = ExchangeHead(id, at, "POST", "/v1/responses", {})
    kind = {"content-type": "application/json"}
    sent = json.dumps(body).encode()
    return Exchange(head, sent, 200, kind, json.dumps(answer).encode(), (), FINISHED, "", 1.0)


@pytest.mark.parametrize(
    ("key", "text", "same"),
    [("codex-session", "Anything", True), ("another", "Done.", False), (None, "Done.", True),
     (None, "Anything", False)],
)  # fmt: skip
def test_a_session_that_was_recorded_and_imported_is_known_to_be_one(
    key: str | None, text: str, same: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    body: dict[str, Any] = {"model": "m", "input": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "Give the price a discount"}]},
    ]} | ({"prompt_cache_key": key} if key else {})  # fmt: skip
    with EventStore.open(url) as store:
        ExchangeWriter(store).write(exchange("x-1", body, text))
        report = run(store, "codex", FOREIGN / "codex.jsonl")
        marks = [event.fact for event in store.read("codex-session", types=["IMPORTED"])]
        named = [mark.same_as for mark in marks if isinstance(mark, Imported) and mark.same_as]
        assert named == ([("recorded",)] if same else [])
        told = "task 'codex-session' is the same session as 'recorded'"
        assert (told in report.notes) == same
        assert run(store, "codex", FOREIGN / "codex.jsonl").added == 0
    with pytest.raises(SystemExit):
        main(["tasks", "--store", url])
    out = capsys.readouterr().out
    assert ("recorded  (the same session as codex-session)" in out) == same


def test_a_run_that_is_tried_again_with_the_same_words_is_another_session() -> None:
    content = [{"type": "input_text", "text": "Give the price a discount"}]
    body = {"input": [{"type": "message", "role": "user", "content": content}]}
    later = exchange("x-1", body, "Done.", "2026-11-02T10:00:00+00:00")
    with EventStore.open("sqlite://") as store:
        ExchangeWriter(store).write(later)
        run(store, "codex", FOREIGN / "codex.jsonl")
        assert not any("the same session" in note for note in run(
            store, "codex", FOREIGN / "codex.jsonl").notes)  # fmt: skip
        marks = [event.fact for event in store.read(types=["IMPORTED"])]
        assert [mark.same_as for mark in marks if isinstance(mark, Imported)] == [()]


def test_bodies_that_come_behind_the_log_are_known_to_be_its(tmp_path: Path) -> None:
    bodies(tmp_path)
    folder = tmp_path / "log"
    folder.mkdir()
    path = claude(folder, said("u1", None, "Fix it é"), answered("a1", "u1", "m1", use("t1")))
    with EventStore.open("sqlite://") as store:
        run(store, "claude-code", path)
        report = run(store, "raw-bodies", tmp_path)
        assert "task 's-1-bodies' is the same session as 's-1'" in report.notes
        assert run(store, "claude-code", path).added == 0


# Where agents keep them


@pytest.mark.parametrize(
    ("format", "variable", "place"),
    [
        ("codex", "CODEX_HOME", "sessions/2026/11/01/rollout-{}.jsonl"),
        ("claude-code", "CLAUDE_CONFIG_DIR", "projects/-shop/{}.jsonl"),
        ("pi", "PI_CODING_AGENT_DIR", "sessions/--shop--/{}.jsonl"),
        ("qwen", "QWEN_HOME", "projects/-shop/chats/{}.jsonl"),
    ],
)
def test_the_latest_log_of_an_agent_is_found(
    format: str, variable: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv(variable, str(tmp_path / "home"))
    with pytest.raises(SystemExit) as end:
        main(["import", format, "--recent"])
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert str(tmp_path / "home") in err
    assert "found none" in err
    sample = FOREIGN / f"{format}.jsonl"
    for name, age in (("old", 9000), ("new", 60)):
        path = tmp_path / "home" / place.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.read_bytes())
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    with pytest.raises(SystemExit) as end:
        main(["import", format, "--recent"])
    out, err = capsys.readouterr()
    assert (end.value.code, out[:6]) == (0, "added ")
    assert "new.jsonl" in err
    assert "1 minute ago" in err
    assert "and 1 older" in err
    assert "old.jsonl" not in err


def test_a_path_or_recent_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--recent", "1", "x.jsonl"]):
        with pytest.raises(SystemExit) as end:
            main(["import", "codex", *more])
        assert end.value.code == 2
        assert "needed a PATH or --recent" in capsys.readouterr().err
