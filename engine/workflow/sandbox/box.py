"""The directory of one sandboxed run: files go in, results come out.

Code that is not trusted made whatever it holds afterwards: links are not followed, only plain files
are read, and only up to a given size.
"""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path

from backcast.domain.errors import InputError
from backcast.engine.workflow.sandbox.isolation import is_spare
from backcast.engine.workflow.sandbox.libraries import library_places

LONGEST_PATH, LONGEST_PART = 500, 150
"Bytes in UTF-8, so that paths fit below any directory."
LOOKED_AT = 10_000
"Directories, and entries of each, that are searched for large files."
SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/timezone",
    "/etc/mime.types", "/etc/os-release", "/etc/ssl/certs",
)  # fmt: skip
"System paths that programs need to run; none holds anybody's own data."
PREFIX = "backcast-box-"
"The beginning of the names of boxes, by which a later run finds those that were left behind."


def safe_path(path: str) -> str:
    """Return a path that is relative, POSIX and stays below its root; else raise `InputError`.

    >>> safe_path("pkg/validators.py")
    'pkg/validators.py'
    """
    if not isinstance(path, str):
        raise InputError(f"needed a path as text, found {type(path).__name__}")
    shown = ascii(path[:80])
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(f"needed a relative path without '.', '..' or empty parts, found {shown}")
    if any(not c.isprintable() or c in '\\:<>"|?*' for c in path):
        raise InputError(f"needed a path of plain printable characters, found {shown}")
    if any(part != part.strip() or part.endswith(".") for part in parts):
        raise InputError(f"needed a path whose parts end in no space or dot, found {shown}")
    if any(part.lower() == ".git" for part in parts):
        raise InputError(f"needed a path outside Git's own directory, found {shown}")
    if len(path.encode()) > LONGEST_PATH or any(len(p.encode()) > LONGEST_PART for p in parts):
        raise InputError(f"needed a path of up to {LONGEST_PATH} bytes, found {shown}...")
    return path


def check_paths(files: Mapping[str, bytes]) -> None:
    """Raise `InputError` for a path that is unsafe, or is both file and directory."""
    for path in files:
        folder = safe_path(path)
        while folder := folder.rpartition("/")[0]:
            if folder in files:
                raise InputError(f"{folder!r} cannot be a file and hold {path!r}")


class Box:
    """A run's directory: it works in `files`, and has a `home` and a `tmp` of its own."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.files = path, path / "files"
        self.descriptor = descriptor
        "Of the directory itself; it holds the lock that says that somebody still needs it."

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files whose paths have been checked."""
        for path, body in files.items():
            target = self.files / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)

    def read(self, name: str, longest: int) -> bytes | None:
        """Return a file that the run left; None unless plain and of at most `longest` bytes."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                return None
            body = file.read(longest + 1)
        return body if len(body) <= longest else None

    def holds_file_of(self, size: int) -> bool:
        """Return whether a file has grown to a size, in bytes."""
        folders = [os.fspath(self.path)]
        for folder in folders:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in islice(entries, LOOKED_AT):
                    if entry.is_dir(follow_symlinks=False) and len(folders) < LOOKED_AT:
                        folders.append(entry.path)
                    elif entry.stat(follow_symlinks=False).st_size >= size:
                        return True
        return False


@contextmanager
def new_box() -> Iterator[Box]:
    """Make a new, empty box, and remove it afterwards with all that it holds.

    A process that is killed cannot do that, so the first box of the next one removes what it left.
    """
    _once(tempfile.gettempdir())
    box = None
    while box is None:
        path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        box = Box(path, claim[0]) if (claim := _claimed(path)) is not None else None
    try:
        for name in ("files", "home", "tmp", "root"):
            (path / name).mkdir()
        yield box
    finally:
        _remove(path)
        os.close(box.descriptor)


def _claimed(path: Path) -> tuple[int, bool] | None:
    """Return a descriptor of a directory and whether it is locked; None where it is in use or gone.

    The kernel opens the lock when its holder ends, however that happens. Some file systems have no
    locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor, True
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        return descriptor, False
    os.close(descriptor)
    return None


def remove_abandoned(folder: str) -> None:
    """Remove the boxes that killed processes left in a folder.

    Only directories of this user are touched, and those of the users that a root gives its boxes.
    """
    entries = list[os.DirEntry[str]]()
    with suppress(OSError), os.scandir(folder) as found:
        entries = [entry for entry in found if entry.name.startswith(PREFIX)]
    for entry in entries:
        with suppress(OSError):
            if not _is_own(entry.stat(follow_symlinks=False)):
                continue
            path = Path(entry.path)
            claim = _claimed(path)
            if claim is not None:
                if claim[1]:
                    _remove(path)
                os.close(claim[0])


_once = cache(remove_abandoned)
"The same, but once per process."


def _is_own(status: os.stat_result) -> bool:
    user, owner = os.geteuid(), status.st_uid
    return stat.S_ISDIR(status.st_mode) and (owner == user or (user == 0 and is_spare(owner)))


def _remove(path: Path) -> None:
    with suppress(OSError, RecursionError):
        shutil.rmtree(path)
    if path.exists():  # too deep for Python's recursion, or locked
        command = 'chmod -R u+rwx -- "$1"; rm -rf -- "$1"'
        subprocess.run(["/bin/sh", "-c", command, "sh", path], stderr=subprocess.DEVNULL)


@cache
def readable() -> tuple[str, ...]:
    """Return the paths that a run may read beside its box: this Python's and the system's."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    paths |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= library_places()
    hop = sys.executable
    while os.path.islink(hop):  # each of the links must be there to be followed
        paths.add(os.path.dirname(hop))
        hop = os.path.join(os.path.dirname(hop), os.readlink(hop))
    paths.add(os.path.dirname(hop))
    absolute = {os.path.abspath(path) for path in paths}
    return (*SYSTEM, *sorted(absolute | {os.path.realpath(path) for path in absolute}))
