"""A log by its name: a file that `backcast export` wrote, or the URL of a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from domain.errors import InputError
from engine.log.importers import Report, events, import_batches
from engine.log.store import EventStore

TOLD = 3
"Lines of a log that could not be read, of which the reasons are told."


class Log(NamedTuple):
    """A log that is open."""

    name: str
    store: EventStore
    tasks: tuple[str, ...]
    problems: tuple[str, ...] = ()
    "What of it could not be read, a line each."


@contextmanager
def opened(name: str, task: str | None = None) -> Iterator[Log]:
    """The log at a path or a URL, or one task of it; a file is read into memory.

    `InputError` where there is no such log, where nothing of it can be read, or where it is empty.
    """
    if "://" in name:
        with EventStore.open(name, create=False) as store:
            yield Log(name, store, _tasks(store, name, task))
        return
    with EventStore.open("sqlite://") as store:
        problems = _filled(store, Path(name))
        yield Log(name, store, _tasks(store, name, task), problems)


def _filled(store: EventStore, path: Path) -> tuple[str, ...]:
    """Import a file, and give what of it could not be read."""
    if not path.is_file():
        raise InputError(f"{path}: needed a log that 'backcast export' wrote, found no such file")
    report = Report()
    import_batches(store, events.FORMAT, events.read(path, None, report), report)
    if not report.added:
        found = f"found {report.skipped[0]}" if report.skipped else "found no events"
        raise InputError(f"{path}: needed a log that 'backcast export' wrote, {found}")
    more = len(report.skipped) - TOLD
    told = [f"{path}: {line}" for line in report.skipped[:TOLD]]
    return (*told, f"{path}: and {more} more lines") if more > 0 else tuple(told)


def _tasks(store: EventStore, name: str, task: str | None) -> tuple[str, ...]:
    if task is not None:
        store.require(task)
        return (task,)
    tasks = tuple(store.tasks())
    if not tasks:
        raise InputError(f"{name}: needed a log, found no events")
    return tasks
