"""The edits that the arguments of a call ask for, by the name of the tool."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backcast.engine.log.importers.content import mapping, sequence, string
from backcast.engine.log.importers.file_edits import FileEdit, ReplacedPiece, Shown
from backcast.engine.log.importers.patch_edits import file_patches, is_patch
from backcast.engine.log.importers.shown_texts import (
    CLIPPED,
    LONGEST_LINE,
    MOST_LINES,
    numbered,
    viewed,
)

PATHS = ("file_path", "path", "absolutePath", "absolute_path", "filename", "notebook_path",
         "filePath")  # fmt: skip
EDITORS = frozenset((
    "str_replace_editor", "str_replace_based_edit_tool", "file_editor", "text_editor",
    "edit_file", "str_replace_based_edit",
))  # fmt: skip
WRITERS = frozenset(("Write", "write_to_file", "write_file", "create_file", "write", "new_file"))
REPLACERS = frozenset(("Edit", "MultiEdit", "replace", "editor", "search_replace", "edit_text",
                       "edit"))  # fmt: skip
READERS = frozenset(("Read", "read_file", "read_files", "read"))
OLD = ("old_string", "old_str", "old_text", "oldText", "oldString")
NEW = ("new_string", "new_str", "new_text", "newText", "newString")
"The names of a piece that is replaced, and of what comes in its place."
PARTIAL = ("offset", "limit", "start_line", "end_line", "view_range")
"The arguments of a read that shows a part."
PATCHERS = frozenset(("apply_patch", "patch"))
_BLOCK = re.compile(
    r"^(?:-{3,} ?|<{5,} ?)SEARCH\n(.*?)\n?={5,}\n(.*?)\n?(?:\+{3,} ?|>{5,} ?)REPLACE$",
    re.DOTALL | re.MULTILINE,
)


def _path(fields: Mapping[str, Any]) -> str | None:
    return next((fields[name] for name in PATHS if string(fields.get(name))), None)


def _write(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    path = _path(fields)
    found = (fields.get(name) for name in ("content", "file_text", "text"))
    text = next((value for value in found if isinstance(value, str)), None)
    if path is not None:
        yield FileEdit(path, "write", text, why="the log does not hold what was written")


def replaces(fields: Mapping[str, Any]) -> bool:
    """Return whether arguments name a piece and what comes in its place."""
    edits: list[Mapping[str, Any]] = [mapping(edit) for edit in sequence(fields.get("edits"))]
    return _path(fields) is not None and all(_piece(edit) for edit in edits or [fields])


def path_read(fields: Mapping[str, Any]) -> str | None:
    """Return the path of a read that shows a whole file; None for one that shows a part."""
    return None if any(fields.get(name) for name in PARTIAL) else _path(fields)


def _replace(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    path = _path(fields)
    if path is None:
        return
    several = fields.get("edits") if isinstance(fields.get("edits"), list) else [fields]
    line = fields.get("insert_line")
    pieces = [_piece(mapping(edit)) for edit in sequence(several)]
    if len(pieces) == 1 and isinstance(line, int) and isinstance(fields.get("new_text"), str):
        yield FileEdit(path, "insert", fields["new_text"], place=(line, line))
    elif any(piece is None for piece in pieces) or not pieces:
        yield FileEdit(path, "unsure", why="the log does not hold what was replaced")
    else:
        whole = [piece for piece in pieces if piece is not None]
        yield FileEdit(path, "replace", pieces=tuple(whole))


def _piece(fields: Mapping[str, Any]) -> ReplacedPiece | None:
    old = next((fields[n] for n in OLD if n in fields), None)
    new = next((fields[n] for n in NEW if n in fields), None)
    old = "" if old is None and new is not None else old
    if not isinstance(old, str) or not isinstance(new, str):
        return None
    return ReplacedPiece(old, new, fields.get("replace_all") is True)


def _blocks(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    """The edit of Cline's replace_in_file: blocks that are searched for and replaced in order."""
    path, diff = _path(fields), fields.get("diff")
    if path is None or not isinstance(diff, str):
        return
    pieces = [ReplacedPiece(old, new) for old, new in _BLOCK.findall(diff.replace("\r\n", "\n"))]
    if pieces:
        yield FileEdit(path, "replace", pieces=tuple(pieces))
    else:
        yield FileEdit(path, "unsure", why="the log does not hold what was replaced")


def _notebook(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    if path := _path(fields):
        yield FileEdit(path, "unsure", why="a cell of a notebook was edited")


def _edit_with(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    """The call of an editor that takes a command, or of one that is named alike and replaces."""
    path = _path(fields)
    if path is None:
        return
    if fields.get("command") is None and any(name in fields for name in OLD) and replaces(fields):
        yield from _replace(fields, output)
        return
    old, new = fields.get("old_str"), fields.get("new_str", "")
    line = fields.get("insert_line")
    match fields.get("command"):
        case "create":
            yield from _write(fields, output)
        case "str_replace" if isinstance(old, str) and isinstance(new or "", str):
            yield FileEdit(path, "replace", pieces=(ReplacedPiece(old, new or ""),))
        case "insert" if isinstance(line, int):
            text = fields.get("new_str", fields.get("insert_text"))
            yield FileEdit(
                path, "insert", text if isinstance(text, str) else None, place=(line, line)
            )
        case "undo_edit":
            yield FileEdit(path, "undo")
        case "view" if not fields.get("view_range") and (shown := viewed(output)):
            yield FileEdit(path, "read", after=shown)
        case "write":
            yield from _write(fields, output)
        case "str_replace" | "insert":
            yield FileEdit(path, "unsure", why="the log does not hold what was replaced")


def _read(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    """A read of a whole file, where its lines are numbered and none is left out."""
    path = _path(fields)
    parts = [name for name in PARTIAL if fields.get(name)]
    if path is None or parts or CLIPPED.search(output):
        return
    lines = numbered(output.partition("\n<system-reminder>")[0])
    if lines and len(lines) < MOST_LINES and all(len(line) < LONGEST_LINE for line in lines):
        text = "\n".join(lines) + ("\n" if lines[-1] else "")
        yield FileEdit(path, "read", after=Shown(text, exact=False))


def _patches(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    for value in fields.values():
        if isinstance(value, str) and is_patch(value):
            yield from patch_edits(value)


def patch_edits(text: str) -> Iterable[FileEdit]:
    for part in file_patches(text):
        if part.kind == "delete":
            yield FileEdit(part.path, "delete")
        elif part.kind == "add":
            lines = [line for hunk in part.hunks for line in hunk.new]
            yield FileEdit(part.path, "write", "".join(f"{line}\n" for line in lines))
        elif part.to:
            yield FileEdit(part.path, "move", hunks=part.hunks, to=part.to)
        else:
            pieces = tuple(ReplacedPiece("\n".join(h.old), "\n".join(h.new)) for h in part.hunks)
            yield FileEdit(part.path, "patch", hunks=part.hunks, pieces=pieces)


BY_TOOL: dict[str, Callable[[Mapping[str, Any], str], Iterable[FileEdit]]] = {
    **dict.fromkeys(sorted(WRITERS), _write),
    **dict.fromkeys(sorted(REPLACERS), _replace),
    **dict.fromkeys(sorted(EDITORS), _edit_with),
    **dict.fromkeys(sorted(READERS), _read),
    **dict.fromkeys(sorted(PATCHERS), _patches),
    "replace_in_file": _blocks,
    "NotebookEdit": _notebook,
}
