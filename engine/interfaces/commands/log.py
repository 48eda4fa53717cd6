"""`backcast log`: print events in log order."""

import sys
import time
from collections import deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import UnavailableError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, log_at, require
from backcast.engine.interfaces.empty import note_empty
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, message, say

PREPARING = ("STEP_STARTED", "MODULE_OUTLINED", "SOURCE_READ")
"Event types that --brief leaves out."
PATIENCE = 0.2
"Seconds between two looks for a store that is not there yet."
MADE = 10.0
"Seconds within which a store is made, once there is its file."

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backcast.domain.events import WorkflowEvent


@click.command(name="log")
@address_argument(required=False)
@store_option
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these; may be repeated.")
@click.option("-n", "--last", type=click.IntRange(1), metavar="N", help="Only the last N of them.")
@click.option(
    "--tree", "as_tree", is_flag=True, help="The calls of a task: who asked, what it cost, its end."
)
@click.option(
    "--brief", is_flag=True, help="Leave out what only prepares: steps begun, outlines, reads."
)
@click.option(
    "--follow", is_flag=True, help="Wait for more, and for a store or task that is not there yet."
)
@json_option
def command(
    address: Address | None,
    url: str,
    types: tuple[str, ...],
    last: int | None,
    as_tree: bool,
    brief: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Print events of a task, a file or the store, in log order.

    \b
    backcast log history@commit:4fd36e1 --type COMMITTED
    backcast log @2026-11-20
    backcast log history --type COMMITTED -n 20       # the newest commits
    backcast log till --follow
    backcast log till --tree
    backcast log till --brief                         # the half that tells what happened

    Of one task each line begins with the number that addresses it, as TASK@N; of a whole store with
    the place in it. An answer, a message and a result show how they begin: 'backcast cat TASK@N'
    prints them. Records that an importer kept as they came, several in a row, are a line. Where an
    agent's log has no times, 'no time' stands: the order is its own.
    """
    from backcast.domain.moment import NOW
    from backcast.engine.history.moments import moment_at
    from backcast.engine.interfaces.log_lines import log_lines
    from backcast.engine.interfaces.views import event_json
    from backcast.engine.replay.agent_prompt import read_text

    address = address or Address()
    if follow and (address.when or address.log):
        raise click.UsageError("--follow waits for later events of a store: it takes no moment")
    if last and (follow or as_tree):
        raise click.UsageError("--last takes the end of what is there: no --follow, no --tree")
    if as_tree and (follow or types or (address.task is None and not address.log)):
        raise click.UsageError("--tree draws the calls of one task: no --follow, no --type")
    if brief and (as_tree or types):
        raise click.UsageError("--brief leaves types out: no --type, no --tree")
    kinds = [kind.upper() for kind in types]
    with ExitStack() as stack:
        if address.log:
            log = stack.enter_context(log_at(address, url))
            store = log.store
            for problem in log.problems:
                message(f"skipped {problem}")
        else:
            if follow:
                _wait_for(url)
            store = stack.enter_context(opened(url))
        if address.task is not None and not follow:
            require(store, address)
        if follow:
            moment = NOW
            events = store.follow(address.task, types=kinds)
        else:
            moment = moment_at(store, address.task, address.when)
            events = store.read(address.task, moment=moment, types=kinds)
        if brief:
            events = (event for event in events if event.type not in PREPARING)
        if as_tree:
            found = _draw(address, events, as_json)
            events = iter(())
        else:
            found = False
        is_one = address.task is not None or bool(address.log and len(log.tasks) == 1)
        if is_one and address.task is None and not (as_json or as_tree):
            message(f"note: events of task {escaped(log.tasks[0])}")
        chosen = deque(events, last) if last else events
        for line in (
            map(event_json, chosen)
            if as_json
            else log_lines(
                chosen, partial(read_text, store), is_one_task=is_one, folds=not (follow or kinds)
            )
        ):
            found = True
            say(line)
            if follow:
                sys.stdout.flush()
        if not found:
            note_empty(store, address.task, moment, "event", tuple(kinds))


def _wait_for(url: str) -> None:
    """Wait until there is a store at a URL, where it names a file that is not there."""
    from backcast.engine.log.recorder.addresses import IN_MEMORY, scheme_of, sqlite_file

    if url == IN_MEMORY or scheme_of(url) != "sqlite" or (path := Path(sqlite_file(url))).exists():
        return
    message(f"note: {path} is not there yet: waiting for it")
    since = None
    while True:
        time.sleep(PATIENCE)
        if not path.exists():
            continue
        since = since or time.monotonic()
        try:
            with opened(url):
                return
        except UnavailableError:  # its tables are being made
            if time.monotonic() - since > MADE:
                raise


def _draw(address: Address, events: "Iterator[WorkflowEvent]", as_json: bool) -> bool:
    """Print the calls of a task; whether there were events at all."""
    from backcast.domain.json_text import json_text
    from backcast.domain.question_events import QuestionAsked
    from backcast.engine.interfaces.call_tree import calls_of, tree
    from backcast.engine.interfaces.question_tree import QuestionTree

    by_task: dict[str, list[WorkflowEvent]] = {}
    for event in events:
        by_task.setdefault(event.task_id, []).append(event)
    for task, read in by_task.items():
        calls = calls_of(read)
        if as_json:
            say(json_text({"task_id": task, "calls": [call._asdict() for call in calls]}))
            continue
        asks = any(isinstance(event.fact, QuestionAsked) for event in read)
        for line in QuestionTree(task, read).lines() if asks else tree(task, calls):
            say(line)
    return bool(by_task)
