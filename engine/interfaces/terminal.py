"""What may be printed. Texts and names from a log, and names of files, are as whoever wrote them
chose: a terminal must not obey what is in them.

Small, since every command needs it: what is slow to import is met elsewhere.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

SPEAKS = re.compile("(?![\n\t]|\r\n)[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"What a terminal obeys or cannot show: controls, overrides of direction, halves of pairs."


def escaped(text: str) -> str:
    """A name, on one line: whatever is not plain to see is escaped, ends of lines too.

    >>> escaped("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def escaped_lines(text: str) -> str:
    """A text of several lines, which keeps its tabs and ends of lines.

    >>> escaped_lines("\\ta\\x1b[31m\\nb")
    '\\ta\\\\x1b[31m\\nb'
    """
    return SPEAKS.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    return repr(character)[1:-1]


def in_a_line(text: object) -> str:
    """A message, on one line however many it had."""
    return escaped(" ".join(str(text).split()))


def message(text: object) -> None:
    """Say something on stderr, in one line."""
    click.echo(f"backcast: {in_a_line(text)}", err=True)


def hand_on(text: str) -> None:
    """Write a text that a model or another program may read: exact, but for a terminal."""
    # Without a colour to keep, click takes out of a pipe what looks like one.
    click.echo(escaped_lines(text) if sys.stdout.isatty() else text, color=True)


def hand_on_bytes(body: bytes) -> None:
    """Write a body as it is; on a terminal, what can be seen of it."""
    if sys.stdout.isatty():
        click.echo(escaped_lines(body.decode(errors="backslashreplace")), nl=False, color=True)
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far work has come; gives the function to call with each step's size."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # What is done may name a file: neither a format nor markup.
    named = TextColumn("{task.description}", markup=False)
    columns = (named, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escaped(what), total=total)
        yield lambda step: bar.update(task, advance=step)
