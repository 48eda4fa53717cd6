"""The proxy's connections to its server, and the process that writes what they bring."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from backcast.domain.errors import UnavailableError
from tests.upstreams import Playing, Recorder, backcast, chat, log, recorder, reply, until, upstream

httpx = pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_an_idle_connection_that_says_something_answers_no_request() -> None:
    from backcast.engine.interfaces.proxy.connections import StreamTransport

    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(FINE)

    async def run() -> list[bytes]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = httpx.AsyncClient(transport=StreamTransport(httpx.Limits()))
        bodies = [(await client.get(url)).content for _ in range(2)]
        assert len(connections) == 1
        connections[0].write(b"HTTP/1.1 408 Late\r\ncontent-length: 4\r\n\r\nlate")
        await asyncio.sleep(0.1)
        bodies.append((await client.get(url)).content)
        await client.aclose()
        for writer in connections:
            writer.close()
        server.close()
        await server.wait_closed()
        return bodies

    assert asyncio.run(run()) == [b"ok"] * 3
    assert len(connections) == 2


def test_a_killed_recording_loses_nothing_and_is_told(tmp_path: Path) -> None:
    def tasks() -> set[str]:
        with suppress(UnavailableError):
            return {event["task_id"] for event in log(tmp_path)}
        return set()

    def play(asked: Playing) -> None:
        asked.whole(reply("Fine."))

    with upstream(play) as server:
        with recorder(tmp_path, server.url) as proxy:
            proxy.said(CHAT, chat("One"))
            until(lambda: "recorded" in tasks())
            task = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
            if not task.exists():
                pytest.skip("needs /proc")
            [recording] = map(int, task.read_text().split())
            os.kill(recording, signal.SIGKILL)
            assert b"Fine." in proxy.said(CHAT, chat("Two"))
            assert "the recording was ended from outside" in proxy.ended()
        with recorder(tmp_path, server.url) as proxy:
            until(lambda: "recorded-2" in tasks())
            assert "1 whole" in proxy.ended()
    backcast(tmp_path, "fsck")


@pytest.mark.parametrize("later", [False, True])
def test_of_two_runs_that_began_alike_each_goes_on_with_its_own_answer(
    tmp_path: Path, later: bool
) -> None:
    answers = iter(("Left.", "Right.", "Done.", "Done."))

    def answered() -> list[str]:
        with suppress(UnavailableError):
            return [row["task_id"] for row in log(tmp_path) if row["type"] == "MODEL_REPLIED"]
        return []

    def go_on(proxy: Recorder) -> None:
        proxy.said(CHAT, chat("Which way?", "Left.", "And then?"))
        proxy.said(CHAT, chat("Which way?", "Right.", "And then?"))
        until(lambda: len(answered()) == 4)

    with upstream(lambda asked: asked.whole(reply(next(answers)))) as server:
        with recorder(tmp_path, server.url) as proxy:
            proxy.said(CHAT, chat("Which way?"))
            until(lambda: len(answered()) == 1)
            proxy.said(CHAT, chat("Which way?"))
            until(lambda: len(answered()) == 2)
            if not later:
                go_on(proxy)
            proxy.ended()
        if later:  # what it knew stands in the log
            with recorder(tmp_path, server.url) as proxy:
                go_on(proxy)
                proxy.ended()
    assert answered() == ["recorded", "recorded-2", "recorded", "recorded-2"]
