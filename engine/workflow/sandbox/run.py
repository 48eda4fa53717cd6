"""Runs foreign code and its tests in isolation, and returns the outcome as a value.

The layers of isolation are in `isolation.py`, and each outcome names the layers that it had. They
have limits: tests and the code under test share an interpreter. Which tests must pass is therefore
read from their text (`expected.py`), and what is seen inside (`pristine.py`, `witness.py`) is
judged outside (`verdict.py`); `backcast help limits` names what hostile code can fake all the same.
It cannot get out that way, and ending early counts as an error. Memory and CPU time are
limited per process, and thereby in sum, since the number of processes is limited. Disk is limited
per file. Attempts of the tests' own interpreter are named; attempts of programs that it starts are
stopped silently. No plugins of pytest are loaded, except a conftest.py among the files.
"""

import binascii
import json
import marshal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.errors import InputError
from backcast.domain.events import CheckFailure
from backcast.engine.workflow.sandbox import guard, layers, outcome, pristine, witness
from backcast.engine.workflow.sandbox.box import Box, check_paths, new_box, readable, safe_path
from backcast.engine.workflow.sandbox.evidence import RunEvidence
from backcast.engine.workflow.sandbox.expected import GivenTexts, read_texts
from backcast.engine.workflow.sandbox.hosts import without_places
from backcast.engine.workflow.sandbox.isolation import Orders
from backcast.engine.workflow.sandbox.outcome import Results, read_results
from backcast.engine.workflow.sandbox.verdict import altered, counted_imports, judged
from backcast.engine.workflow.sandbox.watch import WatchedRun
from backcast.engine.workflow.sandbox.wording import worded

IMPORTS = "check_imports.py"
"The test file beside the code that imports the modules where there are no tests."
SETTINGS = "[pytest]\npythonpath = files{below}\nconsider_namespace_packages = true\n"
SIGNS = {
    "MemoryError": "memory",
    "[Errno 12] ": "memory",
    "[Errno 27] ": "file size",
}
"Limits by the signs of them in a failure's message."
ENDINGS = {128 + 9: "memory", 128 + 24: "cpu time", 128 + 25: "file size"}
"Limits by the exit status of a process that a signal of the kernel ended."


START = (
    "import binascii, marshal, sys; (lambda watch, seen, code, held: (exec(watch, held),"
    " exec(seen, held), exec(code, {'__name__': '__main__', 'witnessing': held})))("
    "*marshal.loads(binascii.a2b_base64(sys.argv.pop(1))), {'__name__': 'witness'})"
)
"Runs the three codes inside with names of their own, which `__main__` does not show."
ODD = frozenset({"this", "antigravity", "turtle", "turtledemo", "tkinter", "idlelib", "test"})
"Modules that are not imported before the tests ask for them."


UNUSED = ("doctest", "pastebin", "setuponly", "setupplan", "stepwise")
"Plugins of pytest that a run without their options only loads."


