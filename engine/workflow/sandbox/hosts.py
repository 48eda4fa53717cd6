"""Keeps the places of this machine out of what a run said: they tell a model nothing, and others
too much."""

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOTS = ("/", "/usr", "/usr/local", "/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin")
"Folders that every machine has, and that code may name itself."
_CUT = re.compile(r"(/\w[^\s'\":]{3,})\.\.\.")


def without_places(text: str, box: str) -> str:
    """Return a text without the paths of a run's box, of this Python and of its user.

    >>> without_places("/tmp/box-1/files/a.py, /tmp/box-1/tmp/x and /tmp/y", "/tmp/box-1")
    'a.py, tmp/x and /tmp/y'
    """
    for path, name in ((f"{box}/files/", ""), (f"{box}/files", "."), (f"{box}/", ""), (box, ".")):
        text = text.replace(path, name)
    for path, name in _places():
        if path in text:
            text = text.replace(f"{path}/", f"{name}/").replace(path, name)
    return _CUT.sub(lambda cut: "..." if _begins_place(cut[1], box) else cut[0], text)


def _begins_place(start: str, box: str) -> bool:
    """Return whether a path that was cut off, as pytest cuts its lines, began with a place."""
    return any(path.startswith(start) for path in (box, *(path for path, _ in _places())))


@cache
def _places() -> Sequence[tuple[str, str]]:
    """Return the paths of this Python and its user with a name for each, the longest first."""
    library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    packages = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    named = {
        **dict.fromkeys((sys.prefix, sys.base_prefix, sys.exec_prefix), "python"),
        **dict.fromkeys([path for path in sys.path if "site-packages" in path], "site-packages"),
        **dict.fromkeys(library, "python"),
        **dict.fromkeys(packages, "site-packages"),
        sys.executable: "python",
        str(Path.home()): "~",
    }
    found = {path.rstrip("/"): name for path, name in named.items() if path}
    found |= {os.path.realpath(path): name for path, name in found.items()}
    found = {
        path: name for path, name in found.items() if path not in ROOTS and path.count("/") > 1
    }
    return sorted(found.items(), key=lambda item: (-len(item[0]), item))
