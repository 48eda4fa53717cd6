"""What a call of a tool did to files, by the names and arguments of the tools of known agents.

A failed call changes nothing. Where neither the result nor its text says that a call succeeded,
what it would have written is unknown.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from backcast.engine.log.importers.content import mapping, sequence, string
from backcast.engine.log.importers.file_texts import (
    FileEdit,
    FileTexts,
    ReplacedPiece,
    Shown,
    ToolEdits,
)
from backcast.engine.log.importers.patch_edits import file_patches, is_patch
from backcast.engine.log.importers.shell_edits import commands
from backcast.engine.log.importers.shown_texts import (
    CLIPPED,
    LONGEST_LINE,
    MOST_LINES,
    numbered,
    printed,
    viewed,
    was_done,
)
from backcast.engine.log.importers.window_edits import (
    EDITOR,
    SWE_TOOLS,
    UNSAID,
    editor_fields,
    window_edits,
)

PATHS = ("file_path", "path", "absolutePath", "absolute_path", "filename", "notebook_path")
SHELLS = frozenset((
    "Bash", "bash", "shell", "terminal", "execute_bash", "run_commands", "execute_command",
    "bash_session", "run_terminal_cmd", "local_shell", "container.exec", "run_shell_command", "run",
    "cmd", "exec_command", "run_command",
))  # fmt: skip
EDITORS = frozenset((
    "str_replace_editor", "str_replace_based_edit_tool", "file_editor", "text_editor",
    "edit_file", "str_replace_based_edit",
))  # fmt: skip
WRITERS = frozenset(("Write", "write_to_file", "write_file", "create_file", "write", "new_file"))
REPLACERS = frozenset(("Edit", "MultiEdit", "replace", "editor", "search_replace", "edit_text"))
READERS = frozenset(("Read", "read_file", "read_files", "read"))
PATCHERS = frozenset(("apply_patch", "patch"))
_SHELL_ERROR = re.compile(
    r"(?:ba|z|)sh: |No such file or directory|Permission denied|Is a directory|cannot create|"
    r"Read-only"
)
_BLOCK = re.compile(
    r"^(?:-{3,} ?|<{5,} ?)SEARCH\n(.*?)\n?={5,}\n(.*?)\n?(?:\+{3,} ?|>{5,} ?)REPLACE$",
    re.DOTALL | re.MULTILINE,
)


class Called(NamedTuple):
    """A call that awaits its result."""

    tool: str
    arguments: Any


class Truth(NamedTuple):
    """What the log says of a file beside the result's own text."""

    path: str
    before: Shown | None = None
    after: Shown | None = None


NOTHING = ToolEdits()


def touches(tool: str) -> bool:
    """Return whether a tool may read or write files."""
    return tool in SHELLS or tool in _BY_TOOL or tool in SWE_TOOLS


def edits_of(
    called: Called, output: str, failed: object, texts: FileTexts, truth: Truth | None, *,
    silent: bool,
) -> ToolEdits:  # fmt: skip
    """Return what a call did, by its arguments and its result."""
    tool, fields = called.tool, mapping(called.arguments)
    command = fields.get("command")
    is_line = isinstance(command, str) and fields.keys() == {"command"}
    if tool == EDITOR and is_line:
        fields = editor_fields(str(command))
    elif tool in SWE_TOOLS:
        return _named(window_edits(tool, fields, output), texts)
    elif tool in SHELLS or is_line:
        return _named(_shell(fields, output, failed, texts, silent=silent), texts)
    done = was_done(output, failed, silent=silent)
    if truth and truth.after and tool in READERS:
        return _named(NOTHING, texts, truth) if done else NOTHING
    made = list(_BY_TOOL[tool](fields, output)) if tool in _BY_TOOL else []
    writes = sum(edit.kind != "read" for edit in made)
    if done is False:
        return ToolEdits(failed=writes)
    if done is None:
        made = [edit if edit.kind == "read" else _unsure(edit, UNSAID) for edit in made]
    return _named(ToolEdits(tuple(made)), texts, truth)


def _named(found: ToolEdits, texts: FileTexts, truth: Truth | None = None) -> ToolEdits:
    """Return edits under the names of modules, with what else the log says of them."""
    truth = None if truth and "\0" in truth.path else truth
    known = texts.name(truth.path) if truth else ""
    edits = []
    for edit in found.edits:
        if "\0" in edit.path + edit.to or not edit.path.strip("/. "):
            continue
        edit = edit._replace(
            path=texts.name(edit.path), to=texts.name(edit.to) if edit.to else edit.to
        )
        if truth and known == edit.path and edit.kind != "delete":
            edit = edit._replace(before=truth.before, after=truth.after or edit.after)
        edits.append(edit)
    if truth and truth.after and not any(edit.path == known for edit in edits):
        edits.append(FileEdit(known, "read", after=truth.after))
    return found._replace(edits=tuple(edits))


