"""The tools of opencode under the names and arguments by which edits of files are known."""

import re
from typing import Any

from backcast.engine.log.importers.content import mapping, string
from backcast.engine.log.importers.opencode_rows import OpencodeCall
from backcast.engine.log.importers.shown_texts import by_lines
from backcast.engine.log.importers.tool_edits import Truth

_NAMES = {"filePath": "file_path", "oldString": "old_string", "newString": "new_string",
          "replaceAll": "replace_all"}  # fmt: skip
_TOOLS = {"edit": "Edit", "multiedit": "MultiEdit", "write": "Write", "read": "Read"}
_LINE = re.compile(r"^0*(\d{1,7})(?:\| |: ?)(.*)$")
_END = "(End of file"


def as_known(tool: str, input: object) -> tuple[str, dict[str, Any]] | None:
    """Return a call under the names that are known; None where it has them already.

    >>> as_known("edit", {"filePath": "a.py", "oldString": "x", "newString": "y"})
    ('Edit', {'file_path': 'a.py', 'old_string': 'x', 'new_string': 'y'})
    """
    if tool not in _TOOLS or not isinstance(input, dict):
        return None
    fields = _renamed(input)
    if isinstance(edits := fields.get("edits"), list):
        fields["edits"] = [_renamed(mapping(edit)) for edit in edits]
    return _TOOLS[tool], fields


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(name) or name: value for name, value in fields.items()}


def truth_of(call: OpencodeCall) -> Truth | None:
    """Return the whole text of a file that a read shows."""
    fields = mapping(call.input)
    path = string(fields.get("filePath"))
    if call.tool != "read" or path is None or fields.get("offset") or not call.output:
        return None
    lines = shown_lines(call.output)
    return None if lines is None else Truth(path, after=by_lines(lines))


def shown_lines(output: str) -> list[str] | None:
    r"""Return the lines of a file that a read shows to its end; None where some are missing.

    >>> shown_lines("<file>\n00001| one\n00002| two\n\n(End of file - total 2 lines)\n</file>")
    ['one', 'two']
    >>> shown_lines("<content>\n2: two\n\n(End of file - total 2 lines)\n</content>")
    """
    if _END not in output:
        return None
    found: list[str] = []
    for line in output[: output.rindex(_END)].split("\n"):
        match = _LINE.match(line)
        if match is not None and int(match[1]) == len(found) + 1:
            found.append(match[2])
        elif found and line:
            return None
    return found or None
