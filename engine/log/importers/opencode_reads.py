"""The texts of files that opencode's reads show."""

import re

from backcast.engine.log.importers.content import mapping, string
from backcast.engine.log.importers.opencode_rows import OpencodeCall
from backcast.engine.log.importers.shown_texts import by_lines
from backcast.engine.log.importers.tool_edits import Truth

_LINE = re.compile(r"^0*(\d{1,7})(?:\| |: ?)(.*)$")
_END = "(End of file"


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
