"""Where logs lie: one file, all that a pattern matches, or all in a folder, here or elsewhere."""

import os
from collections.abc import Iterator, Sequence
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

    In a folder, also one that a pattern matches, and under a pattern that ends in `*`, a log is
    known by how its name ends. `InputError` where a pattern or a folder holds none.
    """
    files = _listed(name) if is_remote(name) else _files(name)
    if files is None:
        return LogPlaces((name,))
    exact = is_pattern(name) and not name.endswith("*")
    logs, others = [], []
    for file, matched in sorted(files.items()):
        if _bare(file).endswith(tuple(endings)) or (exact and matched):
            logs.append(file)
        elif not _bare(file).endswith(".scores"):
            others.append(file)
    if logs:
        return LogPlaces(tuple(logs), tuple(others))
    what = "a pattern that matches a log" if is_pattern(name) else "a folder with logs"
    found = f"none among {len(others):,}, such as {shown(others[0])}" if others else "none"
    raise InputError(f"{shown(name)}: needed {what} ({', '.join(endings)}), found {found}")


def is_pattern(name: str) -> bool:
    """Return whether a name is a pattern, and not that of a file."""
    return any(sign in name for sign in SIGNS) and (is_remote(name) or not os.path.exists(name))


def _listed(url: str) -> dict[str, bool] | None:
    """Return the same of files that lie elsewhere."""
    found = listed(url)
    return None if found is None else dict.fromkeys(found, True)


def _files(name: str) -> dict[str, bool] | None:
    """Return whether a pattern matches each file, or a folder above it; None for a single file.

    What begins with a dot is left out, and no link to a folder is followed, which may be a ring.
    """
    if not is_pattern(name):
        return dict.fromkeys(_walked(name), True) if os.path.isdir(name) else None
    matches = list(_matches(name))
    found = {file: False for path in matches if os.path.isdir(path) for file in _walked(path)}
    return found | {path: True for path in matches if os.path.isfile(path)}


def _walked(home: str) -> Iterator[str]:
    """Yield the files in a folder and in those below it."""
    for folder, folders, files in os.walk(home):
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        for file in files:
            path = os.path.join(folder, file)
            if not file.startswith(".") and os.path.isfile(path):
                yield path


def _matches(pattern: str) -> Iterator[str]:
    """Yield the files and folders that a pattern matches."""
    parts = Path(pattern).expanduser().parts
    first = next(n for n, part in enumerate(parts) if any(sign in part for sign in SIGNS))
    base, rest = Path(*parts[:first]), parts[first:]
    dotted = any(part.startswith(".") for part in rest)
    if any("**" in part and part != "**" for part in rest):
        raise InputError(f"{pattern}: needed ** between slashes, found it beside other signs")
    for path in base.glob(str(Path(*rest))):
        if dotted or not _is_hidden(path.relative_to(base)):
            yield str(path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _bare(name: str) -> str:
    """Return a name without the query of a URL."""
    return name.partition("?")[0] if is_remote(name) else name
