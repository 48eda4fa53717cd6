"""Does the installation still fit the code that runs?"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from backcast.domain.errors import InputError

VERSION = "0.2.0"
"The version of this code; a distribution is built with it."
_METADATA = re.compile(r"backcast-(.+)\.dist-info")
_CHECKOUT = Path(__file__).resolve().parents[2]


def check_installation(folders: Iterable[str] | None = None, checkout: Path = _CHECKOUT) -> None:
    """Raise `InputError` where the metadata found first in `sys.path` is of another version.

    Folders are listed rather than `importlib.metadata` imported, which would slow each command.
    """
    version = next(_versions(sys.path if folders is None else folders), VERSION)
    if version != VERSION:
        run = "pip install --upgrade --force-reinstall backcast"
        if (checkout / "scripts/install").is_file():
            run = "scripts/install"
        raise InputError(f"needed version {VERSION} to be installed, found {version}: run {run}")


def _versions(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        if os.path.isdir(folder):
            yield from (name[1] for name in map(_METADATA.fullmatch, os.listdir(folder)) if name)
