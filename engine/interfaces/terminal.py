"""Print text safely, and show progress. Text from logs and file names may hold control codes,
which a terminal must not obey.

Every command imports this module, so it imports nothing slow at its top.
"""

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from backcast.engine.log.importers.versions import Faulty
    from backcast.engine.log.store import EventStore

SPEAKS = re.compile(
    "(?![\n\t]|\r\n)[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e"
    "\u2066-\u2069\ufeff\ud800-\udfff]"
)
"Characters that a terminal obeys or cannot show: controls, direction overrides, surrogates."

PAINTS = {"green": "\ue0f1", "red": "\ue0f2", "": "\ue0f0"}
"""What stands for a colour of ours in a text that is printed by `say`, and for its end: private
signs of Unicode, as an escape would be escaped."""
_PAINTED = str.maketrans({"\ue0f1": "\x1b[32m", "\ue0f2": "\x1b[31m", "\ue0f0": "\x1b[0m"})

EVERY = 30.0
"Seconds between two lines of progress, at most, where no terminal shows it."
FIRST = 5.0
"Seconds until the first one; then the time between two doubles."
SOON = 8.0
"Seconds after which the reason for a wait is told."


def escaped(text: str) -> str:
    """Return a name on one line, with unprintable characters and line ends escaped.

    >>> escaped("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def escaped_lines(text: str) -> str:
    """Return a text of several lines with its controls escaped; tabs and line ends stay.

    >>> escaped_lines("\\ta\\x1b[31m\\nb")
    '\\ta\\\\x1b[31m\\nb'
    """
    return SPEAKS.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    return repr(character)[1:-1]


def in_a_line(text: object) -> str:
    """Return a message on one line, however many it had."""
    return escaped(" ".join(str(text).split()))


def size_text(size: int) -> str:
    """Return a number of bytes in words.

    >>> size_text(50_000), size_text(3_565_158)
    ('48.8 KB', '3.4 MB')
    """
    return f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 2**10:.1f} KB"


def say(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text, of lines or of JSON, that no terminal obeys. All commands print by this, by
    `message`, by a `SafeConsole`, or exactly, by `hand_on`.
    """
    shown = SPEAKS.sub(_said, str(text))
    if PAINTS["red"] in shown or PAINTS["green"] in shown:
        shown = shown.translate(_PAINTED)
    click.echo(shown, nl=nl, err=err)


def _said(match: re.Match[str]) -> str:
    """Return a character escaped, as JSON has it where JSON may hold it as it is."""
    return f"\\u{ord(match[0]):04x}" if match[0] >= "\x7f" else _escape(match[0])


def message(text: object) -> None:
    """Print a message on stderr, in one line."""
    click.echo(f"backcast: {in_a_line(text)}", err=True)


def note_faults(store: "EventStore", tasks: Iterable[str], as_json: bool) -> None:
    """Note each task that came by an importer with a known fault."""
    from backcast.engine.log.importers.versions import faulty

    for task in tasks:
        for part in faulty(store, task):
            note_fault(part, as_json)


def note_fault(part: "Faulty", as_json: bool) -> None:
    """Note a part of a task that came by an importer with a known fault."""
    from backcast.domain.json_text import json_text

    if as_json:
        click.echo(json_text({"note": str(part)} | part._asdict()))
    else:
        message(f"note: {part}")


def hand_on(text: str) -> None:
    """Write a text exactly, as a model or program needs it; escape it on a terminal."""
    # Without `color=True` click strips colour codes from a pipe, and the text would change.
    click.echo(escaped_lines(text) if sys.stdout.isatty() else text, color=True)


def hand_on_bytes(body: bytes) -> None:
    """Write a body exactly; escape it on a terminal."""
    if sys.stdout.isatty():
        click.echo(escaped_lines(body.decode(errors="backslashreplace")), nl=False, color=True)
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


class _StepsInLines:
    """A counter of steps, in words."""

    def __init__(self, what: str, total: int | None, ends: float | None) -> None:
        self.what, self.total, self.done, self.begun = what, total, 0, monotonic()
        self.ends = math.inf if ends is None else ends

    def advance(self, step: int) -> None:
        """Count a step."""
        self.done += step

    def line(self) -> str:
        """Return how far it is, and about how long the rest takes if it goes on like that."""
        spent, of = monotonic() - self.begun, "" if self.total is None else f" of {self.total:,}"
        line = f"{self.what}: {self.done:,}{of} after {spent:.0f} s"
        rest = math.inf
        if self.total and 0 < self.done < self.total:
            rest = spent * (self.total - self.done) / self.done
        until = self.ends - monotonic()
        if until < rest and self.done != self.total:
            return f"{line}; it ends in {_rough(until)}"
        return line if math.isinf(rest) else f"{line}, about {_rough(rest)} left"


@contextmanager
def _now_and_then(line: Callable[[], str], first: float) -> Iterator[None]:
    """Print a line after a time, and again after twice that, until `EVERY` seconds lie between."""
    ended = Event()

    def watch() -> None:
        wait = first
        while not ended.wait(wait):
            message(line())
            wait = min(EVERY, 2 * wait)

    Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _rough(seconds: float) -> str:
    """Return a time in words.

    >>> _rough(0.2), _rough(100), _rough(500)
    ('1 s', '100 s', '8 min')
    """
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(1, seconds):.0f} s"


@contextmanager
def told_if_long(what: str, why: str) -> Iterator[None]:
    """Say of work without steps why it takes long, once it does, and then how long it took yet."""
    begun, reasons = monotonic(), [f"{what} takes a while: {why}"]

    def line() -> str:
        return reasons.pop() if reasons else f"{what}: {monotonic() - begun:.0f} s so far"

    with _now_and_then(line, SOON):
        yield


@contextmanager
def progress_bar(
    what: str, total: int | None, *, ends: float | None = None
) -> Iterator[Callable[[int], None]]:
    """Show progress and the time that is left on stderr; where that is no terminal, a line now
    and then. `ends` is a moment of `time.monotonic` at which the work ends however far it is.

    Yields the function that takes a step's size.
    """
    if not sys.stderr.isatty():
        steps = _StepsInLines(what, total, ends)
        with _now_and_then(steps.line, FIRST):
            yield steps.advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    # The description may hold a file name, which is neither a format nor markup.
    named = TextColumn("{task.description}", markup=False)
    to_come = () if total is None else (TextColumn("left:"), Remaining())
    columns = (named, BarColumn(), MofNCompleteColumn(), Elapsed(), *to_come)
    with Progress(
        *columns, console=Console(stderr=True), transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what is printed to a file must not go here
    ) as bar:  # fmt: skip
        task = bar.add_task(escaped(what), total=total)
        yield lambda step: bar.update(task, advance=step)
