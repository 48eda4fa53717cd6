"""`backcast verify` of a long run: every prompt rebuilt, and derived again."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import verified
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.run_steps import LONG, SHORT, ran

AIM = Bound("<=", 15)
ALL = Bound(">=", 100)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    project = LONG if bench.full else SHORT
    with TemporaryDirectory(dir=bench.folder) as folder:
        bench.say(f"a run of {project.steps:,} steps, to be verified")
        ran(Path(folder), project)
        [path] = Path(folder).glob("*.db")
        bench.say("its prompts are verified")
        with EventStore.open(f"sqlite:///{path}", create=False) as store:
            begin, spent = perf_counter(), process_time()
            verdicts = list(verified(store, "project"))
            taken, spent = perf_counter() - begin, process_time() - spent
            events = store.version("project")
    group = f"verify of a run of {project.steps:,} steps, {events:,} events"
    each = f"one process; of processors {1000 * spent / max(1, len(verdicts)):.1f} ms a prompt"
    same = sum(verdict.holds for verdict in verdicts)
    share = 100 * same / max(1, len(verdicts))
    return [
        Figure(group, "all prompts, both questions", [taken], "s", each, aim=AIM),
        Figure(group, "rebuilt and derived to the same digest", [share], "%",
               f"{same:,} of {len(verdicts):,}", must=ALL),
    ]  # fmt: skip
