"""What a person sees while a proxy records: a line that is redrawn, or now and then one of text."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from backcast.engine.interfaces.terminal import in_a_line

SECONDS = 30.0
"Seconds between two lines where there is no terminal."


class StatusLine(AbstractContextManager["StatusLine"]):
    """The line of one recording; messages stand above it, each told once."""

    def __init__(self, tell: Callable[[str], None], *, alone: bool) -> None:
        """`alone` where no command draws on the same terminal: else nothing is shown."""
        self._tell, self._shown, self._last = tell, "", time.monotonic()
        self._alone = alone
        self._live: AbstractContextManager[object] | None = None

    def __enter__(self) -> Self:
        if self._alone and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True), auto_refresh=False, transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what goes to a file must not go here
            )  # fmt: skip
            self._live.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def show(self, text: str) -> None:
        """Show how far it has come: at once on a terminal, else if the last line is long ago."""
        if not self._alone or text == self._shown:
            return
        if self._live is not None:
            from rich.text import Text

            shown = Text(in_a_line(text), no_wrap=True, overflow="ellipsis")
            self._live.update(shown, refresh=True)  # type: ignore[attr-defined]
        elif time.monotonic() - self._last < SECONDS:
            return
        else:
            self._tell(text)
        self._shown, self._last = text, time.monotonic()


def status_text(calls: int, tokens: int, kept: int, faults: int, stale: int | None) -> str:
    """Return the line: `stale` is how many parts of the latest prompt are, None where it is not
    known.

    >>> status_text(12, 34000, 31280, 1, 2)
    '12 calls, 34,000 tokens of prompts, 92 % of them kept, 1 fault, 2 stale parts'
    >>> status_text(1, 0, 0, 0, None)
    '1 call'
    """
    said = [counted(calls, "call")]
    if tokens:
        said += [f"{tokens:,} tokens of prompts", f"{100 * kept / tokens:.0f} % of them kept"]
    if faults:
        said.append(counted(faults, "fault"))
    if stale is not None:
        said.append(counted(stale, "stale part"))
    return ", ".join(said)


def counted(number: int, what: str) -> str:
    """Return a number with its noun, as `1 call` or `2 calls`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
