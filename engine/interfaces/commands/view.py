"""`backcast view`: a page that shows a run, on this machine or as one file."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import Place, address_argument, task_at
from backcast.engine.interfaces.options import opened, store_option
from backcast.engine.interfaces.terminal import message, size_text

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore

PORT = 8098
MANY = 2_000
"Events from which on writing a file takes so long that it is announced."


@click.command(name="view")
@address_argument(required=False)
@store_option
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True,
              metavar="P", help="Where to listen on this machine; 0 for any free one.")  # fmt: skip
@click.option("--html", "file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write one file with everything in it, and serve nothing.")  # fmt: skip
@click.option("--what-if", "what_if", multiple=True, metavar="POLICY",
              help="With --html: what this policy would have shown, at each prompt.")  # fmt: skip
@click.option("--last", type=click.IntRange(1), metavar="N",
              help="With --html: only the last N steps; 1,000 where nothing is said.")  # fmt: skip
@click.option("--browser", is_flag=True, help="Also open the page in this machine's browser.")
@click.option("--redact", is_flag=True, help="With --html: mask secrets, and names of homes.")
def command(
    address: Address | None, url: str, port: int, file: Path | None, what_if: tuple[str, ...],
    last: int | None, redact: bool, browser: bool,
) -> None:  # fmt: skip
    """Show a run as a page: its steps, each prompt, and what was known at any moment.

    \b
    backcast view till                                     # begins at its last trouble
    backcast view fixtures/logs/till.jsonl@164
    backcast view till --html till.html --redact           # one file, for others
    backcast view till --html till.html --what-if no-cache --what-if mine.toml

    The command prints the page's address, for a browser on this machine; --browser opens it there.
    The page is served on this machine alone and writes nothing; Ctrl-C ends it. It follows a run
    that goes on. The file opens without a server: 'backcast help view'. Of more than a
    thousand steps it holds the last thousand, or --last N.
    """
    if redact and not file:
        raise click.UsageError("--redact goes with --html: the page shows what the store holds")
    if browser and file:
        raise click.UsageError("--browser goes without --html: open the file itself")
    if last and not file:
        raise click.UsageError("--last goes with --html: the page itself shows all steps")
    if what_if and not file:
        raise click.UsageError("--what-if goes with --html: the page itself asks for policies")
    tell = _tell_and_open if browser else _tell
    if address is None or not (address.task or address.log):
        if file:
            raise click.UsageError("--html needs a task: TASK --html FILE")
        _serve_all(url, port, tell)
        return
    with task_at(address, url) as place:
        if file:
            _write(place, file, url, what_if, last, redact=redact)
        else:
            _serve(place, port, url, tell)


def _version(place: Place) -> int:
    """Return the event at which the page opens; 0 for the one that it chooses."""
    return place.store.version_at(place.task, place.moment) if place.when else 0


def _serve(place: Place, port: int, url: str, tell: Callable[[str], None]) -> None:
    from backcast.engine.interfaces.view.serving import serve

    version = _version(place)
    notes = noting_damage(place.store)
    serve(place.store, place.task, version, port, notes, tell, place.log, "" if place.log else url)


def _serve_all(url: str, port: int, tell: Callable[[str], None]) -> None:
    from backcast.engine.interfaces.view.serving import serve

    with opened(url) as store:
        if not store.tasks():
            raise InputError(
                f"{url}: needed a store with tasks, found none: 'backcast help' begins"
            )
        serve(store, None, 0, port, noting_damage(store), tell, url=url)


def noting_damage(store: "EventStore") -> list[str]:
    """Return a list that each damaged event of a store will stand in, once it was read."""
    from backcast.engine.log.rows import Damage, DamageReporter

    notes = list[str]()

    def note(damage: Damage) -> None:
        message(f"skipped {damage}")
        notes.append(f"{damage}: it is left out, and the rest is shown")

    store.report = DamageReporter(note)
    return notes


def _write(
    place: Place, file: Path, url: str, what_if: tuple[str, ...], last: int | None, *, redact: bool
) -> None:  # fmt: skip
    from backcast.engine.interfaces.commands.export import write
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.interfaces.view.file import RunNames, whole_page
    from backcast.engine.log.remote import shown
    from backcast.engine.replay.what_if import policy_asked

    policies = [policy_asked(name) for name in what_if]
    notes, version = noting_damage(place.store), _version(place)
    names = RunNames(place.log, "" if place.log else shown(url))
    if (events := place.store.version(place.task)) > MANY:
        message(f"reading {events:,} events, and writing each as a moment: this takes a while")
    with ExitStack() as stack:
        text, masked = whole_page(
            place.store, place.task, version, notes, redact=redact, policies=policies, names=names,
            advancing=lambda total: stack.enter_context(progress_bar("writing", total)), last=last,
        )  # fmt: skip
    write(file, [text], shared=redact)
    size = size_text(len(text.encode()))
    message(f"{file}: {size}, opens without a server" + (f"; masked {masked}" * bool(masked)))


def _tell(address: str) -> None:
    message(f"{address} is the page: open it in a browser on this machine; Ctrl-C ends it")


def _tell_and_open(address: str) -> None:
    import webbrowser

    _tell(address)
    Thread(target=webbrowser.open, args=(address,), daemon=True).start()
