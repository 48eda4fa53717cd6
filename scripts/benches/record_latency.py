"""Time to the first byte, and of a whole stream, through the proxy, beside a direct connection."""

import asyncio
from collections.abc import Sequence
from statistics import median

from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.record_running import RELAY, answered, played, proxied

GROUP = "8 streams at once, over real HTTP"
AT_ONCE, ROUNDS = 8, 5
STAGGER = 0.009
"Seconds between the beginnings of two streams, as nobody asks at the same instant."
BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "%d"}]}'


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    calls = 400 if bench.full else 80
    bench.say(f"{calls} streams in each of {ROUNDS} rounds, direct and through the proxy")
    took: list[tuple[list[float], list[float]]] = []
    with (
        played() as port, played(RELAY, port) as relay, proxied(bench, port, "latency") as proxy
    ):  # fmt: skip
        ports = port, proxy.port, relay
        for place in ports:
            asyncio.run(_asked(place, 2 * AT_ONCE))
        for _ in range(ROUNDS):
            took += [asyncio.run(_asked(place, calls)) for place in ports]
    direct, through, relayed = took[::3], took[1::3], took[2::3]
    return [
        _added(direct, through, 50, Bound("<=", 3)),
        _added(direct, through, 99, Bound("<=", 20)),
        _added(direct, relayed, 50, None, "by a relay of bytes alone, p50"),
        _added(direct, relayed, 99, None, "by a relay of bytes alone, p99"),
        Figure(
            GROUP, "a whole stream, direct beside proxied",
            [median(d) / median(p) for (_, d), (_, p) in zip(direct, through, strict=True)],
            ours=f"{1000 * median(median(p) for _, p in through):.1f} ms",
            control=f"direct {1000 * median(median(d) for _, d in direct):.1f} ms",
            must=Bound(">=", 0.95),
        ),
    ]  # fmt: skip


Times = Sequence[tuple[list[float], list[float]]]


def _added(
    direct: Times, through: Times, percent: int, must: Bound | None, what: str = ""
) -> Figure:
    both = [[1000 * percentile(first, percent) for first, _ in side] for side in (direct, through)]
    return Figure(
        GROUP, what or f"added time to the first byte, p{percent}",
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
            begun, ended, _ = await answered(reader, writer, BODY % number)
            first.append(begun)
            whole.append(ended)
        writer.close()

    await asyncio.gather(*[asking(place) for place in range(AT_ONCE)])
    return first, whole
