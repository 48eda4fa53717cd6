"""Tells now and then that an agent is still at work."""

import time
from collections.abc import Callable

EVERY = 30.0
"Seconds between two lines."


class Pulse:
    """The pulse of one agent; `calls` tells of those of the model, None where nobody can."""

    def __init__(
        self, tell: Callable[[str], None], name: str, calls: Callable[[], str] | None,
        every: float = EVERY,
    ) -> None:  # fmt: skip
        self._tell, self._name, self._calls, self._every = tell, name, calls, every
        self._began = self._last = time.monotonic()

    def beat(self) -> None:
        """Tell how long it has worked, where the last line is long ago."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        count = f", {self._calls()}" if self._calls else ""
        self._tell(f"{self._name} has been at work for {now - self._began:.0f} s{count}")
