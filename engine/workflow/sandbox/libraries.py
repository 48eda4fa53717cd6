"""The places of this Python's libraries, which may be linked from elsewhere."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec

FOLDERS = frozenset({"site-packages", "dist-packages"})
"The names of folders that hold libraries only."
NEEDED = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "coverage")
"Packages that a run imports before any test, with those that these import."


def library_places() -> set[str]:
    """Return the real paths of what libraries are made of, where a link leads out of their folder.

    A folder that a .pth file names counts where it holds libraries only: a checkout that is
    installed as it stands does not, or tests would import its files in place of those they are of.
    """
    folders = {path for path in sys.path if os.path.basename(path) in FOLDERS}
    places = {os.path.abspath(path) for path in folders}
    for folder in folders:
        places.update(_linked(folder))
    for name in NEEDED:
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            if spec is not None and spec.origin:
                places.update(_real([spec.origin if _alone(spec.origin)
                                     else os.path.dirname(spec.origin)]))  # fmt: skip
    return places


def _linked(folder: str) -> Iterator[str]:
    """Yield where the links among a folder's modules and packages lead."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield from _real([entry.path])
            elif os.path.islink(first := f"{entry.path}/__init__.py"):
                yield os.path.dirname(os.path.realpath(first))  # all its files are links


def _real(paths: Iterable[str]) -> Iterator[str]:
    """Yield real paths; the folder of libraries in which one lies, for all of them at once."""
    for path in paths:
        real = os.path.realpath(path)
        folder = os.path.dirname(real)
        if os.path.exists(real):
            yield folder if os.path.basename(folder) in FOLDERS else real


def _alone(origin: str) -> bool:
    """Return whether a module is one file, not a package."""
    return os.path.basename(origin) != "__init__.py"
