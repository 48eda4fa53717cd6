"""How often Python looks for reference cycles while states are read and prompts are built."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

GC_THRESHOLD = (50_000, 50, 100)
"Objects and rounds between searches for reference cycles; see `gc.set_threshold`."

_LOCK = Lock()
_OPEN: list[tuple[int, int, int]] = []
"For each block that is open, in whatever thread, the numbers before it: the first has the usual."


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Search for reference cycles less often while many prompts are built, or a state is read.

    States are values that share their parts and make no cycles; the usual searches took a seventh
    of the time of a prompt, and half of the time in which a large state is read.
    """
    with _LOCK:
        _OPEN.append(gc.get_threshold())
        gc.set_threshold(*GC_THRESHOLD)
    try:
        yield
    finally:
        with _LOCK:
            usual = _OPEN[0]
            _OPEN.pop()
            if not _OPEN:
                gc.set_threshold(*usual)
