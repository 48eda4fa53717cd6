"""A server that plays streams, a recording proxy before it, and what a client of either sees."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.benches.figures import ROOT, Bench

QUICK = b"quick"
"A request that says so is answered at once."
PLAYER = """
import asyncio, json
EVENTS = [b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": f"w{n} "}}]}
          ).encode() + b"\\n\\n" for n in range(60)] + [b"data: [DONE]\\n\\n"]
HEAD = (b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\n"
        b"Transfer-Encoding: chunked\\r\\n\\r\\n")
async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            size = [line for line in head.lower().split(b"\\r\\n") if b"content-length" in line]
            body = await reader.readexactly(int(size[0].split(b":")[1]) if size else 0)
            if b"/props" in head:
                writer.write(b"HTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n")
                continue
            quick = b"quick" in body[:200]
            await asyncio.sleep(0 if quick else 0.02)
            writer.write(HEAD)
            for event in EVENTS[-4:] if quick else EVENTS:
                writer.write(b"%x\\r\\n%s\\r\\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0 if quick else 0.01)
            writer.write(b"0\\r\\n\\r\\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"A server that plays a stream of 60 events, 10 ms apart; or of 4, at once."


RELAY = """
import asyncio, sys
async def copied(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(copied(reader, there[1]), copied(there[0], writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"What any process between two others costs: it copies bytes, and knows nothing of HTTP."


class RunningProxy(NamedTuple):
    """A proxy that records."""

    port: int
    pid: int

    def pids(self) -> list[int]:
        """Return its process, and that of its recording."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    def megabytes(self, name: str) -> list[float]:
        """Return what the kernel says of the memory of each process: VmRSS now, VmHWM at most."""
        found = []
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) / 1024 for line in lines if line.startswith(name)]
        return found


@contextmanager
def played(script: str = PLAYER, *arguments: object) -> Iterator[int]:
    """Play streams on a port, or relay to another, for as long as the block lasts."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert player.stdout is not None
        yield int(player.stdout.readline())
    finally:
        player.kill()
        player.wait()


@contextmanager
def proxied(bench: Bench, port: int, name: str) -> Iterator[RunningProxy]:
    """Record what is asked of a port for as long as the block lasts, into a store of a name."""
    command = [
        sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()", "record",
        "--store", f"sqlite:///{bench.folder}/{name}.db", "--port", "0",
        "--to", f"http://127.0.0.1:{port}",
    ]  # fmt: skip
    with (bench.folder / f"{name}.txt").open("w+") as said:
        proxy = subprocess.Popen(command, stderr=said, text=True, cwd=ROOT)
        try:
            yield RunningProxy(_port(proxy, bench.folder / f"{name}.txt"), proxy.pid)
        finally:
            proxy.terminate()
            proxy.wait()


def _port(proxy: "subprocess.Popen[str]", said: Path) -> int:
    for _ in range(600):
        if found := re.search(r"asked of http://127\.0\.0\.1:(\d+)", said.read_text()):
            return int(found[1])
        if proxy.poll() is not None:
            break
        time.sleep(0.1)
    raise OSError(f"the proxy did not start: {said.read_text()[-200:]}")


async def answered(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> tuple[float, float, bytes]:
    """Ask, and return the seconds to the first event, to the end, and the answer."""
    begin = time.perf_counter()
    head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n")  # fmt: skip
    writer.write(head % len(body) + body)
    await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"data:")
    first = time.perf_counter() - begin
    rest = await reader.readuntil(b"\r\n0\r\n\r\n")
    return first, time.perf_counter() - begin, rest
