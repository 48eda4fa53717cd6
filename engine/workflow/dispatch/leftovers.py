"""Finds and ends what a dispatch left behind whose process, and keeper, were both killed."""

import fcntl
import hashlib
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from backcast.engine.workflow.sandbox.processes import LINGERING

MARK = "BACKCAST_DISPATCH"
"The variable by which an agent's processes are known."
PREFIX = "backcast-dispatch-"
"The beginning of the names of agents' folders."


def new_folder(name: str) -> tuple[Path, int]:
    """Make a folder for an agent; return it and a descriptor that holds its lock.

    It has the same path whenever the name is the same, as far as nobody else has it: agents show
    the path in their prompts, and a server reads on from where two prompts differ.
    """
    known = Path(tempfile.gettempdir()).resolve() / (
        PREFIX + hashlib.sha256(name.encode()).hexdigest()[:12]
    )
    with suppress(FileExistsError):
        known.mkdir(mode=0o700)
        if (descriptor := _locked(known)) is not None:
            return known, descriptor
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        if (descriptor := _locked(folder)) is not None:
            return folder, descriptor


def sweep() -> None:
    """Remove folders that nobody holds: those of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
        if (descriptor := _locked(folder)) is not None:
            _remove(folder)
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """Return a descriptor that holds a folder's lock; None where another has it, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(folder)):
            return descriptor
    os.close(descriptor)
    return None


def is_held(folder: str) -> bool:
    """Return whether a dispatch, or its keeper, still holds a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


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
        _remove(place)
    return found


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():  # an agent may have taken rights away
        for path, _, _ in os.walk(place):
            with suppress(OSError):
                os.chmod(path, 0o700)
        shutil.rmtree(place, ignore_errors=True)
