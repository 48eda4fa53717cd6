"""An import as a whole: batches, their outlines, and states kept at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path

from backcast.domain.errors import InputError
from backcast.engine.history.snapshots import SPACING, save_snapshots
from backcast.engine.log.importers import Batch, Report, git, import_batches
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlined_batches import outlined
from backcast.projections import ALL

MODULES = {
    "events": "events",
    "swe-agent": "swe_agent",
    "openhands": "openhands",
    "claude-code": "claude_code",
    "cline": "cline",
    "inspect": "inspect_ai",
}

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"Shows how far work of a name and a number of steps has come; is called with each step's size."


def run(
    store: EventStore,
    format: str,
    path: Path,
    task_id: str | None = None,
    *,
    outlines: bool = True,
    processes: int = 1,
    spacing: int = SPACING,
    progress: Progress = lambda what, total: nullcontext(lambda step: None),
) -> Report:
    """Import a log, and keep the states that later questions begin from.

    With `outlines`, what a git history brings is outlined at once, commit by commit, by as many
    processes as are named; see `Outlining`.
    """
    report = Report()
    with progress(f"importing {path.name}", counted(format, path)) as advance:
        batches = _batches(store, format, path, task_id, report)
        if format == "git" and outlines:
            batches = outlined(store, task_id or git.task_of(path), batches, processes)
        import_batches(store, format, batches, report, advance)
    keep_all_states(store, report, spacing)
    return report


def counted(format: str, path: Path) -> int | None:
    """How many commits there are to import; None for other formats, which are not counted.

    `InputError` where there is no log at all: who asks first makes no store for it.
    """
    if format == "git":
        return git.count(path)
    if not path.exists():
        raise InputError(f"{path}: needed a log to import, found nothing")
    return None


def keep_all_states(store: EventStore, report: Report, spacing: int = SPACING) -> None:
    """Keep states of every projection for the tasks that an import added to."""
    for task_id in sorted(report.tasks):
        for projection in ALL:
            if projection.SCOPE == "task":
                save_snapshots(store, projection, task_id, spacing)


def _batches(
    store: EventStore, format: str, path: Path, task_id: str | None, report: Report
) -> Iterator[Batch]:
    if format == "git":
        return git.read(path, task_id or git.task_of(path), store, report)
    importer = import_module(f"backcast.engine.log.importers.{MODULES[format]}")
    batches: Iterator[Batch] = importer.read(path, task_id, report)
    return batches
