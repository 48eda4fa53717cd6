"""Foreign logs as tests import them."""

from pathlib import Path
from types import ModuleType

from backcast.engine.log.importers import Report, import_batches
from backcast.engine.log.store import EventStore


def imported(store: EventStore, format: ModuleType, path: Path, task: str | None = None) -> Report:
    """Import a log by the module of its format; without a task it names its own."""
    report = Report()
    return import_batches(store, format.FORMAT, format.read(path, task, report), report)