def _unsure(edit: FileEdit, why: str) -> FileEdit:
    return FileEdit(edit.to or edit.path, "unsure", pieces=edit.pieces, why=why)


def _shell(
    fields: Mapping[str, Any], output: str, failed: object, texts: FileTexts, *, silent: bool
) -> ToolEdits:
    line = _line(fields)
    if line is None:
        return NOTHING
    if is_patch(line):
        made = tuple(_patch(line))
        done = was_done(output, failed, silent=silent)
        return ToolEdits(failed=len(made)) if done is False else ToolEdits(made)
    found = commands(line)
    error = bool(_SHELL_ERROR.search(output[:4096]))
    broke = failed if isinstance(failed, bool) else error and not silent
    edits = list(found.edits)
    if broke and found.parts == 1:
        return ToolEdits(failed=len(edits))
    if broke:
        edits = [
            edit if ran and not error else _unsure(edit, "its command line ended with an error")
            for edit, ran in zip(found.edits, found.ran, strict=True)
        ]
    done = failed if isinstance(failed, bool) else False if silent else None
    if found.shows and (shown := printed(output, done)):
        edits.append(FileEdit(found.shows, "read", after=shown))
    return ToolEdits(tuple(edits), doubts=found.doubts)


def _line(arguments: object) -> str | None:
    """Return the command line of a shell's call; None where it has several or none."""
    fields = mapping(arguments)
    for name in ("command", "cmd", "commands", "script"):
        value = fields.get(name)
        if isinstance(value, str):
            return value
        words = [word for word in sequence(value) if isinstance(word, str)]
        if words and len(words) == len(sequence(value)):
            if len(words) == 3 and words[1] in ("-c", "-lc"):
                return words[2]
            return "\n".join(words) if name == "commands" else None
    return None


def _path(fields: Mapping[str, Any]) -> str | None:
    return next((fields[name] for name in PATHS if string(fields.get(name))), None)


def _write(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    path = _path(fields)
    found = (fields.get(name) for name in ("content", "file_text", "text"))
    text = next((value for value in found if isinstance(value, str)), None)
    if path is not None:
        yield FileEdit(path, "write", text, why="the log does not hold what was written")


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
        if not whole[0].old and len(whole) == 1:
            yield FileEdit(path, "write", whole[0].new)
        elif not whole[0].old:
            yield FileEdit(path, "write", whole[0].new)
            yield FileEdit(path, "replace", pieces=tuple(whole[1:]))
        else:
            yield FileEdit(path, "replace", pieces=tuple(whole))


def _piece(fields: Mapping[str, Any]) -> ReplacedPiece | None:
    old = next((fields[n] for n in ("old_string", "old_str", "old_text") if n in fields), None)
    new = next((fields[n] for n in ("new_string", "new_str", "new_text") if n in fields), None)
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
    """The call of an editor that takes a command."""
    path = _path(fields)
    if path is None:
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
    parts = [
        n for n in ("offset", "limit", "start_line", "end_line", "view_range") if fields.get(n)
    ]
    if path is None or parts or CLIPPED.search(output):
        return
    lines = numbered(output.partition("\n<system-reminder>")[0])
    if lines and len(lines) < MOST_LINES and all(len(line) < LONGEST_LINE for line in lines):
        text = "\n".join(lines) + ("\n" if lines[-1] else "")
        yield FileEdit(path, "read", after=Shown(text, exact=False))


def _patches(fields: Mapping[str, Any], output: str) -> Iterable[FileEdit]:
    for value in fields.values():
        if isinstance(value, str) and is_patch(value):
            yield from _patch(value)


def _patch(text: str) -> Iterable[FileEdit]:
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


_BY_TOOL: dict[str, Callable[[Mapping[str, Any], str], Iterable[FileEdit]]] = {
    **dict.fromkeys(sorted(WRITERS), _write),
    **dict.fromkeys(sorted(REPLACERS), _replace),
    **dict.fromkeys(sorted(EDITORS), _edit_with),
    **dict.fromkeys(sorted(READERS), _read),
    **dict.fromkeys(sorted(PATCHERS), _patches),
    "replace_in_file": _blocks,
    "NotebookEdit": _notebook,
}
