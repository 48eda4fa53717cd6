"""Foreign code and its tests are run apart from everything, and what came of it is a value.

What holds it is in `isolation.py`, and each run says which of that was there. What does not hold:
tests and what they test share an interpreter, so hostile code can fake its own results. It cannot
get out by that, and ending early counts as an error. Memory and CPU time are limited per process;
the number of processes and the time on the wall bound the rest. Disk is limited per file. Only
what the tests' own interpreter tries is named; what a program that it starts tries is stopped
without a word. Plugins of pytest are not loaded, but for a conftest.py among the files.
"""

import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.errors import InputError
from backcast.domain.events import CheckFailure
from backcast.engine.workflow.sandbox import guard, outcome
from backcast.engine.workflow.sandbox.box import Box, check_paths, new_box, readable, safe_path
from backcast.engine.workflow.sandbox.isolation import Orders
from backcast.engine.workflow.sandbox.outcome import Results, read_results
from backcast.engine.workflow.sandbox.watch import WatchedRun

IMPORTS = "check_imports.py"
"The file of tests, beside the code, that imports the modules where there are no tests."
SETTINGS = "[pytest]\npythonpath = files\nconsider_namespace_packages = true\n"
WEAKER = ((), ("user",), ("root", "landlock"), ("user", "root", "landlock"),
          ("user", "root", "landlock", "namespaces"))  # fmt: skip
"""Layers to do without, where with them the interpreter does not start: a Python that only its
owner may read, for one, does not start for another user."""
SIGNS = {
    "MemoryError": "memory",
    "[Errno 12] ": "memory",
    "[Errno 27] ": "file size",
}
"By what a failure tells that a limit was reached."
ENDINGS = {128 + 9: "memory", 128 + 24: "cpu time", 128 + 25: "file size"}
"What ended a process by a signal that neither the sandbox nor, in all likelihood, the code sent."


class SandboxLimits(BaseModel):
    """How much a run may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=60, gt=0)
    "By the clock on the wall; then everything that was started is killed."
    cpu_seconds: int = Field(default=60, gt=0)
    "Of processor time, for each process."
    memory: int = Field(default=2**30, ge=2**26)
    "Bytes of address space, for each process."
    processes: int = Field(default=32, gt=0)
    "At a time, threads counted too."
    file_bytes: int = Field(default=16 * 2**20, gt=0)
    "The size of any file that is written."
    output_bytes: int = Field(default=2**20, gt=0)
    "Bytes of what is printed that are kept; who prints more is stopped."
    coverage: bool = False
    "Whether to measure which lines are run; needs the package `coverage`."


class Outcome(NamedTuple):
    """What came of a run."""

    passed: int
    failed: int
    errors: int
    "Checks that could not run to their end, and modules that could not be imported."
    failures: tuple[CheckFailure, ...]
    "Of the failed and the errors, in order; at most a hundred."
    output: bytes
    "What was printed, standard output and error together, up to `output_bytes`."
    seconds: float
    "By the clock on the wall."
    contained: tuple[str, ...]
    "What was stopped, in short words, sorted: `network: connect 1.1.1.1:80`, `time limit`."
    isolation: Mapping[str, str]
    "What held network, files, processes and user; `guard` where only Python's own hooks did."
    coverage: Mapping[str, float]
    "The share of its lines that were run, from 0 to 1, by path; empty where not measured."


USUAL = SandboxLimits()


def run_checks(
    files: Mapping[str, bytes],
    tests: Sequence[str],
    limits: SandboxLimits = USUAL,
    without: Collection[str] = (),
) -> Outcome:
    """Run the pytest files among some files, or import all modules where `tests` is empty.

    `files` are bodies by relative POSIX path. `InputError` for a path that is not safe; whatever
    the code itself does is an outcome. `without` names layers (see `isolation.Orders`) that are
    not to be used, so that one can see what the others hold.
    """
    check_paths(files)
    if missing := [path for path in tests if path not in files]:
        raise InputError(f"needed tests that are among the files, found {missing[0]!a}")
    before = time.monotonic()
    with new_box() as box:
        box.put(files)
        (box.path / "pytest.ini").write_text(SETTINGS)
        (box.path / IMPORTS).write_text(_imports(files))
        orders = _orders(box, tests, limits)
        run = _run(orders, without, limits, before + limits.seconds)
        results = _results(box, run, files)
        named = run.named | _signs(run, results)
        given = max(map(len, files.values()), default=0)
        if box.holds_file_of(max(limits.file_bytes, given + 1)):
            named.add("file size")
        shares = _coverage(box, files) if limits.coverage else {}
        output = bytes(run.output[: limits.output_bytes]).replace(b"%s/" % bytes(box.files), b"")
    seconds = time.monotonic() - before
    return Outcome(*results, output, seconds, tuple(sorted(named)), run.held, shares)


def _run(
    orders: Orders, without: Collection[str], limits: SandboxLimits, deadline: float
) -> WatchedRun:
    """Run with every layer that leaves the interpreter able to start."""
    for skip in WEAKER:
        fewer = orders._replace(skip=sorted({*skip, *without}))
        run = WatchedRun(limits.output_bytes, deadline).watch(fewer)
        if run.started or run.named:
            break
    return run


def _orders(box: Box, tests: Sequence[str], limits: SandboxLimits) -> Orders:
    told = limits.model_dump(include={"cpu_seconds", "memory", "processes", "file_bytes"})
    command = _command(box, tests, limits)
    return Orders(str(box.path), command, list(readable()), told, skip=[], report=-1)


def _command(box: Box, tests: Sequence[str], limits: SandboxLimits) -> list[str]:
    paths = [f"./{path}" for path in tests] or ["--import-mode=importlib", f"../{IMPORTS}"]
    arguments = [
        *("-c", f"{box.path}/pytest.ini", "--rootdir", f"{box.files}"),
        *("--confcutdir", f"{box.files}", "-p", "no:cacheprovider", "-q", "-s"),
        *("--color=no", "--tb=short", f"--junitxml={box.path}/junit.xml"),
        *("-o", "junit_family=xunit1", *paths),
    ]
    told = {"box": f"{box.path}", "coverage": limits.coverage, "arguments": arguments}
    source = Path(guard.__file__).read_text(encoding="utf-8")
    return [sys.executable, "-u", "-s", "-P", "-c", source, json.dumps(told)]


def _imports(files: Mapping[str, bytes]) -> str:
    """Tests that import the modules; a file whose name is no module's is only compiled."""
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


