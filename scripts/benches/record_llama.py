"""Tokens a second of a real llama-server with four slots, directly and through the proxy."""

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from scripts.benches.figures import Bench, Bound, Figure, ratios
from scripts.benches.record_running import answered, proxied

GROUP = "a real llama-server, 4 slots, 4 streams at once"
SLOTS, ROUNDS, TOKENS = 4, 4, 48


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--server", type=Path, metavar="FILE", help="the program llama-server")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="the model that it serves")


def measure(bench: Bench) -> list[Figure]:
    """Return the row of the table."""
    what = "streamed tokens a second, proxied beside direct"
    server, model = bench.options.server, bench.options.gguf
    if not (server and model):
        return [Figure(GROUP, what, why="needs --server FILE --gguf FILE")]
    bench.say("streams of a real llama-server")
    direct, through = list[float](), list[float]()
    with _serving(bench, server, model) as port, proxied(bench, port, "llama") as proxy:
        for number in range(ROUNDS + 1):
            for place, rates in ((port, direct), (proxy.port, through)):
                rates.append(asyncio.run(_rate(place, number)))
    return [
        Figure(
            GROUP, what, ratios(through[1:], direct[1:]),
            ours=f"{median(through[1:]):,.1f} tokens/s",
            control=f"direct {median(direct[1:]):,.1f} tokens/s", must=Bound(">=", 0.95),
        )
    ]  # fmt: skip


async def _rate(port: int, number: int) -> float:
    """Return the tokens a second of all slots together."""

    async def asking(place: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        body = {
            "stream": True, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True,
            "messages": [{"role": "user", "content": f"Tell story {number} of {place}."}],
        }  # fmt: skip
        _, _, rest = await answered(reader, writer, json.dumps(body).encode())
        writer.close()
        return rest.count(b"data:")

    begin = time.perf_counter()
    counts = await asyncio.gather(*[asking(place) for place in range(SLOTS)])
    return sum(counts) / (time.perf_counter() - begin)


@contextmanager
def _serving(bench: Bench, server: Path, model: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [server, "-m", model, "--host", "127.0.0.1", "--port", str(port), "-c", "4096",
               "-np", str(SLOTS), "--threads", "1"]  # fmt: skip
    libraries = f"{server.resolve().parent}:{server.resolve().parents[1] / 'lib'}"
    with (bench.folder / "llama.txt").open("w") as said:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=said, stderr=said,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )  # fmt: skip
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            if process.poll() is not None:
                raise OSError(f"{server}: ended with {process.returncode}")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()
