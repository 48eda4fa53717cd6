"""Imports a foreign log: its batches, their outlines, and the snapshots at the end."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from itertools import count
from pathlib import Path

from backcast.domain.errors import InputError
from backcast.domain.events import Claim, EventType, TaskStarted
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.snapshots import save_snapshots, state_at
from backcast.engine.log.importers import Batch, Report, git, import_batches, raw_bodies
from backcast.engine.log.importers.call_counts import calls_note
from backcast.engine.log.importers.git_beginning import WHOLE, Beginning
from backcast.engine.log.importers.people import NO_GOAL
from backcast.engine.log.importers.same_session import imported_as, recorded_as
from backcast.engine.log.importers.versions import MODULES, OWN, faulty, importer_of, versions_in
from backcast.engine.log.store import EventStore
from backcast.engine.log.unknown_types import counted_types, unknown_types
from backcast.engine.memory.not_outlined import not_outlined
from backcast.engine.memory.outline_workers import uncollected
from backcast.engine.memory.outlined_batches import OutlinedRuns, outlined
from backcast.projections import ALL, dependency_graph

NAMED = 8
"Tasks that a note names."
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"Shows the progress of work with a name and a number of steps; called with each step's size."


def run(
    store: EventStore,
    format: str,
    path: Path,
    task_id: str | None = None,
    *,
    outlines: bool = True,
    processes: int = 1,
    progress: Progress = lambda what, total: nullcontext(lambda step: None),
    begin: Beginning = WHOLE,
) -> Report:
    """Import a log, and keep the snapshots from which later questions begin.

    With `outlines`, the texts of a git history are outlined at once, commit by commit, by
    `processes` processes, and those of an agent's run record by record; see `Outlining`. A new task
    of a git history begins where `begin` says.
    """
    report, met = Report(), dict[str, None]()
    if format == raw_bodies.FORMAT:
        raw_bodies.write(store, path, task_id, report)
        _link(store, format, sorted(report.tasks), report)
        report.notes += filter(None, [calls_note(report.calls)])
        keep_all_states(store, report)
        return report
    if format == "git":
        met[task_id or git.task_of(path)] = None  # of a history only new commits are read
    what, total = f"importing {path.name}", None
    if format == "git":
        stored = git.stored_line(store, task_id or git.task_of(path))
        what += f", {stored.commits:,} commits stand already" if stored.commits else ""
        total = git.count(path, begin, stored.last)
    with progress(what, total) as advance:
        batches = batches_of(store, format, path, task_id, report, begin)
        batches = _noted(_as_before(store, format, batches, report), met)
        if format == "git" and outlines:
            batches = outlined(store, task_id or git.task_of(path), batches, processes)
        with uncollected():
            import_batches(
                store, format, batches, report, _up_to(total, advance), importer_of(format),
                finishing(store, format) if outlines else None,
            )  # fmt: skip
            _link(store, format, sorted(met), report)
            keep_all_states(store, report)
    if odd := unknown_types(store, sorted(met)):
        report.notes.append(counted_types(odd))
        report.unknown_types = odd
    if met and all(_has_begun(store, task) for task in met):
        report.notes = [note for note in report.notes if note != NO_GOAL]  # another log told it
    if format != OWN and outlines:
        for task in sorted(report.tasks):
            report.notes += not_outlined(state_at(store, dependency_graph, task))
    for task in sorted(met) if format != OWN else ():
        report.notes += map(str, faulty(store, task, [format]))
    return report


def _up_to(total: int | None, advance: Callable[[int], None]) -> Callable[[int], None]:
    """Count no further than a total: behind a history's commits come their names, a batch too."""
    steps = count(1)
    return lambda step: advance(step) if total is None or next(steps) <= total else None


def _link(store: EventStore, format: str, tasks: Iterable[str], report: Report) -> None:
    """Note in tasks which others hold the same session, recorded by a proxy or imported."""
    importer = None if format == "git" else importer_of(format)
    for task in tasks if importer else ():
        if format == raw_bodies.FORMAT:
            others = imported_as(store, task)
        else:
            others = recorded_as(store, task, report.session)
        if not others or importer is None:
            continue
        mark, last = importer(task).model_copy(update={"same_as": others}), store.version(task)
        [event] = store.read(task, after=last - 1, last=last)
        claim = Claim(mark, event.timestamp, format, ())
        store.write_rows([store.row(task, last + 1, claim)], [], [])
        report.added += 1
        report.tasks[task] = report.tasks.get(task, 0) + 1
        more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
        named = ", ".join(map(repr, others[:NAMED])) + more
        report.notes.append(f"task {task!r} is the same session as {named}")


def finishing(store: EventStore, format: str) -> Callable[[Batch], Batch] | None:
    """Return what outlines the texts of an agent's run, batch by batch; None for other logs."""
    return None if format in ("git", OWN) else OutlinedRuns(store)


def _has_begun(store: EventStore, task: str) -> bool:
    return any(True for _ in store.read(task, types=[EventType.TASK_STARTED]))


def _as_before(
    store: EventStore, format: str, batches: Iterator[Batch], report: Report
) -> Iterator[Batch]:
    """Yield batches for the tasks that an older importer put them into, where the store has these:
    importing again adds only what is new there."""
    former = dict[str, str]()
    for batch in batches:
        task = batch.task_id
        if task in report.parted and task not in former:
            before, version = report.parted[task]
            came = versions_in(store, before, [format]).get(format, [version])
            former[task] = before if came[0] < version and not store.version(task) else task
        if former.get(task, task) == task:
            yield batch
        elif isinstance(batch.facts[0].fact, TaskStarted):
            report.known += len(batch.facts)  # the task has a start
        else:
            yield batch._replace(task_id=former[task])
    own = [task for task in former if former[task] == task]
    if own:
        names = ", ".join([*dict.fromkeys(report.parted[task][0] for task in own), *own])
        report.notes.append(f"{len(own) + 1} conversations, a task each: {names}")


def _noted(batches: Iterator[Batch], met: dict[str, None]) -> Iterator[Batch]:
    """Yield batches, and note their tasks."""
    for batch in batches:
        met[batch.task_id] = None
        yield batch


def counted(format: str, path: Path, begin: Beginning = WHOLE) -> int | None:
    """Return the number of commits to import; None for other formats, which are not counted.

    `InputError` where there is no log; ask before you make a store for it.
    """
    if format == "git":
        return git.count(path, begin)
    if not path.exists():
        raise InputError(f"{path}: needed a log to import, found nothing")
    return None


def keep_all_states(store: EventStore, report: Report) -> None:
    """Keep snapshots of every projection for the tasks that an import added to."""
    projections = [projection for projection in ALL if projection.SCOPE == "task"]
    with rarely_collecting():
        for task_id in sorted(report.tasks):
            save_snapshots(store, projections, task_id)


def batches_of(
    store: EventStore, format: str, path: Path, task_id: str | None, report: Report,
    begin: Beginning = WHOLE,
) -> Iterator[Batch]:  # fmt: skip
    """Return the batches of a log, as the module of its format reads them."""
    if format == "git":
        return git.read(path, task_id or git.task_of(path), store, report, begin=begin)
    importer = import_module(f"backcast.engine.log.importers.{MODULES[format]}")
    batches: Iterator[Batch] = importer.read(path, task_id, report)
    return batches
