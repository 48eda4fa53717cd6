r"""Which records does a text hold? Findings, commits, failures and functions, by their shape.

A record has key lines, which say what it is: who reads another line of it needs these as well.

>>> lines = ["commit 0123abc", "Date: today", "", "    Add a till", "", "commit 4567def"]
>>> [(record.name, record.keys) for record in records_of(lines)]
[('commit 0123abc', (0, 3)), ('commit 4567def', (5,))]
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

RecordKind = Literal["commit", "finding", "failure", "function", "class", "part"]
FURTHER = 12
"Lines that a finding may have behind its first, where none of them shows its end."
SEARCHED = 400
"Characters of a line by which its record is told."
_COMMIT = re.compile(r"^commit ([0-9a-f]{7,64})\b")
_POINTS = re.compile(r"^\s*--> (\S+?):(\d+)")
_FINDING = re.compile(
    r"^((?:[A-Za-z]:)?[^\s:]+):(\d+)(?::\d+)?:? "
    r"(?:error|warning|fatal error|note|[A-Z]{1,5}\d{2,5})\b"
)
_RULE = re.compile(r"\b[A-Z]{1,5}\d{2,5}\b|(?:^|\s)\[([a-z][a-z-]+)\]\s*$")
_FAILURE = re.compile(r"^_{3,} (.+?) _{3,}$|^(?:ERROR|FAIL): (\w+) \(")
_FAILURE_ENDS = re.compile(r"^(?:_{3,} .+ _{3,}|={20,}.*|={3,} .+ ={3,}|Ran \d+ tests?.*)$")
_PART = re.compile(r"^(?:#{2,6} (\S.*)|==> (.+) <==|diff --git a/(\S+) .*)$")
_DEFINITION = re.compile(
    r"^\s*(?:(?:export|default|public|private|protected|static|abstract|readonly|override|async"
    r"|final|pub)\s+)*(def|class|func|fn|function|interface|struct)\s+(\w+)"
)
_METHOD = re.compile(
    r"^\s+(?:(?:public|private|protected|static|override|async)\s+)*(\w+)\([^;]*\{\s*$"
)
_WORDS = frozenset(("if", "for", "while", "switch", "catch", "return", "else", "with", "function"))
_NUMBER = re.compile(r"^\s*\d+(?:\t|\s?[:|→]|-(?=\s|$))")


class TextRecord(NamedTuple):
    """Lines that belong together, by place."""

    start: int
    stop: int
    keys: tuple[int, ...]
    "The lines that say which record it is."
    name: str
    kind: RecordKind
    path: str = ""
    "The file of a finding."
    rule: str = ""

    @property
    def whole(self) -> bool:
        """Whether it is of use only as a whole."""
        return self.kind in ("commit", "finding")


def bare_line(line: str) -> str:
    """Return a line without its number, and without the sign of one that failed.

    >>> bare_line("   12\\t    return total"), bare_line(">   assert total")
    ('    return total', '    assert total')
    """
    if line[:2] in ("> ", "E "):
        return f" {line[1:]}"
    numbered = _NUMBER.match(line)
    return line[numbered.end() :] if numbered else line


def records_of(lines: Sequence[str], bare: Sequence[str] | None = None) -> list[TextRecord]:
    """Return the records of a text, an outer one before those within it; `bare` has its lines
    as `bare_line` returns them."""
    short = [line[:SEARCHED] for line in lines]
    found = [*_findings(short), *_commits(short), *_between(short)]
    inside = bytearray(len(short))
    for record in found:
        if record.kind == "finding":
            inside[record.start : record.stop] = b"\1" * (record.stop - record.start)
    found += _definitions([line[:SEARCHED] for line in bare or map(bare_line, lines)], inside)
    return sorted(found, key=lambda record: (record.start, -record.stop, record.kind))


def _commits(lines: Sequence[str]) -> Iterator[TextRecord]:
    starts = [(at, match[1]) for at, line in enumerate(lines) if (match := _COMMIT.match(line))]
    for (start, sha), (stop, _) in zip(starts, (*starts[1:], (len(lines), "")), strict=False):
        subject = (at for at in range(start, stop) if lines[at].startswith("    "))
        first = next((at for at in subject if lines[at].strip()), None)
        keys = (start,) if first is None else (start, first)
        yield TextRecord(start, _trimmed(lines, start, stop), keys, f"commit {sha[:8]}", "commit")


def _trimmed(lines: Sequence[str], start: int, stop: int) -> int:
    while stop > start + 1 and not lines[stop - 1].strip():
        stop -= 1
    return stop


def _findings(lines: Sequence[str]) -> Iterator[TextRecord]:
    """Yield what linters and type checkers found: a rule, a place, and the code that they show."""
    end = 0
    for at, line in enumerate(lines):
        if at < end:
            continue
        points = _POINTS.match(lines[at + 1]) if at + 1 < len(lines) and line.strip() else None
        if points:
            end = next((n for n in range(at + 2, len(lines)) if not lines[n].strip()), len(lines))
            yield _finding(lines, range(at, end), (at, at + 1), points)
        elif (head := _FINDING.match(line)) and " note: " not in line:
            end = _finding_end(lines, at, head[1])
            yield _finding(lines, range(at, end), (at,), head)


def _finding(
    lines: Sequence[str], own: range, keys: tuple[int, ...], place: re.Match[str]
) -> TextRecord:
    rule = next((match for at in own if (match := _RULE.search(lines[at]))), None)
    code = (rule[1] or rule[0]) if rule else ""
    path = place[1].removeprefix("./")
    name = f"{code or 'the finding'} at {path}:{place[2]}"
    return TextRecord(own.start, own.stop, keys, name, "finding", path, code)


def _finding_end(lines: Sequence[str], start: int, path: str) -> int:
    """Return where a finding ends whose first line names its place; its text may be broken."""
    wraps = 0 if lines[start].rstrip().endswith("]") else 3
    stop = start + 1
    for at in range(start + 1, min(len(lines), start + FURTHER)):
        line = lines[at]
        if not line.strip():
            break
        same = line.startswith(f"{path}:") and " note: " in line
        closes = any(later.rstrip().endswith("]") for later in lines[at : start + wraps])
        if not (same or line[0].isspace() or closes):
            break
        stop = at + 1
    return stop


def _between(lines: Sequence[str]) -> Iterator[TextRecord]:
    """Yield what stands between headings: tests that failed, files of a diff, parts of a text."""
    opened: tuple[int, str, RecordKind] | None = None
    for at, line in enumerate((*lines, "")):
        last = at == len(lines)
        failure, part = (None, None) if last else (_FAILURE.match(line), _PART.match(line))
        ends = bool(failure or part or last)
        if opened and opened[2] == "failure":
            ends = ends or _FAILURE_ENDS.match(line) is not None
        if opened and ends:
            start, name, kind = opened
            yield TextRecord(start, _trimmed(lines, start, at), (start,), name, kind)
            opened = None
        if failure:
            opened = (at, failure[1] or failure[2], "failure")
        elif part:
            opened = (at, part[1] or part[2] or part[3], "part")


def _definitions(bare: Sequence[str], inside: bytearray) -> Iterator[TextRecord]:
    """Yield functions and classes with the lines below that are further indented."""
    for at, line in enumerate(bare):
        if inside[at] or not line.strip():
            continue
        match, method = _DEFINITION.match(line), None
        if match is None and "{" in line:
            method = _METHOD.match(line)
        if match is None and (method is None or method[1] in _WORDS):
            continue
        depth, stop = len(line) - len(line.lstrip()), at + 1
        for below in range(at + 1, len(bare)):
            text = bare[below].strip()
            if not text:
                continue
            if len(bare[below]) - len(bare[below].lstrip()) <= depth and text[0] not in ")]}":
                break
            stop = below + 1
        start = at
        while start and bare[start - 1].strip().startswith("@"):
            start -= 1
        if stop > at + 1:
            name = match[2] if match else method[1] if method else ""
            kind: RecordKind = "class" if match and match[1] in ("class", "struct") else "function"
            keys = (at, *_summary(bare, at, stop)) if kind == "class" else (at,)
            yield TextRecord(start, stop, keys, name, kind)


def _summary(lines: Sequence[str], at: int, stop: int) -> Iterator[int]:
    """Yield the first line of a docstring, and the quotes above it where they stand alone."""
    for place in range(at + 1, min(stop, at + 3)):
        quoted = lines[place].strip().startswith(('"""', "'''"))
        if not (quoted or place > at + 1):
            return
        yield place
        if not quoted or len(lines[place].strip()) > len('"""'):
            return


def failing_functions(lines: Sequence[str], records: Sequence[TextRecord]) -> list[range]:
    """Return the lines of each function that a failure shows, up to the last one that failed."""
    found = list[range]()
    for record in records:
        if record.kind != "function" or (found and record.start < found[-1].stop):
            continue
        failed = [at for at in range(record.start, record.stop) if lines[at].startswith(">")]
        if failed:
            found.append(range(record.start, failed[-1] + 1))
    return found
