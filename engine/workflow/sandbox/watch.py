"""One run is started, listened to, and stopped when it takes too much."""

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

LONGEST_REPORT = 64 * 2**10
"Bytes that are read of what the inside tells."
LISTED = 64
"Different things that are named."
PACKAGES = str(Path(__file__).parents[4])
"The folder that holds the package."
START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from backcast.engine.workflow.sandbox import isolation; isolation.main()"
)


@dataclass
class WatchedRun:
    """What was seen of a run from outside, and what its inside told."""

    output_bytes: int
    deadline: float
    output: bytearray = field(default_factory=bytearray)
    told: bytearray = field(default_factory=bytearray)
    named: set[str] = field(default_factory=set)
    "What was stopped."
    code: int | None = None
    "The exit status; 128 and the signal's number where one ended it."
    held: dict[str, str] = field(default_factory=dict)
    started: bool = False
    "Whether it came as far as to run tests."
    ended: int | None = None
    "What pytest ended with; None where it did not come to its end."
    unfinished: int | None = None
    "Of the tests that it found."

    def watch(self, orders: Orders) -> "WatchedRun":
        """Start a run, and return when all of it is over."""
        report, told = os.pipe()
        with os.fdopen(report, "rb"):
            try:
                keeper = _keeper(orders._replace(report=told))
            finally:
                os.close(told)
            with keeper:
                try:
                    self._listen(keeper, report)
                finally:
                    self.code = _stop(keeper)
        self._understand()
        return self

    def _listen(self, keeper: subprocess.Popen[bytes], report: int) -> None:
        """Read until the keeper ends or a limit is reached."""
        assert keeper.stdout is not None
        output = keeper.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(report, selectors.EVENT_READ)
            while selector.get_map() or keeper.poll() is None:
                over = keeper.poll() is not None  # what it wrote before is in the pipes by now
                wait = min(0.1, max(0.0, self.deadline - time.monotonic()))
                wait = 0 if over else wait if selector.get_map() else 0.01
                ready = [key.fd for key, _ in selector.select(wait)]
                for descriptor in ready:
                    if not self._took(descriptor, descriptor == output):
                        selector.unregister(descriptor)
                if self._exceeded() or (over and not ready):
                    return

    def _took(self, descriptor: int, output: bool) -> bool:
        part = os.read(descriptor, 65536)
        if output:
            self.output += part
        elif len(self.told) < LONGEST_REPORT:
            self.told += part
        return bool(part)

    def _exceeded(self) -> bool:
        if len(self.output) > self.output_bytes:
            self.named.add("output")
        elif time.monotonic() > self.deadline:
            self.named.add("time limit")
        return bool(self.named)

    def _understand(self) -> None:
        """Read the report. Its first two lines were written before any foreign code ran."""
        for number, line in enumerate(bytes(self.told).splitlines()):
            told = _parsed(line)
            if number == 0 and isinstance(told, dict):
                self.held = {str(key): str(value) for key, value in told.items()}
            elif number == 1:
                self.started = told == {"started": True}
            elif isinstance(told, dict) and isinstance(told.get("ended"), int):
                self.ended, self.unfinished = told["ended"], told.get("unfinished")
            elif isinstance(told, str) and len(self.named) < LISTED:
                self.named.add(ascii(told[:200])[1:-1])


def environment(box: str) -> dict[str, str]:
    """All that a run knows of its environment."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": f"{box}/home",
        "TMPDIR": f"{box}/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _keeper(orders: Orders) -> subprocess.Popen[bytes]:
    told = json.dumps(orders._asdict())
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, PACKAGES, told],
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
    """Let the keeper end the run, and wait for that; its exit status."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        return keeper.wait(LINGERING + 1)
    except subprocess.TimeoutExpired:
        keeper.kill()  # what it started is told to die with it
        return keeper.wait()


def _parsed(line: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
