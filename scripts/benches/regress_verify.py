"""`backcast verify` of a run of 1,000 steps: every prompt rebuilt, and derived again."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time

from backcast.engine.context.recorded import CODE
from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import verified
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.run_steps import LONG, ran
from scripts.benches.workload import checkpoint

AIM = Bound("<=", 15)
ALL = Bound(">=", 100)


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    path = _run(bench)
    bench.say(f"verify of {LONG.steps:,} steps")
    with EventStore.open(f"sqlite:///{path}", create=False) as store:
        begin, spent = perf_counter(), process_time()
        verdicts = list(verified(store, "project"))
        taken, spent = perf_counter() - begin, process_time() - spent
        events = store.version("project")
    group = f"verify of a run of {LONG.steps:,} steps, {events:,} events, {LONG.modules} modules"
    each = f"one process; of processors {1000 * spent / max(1, len(verdicts)):.1f} ms a prompt"
    same = sum(one.holds for one in verdicts)
    told = f"{same:,} of {len(verdicts):,}"
    share = 100 * same / max(1, len(verdicts))
    return [
        Figure(group, "all prompts, both questions", [taken], "s", each, aim=AIM),
        Figure(group, "rebuilt and derived to the same digest", [share], "%", told, must=ALL),
    ]


def _run(bench: Bench) -> Path:
    """The log of a run by today's code; made once for each of its versions."""
    versions = sha256(json.dumps(CODE, sort_keys=True).encode()).hexdigest()[:12]
    path = bench.folder / f"run-{LONG.steps}-{versions}.db"
    if not path.exists():
        bench.say(f"a run of {LONG.steps:,} steps, to be verified")
        making = bench.folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        ran(making, LONG)
        [made] = making.glob("*.db")
        checkpoint(made)
        made.rename(path)
        shutil.rmtree(making)
    return path
