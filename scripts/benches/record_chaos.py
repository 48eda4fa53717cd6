"""Calls under all that goes wrong: is each that its client saw finished in the log, to the byte?

Clients leave and are cut, the server errs, tears its streams and is killed, and so is the proxy.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from backcast.domain.events import ModelFailed, ModelReplied
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.fsck import check
from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import SAME, verified
from scripts.benches.figures import ROOT, Bench, Bound, Figure

GROUP = "calls under all that goes wrong"
AT_ONCE = 8
LIVES = 12
"Lives of the proxy, and of the server, each but the last ended by kill -9."
PLAYER = """
import hashlib, json, random, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Server(ThreadingHTTPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 128
    def handle_error(self, *_): pass
class Play(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def head(self, status, *more):
        self.send_response(status)
        for name, value in more: self.send_header(name, value)
        self.end_headers()
    def do_GET(self): self.head(404, ("Content-Length", "0"))
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        draw, name = random.Random(body), hashlib.sha1(body).hexdigest()
        chance = draw.random()
        said = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message":
               {"role": "assistant", "content": name * draw.randrange(1, 200)}}]}).encode()
        if chance < 0.1:
            said = b'{"error": {"message": "overloaded"}}'
        if chance < 0.35:
            self.head(500 if chance < 0.1 else 200, ("Content-Type", "application/json"),
                      ("Content-Length", str(len(said))))
            self.wfile.write(said)
            return
        self.head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
        torn = draw.randrange(1, 6) if chance > 0.9 else 0
        for number in range(draw.randrange(6, 40)):
            if torn and number == torn:
                if draw.random() < 0.5:
                    self.wfile.write(b"ff\\r\\ndata: {")  # half a chunk
                self.close_connection = True
                self.connection.close()
                return
            event = {"choices": [{"index": 0, "delta": {"content": f"{name[:8]} {number} "}}]}
            chunk = b"data: " + json.dumps(event).encode() + b"\\n\\n"
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(chunk), chunk))
            if draw.random() < 0.1: time.sleep(0.003)
        end = (b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\\n\\n'
               b"data: [DONE]\\n\\n")
        self.wfile.write(b"%x\\r\\n%s\\r\\n0\\r\\n\\r\\n" % (len(end), end))
