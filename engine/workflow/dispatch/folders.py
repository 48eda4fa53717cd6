"""Folders of agents: each is held by a lock, and what nobody holds any more is swept away.

keeper    removes the folder of its agent, however we end
sweeper   removes any other, such as one that had no keeper yet when we were killed, and
              the boxes in which tests ran
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backcast.engine.workflow.dispatch.removal import remove
from backcast.engine.workflow.sandbox.watch import PACKAGES

PREFIX = "backcast-dispatch-"
"The beginning of the names of agents' folders."
START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from backcast.engine.workflow.dispatch import folders; folders.main()"
)


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


@contextmanager
def held_folder(name: str) -> Iterator[Path]:
    """Open a folder for work of our own, and remove it; `sweep` does where we are killed."""
    folder, lock = new_folder(name)
    try:
        yield folder
    finally:
        remove(str(folder))
        os.close(lock)


def sweep(place: str = "") -> None:
    """Remove folders that nobody holds: those of processes that were killed."""
    for folder in Path(place or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
        if (descriptor := _locked(folder)) is not None:
            remove(str(folder))
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


@contextmanager
def swept_after() -> Iterator[None]:
    """Have a process of its own sweep once we have ended, however that comes."""
    sweeper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, PACKAGES, tempfile.gettempdir()],
        cwd="/", env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        sweeper.communicate()


def main() -> None:
    """Wait for the end of the standard input, then sweep, boxes of tests too."""
    from backcast.engine.workflow.sandbox.box import remove_abandoned

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 64):
        pass
    sweep(sys.argv[1])
    remove_abandoned(sys.argv[1])
