"""Regular expressions of the user's own, whose matches are masked too."""

import re
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from backcast.domain.errors import InputError
from backcast.engine.log.redaction.rules import SecretSpan

KIND = "pattern"
SECONDS = 5.0
"Seconds that a pattern may take for a text, and again for each `LARGE` characters of it."
LARGE = 5_000_000
_LETTERS = [chr(letter) for letter in range(32, 127)] + ["\n", "\t", "\u00e9"]
_ORDINARY = (
    "def total(items): return sum(item.price for item in items)",
    "THE END OF A HEADING",
    "2026 10 21, 12 34 56, 3.14159",
    "-- [] {} () <> == != && || ;; //",
)


class PatternError(InputError):
    """An unusable pattern; the message says which one and why, and never quotes it."""


class Patterns:
    """The user's patterns, compiled, and bounded in time.

    Python's expressions can take forever on a text (`(a+)+$`), so an alarm stops them; outside the
    main thread and on Windows there is no alarm, and nothing stops them.
    """

    def __init__(self, patterns: Iterable[tuple[str, str]] = (), seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.compiled = [(name, _compiled(name, pattern)) for name, pattern in patterns]
        for name, pattern in self.compiled:
            with within(seconds, f"{name}: {_SLOW}"):
                _check(name, pattern)

    def found_in(self, text: str) -> Iterator[SecretSpan]:
        """Yield what the patterns match in a text. `PatternError` if one takes too long."""
        for name, pattern in self.compiled:
            limit = self.seconds * (1 + len(text) // LARGE)
            with within(limit, f"{name}: {_SLOW}, found a text of {len(text):,} where it did not"):
                spans = [match.span() for match in pattern.finditer(text)]
            yield from (SecretSpan(start, end, KIND) for start, end in spans if start < end)


_SLOW = "needed a pattern that is quick on any text"


def patterns_in(lines: Iterable[str], name: str) -> list[tuple[str, str]]:
    """Return the patterns of a file, one a line, with their places; # begins a comment line."""
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return [
        (f"{name}, line {number}", line)
        for number, line in stripped
        if line and not line.startswith("#")
    ]


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"{name}: needed a regular expression, found: {error}") from None


def _check(name: str, pattern: re.Pattern[str]) -> None:
    """Refuse a pattern that would mask any log as a whole."""
    texts = ("", *_LETTERS, *_ORDINARY)
    if any(match.start() == match.end() for text in texts for match in pattern.finditer(text)):
        raise PatternError(f"{name}: needed a pattern of a secret, found one of the empty text")
    if any(pattern.search(letter) for letter in _LETTERS):
        raise PatternError(f"{name}: needed a pattern of a secret, found one of a single letter")
    if all(pattern.search(text) for text in _ORDINARY):
        raise PatternError(f"{name}: needed a pattern of a secret, found one of any text")


@contextmanager
def within(seconds: float, message: str) -> Iterator[None]:
    """Stop the block after some seconds with a `PatternError`."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise PatternError(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
