"""What is known of a run beside its results: its files, its output, and how it ended."""

import ast
import re
from collections.abc import Mapping
from typing import NamedTuple

from backcast.domain.name_list import first_names

SHOWN = 80
"Characters of a line of code that a message repeats."
NAMED = 8
"Names of a module, or modules of a run, that a message lists."
FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')


class RunEvidence(NamedTuple):
    """What is known of a run beside its results."""

    files: Mapping[str, bytes]
    box: str
    code: int | None
    "The exit status."
    output: str
    seconds: float
    memory: int
    output_bytes: int
    given: frozenset[str] = frozenset()
    "The files of tests."

    def line(self, place: str) -> str:
        """Return the line of code at a place; empty where there is none."""
        path, _, number = place.rpartition(":")
        lines = self.files.get(path, b"").decode(errors="replace").splitlines()
        at = int(number) if number.isdecimal() else 0
        return lines[at - 1].strip()[:SHOWN] if 0 < at <= len(lines) else ""

    def place(self, text: str, innermost: bool = True) -> str:
        """Return the place among the files in a traceback, whose last line is the innermost; the
        last but for files of tests where there is another."""
        found = [
            f"{path}:{number}"
            for path, number in FRAME.findall(text.replace(f"{self.box}/files/", ""))
            if path in self.files
        ]
        own = [place for place in found if place.rpartition(":")[0] not in self.given] or found
        return (own[-1] if innermost else own[0]) if own else ""

    @property
    def modules(self) -> str:
        """The modules of the run but for tests, as a list."""
        own = sorted(path for path in self.files if path.endswith(".py") and path not in self.given)
        return first_names(own, NAMED) or "none"


def line_with(run: RunEvidence, sign: re.Pattern[str]) -> tuple[str, str]:
    """Return the place and the text of the first line with a sign; those of tests come last."""
    for path in sorted(run.files, key=lambda path: (path in run.given, path)):
        text = run.files[path].decode(errors="replace") if path.endswith(".py") else ""
        for number, line in enumerate(text.splitlines(), 1):
            if sign.search(line.partition("#")[0]):
                return f"{path}:{number}", line.strip()[:SHOWN]
    return "", ""


def defined(source: bytes) -> list[str]:
    """Return the names that a module defines at its top level, in order."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = list[str]()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return list(dict.fromkeys(names))


def printable(text: str) -> str:
    r"""Return a text without characters that steer a terminal.

    >>> printable("a\x1b[31m\r\nb\x9b\tc")
    'a\\x1b[31m\nb\\x9b\tc'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("".join(map(_shown, line)) for line in lines)


def _shown(char: str) -> str:
    return char if char.isprintable() or char == "\t" else ascii(char)[1:-1]


def crash_in(output: str) -> str:
    """Return the traceback of faulthandler, which begins with the innermost frame."""
    return output[output.rfind("(most recent call first)") :]
