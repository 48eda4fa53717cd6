"""The command that forks a task: what if it had gone on under another policy, or with another
model?"""

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.history.branches import Branch
    from backcast.engine.log.store import EventStore

LAST = "last"


@click.command()
@click.argument("file", type=Path, required=False)
@click.option(
    "--at", "step", required=True, metavar="STEP", help="The number of an event, or last."
)
@click.option("--task", metavar="TASK", help="The task to fork; see 'backcast tasks'.")
@click.option("--as", "name", metavar="NEW", help="The branch's name; else TASK~1, TASK~2, ...")
@store_option
@json_option
def fork(
    file: Path | None, step: str, task: str | None, name: str | None, url: str, as_json: bool
) -> None:
    """Begin another history of a task: its events up to a step, as a task of its own.

    \b
    backcast fork --task validators --at 21
    backcast fork run.jsonl --at last --as what-if
    backcast resume validators~1 --policy other.toml

    STEP is an event's number, as 'backcast log' has it behind TASK@, or last. Forked at a
    CONTEXT_BUILT or a STEP_STARTED, the branch holds what stood before that step, so that its
    prompt is built anew; at any other event it holds that one too. FILE is a log that 'backcast
    export' wrote: it is imported first, unless the store holds it already.

    A branch knows of other tasks what its origin knew there, and leaves nothing to them.
    """
    from backcast.engine.history.branches import cut_at, fork

    if file is None and task is None:
        raise click.UsageError("needed FILE or --task TASK, to know what is to be forked")
    at = _number(step)
    with opened(url, create=file is not None) as store:
        origin = _imported(store, file, task) if file else task or ""
        branch = fork(store, origin, cut_at(store, origin, at), name, runner=uuid4().hex)
        _tell(store, branch, at, as_json)


def _number(step: str) -> int | None:
    """The number of an event; None for the last one."""
    if step == LAST:
        return None
    try:
        return int(step)
    except ValueError:
        told = f"needed the number of an event, or {LAST}, found {step!r}"
        raise click.BadParameter(told, param_hint="--at") from None


def _imported(store: "EventStore", file: Path, task: str | None) -> str:
    """The task that a file's log is about, once the store holds it."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.importers import Report
    from backcast.engine.log.importers.events import read
    from backcast.engine.memory.import_log import run

    report = run(store, "events", file, progress=progress_bar)
    tasks = sorted({batch.task_id for batch in read(file, None, Report())})
    if report.skipped or not tasks:
        found = report.skipped[0] if report.skipped else "nothing in it"
        raise InputError(f"{file}: needed a log that 'backcast export' wrote, found {found}")
    if task in tasks or (task is None and len(tasks) == 1):
        return task or tasks[0]
    needed = "--task, since the log holds several" if task is None else f"task {task!r} in it"
    raise InputError(f"{file}: needed {needed}, found {', '.join(tasks[:5])}")


def _tell(store: "EventStore", branch: "Branch", at: int | None, as_json: bool) -> None:
    """Say what was made, and what can be done with it."""
    from backcast.engine.interfaces.views import one_line

    if as_json:
        told = {"task_id": branch.task_id, "origin": branch.origin, "version": branch.version}
        click.echo(json_text(told))
        return
    new, origin = one_line(branch.task_id, 200), one_line(branch.origin, 200)
    where = "its last event" if at is None else f"event {at}"
    events = "1 event" if branch.version == 1 else f"{branch.version} events"
    click.echo(f"forked {origin} at {where} as {new}: {events}")
    does = f"backcast context --task {new} --policy FILE' shows what a model would see"
    for event in store.read(branch.task_id, last=1):
        if event.fact.data.get("spec"):  # it is a run of ours
            does = f"backcast resume {new} --policy FILE' goes on from there"
    message(f"'{does} under another policy")


COMMANDS = (fork,)
