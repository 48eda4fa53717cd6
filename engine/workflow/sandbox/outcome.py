"""Reads the results that pytest wrote, as the word of a process that is not trusted."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Container
from typing import NamedTuple

from backcast.domain.events import CheckFailure

LONGEST_FILE = 8 * 2**20
"Bytes of results that are read."
LISTED = 100
"Failures that are kept; all others are only counted."
LONGEST_MESSAGE = 4_000
_RAISED = re.compile(r"^([^\s:][^:\n]*):(\d+): ", re.MULTILINE)
_SYNTAX = re.compile(r'^E +File "([^"\n]+)", line (\d+)', re.MULTILINE)
_BARE = re.compile(r"\A(AssertionError: assert [^\n]*)\n \+  where ")
_ERROR_LINES = re.compile(r"(?:^E(?:   .*)?\n?)+", re.MULTILINE)


class Results(NamedTuple):
    """The counts of checks by outcome, and the failures."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    failures: tuple[CheckFailure, ...] = ()
    skipped: int = 0
    "Checks that their own text leaves out or expects to fail."

    def with_error(self, message: str, name: str = "") -> "Results":
        """Return these results and one more error."""
        failure = CheckFailure(name=name, message=message, kind="error")
        return self._replace(errors=self.errors + 1, failures=(*self.failures, failure))


def read_results(body: bytes, paths: Container[str], folder: str, imports: str = "") -> Results:
    """Return the results in a JUnit file; `ValueError` for anything else, or for declared entities.

    Each failure of the test file `imports`, which imports the modules where there are no tests, is
    an error of the module in its parameter.
    """
    passed, counts, failures = 0, {"failure": 0, "error": 0}, list[CheckFailure]()
    for case in _parsed(body).iter("testcase"):
        faults = [child for child in case if child.tag in counts]
        passed += not faults and case.find("skipped") is None
        for fault in faults:
            path, name = _name(case)
            kind = "error" if path == imports else fault.tag
            counts[kind] += 1
            if len(failures) < LISTED:
                text = (fault.text or "").replace(f"{folder}/", "")
                message = _message(text) or fault.get("message", "").replace(f"{folder}/", "")
                name = f"{path}::{name}" if path != imports else _parameter(case.get("name", ""))
                failures.append(
                    CheckFailure(
                        name=_printable(name.removesuffix("::"))[:500],
                        message=_printable(message)[:LONGEST_MESSAGE],
                        at=_place(text, paths),
                        kind=kind,
                    )
                )
    return Results(passed, counts["failure"], counts["error"], tuple(failures))


def _parsed(body: bytes) -> ElementTree.Element:
    text = body.decode("utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # pytest writes none, and escapes "<"
        raise ValueError("a document type is declared")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _name(case: ElementTree.Element) -> tuple[str, str]:
    """Return the path and the rest of a pytest id: `tests/test_a.py` and `TestA::test_b[1]`."""
    path, name, group = (case.get(key, "") for key in ("file", "name", "classname"))
    module = path.removesuffix(".py").replace("/", ".")
    if not group:  # the file itself could not be collected
        return path or name, ""
    inner = group.removeprefix(module).strip(".").replace(".", "::")
    return path, f"{inner}::{name}" if inner else name


def _parameter(name: str) -> str:
    """Return the parameter of a test, from the brackets of its name."""
    return name.partition("[")[2][:-1]


def _message(text: str) -> str:
    """Return the message that was raised last, from pytest's lines that begin with E."""
    blocks = _ERROR_LINES.findall(text)
    lines = blocks[-1].splitlines() if blocks else ()
    raised = [line[4:] for line in lines]
    if raised and raised[0].lstrip().startswith('File "'):  # a SyntaxError is named last
        raised = [raised[-1], *raised[:-1]]
    text = "\n".join(raised).strip()
    # A prompt may have room for only one line, so a bare assertion takes its values along.
    return _BARE.sub(r"\1, where ", text)


def _place(text: str, paths: Container[str]) -> str:
    """Return the innermost place (`path:line`) of a traceback among the given paths, or ""."""
    return next(
        (
            f"{path}:{number}"
            for path, number in (*_SYNTAX.findall(text), *reversed(_RAISED.findall(text)))
            if path in paths
        ),
        "",
    )


def _printable(text: str) -> str:
    """Return a text without the characters that cannot be stored."""
    return text.encode(errors="replace").decode().replace("\x00", "")
