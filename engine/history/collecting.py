"""How often Python looks for reference cycles while states are read and prompts are built."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

GC_THRESHOLD = (50_000, 50, 100)
"Objects and rounds between searches for reference cycles; see `gc.set_threshold`."


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Search for reference cycles less often while many prompts are built, or a state is read.

    States are values that share their parts and make no cycles; the usual searches took a seventh
    of the time of a prompt, and half of the time in which a large state is read.
    """
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
