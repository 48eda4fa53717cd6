"""Which log does a name mean? A file of `backcast export`, here or elsewhere, or a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report, events, import_batches
from backcast.engine.log.recorder import SCHEMES
from backcast.engine.log.remote import copied, is_remote, scheme_of, shown
from backcast.engine.log.rows import Damage, DamageReporter
from backcast.engine.log.store import EventStore

FORMS = "a URL of sqlite://, postgresql://, https://, http://, s3:// or gs://"
SHOWN = 3
"Unreadable lines of a log that are reported with their reasons."


class Log(NamedTuple):
    """An open log."""

    name: str
    store: EventStore
    tasks: tuple[str, ...]
    problems: tuple[str, ...] = ()
    "One line for each part that could not be read."


@contextmanager
def opened(name: str, task: str | None = None, *, whole: bool = False) -> Iterator[Log]:
    """Open the log at a path or a URL, or one task of it; a file is read into memory.

    With `whole` the tasks of a store are read to their ends, as those of a file always are, so that
    all damage in them is among the problems. `InputError` if there is no such log, if nothing of it
    can be read, or if it is empty.
    """
    if is_remote(name):
        with EventStore.open("sqlite://") as store:
            with copied(name) as copy:
                problems = _filled(store, copy.path, shown(name), copy.problem)
            yield Log(name, store, _tasks(store, name, task), problems)
        return
    if (scheme := scheme_of(name)) and scheme not in SCHEMES:
        raise InputError(f"{shown(name)}: needed a path, or {FORMS}, found {scheme}://")
    if scheme:
        with EventStore.open(name, create=False) as store:
            tasks = _tasks(store, name, task)
            store.report = once = DamageReporter(store.report)
            yield Log(name, store, tasks, tuple(_damage(store, tasks, once)) if whole else ())
        return
    with EventStore.open("sqlite://") as store:
        problems = _filled(store, Path(name), name)
        yield Log(name, store, _tasks(store, name, task), problems)


def _filled(store: EventStore, path: Path, name: str, cut: str = "") -> tuple[str, ...]:
    """Import a file, and return its problems; `cut` is one that it came with."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{name}: needed a log that 'backcast export' wrote, found {found}")
    report = Report()
    import_batches(store, events.FORMAT, events.read(path, None, report), report)
    report.skipped += [cut] if cut else []
    if not report.added:
        found = f"found {report.skipped[0]}" if report.skipped else "found no events"
        raise InputError(f"{name}: needed a log that 'backcast export' wrote, {found}")
    more = len(report.skipped) - SHOWN
    problems = [f"{name}: {line}" for line in report.skipped[:SHOWN]]
    return (*problems, f"{name}: and {more} more lines") if more > 0 else tuple(problems)


def _damage(store: EventStore, tasks: tuple[str, ...], once: DamageReporter) -> Iterator[str]:
    """Yield a line for each damaged part of some tasks; it is not reported again."""
    tell, found = once.tell, list[Damage]()
    once.tell = found.append
    for task in tasks:
        last = store.version(task)
        read = sum(1 for _ in store.read(task, last=last))
        if lost := last - read - sum(damage.task_id == task for damage in found):
            yield f"task {task!r}: lacks {lost} of its {last} events"
    once.tell = tell
    yield from map(str, found)


def _tasks(store: EventStore, name: str, task: str | None) -> tuple[str, ...]:
    if task is not None:
        store.require(task)
        return (task,)
    tasks = tuple(store.tasks())
    if not tasks:
        raise InputError(f"{shown(name)}: needed a log, found no events")
    return tasks