def _results(box: Box, run: WatchedRun, files: Mapping[str, bytes]) -> Results:
    """What the tests came to; where they did not come to their end, one error that says why."""
    if stopped := sorted(run.named & {"time limit", "output"}):
        return Results().with_error(f"stopped before its tests ended: {', '.join(stopped)}")
    if not run.started:
        said = bytes(run.output[-500:]).decode(errors="replace").strip()
        return Results().with_error(f"the interpreter did not start: {said}")
    if run.ended is None:
        return Results().with_error(f"ended before its tests did, with exit status {run.code}")
    body = box.read("junit.xml", outcome.LONGEST_FILE)
    try:
        if body is None:
            raise ValueError("there is no such file, or it is too large")
        results = read_results(body, files, f"{box.files}", f"../{IMPORTS}")
    except ValueError as error:
        return Results().with_error(f"left no results that can be read: {error}")
    if run.ended == 5:
        return results.with_error("there are no tests")
    if (run.ended and not results.failures) or (run.unfinished != 0 and run.ended != 2):
        found = f"pytest ended with {run.ended}, {run.unfinished} tests were not finished"
        return results._replace(passed=0).with_error(f"ended before its tests did: {found}")
    return results


def _signs(run: WatchedRun, results: Results) -> set[str]:
    """The limits that were reached, as far as failures and endings tell."""
    told = [failure.message for failure in results.failures]
    if run.ended is None:
        told.append(bytes(run.output[-20_000:]).decode(errors="replace"))
    named = {name for sign, name in SIGNS.items() if any(sign in text for text in told)}
    if run.ended is None and not run.named and run.code in ENDINGS:
        named.add(ENDINGS[run.code])
    return named


def _coverage(box: Box, files: Mapping[str, bytes]) -> dict[str, float]:
    body = box.read("coverage.json", 2**20)
    with suppress(ValueError, RecursionError):
        told = json.loads(body or b"null")
        if isinstance(told, dict):
            return {
                path: float(share)
                for path, share in sorted(told.items())
                if path in files and isinstance(share, int | float) and 0 <= share <= 1
            }
    return {}


__all__ = ["Outcome", "SandboxLimits", "run_checks", "safe_path"]
