"""A server of models that plays answers back over real HTTP, and a proxy in front of it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit
from typing import Any

import pytest

from backcast.domain.events import line_of
from backcast.engine.log.store import EventStore

BACKCAST = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()"]
KEY = "sk-not-to-be-kept-4711"


class Upstream(ThreadingHTTPServer):
    """A server whose answers a function plays; what was asked stands in `asked`."""

    daemon_threads = True

    def __init__(self, play: Callable[["Playing"], object]) -> None:
        super().__init__(("127.0.0.1", 0), Playing)
        self.play = play
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []
        self.gone = threading.Event()
        "Set when the other side has closed the connection while an answer was played."
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the other side hangs up is what is tested."""


class Playing(BaseHTTPRequestHandler):
    """One connection to it."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        """Play an answer."""
        self.do_POST()

    def do_POST(self) -> None:
        """Keep what is asked, and play an answer; this is no llama-server."""
        if self.path == "/props":
            self.whole(b"{}", 404)
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, self.body, headers))
        self.server.play(self)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def whole(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        """Answer at once."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str = "text/event-stream") -> None:
        """Begin a stream."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, body: bytes) -> None:
        """Send a chunk of it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()

    def end(self) -> None:
        """End it."""
        self.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break off."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def wait_until_gone(self) -> None:
        """Wait until the other side has closed the connection."""
        self.connection.settimeout(10)
        if self.connection.recv(1) == b"":
            self.server.gone.set()
        self.close_connection = True


@contextmanager
def upstream(play: Callable[[Playing], object]) -> Iterator[Upstream]:
    """Serve while the block runs."""
    server = Upstream(play)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Recorder:
    """A proxy that runs as its user starts it."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, said: str) -> None:
        self.process, self.port, self.began = process, port, said
        self.url = f"http://127.0.0.1:{port}"

    def ask(
        self, path: str, body: bytes, method: str = "POST", **headers: str
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Ask something, and return the connection and the beginning of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"} | named
        connection.request(method, path, body, sent)
        return connection, connection.getresponse()

    def said(self, path: str, body: bytes, method: str = "POST", **headers: str) -> bytes:
        """Return the whole body of an answer."""
        connection, answer = self.ask(path, body, method, **headers)
        try:
            return answer.read()
        finally:
            connection.close()

    def ended(self) -> str:
        """End it as Ctrl-C does, and return all that it said."""
        self.process.send_signal(2)
        _, said = self.process.communicate(timeout=20)
        return self.began + said


@contextmanager
def recorder(
    folder: Path, to: str, *options: str, largest: int = RLIM_INFINITY, **variables: str
) -> Iterator[Recorder]:
    """Run `backcast record` in a folder, with some variables set; it can write no file that is
    larger than `largest`, and keeps no byte code then: half of it would stay."""
    if largest != RLIM_INFINITY:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
    process = subprocess.Popen(
        [*BACKCAST, "record", "--to", to, "--port", "0", *options],
        cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables},
        preexec_fn=lambda: setrlimit(RLIMIT_FSIZE, (largest, largest)),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"asked of http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise AssertionError("the proxy did not start")
        yield Recorder(process, int(found[1]), said)
    finally:
        process.kill()
        process.communicate()


def backcast(folder: Path, *arguments: str, code: int = 0) -> bytes:
    """Return what a command prints."""
    done = subprocess.run([*BACKCAST, *arguments], cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout


def refused(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Return the exit code of a command, and the lines that it says on stderr."""
    done = subprocess.run([*BACKCAST, *arguments], cwd=folder, capture_output=True, timeout=60)
    return done.returncode, done.stderr.decode().splitlines()


def log(folder: Path, task: str | None = None) -> list[dict[str, Any]]:
    """Return the events of a task, or of the store."""
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        return [line_of(event) for event in store.read(task)]


def body(folder: Path, ref: str) -> bytes:
    """Return a body of the store."""
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        return store.get(ref)


def until(found: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds."""
    for _ in range(int(seconds * 50)):
        if found():
            return
        time.sleep(0.02)
    pytest.fail("it did not come to hold")


def chat(*texts: str, **fields: object) -> bytes:
    """Return the body of a request whose messages are a person's and the model's in turn."""
    messages = [
        {"role": "assistant" if place % 2 else "user", "content": text}
        for place, text in enumerate(texts)
    ]
    return json.dumps({"model": "m", "messages": messages, **fields}).encode()


def reply(text: str) -> bytes:
    """Return a whole answer."""
    message = {"role": "assistant", "content": text}
    return json.dumps({
        "model": "double", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }).encode()  # fmt: skip


def stream(texts: Sequence[str]) -> list[bytes]:
    """Return the chunks of a streamed answer."""
    parts = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    parts.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts] + [
        b"data: [DONE]\n\n"
    ]
