"""Outlines as commands need them: made where they are missing, demanded of a moment."""

import os
from typing import TYPE_CHECKING

from backcast.domain.errors import MomentError, UnavailableError
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.log.store import EventStore


def outline_all(store: "EventStore", task: str, *, anew: bool = False) -> int:
    """Outline the texts that the log has brought since the last time; report them on stderr.

    A run that has ended is not written to only to renew outlines, unless they are wanted `anew`:
    those of an earlier outliner will do.
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.memory import outlines_made as outlines
    from backcast.engine.memory.not_outlined import not_outlined
    from backcast.engine.memory.outlines import ALONE, Outlining
    from backcast.projections import dependency_graph

    if outlines.all_made(store, task):
        return 0
    outlining = Outlining(store, task, os.cpu_count() or 1)
    waiting = outlining.waiting_for()
    if not waiting:
        outlines.note_all_made(store, task, outlining.version)
    new = waiting - outlining.renewed
    if waiting and not (new or anew) and _is_over(store, task):
        return 0
    if waiting:
        try:
            with progress_bar("outlining", waiting) as advance:
                outlining.catch_up(advance)
        except UnavailableError as error:
            if not new:
                return 0  # the outlines of an earlier version will do where nothing can be kept
            raise UnavailableError(
                f"{waiting} texts of task {task!r} are not outlined yet ('backcast outline'), and"
                f" outlines are kept: {error}"
            ) from error
        if not (new or waiting > ALONE):
            return waiting  # a few outlines were only renewed, which is no news
        message(f"outlined {waiting} texts of task {task}, once for all")
        for line in not_outlined(state_at(store, dependency_graph, task)):
            message(f"note: {line}")
    return waiting


def _is_over(store: "EventStore", task: str) -> bool:
    from backcast.engine.history.task_states import ENDS

    return any(True for _ in store.read(task, types=ENDS))


def need_outlines(
    store: "EventStore", task: str, moment: "Moment", option: str | None = None
) -> None:
    """Refuse a moment by event or commit that stands before the outlines of its texts; it came with
    an address, or by an `option` such as `--since`."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.memory.outliner import outliner_of
    from backcast.projections import dependency_graph

    state = state_at(store, dependency_graph, task, moment)
    behind = [path for path in dependency_graph.behind(state) if outliner_of(path)]
    if behind:
        time = time_of(store, task, moment)
        raise MomentError(
            f"{len(behind)} modules were outlined after that moment was recorded, {behind[0]!r}"
            f" among them: name it by its time, {f'{option} ' if option else f'{task}@'}{time}"
        )


def time_of(store: "EventStore", task: str, moment: "Moment") -> str:
    """Return the time, UTC, of the last event of a task at a moment, as an address names it."""
    last = store.version_at(task, moment)
    [event] = store.read(task, after=last - 1, last=last)
    return event.timestamp.strftime("%Y-%m-%dT%H:%M:%S")
