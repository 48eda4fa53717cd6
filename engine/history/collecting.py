"""How often Python looks for reference cycles while states are read and prompts are built."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

GC_THRESHOLD = (50_000, 50, 100)
"Objects and rounds between searches for reference cycles; see `gc.set_threshold`."

_LOCK = Lock()
_BEFORE: list[tuple[int, int, int]] = []
"The usual numbers, once for each block that is open, in whatever thread."


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Search for reference cycles less often while many prompts are built, or a state is read.

    States are values that share their parts and make no cycles; the usual searches took a seventh
    of the time of a prompt, and half of the time in which a large state is read.
    """
    with _LOCK:
        if not _BEFORE:
            _BEFORE.append(gc.get_threshold())
            gc.set_threshold(*GC_THRESHOLD)
        else:
            _BEFORE.append(_BEFORE[0])
    try:
        yield
    finally:
        with _LOCK:
            before = _BEFORE.pop()
            if not _BEFORE:
                gc.set_threshold(*before)
