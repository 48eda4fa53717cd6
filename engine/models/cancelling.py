"""A call to a model that somebody no longer wants: it is really ended, not only forgotten.

The one who waits says so; whoever asks the model looks at it between two tokens, or has said what
to close: a request that is closed ends the work of its server.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from backcast.domain.errors import ModelError


class Cancellation:
    """Whether one call is still wanted; any thread may ask, and any may say that it is not."""

    def __init__(self) -> None:
        self._said, self._lock = Event(), Lock()
        self._closers: list[Callable[[], None]] = []

    @property
    def said(self) -> bool:
        """Whether the call is not wanted any more."""
        return self._said.is_set()

    def cancel(self) -> None:
        """Say that the call is not wanted any more, and close what it waits for."""
        with self._lock:
            self._said.set()
            closers, self._closers = self._closers, []
        for close in closers:
            close()

    @contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """Have something closed where the call is cancelled before the block ends."""
        with self._lock:
            if not self.said:
                self._closers.append(close)
        try:
            if self.said:
                close()
            yield
        finally:
            with self._lock:
                if close in self._closers:
                    self._closers.remove(close)

    def pause(self, seconds: float) -> None:
        """Wait; `CallCancelledError` as soon as the call is cancelled."""
        if self._said.wait(seconds):
            raise CallCancelledError


class CallCancelledError(ModelError):
    """The call was cancelled, as nobody waits for its answer any more."""

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens
        "Tokens of prompt and answer that it had read and said; None where that is not known."
        super().__init__("the call was cancelled", "cancelled")