class SandboxLimits(BaseModel):
    """Limits of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=60, gt=0)
    "Wall-clock time, after which all processes are killed."
    cpu_seconds: int = Field(default=60, gt=0)
    "Processor time of each process."
    memory: int = Field(default=2**30, ge=2**26)
    "Bytes of address space of each process."
    processes: int = Field(default=32, gt=0)
    "Processes and threads at a time."
    file_bytes: int = Field(default=16 * 2**20, gt=0)
    "Bytes of each file that the run writes."
    output_bytes: int = Field(default=2**20, gt=0)
    "Bytes of output that are kept; a run that prints more is stopped."
    full: bool = False
    "Whether to run nothing where a layer of isolation is missing on this machine."
    coverage: bool = False
    "Whether to measure executed lines; needs the package `coverage`."


class Outcome(NamedTuple):
    """The outcome of a run."""

    passed: int
    failed: int
    errors: int
    "Checks that could not finish, and modules that could not be imported."
    failures: tuple[CheckFailure, ...]
    "The failed checks and errors, in order; at most a hundred."
    output: bytes
    "Standard output and error together, up to `output_bytes`."
    seconds: float
    "Wall-clock time."
    contained: tuple[str, ...]
    "Attempts that were stopped, sorted: `network: connect 1.1.1.1:80`, `time limit`."
    isolation: Mapping[str, str]
    "The layer that held network, files, processes and user; `guard` means only Python's hooks."
    coverage: Mapping[str, float]
    "The share of executed lines, from 0 to 1, by path; empty where not measured."
    skipped: int = 0
    "Checks that their own text leaves out or expects to fail; neither passed nor failed."


USUAL = SandboxLimits()


def run_checks(
    files: Mapping[str, bytes],
    tests: Sequence[str],
    limits: SandboxLimits = USUAL,
    without: Collection[str] = (),
    given: Collection[str] | None = None,
) -> Outcome:
    """Run the pytest files `tests` among `files`, or import all modules where `tests` is empty.

    `files` are bodies by relative POSIX path; `given` names those that the code under test did not
    bring, whose text says which tests must pass: by default the tests and each conftest.py.
    `InputError` for an unsafe path, `SandboxError` where this machine cannot run tests; whatever
    the code itself does is an outcome. `without` names
    layers (see `isolation.Orders`) to leave out, so that the others can be tested alone.
    """
    check_paths(files)
    if missing := [path for path in tests if path not in files]:
        raise InputError(f"needed tests that are among the files, found {missing[0]!a}")
    before = time.monotonic()
    own = [path for path in files if path.rpartition("/")[2] == "conftest.py"]
    texts = _texts(files, tests, {*tests, *own} if given is None else {*given, *tests})
    with new_box() as box:
        box.put(files)
        # A project of the usual second form has its packages below src.
        below = " files/src" if any(path.startswith("src/") for path in files) else ""
        (box.path / "pytest.ini").write_text(SETTINGS.format(below=below))
        (box.path / IMPORTS).write_text(_imports(files))
        orders = _orders(box, tests, limits, texts, _library(files, texts))
        run = _run(orders, without, limits, before + limits.seconds)
        results = altered(_results(box, run, files, texts), box, files)
        named = run.named | _signs(run, results)
        largest = max(map(len, files.values()), default=0)
        if box.holds_file_of(max(limits.file_bytes, largest + 1)):
            named.add("file size")
        shares = _coverage(box, files) if limits.coverage else {}
        spoken = bytes(run.output[: limits.output_bytes]).decode(errors="surrogateescape")
        results = worded(results, _evidence(box, run, files, tests, limits, spoken))
        output = without_places(spoken, f"{box.path}").encode(errors="surrogateescape")
    seconds = time.monotonic() - before
    counts = results.passed, results.failed, results.errors, results.failures
    return Outcome(
        *counts, output, seconds, tuple(sorted(named)), run.held, shares, results.skipped
    )


def _texts(files: Mapping[str, bytes], tests: Sequence[str], given: Collection[str]) -> GivenTexts:
    """Return what the tests' text tells; of the imports where there are no tests."""
    if tests:
        return read_texts(files, tests, given)
    path = f"../{IMPORTS}"
    return read_texts({path: _imports(files).encode(), **files}, [path], [path])


def _library(files: Mapping[str, bytes], texts: GivenTexts) -> list[str]:
    """Return the modules of libraries that the tests import.

    None where a file bears the name of a standard one, since the tests may mean that.
    """
    folders = {
        "",
        "src/",
        *(f"{path.rpartition('/')[0]}/" for path in texts.by_path if "/" in path),
    }
    own = {
        path.removeprefix(folder).partition("/")[0].removesuffix(".py")
        for path in files
        for folder in folders
        if path.startswith(folder)
    }
    if own & sys.stdlib_module_names:
        return []
    names = {name for text in texts.by_path.values() for name in text.imports}
    return sorted(name for name in names if name.partition(".")[0] not in own | ODD)


def _evidence(
    box: Box, run: WatchedRun, files: Mapping[str, bytes], tests: Sequence[str],
    limits: SandboxLimits, output: str,
) -> RunEvidence:  # fmt: skip
    """Return what tells how a run ended, for the words of its failures."""
    return RunEvidence(
        files, f"{box.path}", run.code, output, limits.seconds, limits.memory,
        limits.output_bytes, frozenset(tests),
    )  # fmt: skip


def _run(
    orders: Orders, without: Collection[str], limits: SandboxLimits, deadline: float
) -> WatchedRun:
    """Run with every layer that the machine allows, which the run itself does not decide."""
    skip = tuple(sorted(without))
    if limits.full:
        layers.require_full(skip)
    run = WatchedRun(limits.output_bytes, deadline).watch(orders._replace(skip=[*skip]))
    if run.started or run.named:
        return run
    fewer = layers.skipped(skip)
    if fewer != skip:
        run = WatchedRun(limits.output_bytes, deadline).watch(orders._replace(skip=[*fewer]))
    if not run.started and not run.named:
        layers.require_pytest(fewer)
    return run


def _orders(
    box: Box, tests: Sequence[str], limits: SandboxLimits, texts: GivenTexts, library: list[str]
) -> Orders:
    resources = limits.model_dump(include={"cpu_seconds", "memory", "processes", "file_bytes"})
    given = {"given": list(texts.by_path), "imports": library}
    command = _command(box, tests, limits, given)
    return Orders(str(box.path), command, list(readable()), resources, skip=[], report=-1)


