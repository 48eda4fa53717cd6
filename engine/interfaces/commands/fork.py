"""`backcast fork`: what if a task had gone on under another policy, or with another model?"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from backcast.domain.errors import InputError, MomentError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, require
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import message, say

if TYPE_CHECKING:
    from backcast.engine.history.branches import Branch
    from backcast.engine.log.store import EventStore


@click.command(name="fork")
@address_argument(metavar="[FILE.jsonl#]TASK[@WHEN]")
@click.option("--as", "name", metavar="NEW", help="The branch's name; else TASK~1, TASK~2, ...")
@store_option
@json_option
def command(address: Address, name: str | None, url: str, as_json: bool) -> None:
    """Begin another history of a task at a moment, as a new task.

    \b
    backcast fork validators@21
    backcast fork run.jsonl --as what-if
    backcast resume validators~1 --policy other.toml

    Forked at a CONTEXT_BUILT or a STEP_STARTED, the branch holds what stood before that step, so
    that its prompt is built anew; so it does at an answer of an agent's imported run, which holds
    no prompts. At any other event it holds that one too. FILE is a log that
    'backcast export' wrote: it is imported first, unless the store holds it already.

    A branch knows of other tasks what its origin knew there, and leaves nothing to them.
    """
    from backcast.engine.history.branches import cut_at, fork
    from backcast.engine.history.moments import moment_at

    if not address.log and address.task is None:
        raise InputError(f"needed TASK[@WHEN] to fork, found {str(address)!r}")
    with opened(url, create=bool(address.log)) as store:
        if address.log:
            origin = _imported(store, address)
        else:
            require(store, address)
            origin = address.task or ""
        moment = moment_at(store, origin, address.when)
        if moment.at is not None:
            raise MomentError(
                f"{str(address)!r}: needed an event or a commit to fork at, found a time"
            )
        at = store.version_at(origin, moment) if address.when else None
        branch = fork(store, origin, cut_at(store, origin, at), name, runner=uuid4().hex)
        _report(store, branch, at, as_json)


def _imported(store: "EventStore", address: Address) -> str:
    """Import a file unless the store holds it, and return the task that is meant."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.importers import Report
    from backcast.engine.log.importers.events import read
    from backcast.engine.memory.import_log import counted, run

    file, task = Path(address.log), address.task
    counted("events", file)
    report = Report()
    tasks = sorted({batch.task_id for batch in read(file, None, report)})
    if task not in tasks and (task or len(tasks) > 1) and not report.skipped:
        several = f"{file}#TASK, since the log holds several"
        needed = several if task is None else f"task {task!r} in it"
        raise InputError(f"{file}: needed {needed}, found {', '.join(tasks[:5])}")
    if tasks and not report.skipped:  # nothing is stored of what cannot be forked
        report = run(store, "events", file, progress=progress_bar)
    if report.skipped or not tasks:
        found = report.skipped[0] if report.skipped else "nothing in it"
        raise InputError(f"{file}: needed a log that 'backcast export' wrote, found {found}")
    return task or tasks[0]


def _report(store: "EventStore", branch: "Branch", at: int | None, as_json: bool) -> None:
    """Print what was made, and what can be done with it."""
    from backcast.engine.interfaces.views import one_line
    from backcast.engine.replay.agent_prompts import has_messages, has_requests

    if as_json:
        made = {"task_id": branch.task_id, "origin": branch.origin, "version": branch.version}
        say(json_text(made))
        return
    new, origin = one_line(branch.task_id, 200), one_line(branch.origin, 200)
    where = "its last event" if at is None else f"event {at}"
    where = f"before the step of {where}" if at and branch.version < at else f"at {where}"
    events = "1 event" if branch.version == 1 else f"{branch.version} events"
    say(f"forked {origin} {where} as {new}: {events}")
    does = f"backcast context {new} --for NODE --policy FILE' shows what a model would see"
    if has_messages(store, branch.origin):  # the branch lacks the prompt that comes next
        named = ["CONTEXT_BUILT" if has_requests(store, branch.origin) else "MODEL_REPLIED"]
        following = store.read(branch.origin, after=branch.version, types=named)
        at_next = next((f"@{event.version}" for event in following), "")
        address = shlex.quote(f"{one_line(branch.origin, 200)}{at_next}")
        does = f"backcast context {address} --policy mask-3' shows the prompt that came"
        does += " next" if at_next else " last"
    for event in store.read(branch.task_id, last=1):
        if event.fact.data.get("spec"):  # it is a run of ours
            does = f"backcast resume {new} --policy FILE' goes on from there"
    message(f"'{does} under another policy")
