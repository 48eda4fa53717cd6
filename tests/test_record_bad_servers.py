"""Servers, bodies and clients as they should not be: what came is passed on, and the log tells."""

import gzip
import json
import socket
import sys
import threading
import time
import zlib
from contextlib import suppress
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.store import EventStore
from tests.raw_servers import RawConnection, raw_server
from tests.upstreams import (
    Playing,
    Recorder,
    backcast,
    body,
    chat,
    log,
    recorder,
    refused,
    reply,
    stream,
    until,
    upstream,
)

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"
JSON = "Content-Type: application/json"


def props(connection: RawConnection) -> bytes:
    """Read a request; the one by which a llama-server is known is refused, and the next read."""
    asked = connection.asked()
    while connection.server.asked[-1][0] == "/props":
        connection.server.asked.pop()
        connection.answer("Content-Length: 0", status="404 Not Found")
        asked = connection.asked()
    return asked


def failure(folder: Path, task: str = "recorded") -> dict[str, Any]:
    """The data of a task's last event, which tells a fault."""
    last = log(folder, task)[-1]
    assert last["type"] == "MODEL_FAILED"
    return last["data"]  # type: ignore[no-any-return]


def requests(folder: Path) -> dict[tuple[str, int], tuple[str, bytes]]:
    """The path and the body of each request, by its task and version, as `context` prints it."""
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        return {
            (task, found.version): (found.request.path, body_of(found, store.get))
            for task in store.tasks() for found in RequestReader(store, task).all()
        }  # fmt: skip


def begun(proxy: Recorder, body: bytes, size: int | None = None) -> socket.socket:
    """Send a request, or only the beginning of one that is said to be larger."""
    connection = socket.create_connection(("127.0.0.1", proxy.port))
    length = len(body) if size is None else size
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_a_server_that_never_answers_is_left_when_the_client_leaves(tmp_path: Path) -> None:
    heard = threading.Event()

    def play(connection: RawConnection) -> None:
        heard.set()
        connection.wait_until_gone()

    # The client leaves behind its request, and in the midst of it.
    large = chat("x" * 2**20)
    for sent, size in ((chat("Hi"), None), (large[: 2**19], len(large))):
        heard.clear()
        with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
            leaving = begun(proxy, b"", len(sent) if size is None else size)
            leaving.settimeout(10)
            sending = threading.Thread(target=_send, args=(leaving, sent))
            sending.start()
            assert heard.wait(10)
            time.sleep(0.5)
            leaving.shutdown(socket.SHUT_RDWR)
            leaving.close()
            sending.join()
            begin = time.monotonic()
            until(server.gone.is_set)
            assert time.monotonic() - begin < 2
            proxy.ended()
        assert failure(tmp_path, log(tmp_path)[-1]["task_id"])["kind"] == "left"
    backcast(tmp_path, "fsck")


