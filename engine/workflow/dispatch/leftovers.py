"""Finds and ends what a dispatch left behind whose process, and keeper, were both killed."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from backcast.engine.workflow.dispatch.folders import PREFIX
from backcast.engine.workflow.dispatch.removal import remove
from backcast.engine.workflow.sandbox.processes import LINGERING

MARK = "BACKCAST_DISPATCH"
"The variable by which an agent's processes are known."


def running(mark: str, folder: str = "") -> list[int]:
    """Return the processes that carry a mark in their environment, or work in a folder.

    Some clear their environment; one that also works elsewhere is known to its keeper alone.
    """
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        if int(name) != os.getpid() and (_is_marked(name, mark) or _works_in(name, folder)):
            found.append(int(name))
    return found


def _is_marked(pid: str, mark: str) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environment:
        return f"{MARK}={mark}".encode() in environment.read().split(b"\0")
    return False


def _works_in(pid: str, folder: str) -> bool:
    with suppress(OSError):
        return bool(folder) and os.readlink(f"/proc/{pid}/cwd").startswith(f"{folder}/")
    return False


def end_running(mark: str, folder: str = "") -> None:
    """Kill the processes that carry a mark, or work in a folder, until there is none."""
    deadline = time.monotonic() + LINGERING
    while (found := running(mark, folder)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def remove_left(folder: str, mark: str) -> bool:
    """Remove what a killed dispatch left; return whether it had left anything."""
    place = Path(folder)
    # Only what has such a name is ours: a log may hold any path.
    ours = place.name.startswith(PREFIX)
    found = bool(running(mark, folder if ours else ""))
    end_running(mark, folder if ours else "")
    if ours and place.is_dir() and not place.is_symlink():
        found = True
        remove(folder)
    return found
