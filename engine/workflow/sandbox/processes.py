"""The processes of a run: its first one is waited for, and none is left."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

LINGERING = 5.0
"Seconds in which processes that have been killed must be gone."


def wakes() -> int:
    """A descriptor that becomes readable when a child ends."""
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return woken


def kept(first: int, woken: int, crowd: int | None) -> tuple[int, bool]:
    """The exit status of a child, and whether there were too many processes.

    It is killed when standard input is closed, and where it has more descendants than `crowd`;
    None where something else limits them.
    """
    while True:
        ready = select.select([0, woken], [], [], None if crowd is None else 0.05)[0]
        crowded = crowd is not None and not ready and len(_descendants(os.getpid())) > crowd
        if crowded or 0 in ready:
            os.kill(first, signal.SIGKILL)
            return _code(os.waitpid(first, 0)[1]), crowded
        with suppress(BlockingIOError):
            os.read(woken, 64)
        for pid, status in _ended():
            if pid == first:
                return _code(status), False


def _ended() -> Iterator[tuple[int, int]]:
    """The children that have ended, orphans among them."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def end_descendants(first: int) -> None:
    """Kill what a child left, which has become this process's own, until there is nothing."""
    deadline = time.monotonic() + LINGERING
    with suppress(OSError):
        os.killpg(first, signal.SIGKILL)
    while (left := _descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        list(_ended())
        time.sleep(0.002)


def _descendants(root: int) -> list[int]:
    """The processes that a process has started, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found[1:]


def release_output() -> None:
    """Let the pipes go, so that they end when the run does."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def stay_as_first_process() -> None:
    """Fork; stay to bury orphans, and end with the child. All else in the namespace then ends."""
    child = os.fork()
    if child == 0:
        return
    release_output()
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(_code(status))
