"""What a call of a tool did to files, by the names and arguments of the tools of known agents.

A failed call changes nothing. Where neither the result nor its text says that a call succeeded,
what it would have written is unknown.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from backcast.engine.log.importers.content import mapping, sequence
from backcast.engine.log.importers.edit_arguments import (
    BY_TOOL,
    READERS,
    REPLACERS,
    patch_edits,
    path_read,
    replaces,
)
from backcast.engine.log.importers.file_edits import FileEdit, Shown, ToolEdits
from backcast.engine.log.importers.file_texts import FileTexts
from backcast.engine.log.importers.patch_edits import is_patch
from backcast.engine.log.importers.shell_edits import commands
from backcast.engine.log.importers.shown_texts import (
    CLIPPED,
    LONGEST,
    printed,
    was_done,
)
from backcast.engine.log.importers.window_edits import (
    EDITOR,
    SWE_TOOLS,
    UNSAID,
    editor_fields,
    window_edits,
)

SHELLS = frozenset((
    "Bash", "bash", "shell", "terminal", "execute_bash", "run_commands", "execute_command",
    "bash_session", "run_terminal_cmd", "local_shell", "container.exec", "run_shell_command", "run",
    "cmd", "exec_command", "run_command",
))  # fmt: skip
_SHELL_ERROR = re.compile(
    r"(?:ba|z|)sh: |No such file or directory|Permission denied|Is a directory|cannot create|"
    r"Read-only"
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
_LEFT_OUT = re.compile(
    r"\[(?:Showing |\d+ more lines|File (?:content )?truncated)|Showing lines \d"
)


def whole_read(called: object, output: str | None, failed: object) -> Truth | None:
    """Return the text that a read showed, of a tool that shows a file as it is."""
    path = path_read(mapping(called))
    if not path or not output or failed is True or len(output) > LONGEST:
        return None
    if CLIPPED.search(output) or _LEFT_OUT.search(output[:300]) or _LEFT_OUT.search(output[-300:]):
        return None
    return Truth(path, after=Shown(output, exact=False))


def touches(tool: str) -> bool:
    """Return whether a tool may read or write files."""
    return tool in SHELLS or tool in BY_TOOL or tool in SWE_TOOLS


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
    elif tool in SWE_TOOLS and not (tool in REPLACERS and replaces(fields)):
        return _named(window_edits(tool, fields, output), texts)
    elif tool in SHELLS or is_line:
        return _named(_shell(fields, output, failed, texts, silent=silent), texts)
    done = was_done(output, failed, silent=silent)
    if truth and truth.after and tool in READERS:
        return _named(NOTHING, texts, truth) if done else NOTHING
    made = list(BY_TOOL[tool](fields, output)) if tool in BY_TOOL else []
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
        made = tuple(patch_edits(line))
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
