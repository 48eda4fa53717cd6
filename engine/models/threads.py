"""How many threads read a model? As many as there are cores that nothing else keeps busy.

llama.cpp's threads wait for each other by spinning: one too many, and all of them wait for the one
that has no core. Beside one busy process two threads wrote a seventh of what one thread writes.
"""

import os

from backcast.domain.errors import InputError

VARIABLE = "BACKCAST_THREADS"
"Names the number instead."


def threads_free() -> int:
    """Return the threads for a model that is loaded now: BACKCAST_THREADS, else the free cores."""
    if asked := os.environ.get(VARIABLE, "").strip():
        if not asked.isdecimal() or not 1 <= int(asked) <= 1_024:
            raise InputError(
                f"{VARIABLE}: needed a number of threads from 1 to 1024, found {asked!r}"
            )
        return int(asked)
    return free_of(_cores(), _load())


def free_of(cores: int, load: float) -> int:
    """Return the cores that a load leaves free, at least one.

    >>> free_of(2, 0.1), free_of(2, 0.8), free_of(2, 7.0), free_of(16, 3.2)
    (2, 1, 1, 13)
    """
    return max(1, cores - round(load))


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0
