"""Pools of worker processes that end with the process that started them, however it ends.

Each worker holds the reading end of a pipe whose only writing end is in the parent. The kernel
closes that with the parent, be it killed, and so wakes the worker; the parent closes it itself
where it has no more use for what the workers do. The tracker of their semaphores ends with them.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, get_context, resource_tracker
from multiprocessing.connection import Connection
from threading import Lock, Thread

from backcast.domain.errors import WorkerError
from backcast.engine.log.interrupts import uninterrupted

_QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
_STARTING = Lock()


@contextmanager
def pool_of(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes; left by an exception, it ends them in the midst of their work."""
    _start_tracker()
    alive, held = Pipe(duplex=False)
    # A fork would copy the threads and database handles of the caller, and a fork server would
    # leave its socket where its parent is killed.
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=end_with_parent, initargs=(alive,)
    )
    try:
        _start(pool, processes)
        yield pool
    except BrokenProcessPool:
        pool.shutdown()
        raise WorkerError(
            "needed all worker processes to the end, found one that was killed"
            " (was memory short?): run it again; what was stored stays"
        ) from None
    except BaseException:
        held.close()
        _let_go(pool)
        pool.shutdown(cancel_futures=True)
        raise
    else:
        pool.shutdown()
    finally:
        held.close()
        alive.close()


def _let_go(pool: ProcessPoolExecutor) -> None:
    """Close what this process holds of the workers' own ends of their pipes.

    A thread that waits for the rest of a value, or for room to send one, would wait for ever for a
    worker that ended in the midst of it.
    """
    for queue, end in (("_call_queue", "_reader"), ("_result_queue", "_writer")):
        connection = getattr(getattr(pool, queue, None), end, None)
        if isinstance(connection, Connection):
            connection.close()


def _start_tracker() -> None:
    """Start the tracker of semaphores, unless it runs.

    It would print a warning about what a killed process left to it to remove.
    """
    with _STARTING:
        sys.warnoptions.append(_QUIET)
        try:
            resource_tracker.ensure_running()
        finally:
            sys.warnoptions.remove(_QUIET)


def _start(pool: ProcessPoolExecutor, processes: int) -> None:
    """Start all workers: one that Ctrl-C reaches while it starts would print a traceback, as would
    one that is started by half."""
    with uninterrupted():
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in workers for good
        try:
            for _ in range(processes):
                pool.submit(int)  # a worker is started for each piece of work that finds none idle
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def end_with_parent(alive: Connection) -> None:
    """Make this process end when the other end of a pipe is closed."""
    gc.set_threshold(50_000)  # all that it imports from now on stays, and was searched for cycles
    atexit.register(gc.freeze)  # so would be all that it holds, before it ends
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that wait busily
    Thread(target=_end_after, args=(alive,), daemon=True).start()
    # A thread waits while the interpreter is in one long call, as a parser is: a signal does not.
    with suppress(OSError, AttributeError):
        if sys.platform == "linux":
            _end_by_signal(alive.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent says what to do


def _end_after(alive: Connection) -> None:
    with suppress(EOFError, OSError):
        alive.recv_bytes()
    os._exit(1)


def _end_by_signal(descriptor: int) -> None:
    """Let the kernel end this process by SIGIO, whose default that is, when a pipe is closed."""
    import fcntl

    # The owner belongs to the open file, and that is shared with the other workers.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
