"""Starts one run, reads its output and report, and stops it at a limit."""

import ast
import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backcast.engine.workflow.sandbox.isolation import Orders
from backcast.engine.workflow.sandbox.processes import LINGERING

LONGEST_REPORT = 16 * 2**20
"Bytes of the inside's report that are read."
LISTED = 64
"Different attempts that are named."
PACKAGES = str(Path(__file__).parents[4])
"The folder that holds the package."
START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from backcast.engine.workflow.sandbox import isolation; isolation.main()"
)


@dataclass
class WatchedRun:
    """One run as seen from outside, with the report of its inside."""

    output_bytes: int
    deadline: float
    output: bytearray = field(default_factory=bytearray)
    reported: bytearray = field(default_factory=bytearray)
    named: set[str] = field(default_factory=set)
    "Attempts that were stopped, and limits that were reached."
    code: int | None = None
    "The exit status; 128 plus the signal's number where a signal ended it."
    held: dict[str, str] = field(default_factory=dict)
    started: bool = False
    "Whether it got as far as running tests."
    ended: int | None = None
    "The exit code of pytest; None where it did not finish."
    unfinished: int | None = None
    "The number of collected tests that did not finish."
    results: str = ""
    "The digest of the results when the tests had ended."
    notes: list[dict[str, Any]] = field(default_factory=list)
    "What the witness saw of the tests, in order; see `witness.py`."

    def watch(self, orders: Orders) -> "WatchedRun":
        """Start a run, and return when all its processes have ended."""
        report, writing = os.pipe()
        with os.fdopen(report, "rb"):
            try:
                keeper = _keeper(orders._replace(report=writing))
            finally:
                os.close(writing)
            with keeper:
                try:
                    self._listen(keeper, report)
                finally:
                    self.code = _stop(keeper)
        self._parse_report()
        return self

    def _listen(self, keeper: subprocess.Popen[bytes], report: int) -> None:
        """Read until the keeper ends or a limit is reached."""
        assert keeper.stdout is not None
        output = keeper.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(report, selectors.EVENT_READ)
            while selector.get_map() or keeper.poll() is None:
                over = keeper.poll() is not None  # all its output is in the pipes by now
                wait = min(0.1, max(0.0, self.deadline - time.monotonic()))
                wait = 0 if over else wait if selector.get_map() else 0.01
                ready = [key.fd for key, _ in selector.select(wait)]
                for descriptor in ready:
                    if not self._take(descriptor, descriptor == output):
                        selector.unregister(descriptor)
                if self._exceeded() or (over and not ready):
                    return

    def _take(self, descriptor: int, output: bool) -> bool:
        part = os.read(descriptor, 65536)
        if output:
            self.output += part
        elif len(self.reported) < LONGEST_REPORT:
            self.reported += part
        return bool(part)

    def _exceeded(self) -> bool:
        if len(self.output) > self.output_bytes:
            self.named.add("output")
        elif time.monotonic() > self.deadline:
            self.named.add("time limit")
        return bool(self.named)

    def _parse_report(self) -> None:
        """Parse the report, whose first two lines were written before any foreign code ran.

        The second holds the secret with which the notes of the witness begin.
        """
        secret = b""
        for number, line in enumerate(bytes(self.reported).split(b"\n")):
            noted = secret and line.startswith(secret)
            entry = _noted(line.removeprefix(secret)) if noted else _parsed(line)
            if number == 0 and isinstance(entry, dict):
                self.held = {str(key): str(value) for key, value in entry.items()}
            elif number == 1 and isinstance(entry, dict) and entry.get("started") is True:
                self.started, secret = True, f"{entry['secret']} ".encode()
            elif noted and isinstance(entry, dict):
                self._note(entry)
            elif isinstance(entry, str) and len(self.named) < LISTED:
                self.named.add(ascii(entry[:200])[1:-1])

    def _note(self, entry: dict[str, Any]) -> None:
        if "ended" in entry:
            self.ended, self.unfinished = entry["ended"], entry["unfinished"]
            self.results = entry["results"]
        else:
            self.notes.append(entry)


def environment(box: str) -> dict[str, str]:
    """Return all environment variables of a run."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": f"{box}/home",
        "TMPDIR": f"{box}/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _keeper(orders: Orders) -> subprocess.Popen[bytes]:
    packed = json.dumps(orders._asdict())
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, PACKAGES, packed],
        cwd=Path(orders.box) / "files",
        env=environment(orders.box),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[orders.report],
        start_new_session=True,
        bufsize=0,
    )


def _stop(keeper: subprocess.Popen[bytes]) -> int:
    """Let the keeper end the run, wait for it, and return its exit status."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        return keeper.wait(LINGERING + 1)
    except subprocess.TimeoutExpired:
        keeper.kill()  # its children are set to die with it
        return keeper.wait()


def _noted(line: bytes) -> Any:
    """Return a note, which is written as Python writes its values."""
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(line.decode("ascii"))
    return None


def _parsed(line: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
