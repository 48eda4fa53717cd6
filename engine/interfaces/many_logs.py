"""Commands over many logs: how far they have come, and which logs took the longest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import nlargest
from time import monotonic

from backcast.engine.interfaces.terminal import message, progress_bar

SOME, MANY = 10, 100
"Logs from which on progress is shown, and from which on the slowest are named."
SLOWEST = 3
"Logs that are named at most."


class LogTimes:
    """The seconds that each log took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        """Add what a part of a log took; `name` as a message may repeat it."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """Time a part of a log's work."""
        begun = monotonic()
        try:
            yield
        finally:
            self.add(name, monotonic() - begun)

    def report(self) -> None:
        """Name the slowest logs, where there were many."""
        if len(self.seconds) < MANY:
            return
        slowest = nlargest(SLOWEST, self.seconds.items(), key=lambda pair: (pair[1], pair[0]))
        names = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest)
        message(f"the slowest of {len(self.seconds):,} logs: {names}")


@contextmanager
def shown_progress(count: int) -> Iterator[Callable[[int], None]]:
    """Show how many of some logs are done, where there are some."""
    if count < SOME:
        yield lambda logs: None
        return
    with progress_bar("logs", count) as advance:
        yield advance
