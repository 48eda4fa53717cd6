"""Large requests, and many small ones: time, memory, and whether other streams are held up."""

import asyncio
import json
import time
from pathlib import Path
from statistics import median

from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.record_running import QUICK, RunningProxy, answered, played, proxied

LARGE = "large requests"
MANY = "memory over many calls"
SIZES = (1, 10, 50)
"Megabytes."
LIMIT = 2**22
SHORT = b'{"stream": true, "user": "%s", "messages": [{"role": "user", "content": "%d"}]}'


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    with played() as port:
        rows = [row for size in SIZES for row in _large(bench, port, size)]
        return [*rows, *_many(bench, port)]


def _large(bench: Bench, port: int, size: int) -> list[Figure]:
    bench.say(f"a request of {size} MB")
    text = "def f(x):\n    return 'é' + x\n" * (size * 2**20 // 31)
    said = [{"role": "user", "content": text}]
    body = b'{"user": "%s", "messages": %s}' % (QUICK, json.dumps(said).encode())
    with proxied(bench, port, f"large-{size}") as proxy:
        times: list[tuple[float, float]] = []
        for number in range(4):
            fresh = body.replace(b'"user":', b'"round": %d, "user":' % number, 1)
            direct, through = (asyncio.run(_once(place, fresh)) for place in (port, proxy.port))
            times.append((direct, through))
            _written(proxy, bench.folder / f"large-{size}.db-recording")
        peaks = proxy.megabytes("VmHWM")
        alone, beside = asyncio.run(_small_beside(proxy, body))
    times = times[1:]
    more = [1000 * (through - direct) for direct, through in times]
    name = f"{size} MB"
    return [
        Figure(
            LARGE, f"added time of a request of {name}", more, "ms",
            ours=f"{1000 * median(t for _, t in times):,.0f} ms",
            control=f"direct {1000 * median(d for d, _ in times):,.0f} ms",
        ),
        Figure(
            LARGE, f"a small stream's first byte while {name} is recorded, p99", [beside], "ms",
            ours=f"{beside:.1f} ms", control=f"with nothing beside it {alone:.1f} ms",
        ),
        Figure(
            LARGE, f"most memory, {name}: proxy and recording", [sum(peaks)], "MB",
            ours=" and ".join(f"{peak:,.0f} MB" for peak in peaks),
            control=f"the body {len(body) / 2**20:,.0f} MB",
        ),
    ]  # fmt: skip


async def _once(port: int, body: bytes) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
    _, whole, _ = await answered(reader, writer, body)
    writer.close()
    return whole


async def _small_beside(proxy: RunningProxy, body: bytes) -> tuple[float, float]:
    """Return p99 of small streams' first bytes alone, and while a large body is recorded."""
    found = []
    for large in (False, True):
        if large:
            await _once(proxy.port, body.replace(b'"user":', b'"last": 1, "user":', 1))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=LIMIT)
        first, end = list[float](), time.perf_counter() + 3
        while time.perf_counter() < end:
            first.append((await answered(reader, writer, SHORT % (QUICK, len(first))))[0])
            await asyncio.sleep(0.01)
        writer.close()
        found.append(1000 * percentile(first, 99))
    return found[0], found[1]


def _written(proxy: RunningProxy, folder: Path) -> None:
    """Wait until all is in the store."""
    for _ in range(1200):
        if not any(file.name != "lock" for each in folder.iterdir() for file in each.iterdir()):
            return
        time.sleep(0.1)
    raise OSError(f"{folder}: not written within two minutes")


def _many(bench: Bench, port: int) -> list[Figure]:
    early, calls = 1000, 10_000 if bench.full else 3000
    bench.say(f"memory over {calls:,} calls")
    with proxied(bench, port, "many") as proxy:
        sizes = []
        for count in (early, calls - early):
            asyncio.run(_calls(proxy.port, count))
            _written(proxy, bench.folder / "many.db-recording")
            sizes.append(proxy.megabytes("VmRSS"))
    before, after = sizes
    return [
        Figure(
            MANY, f"{what} after {calls:,} calls, beside itself after {early:,}", [last / first],
            ours=f"{last:.0f} MB", control=f"{first:.0f} MB", must=Bound("<=", 1.1),
        )
        for what, first, last in zip(("the proxy", "the recording"), before, after, strict=True)
    ]  # fmt: skip


async def _calls(port: int, count: int) -> None:
    numbers = iter(range(count))

    async def asking() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
        for number in numbers:
            await answered(reader, writer, SHORT % (QUICK, number))
        writer.close()

    await asyncio.gather(*[asking() for _ in range(8)])
