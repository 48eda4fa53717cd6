"""What pytest wrote about a run, read as what it is: the word of a process that is not trusted."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Container
from typing import NamedTuple

from backcast.domain.events import CheckFailure

LONGEST_FILE = 8 * 2**20
"Bytes of results that are read."
LISTED = 100
"Failures that are told of; the others are only counted."
LONGEST_MESSAGE = 4_000
_RAISED = re.compile(r"^([^\s:][^:\n]*):(\d+): ", re.MULTILINE)
_SYNTAX = re.compile(r'^E +File "([^"\n]+)", line (\d+)', re.MULTILINE)
_BARE = re.compile(r"\A(AssertionError: assert [^\n]*)\n \+  where ")
_ERROR_LINES = re.compile(r"(?:^E(?:   .*)?\n?)+", re.MULTILINE)


class Results(NamedTuple):
    """How many checks came out how, and what was told of those that were not fulfilled."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    failures: tuple[CheckFailure, ...] = ()

    def with_error(self, message: str, name: str = "") -> "Results":
        """These, and one more error."""
        failure = CheckFailure(name=name, message=message, kind="error")
        return self._replace(errors=self.errors + 1, failures=(*self.failures, failure))


def read_results(body: bytes, paths: Container[str], folder: str, imports: str = "") -> Results:
    """The results in a JUnit file. `ValueError` for what is none, or declares entities.

    Of a test file with the name `imports` every failure is an error of the module that it names:
    that is how modules are imported where there are no tests.
    """
    passed, counts, failures = 0, {"failure": 0, "error": 0}, list[CheckFailure]()
    for case in _parsed(body).iter("testcase"):
        told = [child for child in case if child.tag in counts]
        passed += not told and case.find("skipped") is None
        for child in told:
            path, name = _name(case)
            kind = "error" if path == imports else child.tag
            counts[kind] += 1
            if len(failures) < LISTED:
                text = (child.text or "").replace(f"{folder}/", "")
                said = _message(text) or child.get("message", "").replace(f"{folder}/", "")
                name = f"{path}::{name}" if path != imports else _parameter(case.get("name", ""))
                failures.append(
                    CheckFailure(
                        name=_printable(name.removesuffix("::"))[:500],
                        message=_printable(said)[:LONGEST_MESSAGE],
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
    """The path and the rest of a pytest id: `tests/test_a.py` and `TestA::test_b[1]`."""
    path, name, group = (case.get(key, "") for key in ("file", "name", "classname"))
    module = path.removesuffix(".py").replace("/", ".")
    if not group:  # the file itself could not be collected
        return path or name, ""
    inner = group.removeprefix(module).strip(".").replace(".", "::")
    return path, f"{inner}::{name}" if inner else name


def _parameter(name: str) -> str:
    """The parameter of a test: what is in the brackets of its name."""
    return name.partition("[")[2][:-1]


def _message(text: str) -> str:
    """What was raised last, in pytest's lines that begin with E."""
    blocks = _ERROR_LINES.findall(text)
    lines = blocks[-1].splitlines() if blocks else ()
    told = [line[4:] for line in lines]
    if told and told[0].lstrip().startswith('File "'):  # that it is no Python says the last line
        told = [told[-1], *told[:-1]]
    text = "\n".join(told).strip()
    # Where a prompt has room for one line, that of a bare assertion should say of what it is.
    return _BARE.sub(r"\1, where ", text)


def _place(text: str, paths: Container[str]) -> str:
    """Where it was raised, in the last of the given paths that the text passes through."""
    return next(
        (
            f"{path}:{number}"
            for path, number in (*_SYNTAX.findall(text), *reversed(_RAISED.findall(text)))
            if path in paths
        ),
        "",
    )


def _printable(text: str) -> str:
    """The text, which must be storable, whatever was put in it."""
    return text.encode(errors="replace").decode().replace("\x00", "")
