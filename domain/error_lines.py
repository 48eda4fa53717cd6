r"""Which lines of an output tell that something went wrong?

>>> error_lines("collected 3 items\nE   assert 1 == 2\nFAILED test_till.py::test_total")
('E   assert 1 == 2', 'FAILED test_till.py::test_total')
"""

import re
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 200
"Characters of a line that are shown."
_SIGNS = re.compile(
    r"^E\s{2,}\S|^FAILED |^ERROR |(?:^|[\s.>])(?:[A-Z]\w*)?(?:Error|Exception): \S"
    r"|^\w+(?:Error|Exception)$"
    r"|^(?:npm |[\w./-]+:(?:\d+:)* ?)?(?:error|fatal|panic)\b(?:\[\w+\])?[: ]"
    r"|No such file|command not found|not found$|Permission denied|Segmentation fault",
)


@lru_cache(4096)
def error_lines(text: str) -> tuple[str, ...]:
    """Return those lines, each once, in order."""
    return tuple(dict.fromkeys(line for _, line in numbered_errors(text.splitlines())))


def numbered_errors(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield those of some lines, with their places from 0."""
    for place, line in enumerate(lines):
        if _SIGNS.search(line[:1000]):
            yield place, cut(line)


def cut(line: str) -> str:
    """Return a line of at most `LONGEST` characters."""
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
