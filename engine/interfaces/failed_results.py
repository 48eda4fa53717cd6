"""The line of a failed result that tells most of why it failed.

>>> failure_line("<returncode>1</returncode>\\n<output>\\nTraceback (most recent call last):\\n"
...              '  File "till.py", line 3\\nKeyError: 7\\n</output>')
'KeyError: 7'
>>> failure_line("No replacement was performed, as it did not appear.\\nTry again.")
'No replacement was performed, as it did not appear.'
>>> failure_line("collected 4 items\\n\\n3 passed, 1 failed in 0.1s")
'3 passed, 1 failed in 0.1s'
>>> failure_line("<returncode>1</returncode>\\n<output>\\n</output>"), failure_line("")
('exit code 1', '')
"""

import re

from backcast.domain.message_parts import cut_inside

WIDTH = 200
"Characters of the line."
_FRAME = re.compile(r"</?\w+>|<returncode>-?\d+</returncode>")
_CODE = re.compile(r"<returncode>(-?\d{1,9})</returncode>")
"What an agent's shell puts around an output."
_RAISED = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Interrupt|Warning): ")
_SAID = re.compile(
    r"\b(?:error|fatal|failed|failure|invalid|not found|no such|cannot|unable|denied|timed out)\b"
    r"|\bno replacement\b|\bdid not\b|exit (?:code|status)",
    re.IGNORECASE,
)


_TALLY = re.compile(
    r"=*\s*(?P<said>(?:\d+ \w+, )*\d+ (?:failed|errors?)(?:, \d+ \w+)*(?: in [\d.]+ ?s.*?)?)\s*=*"
)
"The last line of pytest, in each of its formats, where tests failed."
_UNITTEST = re.compile(r"FAILED \((?:failures|errors)=\d+.*\)")
_DOTS = re.compile(r"(?:\S+\.py )?(?P<said>[.sxX]*[FE][.FEsxX]*)\s+\[\s*\d+%\]")
"A line of pytest's progress in which a test failed."


def tests_failed(output: str) -> str:
    """Return what a test program says of its failures; empty where an output tells of none.

    >>> tests_failed(".FF. [100%]\\n"), tests_failed("== 1 failed, 3 passed in 0.1s ==")
    ('.FF. [100%]', '1 failed, 3 passed in 0.1s')
    >>> tests_failed("FAILED (failures=2)"), tests_failed("4 passed in 0.1s\\nif failed: 1 failed")
    ('FAILED (failures=2)', '')
    """
    found = ""
    for line in map(str.strip, output.splitlines()):
        if len(line) > WIDTH:
            continue
        if tally := _TALLY.fullmatch(line):
            return tally["said"]
        if _UNITTEST.fullmatch(line) or (not found and _DOTS.fullmatch(line)):
            found = line
    return found


def failure_line(output: str) -> str:
    """Return the last line that names an exception, else the first that speaks of a failure.

    Where no line does, it is the last of them; where there is none, an exit code that is told.
    """
    lines = [line.strip() for line in output.splitlines()]
    lines = [line for line in lines if line and not _FRAME.fullmatch(line)]
    raised = [line for line in lines if _RAISED.search(line)]
    said = [line for line in lines if _SAID.search(line)]
    best = raised[-1:] or said[:1] or lines[-1:]
    if not best and (code := _CODE.search(output)):
        return f"exit code {code[1]}"
    return cut_inside(" ".join("".join(best)[: 4 * WIDTH].split()), WIDTH)
