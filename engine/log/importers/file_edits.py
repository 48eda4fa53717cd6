"""Edits of files as tools make them, and what becomes of modules by them."""

from typing import NamedTuple

from backcast.engine.log.importers.patch_edits import Hunk


class Shown(NamedTuple):
    """A whole text as a tool showed it."""

    text: str
    exact: bool = True
    "Whether its line ends and its last line break are told."


class ReplacedPiece(NamedTuple):
    """A replaced text, and what stands in its place."""

    old: str
    new: str
    all: bool = False
    "Whether it is replaced wherever it stands."


class FileEdit(NamedTuple):
    """What a tool did to a file."""

    path: str
    kind: str
    "write, append, replace, lines, insert, patch, undo, delete, move, read, unsure."
    text: str | None = None
    pieces: tuple[ReplacedPiece, ...] = ()
    hunks: tuple[Hunk, ...] = ()
    place: tuple[int, int] = (0, 0)
    "First and last line that are replaced, or the line behind which a text is put."
    to: str = ""
    "The new path of a moved file."
    before: Shown | None = None
    after: Shown | None = None
    why: str = ""
    "Why its text is unknown."


class Change(NamedTuple):
    """What became of a module."""

    kind: str
    "iteration, read, deleted, renamed."
    path: str
    iteration: int = 0
    text: Shown | None = None
    "None where it is unknown."
    why: str = ""
    base: str | None = None
    "The blob of the module's text before."
    pieces: tuple[ReplacedPiece, ...] = ()
    previous: str = ""
    by_tool: bool = True
    "Whether a tool of the log made it; else it was found so."


class ToolEdits(NamedTuple):
    """What a call of a tool and its result tell of files."""

    edits: tuple[FileEdit, ...] = ()
    failed: int = 0
    "Edits that were not made."
    doubts: str = ""
    "What may have changed any file."
