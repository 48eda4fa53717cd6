"""Which file does a tool's call read or write? By the arguments alone, as common agents name them.

What cannot be told for sure is no read: most pipes, several commands, a pattern of files.

>>> file_read("Read", {"file_path": "/a/till.py"})
FileRead(path='/a/till.py', first=None, last=None, exact='')
>>> file_read("bash", {"command": "sed -n '10,20p' till.py"})
FileRead(path='till.py', first=10, last=20, exact='')
>>> file_read("bash", {"command": "cat till.py | head"}) is None
True
>>> file_write("Write", {"file_path": "till.py", "content": "x = 1"})
('till.py', True)
"""

import re
import shlex
from collections.abc import Mapping
from posixpath import join, normpath
from typing import Any

from backcast.domain.message_parts import FileRead

PATHS = ("file_path", "path", "absolute_path", "absolutePath", "filename", "target_file",
         "notebook_path")  # fmt: skip
READERS = frozenset(
    ("read", "read_file", "read_files", "readfile", "view", "view_file", "open_file", "cat")
)
EDITORS = frozenset((
    "str_replace_editor", "str_replace_based_edit_tool", "file_editor", "text_editor",
))  # fmt: skip
"Tools whose argument `command` says what they do."
WRITERS = frozenset(("write", "write_file", "write_to_file", "create_file"))
CHANGERS = frozenset((
    "edit", "multiedit", "replace", "editor", "search_replace", "replace_in_file", "edit_file",
    "notebookedit", "insert",
))  # fmt: skip
_SHELL = re.compile(r"[|&;<>`$*?\n]")
"Signs of a shell's line that is more than one plain command."
_PIPED = re.compile(r"(?:cat|nl)(?: -n| -ba| -b a)? (\S+) \| sed -n ['\"]?(\d+)(?:,(\d+))?p['\"]?")
"Numbered lines of a file, as agents with nothing but a shell read them."
_LINES = re.compile(r"(\d+)(?:,(\d+))?p")
_LINE = re.compile(r"-1$|\d{1,9}$")


def file_read(tool: str, arguments: object) -> FileRead | None:
    """Return the file that a call reads, and the lines where it tells them; None for no read."""
    fields = _fields(arguments)
    command = fields.get("command")
    name = tool.lower()
    path = _path(fields)
    if path and (name in READERS or (name in EDITORS and command == "view")):
        return FileRead(path, *_range(fields))
    if not isinstance(command, str):
        return None
    return _typed_view(command) if name in EDITORS else _shell_read(command)


def file_write(tool: str, arguments: object) -> tuple[str, bool] | None:
    """Return the path of the file that a call changes, and whether the call holds all its text."""
    fields = _fields(arguments)
    path, name, command = _path(fields), tool.lower(), fields.get("command")
    if path is None:
        return _typed_change(command) if name in EDITORS and isinstance(command, str) else None
    if name in EDITORS:
        return None if command == "view" else (path, command == "create")
    if name in WRITERS:
        return path, True
    return (path, False) if name in CHANGERS else None


def _fields(arguments: object) -> Mapping[str, Any]:
    """Return the arguments by name; of a list of one file those of the file."""
    fields: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
    match fields.get("files"):
        case [Mapping() as only]:
            return only
        case [str() as path]:
            return {"path": path}
    return fields


def _path(fields: Mapping[str, Any]) -> str | None:
    found = (fields.get(name) for name in PATHS)
    return next((normpath(path) for path in found if isinstance(path, str) and path), None)


def _range(fields: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the lines that a reading tool was asked for."""
    both = fields.get("view_range")
    if isinstance(both, list) and len(both) == 2 and all(type(line) is int for line in both):
        return both[0], None if both[1] < 0 else both[1]
    for first, last in (("start_line", "end_line"), ("line_start", "line_end")):
        if type(fields.get(first)) is int:
            end = fields.get(last)
            return fields[first], end if type(end) is int else None
    begin, limit = fields.get("offset"), fields.get("limit")
    if type(begin) is int or type(limit) is int:
        start = begin if type(begin) is int else 1
        return start, start + limit - 1 if type(limit) is int else None
    return None, None


def _shell_read(command: str) -> FileRead | None:
    line, folder = command.strip(), ""
    if found := re.match(r"cd ([\w./-]+) && ", line):
        line, folder = line[found.end() :], found[1]
    if found := _PIPED.fullmatch(line):
        return FileRead(_within(folder, found[1]), int(found[2]), int(found[3] or found[2]))
    if _SHELL.search(line):
        return None
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    match words:
        case ["cat", path] | ["cat", "-n", path]:
            return FileRead(_within(folder, path))
        case ["sed", "-n", lines, path] if found := _LINES.fullmatch(lines):
            return FileRead(_within(folder, path), int(found[1]), int(found[2] or found[1]))
        case ["head" | "tail" | "nl", *_, path] if not path.startswith("-") and len(words) > 1:
            return FileRead(_within(folder, path), exact=line)
        case ["open", path] | ["open", path, _]:  # a window whose size the call does not tell
            return FileRead(_within(folder, path), exact=line)
    return None


def _typed_view(command: str) -> FileRead | None:
    """Return what an editor's line shows, as SWE-agent types its calls: `editor view a.py`."""
    match command.split():
        case [_, "view", path]:
            return FileRead(normpath(path))
        case [_, "view", path, "--view_range", first, last] if _LINE.match(first) and _LINE.match(
            last
        ):
            return FileRead(normpath(path), int(first), None if int(last) < 0 else int(last))
    return None


def _typed_change(command: str) -> tuple[str, bool] | None:
    """Return the path that an editor's line changes, and whether the line holds all its text."""
    match command.split(maxsplit=3):
        case [_, "create" | "str_replace" | "insert" | "undo_edit" as what, path, *_]:
            return normpath(path), what == "create"
    return None


def _within(folder: str, path: str) -> str:
    return normpath(join(folder, path))