Server(("127.0.0.1", int(sys.argv[1])), Play).serve_forever()
"""
"A server that answers in all ways, by chance that the request decides."
RECORD = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()", "record"]


class Outcome(NamedTuple):
    """What came of the calls."""

    begun: int
    finished: int
    "Answers that a client saw to their end."
    lost: list[str]
    "Those that are not in the log to the byte, request and answer."
    twice: int
    torn: int
    "Requests of which not all had come when the proxy was killed, or the client left."
    recorded: Counter[str]
    "Exchanges in the log, by what they ended as."
    damage: list[str]
    unlike: int
    "Requests that are not rebuilt to the byte."
    kills: int


class _Clients:
    """Clients that ask at once, leave by chance, and keep what they saw finished."""

    def __init__(self, port: int) -> None:
        self.port, self.count, self.lock = port, 0, threading.Lock()
        self.got: dict[bytes, bytes] = {}
        self.stop = False

    def ask(self, seed: int, most: int) -> None:
        """Make calls until there were enough; while no proxy listens, none is made."""
        draw = random.Random(seed)
        while not self.stop:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.connect()
            except OSError:
                time.sleep(0.05)
                continue
            with self.lock:
                if self.count >= most:
                    connection.close()
                    return
                self.count += 1
                number = self.count
            with suppress(OSError, HTTPException):
                self._call(connection, draw, _body(number))

    def _call(self, connection: HTTPConnection, draw: random.Random, body: bytes) -> None:
        try:
            connection.request(
                "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
            )
            if draw.random() < 0.05:
                return  # before anything came
            answer = connection.getresponse()
            if draw.random() < 0.12:
                answer.read(draw.randrange(1, 300))
                return
            came = answer.read()
            # What the proxy itself says of a server that is not there is no server's answer.
            if answer.status != 502:
                with self.lock:
                    self.got[body] = came
        finally:
            connection.close()


def _body(number: int) -> bytes:
    messages = [{"role": "system", "content": "You are terse. " * 20},
                {"role": "user", "content": f"question {number}"}]  # fmt: skip
    return json.dumps({"model": "m", "stream": number % 3 > 0, "messages": messages}).encode()


def chaos(folder: Path, calls: int, lives: int = LIVES) -> Outcome:
    """Make calls while proxy and server are killed again and again, and read the log."""
    url = f"sqlite:///{folder}/chaos.db"
    port, own = _free(), _free()
    clients, draw, kills = _Clients(own), random.Random(1), 0
    server, proxy = _server(port), _proxy(url, port, own)
    try:
        for life in range(1, lives + 1):
            most = calls * life // lives
            asking = [
                threading.Thread(target=clients.ask, args=(life * AT_ONCE + place, most))
                for place in range(AT_ONCE)
            ]
            for thread in asking:
                thread.start()
            if life < lives:
                # In the midst of the calls, at a place that differs from life to life.
                until = most - (calls // lives) * draw.randrange(10, 60) // 100
                while clients.count < until:
                    time.sleep(0.005)
                proxy.kill()
                proxy.wait()
                proxy, kills = _proxy(url, port, own), kills + 1
                if life % 2:
                    server.kill()
                    server.wait()
                    server, kills = _server(port), kills + 1
            for thread in asking:
                thread.join()
    finally:
        clients.stop = True
        proxy.terminate()
        proxy.wait()
        server.kill()
        server.wait()
    return _outcome(url, clients, kills)


def _outcome(url: str, clients: _Clients, kills: int) -> Outcome:
    held: dict[bytes, bytes] = {}
    kinds: Counter[str] = Counter()
    seen: Counter[bytes] = Counter()
    unlike = 0
    with EventStore.open(url, create=False) as store:
        for task in store.tasks():
            bodies = {}
            for found in RequestReader(store, task).all():
                bodies[found.version] = body_of(found, store.get)
                seen[bodies[found.version]] += 1
            for event in store.read(task, types=["MODEL_REPLIED", "MODEL_FAILED"]):
                fact = event.fact
                assert isinstance(fact, ModelReplied | ModelFailed)
                came = fact.http_answer
                whole = store.get(came.body) if came is not None and came.body else b""
                held[bodies[event.because[0]]] = whole
                kinds[getattr(fact, "kind", None) or "replied"] += 1
            unlike += sum(verdict.rebuilt.verdict != SAME for verdict in verified(store, task))
        damage = list(check(store))
    lost = [body.decode() for body, came in clients.got.items() if held.get(body) != came]
    asked = {_body(number) for number in range(1, clients.count + 1)}
    twice = sum(count - 1 for body, count in seen.items() if body in asked)
    torn = sum(count for body, count in seen.items() if body not in asked)
    return Outcome(clients.count, len(clients.got), lost, twice, torn, kinds, damage, unlike, kills)


def _free() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _server(port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", PLAYER, str(port)])
    _wait_for(port)
    return process


def _proxy(url: str, to: int, port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [*RECORD, "--store", url, "--to", f"http://127.0.0.1:{to}", "--port", str(port)],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait_for(port)
    return process


def _wait_for(port: int) -> None:
    import socket

    for _ in range(3000):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise OSError(f"nothing listens on port {port}")


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    calls = 10_000 if bench.full else 300
    lives = LIVES if bench.full else 4
    bench.say(f"{calls:,} calls, {AT_ONCE} at once, while clients leave and servers are killed")
    begin = time.monotonic()
    found = chaos(bench.folder, calls, lives)
    took = time.monotonic() - begin
    ended = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.recorded.items()))
    seen = f"{found.finished:,} of {found.begun:,} seen finished by their clients"
    rows = (
        ("finished calls that are not in the log to the byte", len(found.lost), seen),
        ("calls that are in the log twice", found.twice, f"recorded: {ended}"),
        ("requests that are not rebuilt to the byte", found.unlike,
         f"{sum(found.recorded.values()):,} requests, {found.torn} of them torn"),
        ("damage that fsck finds", len(found.damage), f"{found.kills} kills, {took:.0f} s"),
    )  # fmt: skip
    return [
        Figure(GROUP, name, [float(count)], "", ours=f"{count:,}", control=control,
               must=Bound("<=", 0))
        for name, count, control in rows
    ]  # fmt: skip
