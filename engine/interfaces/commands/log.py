"""`backcast log`: print events in log order."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from backcast.domain.errors import UnavailableError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, log_at, require
from backcast.engine.interfaces.empty import note_empty
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import message

PATIENCE = 0.2
"Seconds between two looks for a store that is not there yet."
MADE = 10.0
"Seconds within which a store is made, once there is its file."


@click.command(name="log")
@address_argument(required=False)
@store_option
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these; may be repeated.")
@click.option(
    "--follow", is_flag=True, help="Wait for more, and for a store or task that is not there yet."
)
@json_option
def command(
    address: Address | None, url: str, types: tuple[str, ...], follow: bool, as_json: bool
) -> None:
    """Print events of a task, a file or the store, in log order.

    \b
    backcast log backcast@commit:4fd36e1 --type COMMITTED
    backcast log @2026-11-20
    backcast log till --follow
    """
    from backcast.domain.moment import NOW
    from backcast.engine.history.moments import moment_at
    from backcast.engine.interfaces.views import event_json, event_line

    address = address or Address()
    if follow and (address.when or address.log):
        raise click.UsageError("--follow waits for later events of a store: it takes no moment")
    kinds = [kind.upper() for kind in types]
    with ExitStack() as stack:
        if address.log:
            store = stack.enter_context(log_at(address, url)).store
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
        found = False
        for event in events:
            found = True
            click.echo(event_json(event) if as_json else event_line(event))
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
