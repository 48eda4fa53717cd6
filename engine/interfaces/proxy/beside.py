"""A recording proxy beside a command of ours, as a process that ends with it."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from backcast.domain.errors import InputError
from backcast.engine.workflow.sandbox import kernel

START = "from backcast.engine.interfaces.cli import main; main()"
PATIENCE = 30.0
"Seconds that the proxy has to write what it has seen, when it is to end."
_HERE = re.compile(r"asked of (http://127\.0\.0\.1:\d+)")


@contextmanager
def proxy_beside(to: str, url: str, name: str) -> Iterator[str]:
    """Start a proxy before a server, and yield its address without /v1.

    `InputError` where it does not start. It ends with this process, however that ends.
    """

    def with_parent() -> None:
        with suppress(OSError):
            kernel.prctl(kernel.DIE_WITH_PARENT, signal.SIGINT)

    process = subprocess.Popen(
        [sys.executable, "-c", START, "record", "--to", to, "--port", "0", "--task",
         f"{name}.calls", "--store", url],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=with_parent,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said, address = list[str](), ""
        for line in process.stderr:
            said.append(line.strip())
            if found := _HERE.search(line):
                address = found[1]
                break
        if not address:
            raise InputError(f"--to {to}: {said[-1] if said else 'the proxy did not start'}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