def _command(
    box: Box, tests: Sequence[str], limits: SandboxLimits, given: Mapping[str, list[str]]
) -> list[str]:
    paths = [f"./{path}" for path in tests] or ["--import-mode=importlib", f"../{IMPORTS}"]
    arguments = [
        *("-c", f"{box.path}/pytest.ini", "--rootdir", f"{box.files}"),
        *("--confcutdir", f"{box.files}", "-p", "no:cacheprovider", "-q", "-s"),
        *(part for name in UNUSED for part in ("-p", f"no:{name}")),
        *("--color=no", "--tb=short", f"--junitxml={box.path}/junit.xml"),
        *("-o", "junit_family=xunit1", *paths),
    ]
    late = max(limits.seconds / 2, limits.seconds - 2)
    options = {
        "box": f"{box.path}", "coverage": limits.coverage, "arguments": arguments, "late": late,
        **given,
    }  # fmt: skip
    return [sys.executable, "-u", "-s", "-P", "-c", START, _codes(), json.dumps(options)]


@cache
def _codes() -> str:
    """Return the codes that run inside, for the same Python."""
    parts = [Path(f"{part.__file__}").read_text("utf-8") for part in (pristine, witness, guard)]
    codes = tuple(compile(source, pristine.NAME, "exec") for source in parts)
    return binascii.b2a_base64(marshal.dumps(codes), newline=False).decode()


def _imports(files: Mapping[str, bytes]) -> str:
    """Return tests that import the modules, and compile files without a module's name."""
    modules = [path for path in sorted(files) if path.endswith(".py")]
    modules = [path for path in modules if path.rpartition("/")[2] != "conftest.py"]
    return f"""import importlib, pathlib, pytest

@pytest.mark.parametrize("path", {modules!r})
def test_import(path):
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    if all(map(str.isidentifier, parts)):
        importlib.import_module(".".join(parts))
    else:
        compile(pathlib.Path(path).read_bytes(), path, "exec")
"""


def _results(box: Box, run: WatchedRun, files: Mapping[str, bytes], texts: GivenTexts) -> Results:
    """Return the results of the tests; one error with the reason where they did not end."""
    if stopped := sorted(run.named & {"time limit", "output"}):
        return Results().with_error(f"stopped before its tests ended: {', '.join(stopped)}")
    if not run.started:
        output = bytes(run.output[-500:]).decode(errors="replace").strip()
        return Results().with_error(f"the interpreter did not start: {output}")
    if run.ended is None:
        return Results().with_error(f"ended before its tests did, with exit status {run.code}")
    body = box.read("junit.xml", outcome.LONGEST_FILE)
    try:
        if body is None:
            raise ValueError("there is no such file, or it is too large")
        if blake2b(body).hexdigest() != run.results:
            raise ValueError("somebody wrote to it after the tests")
        results = read_results(body, files, f"{box.files}", f"../{IMPORTS}")
    except ValueError as error:
        return Results().with_error(f"left no results that can be read: {error}")
    if run.ended == 5:
        results = judged(results, texts, run.notes)
        idle = not results.failures and not results.skipped
        return results.with_error("there are no tests") if idle else results
    if (run.ended and not results.failures) or (run.unfinished != 0 and run.ended != 2):
        ending = f"pytest ended with {run.ended}, {run.unfinished} tests were not finished"
        return results._replace(passed=0).with_error(f"ended before its tests did: {ending}")
    return counted_imports(judged(results, texts, run.notes), f"../{IMPORTS}")


def _signs(run: WatchedRun, results: Results) -> set[str]:
    """Return the limits that failures and exit status show to have been reached."""
    texts = [failure.message for failure in results.failures]
    if run.ended is None:
        texts.append(bytes(run.output[-20_000:]).decode(errors="replace"))
    named = {name for sign, name in SIGNS.items() if any(sign in text for text in texts)}
    if run.ended is None and not run.named and run.code in ENDINGS:
        named.add(ENDINGS[run.code])
    return named


def _coverage(box: Box, files: Mapping[str, bytes]) -> dict[str, float]:
    body = box.read("coverage.json", 2**20)
    with suppress(ValueError, RecursionError):
        shares = json.loads(body or b"null")
        if isinstance(shares, dict):
            return {
                path: float(share)
                for path, share in sorted(shares.items())
                if path in files and isinstance(share, int | float) and 0 <= share <= 1
            }
    return {}


__all__ = ["Outcome", "SandboxLimits", "run_checks", "safe_path"]
