"""Whether a definition is in a context: checked as plain text, alike for every method.

A context groups its code under lines with files' paths (`## a/b.py`, or `a/b.py:` as aider
writes). A signature is in it if its own `def` or `class` line stands under its file's line; a full
body is in it if all its lines from `def` on do, one after the other, blank lines and outer spaces
aside.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from scripts.benches.context_gold import Gold

VERSION = 2
"A number that grows when the same text would be judged otherwise."
HEADING = re.compile(r"## (?P<path>\S+\.py)$|(?P<aiders>[^\s:]+\.py):$")
CUT = 100
"The characters at which aider cuts lines."


class Seen(NamedTuple):
    """The parts of a gold symbol that are in a context."""

    signature: bool
    body: bool


def seen(text: str, gold: Iterable[Gold]) -> list[Seen]:
    """Return the parts of each gold symbol that a context shows."""
    files = by_file(text)
    return [_seen(files.get(one.path, []), one) for one in gold]


def by_file(text: str) -> dict[str, list[str]]:
    """Return the lines under each file's path, without blank ones and outer spaces."""
    files: dict[str, list[str]] = {}
    lines: list[str] = []
    for raw in text.split("\n"):
        if heading := HEADING.match(raw):
            lines = files.setdefault(heading["path"] or heading["aiders"], [])
            lines.append("")
            continue
        line = raw.removeprefix("│").strip()
        if line:
            # A line that aider cut matches by its beginning.
            lines.append(line + "\0" if len(raw) >= CUT and raw.startswith("│") else line)
    return files


def _seen(lines: list[str], gold: Gold) -> Seen:
    starts = [n for n, line in enumerate(lines) if _same(line, gold.lines[0])]
    body = any(tuple(lines[n : n + len(gold.lines)]) == gold.lines for n in starts)
    return Seen(bool(starts), body)


def _same(line: str, own: str) -> bool:
    if line.endswith("\0"):
        return own.startswith(line[:-1])
    return line == own
