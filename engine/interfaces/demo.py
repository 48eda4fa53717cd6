"""What `scripts/demo` shows: a run, and a git history as a log, moments of both, and their proof.

At each moment of the history the state is built twice, from nothing and from the nearest kept
state, and the modules in it are compared with what git says: names, modes and contents.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backcast.domain.errors import BackcastError
from backcast.domain.events import Committed, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.engine.context.search import Embedder
from backcast.engine.history.snapshots import SPACING, state_at
from backcast.engine.history.staleness import extracted, stale
from backcast.engine.interfaces.demo_map import demonstrate_map
from backcast.engine.interfaces.demo_policy import demonstrate_policy
from backcast.engine.interfaces.demo_run import demonstrate_run
from backcast.engine.interfaces.demo_search import installed_embedder, print_search
from backcast.engine.interfaces.oracle import git_says, log_says
from backcast.engine.interfaces.views import console, one_line
from backcast.engine.log.importers.git import count, task_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.workflow.spec import spec_at
from backcast.projections import dependency_graph, fold, versions

STORE = ".demo/demo.db"
SPEC, RECORDING = "fixtures/specs/validators.toml", "fixtures/logs/validators.jsonl"
SHOWN = 6
"Modules listed at each moment: those that were touched last."


def main() -> None:
    """Run the demo on a repository; exits with 1 where a proof fails."""
    repository, here = Path(sys.argv[1]), Path(__file__).parents[2]
    path = here / STORE
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    try:
        with EventStore.open(f"sqlite:///{path}") as store:
            out = console()
            proven = demonstrate_run(store, here / SPEC, here / RECORDING, path.parent / "out", out)
            out.print()
            proven &= demonstrate(store, repository, out, installed_embedder())
            proven &= demonstrate_map(store, task_of(repository), out)
            proven &= demonstrate_policy(store, spec_at(here / SPEC).task, out)
    except BackcastError as error:
        sys.exit(f"scripts/demo: {error}")
    sys.exit(0 if proven else 1)


def demonstrate(
    store: EventStore, repository: Path, out: Console, embedder: Embedder | None = None
) -> bool:
    """Import, travel, compare, search; tells whether every comparison held."""
    task_id = task_of(repository)
    # A short history would keep no state at the usual spacing, and prove nothing.
    spacing = max(1, min(SPACING, count(repository) // 4))
    processes = os.cpu_count() or 1
    seconds, report = _timed(
        lambda: run(store, "git", repository, processes=processes, spacing=spacing)
    )
    commits = [e for e in store.read(task_id) if isinstance(e.fact, Committed)]
    out.print(
        f"imported [bold]{task_id}[/]: {len(commits)} commits as {report.added} events"
        f" in {seconds:.2f} s"
    )
    for line in [*report.notes, *report.skipped[:3]]:
        out.print(f"note: {one_line(line, 100)}", markup=False)
    chosen = sorted({len(commits) // 4, len(commits) // 2, len(commits) - 1})
    proofs = [_moment(store, repository, task_id, commits, index, out) for index in chosen]
    _print_proofs(proofs, out)
    _print_stale(store, task_id, commits, chosen[-2:], out)
    index = chosen[len(chosen) // 2]
    moment = Moment(_end(commits, index))
    print_search(store, task_id, commits[index], moment, embedder, out)
    out.print(
        f"\nnow by hand: .venv/bin/backcast log --task {task_id} --type COMMITTED"
        f" --store sqlite:///{STORE}"
    )
    return all(proof[-1] == "yes" for proof in proofs)


def _moment(
    store: EventStore,
    repository: Path,
    task_id: str,
    commits: Sequence[WorkflowEvent],
    index: int,
    out: Console,
) -> tuple[str, ...]:
    """Print the state at a commit; gives the row that proves it."""
    commit = commits[index]
    moment = Moment(_end(commits, index))
    from_nothing, whole = _timed(
        lambda: fold(versions, store.read(task_id, moment=moment)), repeat=3
    )
    from_kept, state = _timed(lambda: state_at(store, versions, task_id, moment), repeat=3)
    last = store.version_at(task_id, moment)
    kept = store.recorder.snapshot_before(versions.NAME, versions.VERSION, task_id, last, None)
    assert isinstance(commit.fact, Committed)
    sha = commit.fact.sha
    modules = versions.latest(state)
    out.print(f"\n[bold]commit {sha[:10]}[/]  {commit.timestamp:%Y-%m-%d %H:%M}  ", end="")
    out.print(one_line(commit.fact.message.split("\n")[0]), markup=False, highlight=False)
    _print_modules(modules, out)
    same = log_says(store, state) == git_says(repository, sha)
    return (
        sha[:10],
        str(len(modules)),
        f"{from_nothing * 1000:.1f} ms",
        f"{from_kept * 1000:.1f} ms",
        f"{last - kept.version} of {last}" if kept else "none",
        "yes" if kept and whole == state else "NO",
        "yes" if same and whole == state else "NO",
    )


def _print_stale(
    store: EventStore,
    task_id: str,
    commits: Sequence[WorkflowEvent],
    chosen: Sequence[int],
    out: Console,
) -> None:
    """Print which summaries of one commit no longer hold at another, and why."""
    first, last = (Moment(_end(commits, index)) for index in (chosen[0], chosen[-1]))
    entries = list(extracted(state_at(store, dependency_graph, task_id, first)))
    seconds, found = _timed(lambda: stale(store, task_id, last, first))
    out.print(
        f"\nof {len(entries)} summaries made at the one before, {len(found)} no longer hold at the"
        f" last ({seconds:.2f} s); for instance"
    )
    # Those that somebody else's change broke say most.
    far = sorted(found, key=lambda one: -len(one.proof.way if one.proof else ()))
    for one in far[: SHOWN // 2]:
        out.print(f"  {one}", markup=False, highlight=False)


def _end(commits: Sequence[WorkflowEvent], index: int) -> int | None:
    """The position of the last event of a commit; None for the last one of all."""
    return commits[index + 1].position - 1 if index + 1 < len(commits) else None


def _print_modules(modules: dict[str, versions.ModuleVersion], out: Console) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("module", "version", "who", "when"):
        table.add_column(column)
    latest = sorted(modules.items(), key=lambda item: (-item[1].version, item[0]))
    for name, head in latest[:SHOWN]:
        when = f"{head.timestamp:%Y-%m-%d %H:%M}"
        cells = (one_line(name, 50), str(head.iteration), one_line(head.writer, 24), when)
        table.add_row(*map(Text, cells))
    out.print(table)
    if len(latest) > SHOWN:
        out.print(f"  and {len(latest) - SHOWN} more modules")


def _print_proofs(proofs: Sequence[Sequence[str]], out: Console) -> None:
    table = Table(
        title="\nstate at a moment, built twice and compared with git", title_justify="left"
    )
    for column in (
        "commit",
        "modules",
        "from nothing",
        "from a kept state",
        "events after it",
        "equal",
        "as git says",
    ):
        table.add_column(column, justify="right")
    for row in proofs:
        table.add_row(*row)
    out.print(table)


def _timed(work: Callable[[], Any], repeat: int = 1) -> tuple[float, Any]:
    """The shortest time of several, in seconds, and what came of it."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begin)
    return min(times), result


if __name__ == "__main__":
    main()
