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

Refuse = Callable[[str, Path, str], None]
FOREIGN = Path(__file__).parent.parent / "fixtures/foreign"
FORMATS = ["claude-code", "openhands", "cline", "inspect", "swe-agent", "events", "codex", "pi",
           "qwen"]  # fmt: skip


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
    # For OpenHands a folder is one log.
    own = format == "openhands"
    assert_refused(
        format, folder, "needed OpenHands events" if own else "needed a folder with logs"
    )


SAMPLES_OF = {
    "claude-code": "claude-code.jsonl", "openhands": "openhands.jsonl", "cline": "cline.json",
    "inspect": "inspect.json", "swe-agent": "swe-agent.traj", "codex": "codex.jsonl",
    "pi": "pi.jsonl", "qwen": "qwen.jsonl",
}  # fmt: skip


@pytest.mark.parametrize("given_as", FORMATS)
@pytest.mark.parametrize("format", SAMPLES_OF)
def test_a_log_given_as_another_is_told_with_the_word_to_use(
    given_as: str, format: str, assert_refused: Refuse
) -> None:
    if given_as == format:
        return
    path = FOREIGN / SAMPLES_OF[format]
    assert_refused(given_as, path, f"for which 'backcast import {format}' is meant")


@pytest.mark.parametrize("given_as", FORMATS)
def test_a_log_that_nothing_reads_is_known_by_name(
    given_as: str, tmp_path: Path, assert_refused: Refuse
) -> None:
    path = tmp_path / "ui_messages.json"
    path.write_text(json.dumps({"ts": 1, "type": "say", "say": "text", "text": "hello"}))
    assert_refused(given_as, path, "what Cline shows; its messages stand in")
    path.write_text(json.dumps([{"ts": 1, "type": "say", "say": "text", "text": "hi"}]))
    assert_refused(given_as, path, "its messages stand in api_conversation_history.json")


def test_a_chat_of_cline_is_no_trajectory(tmp_path: Path, assert_refused: Refuse) -> None:
    path = tmp_path / "api_conversation_history.json"
    path.write_text(
        json.dumps([{"role": "user", "content": [{"type": "text", "text": "<task>x"}]}])
    )
    assert_refused("swe-agent", path, "'backcast import cline'")
