r"""Texts of files in the outputs of tools, and whether an output says that the tool failed.

Only a text that is shown as a whole counts: numbered from 1 on without a gap, and with no mark of
something left out.

>>> numbered("     1\tone = 1\n     2\t\n     3\ttwo = 2\n")
['one = 1', '', 'two = 2']
>>> window("[File: /x/a.py (2 lines total)]\n1:one\n2:two\nFile updated.")
('/x/a.py', ['one', 'two'])
>>> window("[File: /x/a.py (9 lines total)]\n(7 more lines above)\n8:one\n9:two")
('/x/a.py', None)
"""

import re

from backcast.engine.log.importers.file_edits import Shown

CLIPPED = re.compile(
    r"<response clipped>|<NOTE>[^<]*(?:clipped|truncated)|\[\.\.\. |"
    r"\.\.\. \[\d+ (?:lines|characters) truncated\]|Observation truncated|"
    r"Output too long|<output_head>|<elided_chars>|\[output truncated|\(truncated\)|<truncated",
)
"What tools write where they leave out a part of an output."
LONGEST = 28_000
"Characters of outputs that tools show as a whole without saying so."
LONGEST_LINE, MOST_LINES = 1_999, 1_999
"What Claude Code shows of a file without being asked for more."

_NUMBERED = re.compile(r"^ *(\d{1,7})(?:\t|→| \| |:)(.*)$")
_WINDOW = re.compile(r"^\[File: (.+?)\r? ?\((\d+) lines total\)\]$", re.MULTILINE)
_RESULT = re.compile(r"<returncode>(-?\d+)</returncode>\n<output>\n?(.*)</output>\s*", re.DOTALL)
_FAILED = re.compile(
    r"^(?:error\b|invalid |ran into |no replacement |usage: |traceback |your proposed edit |"
    r"<tool_use_error>|text not found|no file open|unknown |cannot |can't |failed |"
    r"no edit history |exception|e999|warning: no )|changes have NOT been applied|"
    r"No replacement was performed|not found in file|did not appear verbatim|"
    r"(?:is not|isn't) unique|Multiple occurrences|No changes (?:were )?made|"
    r"command not found|No such file or directory|Permission denied|operation was rejected|"
    r"doesn't want to proceed",
    re.IGNORECASE,
)
_DONE = re.compile(
    r"created successfully|has been (?:edited|updated|created|written)|successfully|"
    r"File updated|Text replaced|Replaced \d+ occ|^Edited |^Wrote |^\[File: |"
    r"Last edit to .* undone|^(?:A|M|D) \S+$|^Done!?",
    re.MULTILINE,
)

_RAISED = re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt)(?::.*)?")
_NO_COMMAND = re.compile(r"(?:/bin/)?bash: .*(?:command not found|No such file or directory)")
_PROMPT = re.compile(r"\s*\(Open file: [^\n]*\)\s*\(Current directory: [^\n]*\)\s*bash-\$\s*\Z")
"What SWE-agent writes behind an output."


def broke_off(output: str) -> bool:
    """Return whether a command ended with an exception, was not found, or took too long, by the
    last words of its output where no exit code is told.

    >>> broke_off("Traceback (most recent call last):\\n  ...\\nValueError: no"), broke_off("ok")
    (True, False)
    """
    lines = _PROMPT.sub("", output).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    last = lines[-1].strip() if lines else ""
    if _RAISED.fullmatch(last):
        return any(line.startswith("Traceback (most recent call last)") for line in lines)
    return bool(_NO_COMMAND.fullmatch(last)) or output.startswith("EXECUTION TIMED OUT")


def numbered(text: str) -> list[str] | None:
    """Return the lines of a text whose lines are numbered from 1; None for any other text."""
    found: list[str] = []
    for line in text.replace("\r\n", "\n").strip("\n").split("\n"):
        match = _NUMBERED.match(line)
        if match is None or int(match[1]) != len(found) + 1:
            break
        found.append(match[2])
    return found or None


def window(output: str) -> tuple[str, list[str] | None] | None:
    """Return the file that an editor shows, and its lines if it shows all of them."""
    text = output.replace("\r\n", "\n")
    *_, match = [None, *_WINDOW.finditer(text)]
    if match is None or "NOT been applied" in text:
        return None
    lines: list[str] = []
    for line in text[match.end() :].lstrip("\n").split("\n"):
        if line.startswith("<<<<< "):
            continue
        found = _NUMBERED.match(line)
        if found is None or int(found[1]) != len(lines) + 1:
            break
        lines.append(found[2])
    return match[1], lines if len(lines) == int(match[2]) else None


def by_lines(lines: list[str] | None) -> Shown | None:
    """Return a text that was shown line by line: its line ends, and its last one, are assumed."""
    if lines is None:
        return None
    return Shown("\n".join(lines) + "\n" if lines != [""] else "", exact=False)


def viewed(output: str) -> Shown | None:
    """Return the text that the viewer of an editor shows, which numbers what follows a line break.

    So a last line without text stands for a line break at the end.
    """
    _, mark, rest = output.partition("`cat -n` on ")
    if not mark or CLIPPED.search(output) or len(output) > LONGEST:
        return None
    lines = numbered(rest.partition("\n")[2])
    return None if lines is None else Shown("\n".join(lines), exact=False)


def printed(output: str, failed: bool | None) -> Shown | None:
    """Return what `cat` printed, if the output says that it is whole."""
    whole = _RESULT.fullmatch(output)
    if whole is not None:
        output, failed = whole[2], whole[1] != "0"
    is_cut = (len(output) > LONGEST and whole is None) or CLIPPED.search(output)
    return None if failed is not False or is_cut else Shown(output, exact=False)


def was_done(output: str, failed: object, *, silent: bool) -> bool | None:
    """Return whether a tool did what it was asked for; None where its output does not tell.

    With `silent`, a result that is not marked as failed is one of success.
    """
    if isinstance(failed, bool):
        return not failed
    if silent:
        return not output.lstrip().startswith("<tool_use_error>")
    # The lines of a file that is shown say nothing of the tool.
    text = "\n".join(line for line in output.split("\n") if not _NUMBERED.match(line)).strip()
    if _FAILED.search(text[:4096]) or _FAILED.search(text[-1024:]):
        return False
    return True if _DONE.search(text) else None
