"""Time to the first byte, and of a whole stream, through the proxy, beside a direct connection."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from scripts.benches.figures import ROOT, Bench, Bound, Figure, percentile

GROUP = "8 streams at once, over real HTTP"
AT_ONCE, ROUNDS = 8, 5
STAGGER = 0.009
"Seconds between the beginnings of two streams, as nobody asks at the same instant."
BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "%d"}]}'
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
            await reader.readexactly(int(size[0].split(b":")[1]) if size else 0)
            if b"/props" in head:
                writer.write(b"HTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n")
                continue
            await asyncio.sleep(0.02)
            writer.write(HEAD)
            for event in EVENTS:
                writer.write(b"%x\\r\\n%s\\r\\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0.01)
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
"A server that plays a stream of 60 events, 10 ms apart."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    calls = 400 if bench.full else 80
    bench.say(f"{calls} streams in each of {ROUNDS} rounds, direct and through the proxy")
    store = f"sqlite:///{bench.folder}/record.db"
    record = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()",
              "record", "--store", store, "--port", "0"]  # fmt: skip
    player = subprocess.Popen([sys.executable, "-c", PLAYER], stdout=subprocess.PIPE, text=True)
    assert player.stdout is not None
    port = int(player.stdout.readline())
    proxy = subprocess.Popen(
        [*record, "--to", f"http://127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert proxy.stderr is not None
        found = re.search(r"asked of http://127\.0\.0\.1:(\d+)", proxy.stderr.readline())
        assert found is not None
        ports = port, int(found[1])
        for place in ports:
            asyncio.run(_asked(place, 2 * AT_ONCE))
        took: list[tuple[list[float], list[float]]] = []
        for _ in range(ROUNDS):
            took += [asyncio.run(_asked(place, calls)) for place in ports]
    finally:
        proxy.terminate()
        proxy.wait()
        player.kill()
        player.wait()
    direct, through = took[::2], took[1::2]
    return [
        _added(direct, through, 50, Bound("<=", 3)),
        _added(direct, through, 99, Bound("<=", 20)),
        Figure(
            GROUP, "a whole stream, direct beside proxied",
            [median(d) / median(p) for (_, d), (_, p) in zip(direct, through, strict=True)],
            ours=f"{1000 * median(median(p) for _, p in through):.1f} ms",
            control=f"direct {1000 * median(median(d) for _, d in direct):.1f} ms",
            must=Bound(">=", 0.95),
        ),
    ]  # fmt: skip


Times = Sequence[tuple[list[float], list[float]]]


def _added(direct: Times, through: Times, percent: int, must: Bound) -> Figure:
    both = [[1000 * percentile(first, percent) for first, _ in side] for side in (direct, through)]
    return Figure(
        GROUP, f"added time to the first byte, p{percent}",
        [proxied - alone for alone, proxied in zip(*both, strict=True)], "ms",
        ours=f"{median(both[1]):.1f} ms", control=f"direct {median(both[0]):.1f} ms", must=must,
    )  # fmt: skip


async def _asked(port: int, calls: int) -> tuple[list[float], list[float]]:
    """Return the seconds to the first byte and to the end of each call."""
    first, whole = list[float](), list[float]()
    numbers = iter(range(calls))

    async def asking(place: int) -> None:
        await asyncio.sleep(place * STAGGER)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = BODY % number
            begin = time.perf_counter()
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"data:")
            first.append(time.perf_counter() - begin)
            await reader.readuntil(b"\r\n0\r\n\r\n")
            whole.append(time.perf_counter() - begin)
        writer.close()

    await asyncio.gather(*[asking(place) for place in range(AT_ONCE)])
    return first, whole