def test_a_server_that_does_not_even_read_is_left_too(tmp_path: Path) -> None:
    """Behind more than any buffer holds the proxy still hears that its client leaves."""
    done = threading.Event()
    size = 2**25
    with (
        raw_server(lambda connection: done.wait(30)) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        leaving = begun(proxy, b"", size)
        leaving.settimeout(30)
        sending = threading.Thread(target=_send, args=(leaving, b"x" * size))
        sending.start()
        until(lambda: server.connections > 0)
        time.sleep(1)
        leaving.shutdown(socket.SHUT_RDWR)
        leaving.close()
        sending.join()
        until((tmp_path / "backcast.db").exists)
        until(lambda: bool(log(tmp_path)), 30)
        assert failure(tmp_path, log(tmp_path)[-1]["task_id"])["kind"] == "left"
        done.set()
        proxy.ended()


def test_a_server_that_reads_late_gets_every_byte(tmp_path: Path) -> None:
    large = chat("x" * 2**24)
    got: list[bytes] = []

    def play(connection: RawConnection) -> None:
        if not got:
            time.sleep(1.5)  # meanwhile more came than is held
        got.append(connection.asked())
        whole = reply("Yes")
        connection.answer(JSON, f"Content-Length: {len(whole)}", body=whole)

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        assert proxy.said(CHAT, large) == reply("Yes")
        proxy.ended()
    assert got[0] == large
    assert backcast(tmp_path, "context", "recorded") == large


def _send(connection: socket.socket, body: bytes) -> None:
    with suppress(OSError):
        connection.sendall(body)


def test_a_server_that_does_not_speak_http_is_told_to_both(tmp_path: Path) -> None:
    def play(connection: RawConnection) -> None:
        connection.asked()
        connection.bare.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        connection.bare.close()

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        connection, answer = proxy.ask(CHAT, chat("Hi"))
        assert answer.status == 502
        assert "broke off" in json.loads(answer.read())["error"]["message"]
        connection.close()
        proxy.ended()
    assert failure(tmp_path)["kind"] == "cut"


def test_a_server_that_closes_before_it_answers_is_no_server_that_is_not_there(
    tmp_path: Path,
) -> None:
    def play(connection: RawConnection) -> None:
        connection.asked()
        connection.bare.close()

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        connection, answer = proxy.ask(CHAT, chat("Hi"))
        assert answer.status == 502
        assert "cannot be reached" not in answer.read().decode()
        connection.close()
        assert "broke off" in proxy.ended()
        # A POST is not asked twice: the server may have begun to work on it.
        assert [path for path, _ in server.asked if path == CHAT] == [CHAT]
    assert failure(tmp_path)["kind"] == "cut"


def test_half_a_chunk_is_half_a_chunk_to_the_client(tmp_path: Path) -> None:
    [first, *_] = stream(["Half"])

    def play(connection: RawConnection) -> None:
        props(connection)
        whole = b"%x\r\n%s\r\n" % (len(first), first)
        connection.answer(
            "Content-Type: text/event-stream", "Transfer-Encoding: chunked",
            body=whole + b"ff\r\ndata: {",
        )  # fmt: skip
        connection.bare.close()

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        with pytest.raises(IncompleteRead) as caught:
            proxy.said(CHAT, chat("Hi", stream=True))
        assert caught.value.partial.startswith(first)
        proxy.ended()
    failed = failure(tmp_path)
    assert failed["kind"] == "cut"
    assert body(tmp_path, failed["text"]) == b"Half"
    assert body(tmp_path, failed["http_answer"]["body"]).startswith(first)


@pytest.mark.parametrize("more", [-5, 5])
def test_a_length_that_is_a_lie_is_seen_by_the_client_and_told(tmp_path: Path, more: int) -> None:
    whole = reply("Yes")

    def play(connection: RawConnection) -> None:
        props(connection)
        connection.answer(JSON, f"Content-Length: {len(whole) + more}", body=whole)
        connection.bare.close()

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        if more > 0:
            with pytest.raises(IncompleteRead):
                proxy.said(CHAT, chat("Hi"))
        else:
            assert proxy.said(CHAT, chat("Hi")) == whole[:more]
        proxy.said(CHAT, chat("And again")) if more < 0 else None
        proxy.ended()
    failed = failure(tmp_path)
    assert failed["kind"] == ("cut" if more > 0 else "garbled")
    came = body(tmp_path, failed["http_answer"]["body"])
    assert came == (whole if more > 0 else whole[:more])


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate"])
def test_a_compressed_answer_is_kept_as_it_came_and_read_where_it_can_be(
    tmp_path: Path, encoding: str
) -> None:
    plain = b"".join(stream(["It is ", "compressed"]))
    packed = {
        "gzip": gzip.compress(plain), "zstd": zstandard.compress(plain),
        "br": b"\x0b\x02\x80hi\x03", "deflate": zlib.compress(plain),
    }[encoding]  # fmt: skip
    seen: list[str] = []

    def play(asked: Playing) -> None:
        seen.append(asked.headers["Accept-Encoding"])
        asked.send_response(200)
        asked.send_header("Content-Type", "text/event-stream")
        asked.send_header("Content-Encoding", encoding)
        asked.send_header("Transfer-Encoding", "chunked")
        asked.end_headers()
        asked.chunk(packed[:7])
        asked.chunk(packed[7:])
        asked.end()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        assert proxy.said(CHAT, chat("Hi"), Accept_Encoding=encoding) == packed
        proxy.ended()
    assert seen == [encoding]
    last = log(tmp_path, "recorded")[-1]
    assert body(tmp_path, last["data"]["http_answer"]["body"]) == packed
    if encoding == "br":
        assert last["data"]["kind"] == "garbled"
        assert "found content in 'br'" in last["data"]["reason"]
    else:
        assert last["type"] == "MODEL_REPLIED"
        assert body(tmp_path, last["data"]["text"]) == b"It is compressed"


BODIES = {
    "not JSON": b"model=m&prompt=hello",
    "cut": chat("Hi")[:-3],
    "NaN": b'{"model": "m", "temperature": NaN, "messages": [{"role": "user", "content": "Hi"}]}',
    "infinite": b'{"top_p": -Infinity, "messages": [{"role": "user", "content": "Hi"}]}',
    "half a surrogate": b'{"messages": [{"role": "user", "content": "half \\ud83d of it"}]}',
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "a mark first": b'\xef\xbb\xbf{"messages": [{"role": "user", "content": "Hi"}]}',
    "empty": b"",
    "a list": b'[{"role": "user", "content": "Hi"}]',
    "odd messages": b'{"messages": [1, null, {"role": 7}, {"role": "user", "content": {"a": 1}}]}',
    "twice the same key": b'{"messages": [], "messages": [{"role": "user", "content": "Hi"}]}',
    "deep": b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "large number": b'{"seed": ' + b"9" * 5000 + b', "messages": []}',
    "NUL": b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}',
}


