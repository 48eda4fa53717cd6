"""How often Python looks for circles of objects while many prompts are built."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = (50_000, 50, 100)
"Objects and rounds between searches; see `gc.set_threshold`."


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """States are values that share their parts and make no circles: looking for some as often as
    usual took a seventh of the time."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
