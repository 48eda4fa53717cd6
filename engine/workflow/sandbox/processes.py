"""Waits for the first process of a run, and ends all others."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

LINGERING = 5.0
"Seconds that killed processes have to disappear."


def wakes() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return woken


def watch_over(first: int, woken: int, crowd: int | None) -> tuple[int, bool]:
    """Wait for a child; return its exit status, and whether there were too many processes.

    The child is killed when standard input is closed, or when this process has more than `crowd`
    descendants; None where another layer limits their number.
    """
    while True:
        ready = select.select([0, woken], [], [], None if crowd is None else 0.05)[0]
        crowded = crowd is not None and not ready and len(descendants(os.getpid())) > crowd
        if crowded or 0 in ready:
            os.kill(first, signal.SIGKILL)
            return _code(os.waitpid(first, 0)[1]), crowded
        with suppress(BlockingIOError):
            os.read(woken, 64)
        for pid, status in ended():
            if pid == first:
                return _code(status), False


def ended() -> Iterator[tuple[int, int]]:
    """Yield the pid and status of each child that has ended, orphans among them."""
    with suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            yield child


def end_descendants(first: int) -> None:
    """Kill the orphans of a child, which this process has inherited, until none remains."""
    deadline = time.monotonic() + LINGERING
    with suppress(OSError):
        os.killpg(first, signal.SIGKILL)
    while (orphans := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in orphans:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        list(ended())
        time.sleep(0.002)


def descendants(root: int) -> list[int]:
    """Return the descendants of a process; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    family = [root]
    for pid in family:  # which grows on the way
        family += children.get(pid, ())
    return family[1:]


def release_output() -> None:
    """Release the output pipes, so that they end when the run does."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def stay_as_first_process() -> None:
    """Fork; reap orphans, and end with the child, which ends all else in the namespace."""
    child = os.fork()
    if child == 0:
        return
    release_output()
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(_code(status))
