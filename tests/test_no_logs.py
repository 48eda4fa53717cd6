"""What is no log, or another one: one line says what it is, and the exit code is 2."""

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.foreign_logs import FOLDERS
from backcast.engine.log.importers.recognised import format_of
from backcast.engine.log.importers.versions import MODULES
from tests.test_importers import maybe_json

Refuse = Callable[[str, Path, str], None]
FOREIGN = Path(__file__).parent.parent / "fixtures/foreign"
FORMATS = sorted(set(MODULES) - {"git", "opencode", "raw-bodies"})
"All but those of folders and databases, which have tests of their own."


@pytest.fixture
def assert_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refuse:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def refused(format: str, path: Path, kind: str) -> None:
        with pytest.raises(SystemExit) as end:
            main(["import", format, str(path)])
        out, err = capsys.readouterr()
        assert (end.value.code, out, err.count("\n")) == (2, "", 1)
        assert kind in err
        assert ": needed " in err

    return refused


def zipped() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("a.txt", "x" * 99)
    return body.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "a.db") as made:
        made.execute("create table a(b)")
    made.close()
    return (folder / "a.db").read_bytes()


NO_LOGS = [
    (zipped(), "ZIP archive"),
    (b"%PDF-1.7\n%\xe2\xe3\n" * 30, "a PDF document"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 30, "a PNG picture"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF" * 30, "a JPEG picture"),
    (b"<!DOCTYPE html>\n<html>\n<h1>502 Bad Gateway</h1>\n" * 30, "an HTML page"),
    (b"\n  <html><body>\n" * 30, "an HTML page"),
    (b'<?xml version="1.0"?>\n<a/>\n', "an XML document"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    (gzip.compress(b"\x89PNG\r\n\x1a\n" * 30), "a PNG picture"),
    (b"Traceback (most recent call last):\n  File\nE: x\n" * 30, "text that is not JSON"),
    (b"\0" * 9000, "9,000 NUL bytes"),
    (b"{'type': 'user'}\n" * 30, "text that is not JSON"),
    (b"[" * 50_000, "recursion limit exceeded"),
    (b'{"a":' * 50_000, "recursion limit exceeded"),
    (b"#!/bin/sh\nexit\n", "a script"),
    (b"GGUF\3\0\0\0" + bytes(40) + b"tokens\n" * 30, "the weights of a model (GGUF)"),
    (bytes(range(1, 32)) * 30 + b"\n{}\n", "a binary file"),
]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("body", "kind"), NO_LOGS, ids=[kind for _, kind in NO_LOGS])
def test_what_is_no_log_is_named_by_its_first_bytes_in_one_line(
    format: str, body: bytes, kind: str, tmp_path: Path, assert_refused: Refuse
) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(body)
    assert_refused(format, path, kind)


@pytest.mark.parametrize("format", FORMATS)
def test_a_database_and_a_folder_are_no_logs(
    format: str, tmp_path: Path, assert_refused: Refuse
) -> None:
    path = tmp_path / "store.json"
    path.write_bytes(database(tmp_path))
    assert_refused(format, path, "a SQLite database")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes").write_text("none", encoding="utf-8")
    refusal = ": needed " if format in FOLDERS else "needed a folder with logs"
    assert_refused(format, folder, refusal)


FORMAT_OF = {
    "atif.json": "atif",
    "claude-code.jsonl": "claude-code",
    "cline.json": "cline",
    "cline-compaction.json": "cline",
    "codex.jsonl": "codex",
    "edits.jsonl": "claude-code",
    "inspect.json": "inspect",
    "mini-swe-agent.traj.json": "swe-agent",
    "openhands.jsonl": "openhands",
    "openhands-request.json": "openhands",
    "otlp.jsonl": "otlp",
    "pi.jsonl": "pi",
    "qwen.jsonl": "qwen",
    "swe-agent.traj": "swe-agent",
    "swe-agent-demonstration.traj": "swe-agent",
}
"The format of each foreign log here."


def test_each_foreign_log_here_has_a_format() -> None:
    assert FORMAT_OF.keys() == {path.name for path in FOREIGN.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", FORMAT_OF)
def test_a_log_is_recognised_as_its_own_format_and_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (FOREIGN / name).read_text(encoding="utf-8")
    texts = [text] if name.endswith(("json", "traj")) else text.splitlines()
    assert {format_of(maybe_json(part)) for part in texts} - {None} == {FORMAT_OF[name]}
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(SystemExit) as end:
        main(["import", FORMAT_OF[name], str(FOREIGN / name)])
    assert end.value.code == 0
    assert not capsys.readouterr().out.startswith("added 0 events")


@pytest.mark.parametrize("given_as", FORMATS)
@pytest.mark.parametrize("name", FORMAT_OF)
def test_a_log_given_as_another_is_told_with_the_word_to_use(
    given_as: str, name: str, assert_refused: Refuse
) -> None:
    if given_as != FORMAT_OF[name]:
        meant = f"for which 'backcast import {FORMAT_OF[name]}' is meant"
        assert_refused(given_as, FOREIGN / name, meant)


@pytest.mark.parametrize("given_as", FORMATS)
def test_a_log_that_nothing_reads_is_known_by_name(
    given_as: str, tmp_path: Path, assert_refused: Refuse
) -> None:
    path = tmp_path / "ui_messages.json"
    path.write_text(json.dumps({"ts": 1, "type": "say", "say": "text", "text": "hello"}))
    assert_refused(given_as, path, "what Cline shows; its messages stand in")
    path.write_text(json.dumps([{"ts": 1, "type": "say", "say": "text", "text": "hi"}]))
    assert_refused(given_as, path, "its messages stand in api_conversation_history.json")


@pytest.mark.parametrize("name", ["messages", "history"])
def test_a_chat_without_marks_of_another_format_is_taken_as_one_of_swe_agent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chat.traj"
    path.write_text(json.dumps({name: [{"role": "user", "content": "Mend the till."}]}))
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(SystemExit) as end:
        main(["import", "swe-agent", str(path)])
    assert (end.value.code, capsys.readouterr().out[:8]) == (0, "added 3 ")


def test_a_chat_of_cline_is_no_trajectory(tmp_path: Path, assert_refused: Refuse) -> None:
    path = tmp_path / "api_conversation_history.json"
    path.write_text(
        json.dumps([{"role": "user", "content": [{"type": "text", "text": "<task>x"}]}])
    )
    assert_refused("swe-agent", path, "'backcast import cline'")