def test_any_body_goes_through_and_is_given_again(tmp_path: Path) -> None:
    paths = (CHAT, "/v1/messages", "/v1/responses", "/v1/completions")
    with (
        upstream(lambda asked: asked.whole(asked.body, 400)) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        for path in paths:
            for asked in BODIES.values():
                assert proxy.said(path, asked) == asked
        said = proxy.ended()
    assert "Traceback" not in said
    assert f"{len(BODIES) * len(paths)} calls seen" in said
    built = [event for event in log(tmp_path) if event["type"] == "CONTEXT_BUILT"]
    assert len(built) == len(BODIES) * len(paths)
    given = [body for path, body in requests(tmp_path).values() if path == CHAT]
    assert sorted(given) == sorted(BODIES.values())
    shown = backcast(tmp_path, "verify")
    assert shown.count(b"rebuilt: same") == len(built)
    backcast(tmp_path, "fsck")


@pytest.mark.parametrize("half", [b"\\ud83d", b"\xff"])
def test_odd_text_in_an_answer_is_kept(tmp_path: Path, half: bytes) -> None:
    whole = reply("Yes @").replace(b"@", half)
    with (
        upstream(lambda asked: asked.whole(whole)) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        assert proxy.said(CHAT, chat("Hi")) == whole
        proxy.ended()
    last = log(tmp_path, "recorded")[-1]
    assert body(tmp_path, last["data"]["http_answer"]["body"]) == whole
    backcast(tmp_path, "log", "recorded", "--json")
    assert b"rebuilt: same" in backcast(tmp_path, "verify")


def test_two_clients_with_one_session_at_once_lose_nothing(tmp_path: Path) -> None:
    with (
        upstream(lambda asked: asked.whole(reply(f"Yes to {len(asked.body)}"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        first = proxy.said(CHAT, chat("Begin"))
        words = json.loads(first)["choices"][0]["message"]["content"]
        got: dict[str, bytes] = {}

        def ask(name: str) -> None:
            for turn in range(10):
                question = f"{name}{turn}"
                got[question] = proxy.said(CHAT, chat("Begin", words, question))

        asking = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        proxy.ended()
    events = log(tmp_path, "recorded")
    versions = [event["version"] for event in events]
    assert versions == list(range(1, len(events) + 1))
    built = {event["version"]: event for event in events if event["type"] == "CONTEXT_BUILT"}
    bodies, answers = requests(tmp_path), dict[str, bytes]()
    for event in events:
        if event["type"] == "MODEL_REPLIED":
            [cause] = event["because"]
            asked = json.loads(bodies["recorded", cause][1])
            answers[asked["messages"][-1]["content"]] = body(
                tmp_path, event["data"]["http_answer"]["body"]
            )
    assert len(built) == 21
    assert answers == got | {"Begin": first}


def test_a_command_that_asks_nothing_ends_with_one_and_says_so(tmp_path: Path) -> None:
    with upstream(lambda asked: asked.whole(reply("Yes"))) as server:
        code, lines = refused(tmp_path, "record", "--to", server.url, "--", "true")
        assert (code, len(lines)) == (1, 2)
        assert "0 calls seen" in lines[0]
        assert "the command asked nothing here: if it asked a model, it may not read" in lines[1]
        asks = (
            "import os, urllib.request as u;"
            "u.urlopen(os.environ['OPENAI_BASE_URL'] + '/models').read()"  # else it leaves too soon
        )
        command = (sys.executable, "-c", asks)
        code, lines = refused(tmp_path, "record", "--to", server.url, "--", *command)
        assert code == 1
        assert lines[-2].endswith("0 calls seen, 1 request asking no model")
        assert "no answer of a model was asked for" in lines[-1], "it did ask this server"
        code, lines = refused(tmp_path, "record", "--to", server.url, "--", "./no-such-command")
        assert code == 2
        assert len(lines) == 1
        assert "./no-such-command" in lines[0]
        (tmp_path / "not-executable").write_text("#!/bin/sh\n")
        code, lines = refused(tmp_path, "record", "--to", server.url, "--", "./not-executable")
        assert code == 2
        assert len(lines) == 1
        with recorder(tmp_path, server.url) as proxy:
            said = proxy.ended()
        assert "0 calls seen" in said
        assert "nothing was recorded" in said


def test_the_client_may_leave_between_two_chunks_of_its_own(tmp_path: Path) -> None:
    """A request that never ends is no request that the server was asked: what came is kept."""
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        connection = begun(proxy, chat("Hi")[:20], 100)
        time.sleep(0.3)
        connection.close()
        try:
            proxy.said(CHAT, chat("Still here?"))
        except HTTPException:
            pytest.fail("the proxy serves no other client")
        proxy.ended()
    kinds = [event["data"].get("kind") for event in log(tmp_path) if "FAILED" in event["type"]]
    assert kinds == ["left"]
