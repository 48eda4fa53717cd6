"""Logs that a command reads one after the other, and keeps open while something of them counts."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from backcast.domain.errors import BackcastError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import log_at, logs_named, refuse_moments
from backcast.engine.interfaces.many_logs import SOME, LogTimes
from backcast.engine.interfaces.terminal import message, progress_bar
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log


class LogShelf:
    """The logs that some addresses name, opened when their turn comes."""

    def __init__(self, addresses: Sequence[Address], url: str, *, again: bool = False) -> None:
        """`again` where they were opened before, and what is wrong with them is known."""
        refuse_moments(addresses)
        self._found, self.unreadable = logs_named(addresses, url, again=again)
        self._url, self._again = url, again
        self._open: list[tuple[Log, ExitStack]] = []
        self._done: Callable[[int], None] = lambda logs: None
        self.read = self.torn = 0
        "Logs that could be opened, and those of them that are not whole."

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep(())

    @property
    def logs(self) -> "list[Log]":
        """The logs that are open, in the order in which they are named."""
        return [log for log, _ in self._open]

    def __iter__(self) -> "Iterator[Log]":
        """Open and yield each log; one that cannot be read is told, and counted."""
        times = LogTimes()
        for address in self._found:
            with times.taken(shown(str(address) or self._url)), ExitStack() as stack:
                try:
                    log = stack.enter_context(log_at(address, self._url))
                except BackcastError as error:
                    self.unreadable += 1
                    if not self._again:
                        message(error)
                else:
                    for problem in () if self._again else log.problems:
                        message(f"skipped {problem}")
                    self.read += 1
                    self.torn += bool(log.problems)
                    self._open.append((log, stack.pop_all()))
                    yield log
            self._done(1)
        if not self._again:
            times.report()

    def keep(self, names: Collection[str]) -> None:
        """Close all logs but those of some names."""
        kept = []
        for log, stack in self._open:
            if log.name in names:
                kept.append((log, stack))
            else:
                stack.close()
        self._open = kept

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int], None]]:
        """Show how many logs are read, where there are some, else how many steps."""
        if len(self._found) < SOME:
            with progress_bar(what, None) as advance:
                yield advance
            return
        with progress_bar("logs", len(self._found)) as self._done:
            yield lambda steps: None
