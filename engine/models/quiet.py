"""llama.cpp says much on stderr: here it is kept off it, and its complaints are kept."""

import ctypes
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from backcast.engine.log.interrupts import uninterrupted

ERROR = 4
COMPLAINTS: deque[str] = deque(maxlen=20)
"The last lines that llama.cpp logged as errors."


def listen() -> None:
    """Have llama.cpp log to `COMPLAINTS` from now on. It has one listener, and the bindings set
    their own whenever they are imported."""
    import llama_cpp

    llama_cpp.llama_log_set(_listener(), ctypes.c_void_p(0))


@cache
def _listener() -> Any:
    """Return what llama.cpp calls; it must stay alive."""
    import llama_cpp

    def take(level: int, text: bytes, _: object) -> None:
        if level == ERROR and (line := text.decode(errors="replace").strip()):
            COMPLAINTS.append(line)

    return llama_cpp.llama_log_callback(take)


def complaint() -> str:
    """The first complaint, without the function of llama.cpp that has it; empty without any."""
    lines = [line for line in COMPLAINTS if "failed to load model" not in line] or [""]
    return lines[0].partition(": ")[2] or lines[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing through to stderr: some of it is not logged but printed. Ctrl-C waits."""
    with uninterrupted():
        listen()
        COMPLAINTS.clear()
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
