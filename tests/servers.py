"""Servers to ask: llama.cpp's own with a tiny model, and one that answers as badly as told."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.models import FOLDER

BINARY = FOLDER / "llama-server"
QWEN_TEMPLATE = FOLDER / "qwen3.jinja"
OLD_MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
"The template of Mistral 7B Instruct v0.1 and v0.2, but for its check that roles alternate."
FINE = {
    "choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    "model": "double",
}


WATCH = """
import os, shutil, signal, sys
if not sys.stdin.read():  # nothing came before the pipe was closed: it was not done in order
    try:
        os.kill(int(sys.argv[1]), signal.SIGQUIT)  # PostgreSQL stops at once
    except OSError:
        pass
    shutil.rmtree(sys.argv[2], ignore_errors=True) if sys.argv[2] else None
"""


@contextmanager
def ended_with_us(pid: int, folder: Path | None = None) -> Iterator[None]:
    """A watch that ends a server, and removes its folder, when this process is killed."""
    command = [sys.executable, "-c", WATCH, str(pid), str(folder or "")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watch:
        try:
            yield
        finally:
            watch.communicate(b"done")


@contextmanager
def llama_server(model: str, folder: Path, *options: str) -> Iterator[str]:
    """The URL of a llama-server with two slots; a test that needs one is skipped without."""
    path = FOLDER / f"tiny-{model}.gguf"
    for file, script in ((BINARY, "install --server"), (path, "tiny-models")):
        if not file.exists():
            pytest.skip(f"no {file.name}: scripts/{script} makes it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(BINARY), "-m", str(path), "--host", "127.0.0.1", "--port", port]
    command += ["-c", "16384", "-np", "2", "--slots", "--threads", "1", *options]
    with (folder / f"{port}.log").open("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            with ended_with_us(process.pid):
                _wait(f"http://127.0.0.1:{port}", process, folder / f"{port}.log")
                yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with suppress(OSError):
            if asked(url, "/health"):
                return
        time.sleep(0.1)
    raise AssertionError(f"llama-server did not start: {log.read_text()[-2000:]}")


def asked(url: str, path: str) -> Any:
    """What a server has at a path."""
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return json.load(answer)


class Hostile(ThreadingHTTPServer):
    """A server whose answer to a prompt a function writes; what is asked stands in `bodies`,
    and by which key in `told`."""

    daemon_threads = True
    owner = "double"

    def __init__(self, answer: Callable[["Handler"], object]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.over = answer, threading.Event()
        self.bodies: list[dict[str, Any]] = []
        self.told: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the other side hangs up is what is tested."""


class Handler(BaseHTTPRequestHandler):
    """One connection to it."""

    server: Hostile
    body: dict[str, Any]
    "What was asked on this connection: others may ask at the same time."

    def do_GET(self) -> None:
        """Tell a model's name, and nothing that llama.cpp tells."""
        if self.path == "/v1/models":
            self.say({"data": [{"id": "double", "owned_by": self.server.owner}]})
        else:
            self.say({"error": {"message": "no such page"}}, 404)

    def do_POST(self) -> None:
        """Answer as the server was told to."""
        length = int(self.headers["Content-Length"])
        self.body = json.loads(self.rfile.read(length))
        self.server.bodies.append(self.body)
        self.server.told.append(self.headers["Authorization"])
        self.server.answer(self)

    def say(
        self, body: object, status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        """Send a body: text and bytes as they are, all else as JSON."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        sent = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.pop("length", str(len(sent))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hostile(answer: Callable[[Handler], object], owner: str = "double") -> Iterator[Hostile]:
    """A server that answers every prompt by a function, for as long as the block lasts."""
    with Hostile(answer) as server:
        server.owner = owner
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def stops(url: str) -> bool:
    """Whether a llama-server stops to generate for a client that has hung up.

    It looks for that whenever nothing else happened in it for a second: who looks more often keeps
    it from looking.
    """
    for _ in range(3):
        time.sleep(1.3)
        if not any(slot["is_processing"] for slot in asked(url, "/slots")):
            return True
    return False
