"""Bytes on disk: events beside their own canonical JSON."""

from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.workload import canonical, checkpoint, fill, open_store

GROUP = "storage of events, no kept states"
TASKS = [f"task-{n:03}" for n in range(10)]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    events = 100_000 if bench.full else 20_000
    return [
        _figure(bench, events, 1000, Bound("<=", 1.3)),
        _figure(bench, events, 200, None),
    ]


def _figure(bench: Bench, events: int, size: int, must: Bound | None) -> Figure:
    bench.say(f"storage of {events:,} events of about {size} B")
    path = bench.folder / f"size-{size}.db"
    with open_store(path) as store:
        fill(store, dict.fromkeys(TASKS, events // len(TASKS)), size=size)
        json_bytes = sum(len(canonical(event)) for event in store.read())
        bodies = store.recorder.one("SELECT sum(length(body)) FROM events")[0]
    stored = checkpoint(path)
    return Figure(
        GROUP,
        f"file beside JSON, events of {size:,} B",
        [stored / json_bytes],
        ours=f"{stored / events:,.0f} B an event, {bodies / events:,.0f} B of it body",
        control=f"canonical JSON of the whole event {json_bytes / events:,.0f} B",
        must=must,
    )
