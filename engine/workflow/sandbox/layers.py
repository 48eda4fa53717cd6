"""Which layers of isolation this machine allows: found by programs of our own, never by a run.

Whatever the checked code does, it does not make the sandbox weaker: layers are left out only where
a Python that runs nothing of anybody's does not start with them.
"""

import sys
import time
from contextlib import suppress
from functools import cache

from backcast.domain.errors import SandboxError
from backcast.domain.missing_layers import missing_layers
from backcast.engine.workflow.sandbox.box import new_box, readable
from backcast.engine.workflow.sandbox.isolation import Orders
from backcast.engine.workflow.sandbox.watch import WatchedRun

WEAKER = ((), ("user",), ("root", "landlock"), ("user", "root", "landlock"),
          ("user", "root", "landlock", "namespaces"))  # fmt: skip
"""Layers to skip, in this order, until the interpreter starts: a Python that only its owner may
read, for example, does not start for another user."""
LIMITS = {"cpu_seconds": 60, "memory": 2**30, "processes": 32, "file_bytes": 2**24}
UP = (
    "import os, sys;"
    ' os.write(int(sys.argv[-1]), b\'{"started": true, "secret": ""}\' + bytes([10]))'
)
PATIENCE, KEPT = 30.0, 10_000
"Seconds, and bytes of output, of such a program."


@cache
def tried(skip: tuple[str, ...], imported: str = "") -> WatchedRun:
    """Return how a Python starts without the layers `skip`; it may import one of our modules.

    This stays known for the whole process, so a failure is believed when it came twice: a fork
    may fail under load.
    """
    with suppress(OSError):
        found = _probed(skip, imported)
        if found.started:
            return found
    return _probed(skip, imported)


def _probed(skip: tuple[str, ...], imported: str) -> WatchedRun:
    options = ("-s", "-P") if imported else ("-I", "-S")
    code = f"import {imported}; {UP}" if imported else UP
    with new_box() as box:
        command = [sys.executable, *options, "-c", code]
        orders = Orders(str(box.path), command, list(readable()), LIMITS, [*skip], report=-1)
        return WatchedRun(KEPT, time.monotonic() + PATIENCE).watch(orders)


def skipped(without: tuple[str, ...]) -> tuple[str, ...]:
    """Return the layers with which no Python starts here, beside those `without`.

    `SandboxError` where it starts with none.
    """
    for weaker in WEAKER:
        skip = tuple(sorted({*weaker, *without}))
        if tried(skip).started:
            return skip
    raise SandboxError(f"the sandbox: {sys.executable} does not start in it: {_last(tried(skip))}")


def require_pytest(skip: tuple[str, ...]) -> None:
    """Raise `SandboxError` where pytest cannot be imported within the layers of this machine."""
    found = tried(skip, "pytest")
    if not found.started:
        raise SandboxError(
            f"the sandbox: {sys.executable} cannot import pytest in it, so no test was run:"
            f" {_last(found)}: install Backcast into an environment of its own"
        )


def require_full(without: tuple[str, ...]) -> None:
    """Raise `SandboxError` where a layer is missing on this machine."""
    found = tried(tuple(sorted(without)))
    missing = missing_layers(found.held) if found.started else ["all layers together"]
    if missing:
        raise SandboxError(
            f"the sandbox: needed all its layers, this machine does not allow: {', '.join(missing)}"
        )


def _last(run: WatchedRun) -> str:
    """Return the last line that a program printed."""
    lines = bytes(run.output).decode(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "without a word")
