"""Servers behind TLS, behind proxies that the environment names, and connections that are kept."""

import time
from pathlib import Path

import pytest

from tests.raw_servers import RawConnection, certificate, raw_server
from tests.test_record_bad_servers import CHAT, JSON, props
from tests.upstreams import backcast, body, chat, log, recorder, reply, stream, upstream

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")


def answer(connection: RawConnection) -> None:
    props(connection)
    whole = reply("Yes")
    connection.answer(JSON, f"Content-Length: {len(whole)}", body=whole)


def test_a_server_behind_tls_is_recorded_where_its_certificate_is_trusted(tmp_path: Path) -> None:
    cert, context = certificate(tmp_path)
    chunks = stream(["Saf", "ely"])

    def play(connection: RawConnection) -> None:
        props(connection)
        framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        connection.answer(
            "Content-Type: text/event-stream", "Transfer-Encoding: chunked",
            body=framed + b"0\r\n\r\n",
        )  # fmt: skip

    with (
        raw_server(play, context) as server,
        recorder(tmp_path, server.url, SSL_CERT_FILE=str(cert)) as proxy,
    ):
        assert proxy.said(CHAT, chat("Hi", stream=True)) == b"".join(chunks)
        proxy.ended()
    last = log(tmp_path, "recorded")[-1]
    assert body(tmp_path, last["data"]["text"]) == b"Safely"
    assert b"rebuilt: same" in backcast(tmp_path, "verify")


def test_a_certificate_that_nobody_trusts_is_one_clear_line(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    with raw_server(answer, context) as server, recorder(tmp_path, server.url) as proxy:
        connection, came = proxy.ask(CHAT, chat("Hi"))
        assert came.status == 502
        said = came.read().decode()
        connection.close()
        lines = proxy.ended().splitlines()
    assert "certificate" in said
    assert "SSL_CERT_FILE" in said
    [line] = [line for line in lines if "certificate" in line]
    assert "SSL_CERT_FILE" in line
    assert log(tmp_path, "recorded")[-1]["data"]["kind"] == "unavailable"


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(
            tmp_path,
            server.url,
            HTTP_PROXY=nowhere,
            http_proxy=nowhere,
            ALL_PROXY=nowhere,
            all_proxy=nowhere,
        ) as proxy,
    ):
        assert proxy.said(CHAT, chat("Hi")) == reply("Yes")
        proxy.ended()
    assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_asked_for_other_machines(tmp_path: Path) -> None:
    """As a company's network needs it: the recording is no other client than the agent was."""
    with (
        raw_server(answer) as server,
        recorder(tmp_path, "http://models.invalid:80", HTTP_PROXY=server.url,
                 http_proxy=server.url, NO_PROXY="", no_proxy="") as proxy,
    ):  # fmt: skip
        assert proxy.said(CHAT, chat("Hi")) == reply("Yes")
        proxy.ended()
    assert f"http://models.invalid:80{CHAT}" in [path.replace("invalid/", "invalid:80/")
                                                 for path, _ in server.asked]  # fmt: skip


def test_a_connection_is_used_again_and_one_that_was_closed_meanwhile_is_not(
    tmp_path: Path,
) -> None:
    def play(connection: RawConnection) -> None:
        answer(connection)
        if b"close" in connection.server.asked[-1][1]:
            time.sleep(0.3)
            raise EOFError  # closes it, as servers do with idle ones

    with raw_server(play) as server, recorder(tmp_path, server.url) as proxy:
        for number in range(5):
            assert proxy.said(CHAT, chat(f"go on {number}")) == reply("Yes")
        # The proxy's own question (is it a llama-server?) takes another.
        assert server.connections <= 3
        for number in range(3):
            assert proxy.said(CHAT, chat(f"then close {number}")) == reply("Yes")
            time.sleep(0.7)
        assert proxy.said(CHAT, chat("at the end")) == reply("Yes")
        proxy.ended()
    asked = [path for path, _ in server.asked if path == CHAT]
    assert len(asked) == 9
    kinds = [event["type"] for event in log(tmp_path)]
    assert "MODEL_FAILED" not in kinds
