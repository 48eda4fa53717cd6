r"""Edits of SWE-agent's own editor, which keeps a file open and shows a window of it.

Its commands come as lines (`edit 4:7` with a text up to `end_of_edit`, `edit 'old' 'new'`,
`insert 'text' 3`), or as the arguments of a call. The window tells which file was open.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from backcast.engine.log.importers.content import string
from backcast.engine.log.importers.file_edits import FileEdit, ReplacedPiece, ToolEdits
from backcast.engine.log.importers.shown_texts import by_lines, was_done, window

SWE_TOOLS = frozenset(("edit", "create", "insert", "open", "goto", "scroll_up", "scroll_down",
                       "set_cursors"))  # fmt: skip
EDITOR = "str_replace_editor"
UNSAID = "the tool does not say whether it was done"
UNPLACED = "its place in the file is not told"
_LINES = re.compile(r"edit\s+(\d{1,7}):(\d{1,7})\s*\n(.*?)\n?end_of_edit\s*", re.DOTALL)
_CURSORS = re.compile(r"edit\s*\n(.*?)\n?end_of_edit\s*", re.DOTALL)


def window_edits(tool: str, arguments: Mapping[str, Any], output: str) -> ToolEdits:
    """Return what a command of the editor did."""
    command = arguments.get("command")
    shown = window(output)
    path = shown[0] if shown else string(arguments.get("path")) or string(arguments.get("filename"))
    after = by_lines(shown[1]) if shown else None
    if tool not in ("edit", "insert", "create"):
        return ToolEdits((FileEdit(path, "read", after=after),) if path and after else ())
    if was_done(output, None, silent=False) is False or path is None:
        return ToolEdits(failed=1)
    edit = _edit(tool, path, command if isinstance(command, str) else "", arguments)
    if shown is None:
        edit = FileEdit(path, "unsure", pieces=edit.pieces, why=UNSAID)
    return ToolEdits((edit._replace(after=after),))


def _edit(tool: str, path: str, command: str, arguments: Mapping[str, Any]) -> FileEdit:
    if tool == "create":
        return FileEdit(path, "write", "\n")
    if match := _LINES.fullmatch(command):
        return FileEdit(path, "lines", match[3], place=(int(match[1]), int(match[2])))
    if match := _CURSORS.fullmatch(command):
        return FileEdit(path, "unsure", pieces=(ReplacedPiece("", match[1]),), why=UNPLACED)
    words = words_of(command)
    if tool == "insert":
        text = string(arguments.get("text")) or (words[1] if len(words) > 1 else "")
        return FileEdit(path, "unsure", pieces=(ReplacedPiece("", text),), why=UNPLACED)
    old, new = arguments.get("search"), arguments.get("replace")
    every = arguments.get("replace-all", arguments.get("replace_all"))
    if len(words) in (3, 4):
        old, new, every = words[1], words[2], words[3:] in (["True"], ["all"], ["replace-all"])
    if isinstance(old, str) and isinstance(new, str):
        return FileEdit(path, "replace", pieces=(ReplacedPiece(old, new, every in (True, "True")),))
    return FileEdit(path, "unsure", why="the log does not hold what was replaced")


def editor_fields(command: str) -> dict[str, Any]:
    """Return the arguments of a call of str_replace_editor that stands as a line of a shell.

    >>> editor_fields("str_replace_editor insert /x/a.py --insert_line 2 --new_str 'a b'")
    {'command': 'insert', 'path': '/x/a.py', 'insert_line': 2, 'new_str': 'a b'}
    """
    words = words_of(command)
    if len(words) < 3:
        return {}
    fields: dict[str, Any] = {"command": words[1], "path": words[2]}
    for option, value in zip(words[3::2], words[4::2], strict=False):
        name = option.removeprefix("--")
        fields[name] = int(value) if name == "insert_line" and value.isdigit() else value
    return fields


def words_of(command: str) -> list[str]:
    """Return the words of a command; none where its quotes do not close."""
    try:
        return shlex.split(command)
    except ValueError:
        return []
