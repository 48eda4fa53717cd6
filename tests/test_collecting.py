"""Python looks rarely for cycles while a block is open, and as before when the last one ends."""

import gc
from threading import Event, Thread

from backcast.engine.history.collecting import GC_THRESHOLD, rarely_collecting


def test_blocks_that_end_in_another_order_than_they_began_leave_the_usual_numbers() -> None:
    usual, begun, end = gc.get_threshold(), Event(), Event()

    def other() -> None:
        with rarely_collecting():
            begun.set()
            end.wait(10)

    thread = Thread(target=other)
    with rarely_collecting():
        thread.start()
        assert begun.wait(10)
    assert gc.get_threshold() == GC_THRESHOLD != usual, "the other block is open"
    end.set()
    thread.join(10)
    assert gc.get_threshold() == usual
