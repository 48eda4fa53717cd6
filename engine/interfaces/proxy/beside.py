"""A recording proxy beside a command of ours, as a process that ends with it."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.spending import Allowance, Price
from backcast.engine.workflow.sandbox import kernel

START = "from backcast.engine.interfaces.proxy.gate import main; main()"
PATIENCE = 30.0
"Seconds that the proxy has to write what it has seen, when it is to end."
SETTLED = 10.0
"Seconds in which it must do what it is ordered to."
_HERE = re.compile(r"asked of (http://127\.0\.0\.1:\d+)")


class ProxyBeside:
    """A proxy that lets each task ask a model as often as it may, and no oftener."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.address = address
        "Without /v1."
        self._process, self._over = process, dict[str, str]()
        self._done = set[tuple[str, str]]()
        self._since = dict[str, float]()
        "When, by the monotonic clock, tasks with calls under way had none before."
        self._changed = threading.Condition()
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def close(self) -> None:
        """Hear the last of a proxy that has ended."""
        self._hearing.join(SETTLED)

    def open(self, task: str, rest: Allowance, price: Price) -> bool:
        """Let a task ask until it has used up what is left for it; return whether it now may."""
        return self._ordered("opened", task, {"open": task, "rest": rest, "price": price})

    def refused(self, task: str) -> str:
        """Return the reason code by which a call of a task was refused; empty as long as none."""
        return self._over.get(task, "")

    def waiting(self, task: str) -> float:
        """Return for how many seconds a task has had a call under way; 0 where it has none."""
        since = self._since.get(task)
        return 0.0 if since is None else time.monotonic() - since

    def settle(self, task: str) -> bool:
        """Let a task ask no more; return whether all that it asked is in the store."""
        return self._ordered("settled", task, {"settle": task})

    def _ordered(self, done: str, task: str, order: dict[str, Any]) -> bool:
        """Order something, and return whether it was done."""
        assert self._process.stdin is not None
        with self._changed:
            with suppress(OSError):
                self._process.stdin.write(f"{json.dumps(order)}\n")
                self._process.stdin.flush()
            return self._changed.wait_for(lambda: (done, task) in self._done, SETTLED)

    def _hear(self) -> None:
        """Hear what the proxy has done, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                match json.loads(line):
                    case {"refused": str(task), "code": str(code)}:
                        self._over.setdefault(task, code)
                    case {"under way": str(task), "count": 0}:
                        self._since.pop(task, None)
                    case {"under way": str(task)}:
                        self._since.setdefault(task, time.monotonic())
                    case {"opened": str(task)}:
                        self._done.add(("opened", task))
                    case {"settled": str(task)}:
                        self._done.add(("settled", task))
                self._changed.notify_all()


@contextmanager
def proxy_beside(to: str, url: str, name: str) -> Iterator[ProxyBeside]:
    """Start a proxy before a server, and yield it.

    `InputError` where it does not start, or its server is not there. It ends with this process,
    however that ends.
    """

    def with_parent() -> None:
        with suppress(OSError):
            kernel.prctl(kernel.DIE_WITH_PARENT, signal.SIGINT)

    process = subprocess.Popen(
        [sys.executable, "-c", START, to, url, f"{name}.calls"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=with_parent,
    )  # fmt: skip
    heard: list[Callable[[], None]] = []
    try:
        assert process.stderr is not None
        said, address = list[str](), ""
        for line in process.stderr:
            said.append(line.strip())
            if found := _HERE.search(line):
                address = found[1]
                break
        if not address:
            raise InputError(said[-1] if said else f"--to {to}: the proxy did not start")
        draining = threading.Thread(target=process.stderr.read, daemon=True)
        draining.start()
        heard += [draining.join, (proxy := ProxyBeside(process, address)).close]
        yield proxy
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for wait in heard:
            wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
