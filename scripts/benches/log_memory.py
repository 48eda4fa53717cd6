"""Memory of a fold over the whole log, as a new process needs it.

`python -m scripts.benches.log_memory STORE` folds a store's one task by every projection in turn
and prints by how many bytes its peak grew over what it took to import the library and open it.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from backcast.engine.log.store import EventStore
from backcast.projections import ALL, fold
from scripts.benches.figures import Bench, Figure
from scripts.benches.workload import fill, open_store

GROUP = "memory of a fold: growth of the peak"
TASK = "task-000"


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    sizes = [25_000, 100_000, *([1_000_000] if bench.full else [])]
    figures = []
    for size in sizes:
        bench.say(f"memory, {size:,} events")
        path = bench.folder / f"memory-{size}.db"
        with open_store(path) as store:
            fill(store, {TASK: size})
        command = (sys.executable, "-m", __name__, str(path))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        figures.append(
            Figure(
                GROUP,
                f"{size:,} events, all projections in turn",
                [said["grown"] / 1e6],
                "MB",
                ours=f"peak of the process {said['peak'] / 1e6:.0f} MB",
                control=f"the store's file {path.stat().st_size / 1e6:,.0f} MB",
            )
        )
    return figures


def _memory(what: str) -> int:
    """`VmHWM`, the most memory that this process has had, or `VmRSS`, what it has now, in bytes.

    Linux counts the parent's peak into `getrusage`; where there is no /proc, it has to do.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith(what)]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _in_new_process(path: str) -> None:
    with EventStore.open(f"sqlite:///{path}", create=False) as store:
        before = _memory("VmRSS")
        for projection in ALL:
            fold(projection, store.read(TASK))
    peak = _memory("VmHWM")
    print(json.dumps({"grown": peak - before, "peak": peak}))


if __name__ == "__main__":
    _in_new_process(sys.argv[1])
