"""Patches in a log: what they change in each file, and the text that comes of it.

The form is that of apply_patch (`*** Update File:`), whose pieces are found by their context; one
may also state its place as git does (`@@ -1,7 +1,7 @@`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BEGIN, END = "*** Begin Patch", "*** End Patch"
_FILE = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_MOVE = "*** Move to: "
_PLACE = re.compile(r"@@ -(\d{1,9})(?:,\d+)? \+\d+(?:,\d+)? @@")


class Hunk(NamedTuple):
    """A piece of a patch."""

    old: tuple[str, ...]
    "The lines that it needs, those that stay and those that go."
    new: tuple[str, ...]
    behind: str = ""
    "A line that stands somewhere before it."
    first: int = 0
    "The number of its first line; 0 where it is found by its context."


class FilePatch(NamedTuple):
    """What a patch does to a file."""

    kind: str
    "add, update or delete."
    path: str
    to: str = ""
    hunks: tuple[Hunk, ...] = ()


def is_patch(text: str) -> bool:
    """Return whether a text is a patch of apply_patch."""
    return BEGIN in text


def file_patches(text: str) -> list[FilePatch]:
    """Return what a patch of apply_patch does, file by file."""
    inner = text.partition(BEGIN)[2].partition(f"\n{END}")[0]
    found: list[FilePatch] = []
    own: list[str] = []
    for line in inner.replace("\r\n", "\n").split("\n"):
        if match := _FILE.fullmatch(line.rstrip()):
            _close(found, own)
            found.append(FilePatch(match[1].lower(), match[2].strip()))
            own = []
        elif line.startswith(_MOVE) and found and not own:
            found[-1] = found[-1]._replace(to=line.removeprefix(_MOVE).strip())
        else:
            own.append(line)
    _close(found, own)
    return found


def _close(found: list[FilePatch], lines: Sequence[str]) -> None:
    if found:
        hunks = tuple(hunks_of(lines)) if found[-1].kind != "delete" else ()
        found[-1] = found[-1]._replace(hunks=hunks)


def hunks_of(lines: Sequence[str]) -> Iterator[Hunk]:
    """Yield the pieces of a patch to one file."""
    old: list[str] = []
    new: list[str] = []
    behind, first = "", 0
    for line in lines:
        mark, rest = line[:1], line[1:]
        if line.startswith("@@"):
            if old or new:
                yield Hunk(tuple(old), tuple(new), behind, first)
            place = _PLACE.match(line)
            behind, first = ("", int(place[1])) if place else (line[2:].strip(), 0)
            old, new = [], []
        elif mark == "+":
            new.append(rest)
        elif mark == "-":
            old.append(rest)
        elif mark == " ":
            old.append(rest)
            new.append(rest)
    if old or new:
        yield Hunk(tuple(old), tuple(new), behind, first)


def patched(text: str, hunks: Sequence[Hunk]) -> str | None:
    """Return a text after the pieces of a patch; None where the context of one is not in it.

    >>> patched("a\\nb\\nc\\n", [Hunk(("b",), ("B", "b2"))])
    'a\\nB\\nb2\\nc\\n'
    """
    lines, at = text.split("\n"), 0
    ends = "\r" if text.count("\r\n") * 2 > text.count("\n") else ""
    for hunk in hunks:
        if hunk.behind:
            named = [n for n in range(at, len(lines)) if lines[n].strip() == hunk.behind]
            if not named:
                return None
            at = named[0] + 1
        old = [line + ends for line in hunk.old]
        new = [line + ends for line in hunk.new]
        place = _found(lines, old, at)
        if place is None:
            return None
        lines[place : place + len(old)] = new
        at = place + len(new)
    return "\n".join(lines)


def _found(lines: Sequence[str], old: Sequence[str], at: int) -> int | None:
    """Return where lines stand in a text, from a line on."""
    if not old:
        # Nothing tells the place: at the end of the text.
        return len(lines) - 1 if lines and lines[-1] == "" else len(lines)
    for place in range(at, len(lines) - len(old) + 1):
        if lines[place] == old[0] and lines[place : place + len(old)] == list(old):
            return place
    return None
