r"""What does each line of an output tell? Its kind, by its form alone.

>>> [str(kind) for kind in kinds_of(['  File "till.py", line 3, in add', "    x = 1", "ok"])]
['frame', 'code', 'plain']
>>> kinds_of(["tests/test_till.py::test_a PASSED [ 10%]", "import json", "TypeError: no"])
['verdict', 'import', 'error']
"""

import re
from collections.abc import Sequence

from backcast.domain.compression_settings import LineKind
from backcast.domain.error_lines import numbered_errors

AT_ONCE = 256
"Lines that are searched together for the words without which none is an error."
LONG = 400
"Characters of a line by which its kind is told."
SIGNS = (
    "E  ", "rror", "xception", "FAIL", "fatal", "panic", "No such file", "not found", "denied",
    "Segmentation", "Warning:", "Traceback", "not ok", "ERROR",
    "CRITICAL", "FATAL",
)  # fmt: skip
"One of these stands in every line that tells of an error."
_CAUSES = re.compile(
    r"^\s*(?:Traceback \(most recent|During handling of the above|The above exception was"
    r"|\[Previous line repeated|Caused by:|goroutine \d+|thread '.*' panicked)"
)
_FAILED = re.compile(
    r"::\S.* (?:FAILED|ERROR)\b|(?:^|[\s\[])(?:ERROR|CRITICAL|FATAL)\b[\]: ]"
    r"|^(?:FAIL|not ok)\b|^\S+:\d+: \w*Warning: \S"
    r"|^=+ .*\b\d+ (?:failed|passed|errors?)\b.*=+$|^Found \d+ errors?\b|^Ran \d+ tests"
)
_FRAME = re.compile(
    r'^\s*File "[^"]+", line \d+|^\s+at .+[(:]\S*:\d+\)?$|^\s*--> \S+:\d+:\d+|^\s+\S+\.go:\d+'
    r"|^[\w./\\-]+\.\w{1,4}:\d+: (?:in \S|\w*(?:Error|Exception|Exit|Interrupt)\b|$)"
)
_VERDICT = re.compile(
    r"\b(?:PASSED|SKIPPED|XFAIL|XPASS|RERUN)\b|^\s*(?:ok|PASS)\b|\.\.\. ?(?:ok|skipped)\b"
    r"|^\d+ (?:passed|tests?)\b|^[.sxEF]{8,}"
)
_ENDED = re.compile(r"(\S+::.*\S) (?:FAILED|ERROR) +\[ *\d+%\]$")
_HEADING = re.compile(r"^([=_*#~-])\1{2,} ?\S.*|^#{1,6} \S|^diff --git |^@@ |^(?:commit|Date:) ")
_STRING = re.compile(r"""^\s*[rbfu]?(["']).*\1[,)]*$""")
_DEFINITION = re.compile(
    r"^\s*(?:\d+\s*[:|\t→-]?)?\s*(?:(?:export|default|public|private|protected|static|abstract"
    r"|readonly|override|async|final|pub)\s+)*"
    r"(?:(?:def|class|func|fn|function|interface|struct|enum|trait|impl)\s+\w|type\s+\w+\s*="
    r"|(?<=[a-z]\s)[\w<>\[\], ]+\(.*\{\s*$|const\s+\w+\s*=\s*(?:async\s*)?\(.*\{\s*$)"
)
_IMPORT = re.compile(r"^\s*(?:\d+\s*[:|\t→-]?)?\s*(?:from\s+\S+\s+)?(?:import|require|use)\b\s*\S")
_PROGRESS = re.compile(
    r"^\s*(?:Downloading|Collecting|Requirement already|Using cached|Receiving objects|Resolving"
    r"|remote:|Fetching|Get:\d|Hit:\d|Unpacking|Preparing|Selecting|Setting up|Installing|copying"
    r"|adding|creating|Building|Compiling|Cloning)\b|\b\d{1,3}%(?: |\||$)|[━█▏#]{5}|^\W+$"
)
_REFERENCE = re.compile(r"[\w.-]\.\w{1,5}[:\"]?,? ?(?:line )?:?\d+")
_PATH = re.compile(r"[\w.-]+/[\w./-]+|\b[\w-]+\.(?:py|js|ts|go|rs|c|h|md|toml|json|yml|yaml|txt)\b")
_CODE = re.compile(
    r"^>\s|[;{}]\s*$|^\s+(?:return|raise|if|for|while|with|assert|self|try|else|yield)\b"
    r"|^\s*\w[\w.]*\s*[+-]?=\s*\S|\w\(.*\)|^[+-]\s{1,}\S"
)


def kinds_of(lines: Sequence[str], bare: Sequence[str] = ()) -> list[LineKind]:
    """Return the kind of each line; `bare` has lines of code without their numbers."""
    found: list[LineKind] = []
    for first in range(0, len(lines), AT_ONCE):
        own = [line[:LONG] for line in lines[first : first + AT_ONCE]]
        together = "\n".join(own)
        may_fail = any(word in together for word in SIGNS)
        errors = {place for place, _ in numbered_errors(own)} if may_fail else set[int]()
        for place, line in enumerate(own):
            above = found[-1] if found else "blank"
            found.append("error" if place in errors else _kind(line, above))
    for place, (line, code) in enumerate(zip(lines, bare, strict=False)):
        if len(code) < len(line) and found[place] not in ("error", "cause", "frame"):
            found[place] = _code_kind(code[:LONG])
    _summed_up(lines, found)
    return found


def _summed_up(lines: Sequence[str], kinds: list[LineKind]) -> None:
    """Make mere verdicts of the lines for tests that failed, where a summary names these again."""
    summary = {
        line.partition(" ")[2].partition(" - ")[0] for line in lines
        if line.startswith(("FAILED ", "ERROR "))
    }  # fmt: skip
    for place, line in enumerate(lines if summary else ()):
        ended = _ENDED.match(line[:LONG])
        if ended and ended[1] in summary:
            kinds[place] = "verdict"


def _kind(line: str, above: LineKind) -> LineKind:
    if not line.strip():
        return "blank"
    if _CAUSES.search(line):
        return "cause"
    if _FRAME.search(line):
        return "frame"
    if _FAILED.search(line):
        return "error"
    if above == "frame" and line.startswith("    "):
        return "code"  # the line of a frame, as Python shows it
    if _HEADING.search(line):
        return "heading"
    if _VERDICT.search(line):
        return "verdict"
    if _PROGRESS.search(line):
        return "progress"
    return _code_kind(line)


def _code_kind(line: str) -> LineKind:
    if not line.strip():
        return "blank"
    if _STRING.search(line):
        return "plain"
    if _DEFINITION.search(line):
        return "definition"
    if _IMPORT.search(line):
        return "import"
    if _REFERENCE.search(line):
        return "reference"
    if _CODE.search(line):
        return "code"
    return "path" if _PATH.search(line) else "plain"
