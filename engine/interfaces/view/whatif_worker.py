"""Compute what another policy would have shown in a process that is bounded in time and memory.

The process writes each part as it is found, so that what is there when it is ended can be shown.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.errors import BackcastError
from backcast.engine.interfaces.view.markup import Markup, joined, tag

SECONDS = 30.0
"Time for an answer; then what was found is shown."
GRACE = 10.0
"Time for the step at which time was over, and to begin; then the process is ended."
MEMORY = 2_000_000_000
"Bytes of data that the process may hold."


class AskedPolicy(NamedTuple):
    """What a process is asked."""

    source: str
    "The log's file, or the URL of its store."
    task: str
    log: str
    store_url: str
    version: int
    policy: str
    text: str
    seconds: float = SECONDS


class PolicyWorker:
    """A process at a time; who asks anew ends what was asked before."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.seconds, self.memory = seconds, memory
        self._lock = Lock()
        self._process: Popen[bytes] | None = None

    def close(self) -> None:
        """End what is under way."""
        with self._lock:
            if self._process:
                self._process.kill()

    def ask(self, asked: AskedPolicy) -> tuple[Markup, bool]:
        """Return the parts of an answer, and whether it is whole."""
        given = json.dumps(asked._replace(seconds=self.seconds)._asdict() | {"memory": self.memory})
        with self._lock:
            if self._process:
                self._process.kill()
            process = self._process = Popen(
                [sys.executable, "-m", __name__], stdin=PIPE, stdout=PIPE, start_new_session=True
            )
        said = ""
        try:
            out, _ = process.communicate(given.encode(), timeout=self.seconds + GRACE)
        except TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            said = f"Time was over: {self.seconds:g} s are given to a question."
        parts, is_whole = _parts(out)
        if not is_whole and not said:
            said = "It was ended: another question came, or it needed more than it is given."
        note = tag("p", said, class_="bad") if said else None
        return joined([*parts, note]), is_whole


def _parts(out: bytes) -> tuple[list[Markup], bool]:
    """Return the parts that were written to their ends, and whether they are all."""
    found = list[Markup]()
    for line in out.splitlines():
        with suppress(ValueError):
            read = json.loads(line)
            if read is None:
                return found, True
            found.append(Markup(read))
    return found, False


def _limited(seconds: float, memory: int) -> None:
    """Bound this process; it ends by itself where nobody is left to end it."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the time is kept by who asks
        return
    ends = int(seconds + GRACE) + 1
    for limit, value in (("RLIMIT_DATA", memory), ("RLIMIT_CPU", 2 * ends), ("RLIMIT_CORE", 0)):
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, limit), (value, value))
    signal.alarm(ends)
    with suppress(OSError):
        os.nice(5)


def _answer(asked: AskedPolicy, ends: float) -> Iterator[Markup]:
    from backcast.engine.interfaces.view.panels import PanelMaker
    from backcast.engine.interfaces.view.reading import RunReader
    from backcast.engine.interfaces.view.whatif import whatif_parts
    from backcast.engine.interfaces.view.whatif_all import all_parts
    from backcast.engine.interfaces.view.whatif_form import ALL
    from backcast.engine.log.open_logs import opened
    from backcast.engine.replay.what_if import other_policy

    try:
        is_all = asked.policy == ALL and not asked.text.strip()
        other = None if is_all else other_policy(asked.policy, asked.text)
        with opened(asked.source, asked.task) as log:
            reader = RunReader(log.store, asked.task)
            maker = PanelMaker(reader, log=asked.log, store_url=asked.store_url)
            maker.reader.sequence.read_on()
            if other is None:
                yield from all_parts(maker, asked.version)
            else:
                yield from whatif_parts(maker, asked.version, other, lambda: monotonic() > ends)
    except (BackcastError, ValueError) as error:
        yield tag("p", f"this cannot be told: {error}", class_="bad")
    except MemoryError:
        yield tag("p", "Memory was over: the command below takes what it needs.", class_="bad")


def main() -> None:
    """Answer the question on stdin: a part a line, then null."""
    given: dict[str, Any] = json.load(sys.stdin)
    memory = given.pop("memory")
    asked, begun = AskedPolicy(**given), monotonic()
    _limited(asked.seconds, memory)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no part
    for part in _answer(asked, begun + asked.seconds):
        out.write(json.dumps(part).encode() + b"\n")
        out.flush()
    out.write(b"null\n")
    out.flush()


if __name__ == "__main__":
    main()
