"""Where logs lie: one file, all that a pattern matches, or all in a folder, here or elsewhere."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.remote import is_remote, listed, shown

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")
"How the names of logs end, in a folder."
SIGNS = "*?["
"What makes a pattern of a name."


class LogPlaces(NamedTuple):
    """The logs that a name stands for."""

    names: tuple[str, ...]
    "Sorted, each a file's path or URL."
    others: tuple[str, ...] = ()
    "Files that lie there too, and are no logs by their names."


def places_of(name: str, endings: Sequence[str] = ENDINGS) -> LogPlaces:
    """Return the logs that a path, a pattern, a folder or a URL stands for; none is opened.

    In a folder, and under a pattern that ends in `*`, a log is known by how its name ends.
    `InputError` where a pattern or a folder holds none.
    """
    files = listed(name) if is_remote(name) else _files(name)
    if files is None:
        return LogPlaces((name,))
    if is_pattern(name) and not name.endswith("*"):
        logs, others = files, []
    else:
        logs = [file for file in files if _bare(file).endswith(tuple(endings))]
        others = [file for file in files if not _bare(file).endswith((*endings, ".scores"))]
    if logs:
        return LogPlaces(tuple(logs), tuple(others))
    what = "a pattern that matches a log" if is_pattern(name) else "a folder with logs"
    found = f"none among {len(others):,}, such as {shown(others[0])}" if others else "none"
    raise InputError(f"{shown(name)}: needed {what} ({', '.join(endings)}), found {found}")


def is_pattern(name: str) -> bool:
    """Return whether a name is a pattern, and not that of a file."""
    return any(sign in name for sign in SIGNS) and (is_remote(name) or not os.path.exists(name))


def _files(name: str) -> list[str] | None:
    """Return the files under a pattern or in a folder, sorted; None for a single file.

    What begins with a dot is left out, and no link to a folder is followed, which may be a ring.
    """
    if is_pattern(name):
        return _matching(name)
    if not os.path.isdir(name):
        return None
    found = []
    for folder, folders, files in os.walk(name):
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        found += [os.path.join(folder, file) for file in files if not file.startswith(".")]
    return sorted(file for file in found if os.path.isfile(file))


def _matching(name: str) -> list[str]:
    parts = Path(name).expanduser().parts
    first = next(n for n, part in enumerate(parts) if any(sign in part for sign in SIGNS))
    base, rest = Path(*parts[:first]), parts[first:]
    dotted = any(part.startswith(".") for part in rest)
    try:
        files = [path for path in base.glob(str(Path(*rest))) if path.is_file()]
    except ValueError:
        raise InputError(
            f"{name}: needed ** between slashes, found it beside other signs"
        ) from None
    return sorted(str(path) for path in files if dotted or not _is_hidden(path.relative_to(base)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _bare(name: str) -> str:
    """Return a name without the query of a URL."""
    return name.partition("?")[0] if is_remote(name) else name
