"""Runs one agent under its keeper, reads what it prints, and ends it at a limit."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backcast.engine.workflow.dispatch.keeper import LENGTH, KeeperOrders
from backcast.engine.workflow.dispatch.leftovers import MARK, end_running
from backcast.engine.workflow.sandbox.processes import LINGERING
from backcast.engine.workflow.sandbox.watch import PACKAGES

START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from backcast.engine.workflow.dispatch import keeper; keeper.main()"
)
HEAD, TAIL = 4 * 2**20, 2**20
"Bytes of each stream that are kept: its beginning, and its end."
PART, PAUSE = 256 * 1024, 5.0
"Bytes, and seconds, after which what was printed is handed on."
GRACE = 10.0
"Seconds between TERM and KILL."


class PrintedStream:
    """What an agent prints on one stream: its beginning as it comes, and its end."""

    def __init__(self, name: str) -> None:
        self.name, self.size, self.since = name, 0, time.monotonic()
        self.head, self._tail = bytearray(), bytearray()
        self._handed = 0

    def take(self, part: bytes) -> None:
        """Take a part; of a long stream only the last one is remembered beyond its beginning."""
        if self.size == self._handed:
            self.since = time.monotonic()
        self.size += len(part)
        room = HEAD - len(self.head)
        self.head += part[:room] if room > 0 else b""
        self._tail += part[max(room, 0) :]
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def due(self, *, ended: bool = False) -> tuple[int, bytes] | None:
        """Return where the part begins that is to be handed on, and the part; None if none is."""
        waiting = len(self.head) - self._handed
        if waiting and (ended or waiting >= PART or time.monotonic() - self.since > PAUSE):
            start, self._handed = self._handed, len(self.head)
            self.since = time.monotonic()
            return start, bytes(self.head[start:])
        return None

    def last(self) -> tuple[int, bytes] | None:
        """Return the kept end of a stream that was too long to be kept; None of any other."""
        tail = bytes(self._tail[-TAIL:])
        return (self.size - len(tail), tail) if tail else None

    @property
    def text(self) -> str:
        """All that is kept, as text."""
        tail = bytes(self._tail[-TAIL:])
        lost = self.size - len(self.head) - len(tail)
        joint = b"\n" if lost else b""  # a line that was cut there is no line
        return (bytes(self.head) + joint + tail).decode(errors="replace")

    @property
    def lost(self) -> int:
        """Bytes in its midst that were not kept."""
        return self.size - len(self.head) - len(self._tail[-TAIL:])


@dataclass(frozen=True, kw_only=True)
class AgentOrders:
    """What is needed to start an agent."""

    folder: Path
    work: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    prompt: Path | None
    "The file that it reads as its standard input."
    lock: int
    seconds: float
    silence: float
    held: bool = True
    grace: float = GRACE
    exceeded: Callable[[], tuple[str, str] | None] = lambda: None
    "Returns the outcome and the reason of another limit that is reached; asked often."
    stopping: Callable[[], bool] = lambda: False
    "Whether somebody ends all agents; asked a few times a second."
    lively: Callable[[], float] = lambda: 0.0
    "When, by the monotonic clock, it last did something that is seen elsewhere."


@dataclass
class AgentRun:
    """One run of an agent as seen from outside."""

    orders: AgentOrders
    stdout: PrintedStream = field(default_factory=lambda: PrintedStream("stdout"))
    stderr: PrintedStream = field(default_factory=lambda: PrintedStream("stderr"))
    outcome: str = ""
    "answered or failed, or the limit that was reached, or cancelled."
    reason: str = ""
    code: int | None = None
    seconds: float = 0.0
    isolation: str = ""
    killed: tuple[str, ...] = ()
    "Programs that it left running, and that were ended."
    _keeper: "subprocess.Popen[bytes] | None" = None
    _pipes: tuple[int, ...] = ()
    _printed: Callable[[str, int, bytes], None] = lambda stream, at, part: None
    _news: bytearray = field(default_factory=bytearray)

    def start_keeper(self) -> None:
        """Start the keeper, which waits for `run`; from now on it removes the folder at the end."""
        pipes = [os.pipe() for _ in range(3)]
        self._pipes = tuple(read for read, _ in pipes)
        try:
            self._keeper = _keeper(self.orders, [write for _, write in pipes])
        finally:
            for _, write in pipes:
                os.close(write)

    def run(self, printed: Callable[[str, int, bytes], None]) -> "AgentRun":
        """Run the agent, and return when it and all that it started have ended.

        `printed` takes what it prints, as it comes.
        """
        began, self._printed = time.monotonic(), printed
        try:
            self._tell(b"s")
            self._listen(self._pipes, began)
        except KeyboardInterrupt:
            self.outcome, self.reason = "cancelled", "ended by Ctrl-C"
            self._listen(self._pipes, began, ending=True)
        self.seconds = time.monotonic() - began
        self._conclude()
        return self

    def release(self) -> None:
        """Let the keeper remove the folder and end, which takes a moment."""
        pipes, self._pipes = self._pipes, ()
        for read in pipes:
            os.close(read)
        if self._keeper is not None and self._keeper.stdin is not None:
            with suppress(OSError):
                self._keeper.stdin.close()

    def close(self) -> None:
        """Wait for the end of the keeper; one that does not end is killed."""
        self.release()
        if self._keeper is None:
            return
        keeper, self._keeper = self._keeper, None
        try:
            keeper.wait(2 * LINGERING + self.orders.grace)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()

    def _listen(self, reads: Sequence[int], began: float, *, ending: bool = False) -> None:
        """Read until the keeper reports that all has ended, or is gone."""
        heard = time.monotonic()
        streams = {reads[0]: self.stdout, reads[1]: self.stderr}
        late = None
        with selectors.DefaultSelector() as selector:
            for descriptor in reads:
                selector.register(descriptor, selectors.EVENT_READ)
            if ending:
                late = self._end()
            while selector.get_map():
                for key, _ in selector.select(0.1):
                    part = os.read(key.fd, 65536)
                    if not part:
                        selector.unregister(key.fd)
                        if key.fd == reads[2] and b'"code"' not in self._news:
                            end_running(
                                self.orders.environment[MARK], str(self.orders.folder)
                            )  # nobody watches over it
                    elif key.fd in streams:
                        streams[key.fd].take(part)
                        heard = time.monotonic()
                    else:
                        self._news += part
                self._hand_on()
                now = time.monotonic()
                if b'"code"' in self._news or (late is not None and now > late):
                    break
                if late is None and (found := self._limit(began, max(heard, self._lively()))):
                    self.outcome, self.reason = found
                    late = self._end()
            for waiting in streams.keys() & set(selector.get_map()):  # it is in the pipes by now
                self._drain(waiting, streams[waiting])
        self._hand_on(ended=True)

    def _drain(self, descriptor: int, stream: PrintedStream) -> None:
        os.set_blocking(descriptor, False)
        with suppress(BlockingIOError):
            while part := os.read(descriptor, 65536):
                stream.take(part)

    def _lively(self) -> float:
        return self.orders.lively()

    def _limit(self, began: float, heard: float) -> tuple[str, str] | None:
        """Return the limit that is reached, with the reason."""
        now, orders = time.monotonic(), self.orders
        if orders.stopping():
            return "cancelled", "ended by Ctrl-C"
        if now - began > orders.seconds:
            return "time limit", f"it was not done after {orders.seconds:g} s"
        if now - heard > orders.silence:
            return "silence", f"it said nothing for {orders.silence:g} s"
        return orders.exceeded()

    def _end(self) -> float:
        """Order the keeper to end the agent, and return when it must have done so."""
        self._tell(b"e")
        return time.monotonic() + self.orders.grace + 2 * LINGERING

    def _tell(self, order: bytes) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        with suppress(OSError):
            self._keeper.stdin.write(order)
            self._keeper.stdin.flush()

    def _hand_on(self, *, ended: bool = False) -> None:
        for stream in (self.stdout, self.stderr):
            if due := stream.due(ended=ended):
                self._printed(stream.name, *due)
            if ended and (last := stream.last()):
                self._printed(stream.name, *last)

    def _conclude(self) -> None:
        """Read the keeper's report."""
        news: dict[str, Any] = {}
        for line in bytes(self._news).splitlines():
            with suppress(ValueError):
                news |= json.loads(line)
        self.code, self.isolation = news.get("code"), str(news.get("isolation", ""))
        self.killed = tuple(map(str, news.get("killed", ())))
        if not self.outcome and not news.get("started"):
            self.outcome, self.reason = "failed", str(news.get("error") or "it did not start")
        if not self.outcome and "code" not in news:
            self.outcome, self.reason = "failed", "its keeper was ended from outside"
        if not self.outcome:
            self.outcome = "failed" if self.code else "answered"
            self.reason = _ending(self.code) if self.code else ""


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ended it"
    return f"it ended with exit code {code}"


def _keeper(orders: AgentOrders, writes: list[int]) -> "subprocess.Popen[bytes]":
    stdout, stderr, report = writes
    packed = json.dumps(
        KeeperOrders(
            folder=str(orders.folder), work=str(orders.work), command=list(orders.command),
            environment=orders.environment, prompt=str(orders.prompt or ""), stdout=stdout,
            stderr=stderr, report=report, lock=orders.lock, grace=orders.grace, held=orders.held,
        )._asdict()
    ).encode()  # fmt: skip
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, PACKAGES, str(orders.folder)],
        cwd="/", env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=[*writes, orders.lock], start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert keeper.stdin is not None
    body = memoryview(len(packed).to_bytes(LENGTH, "big") + packed)
    with suppress(OSError):  # a keeper that is gone is told of once the agent is to start
        while body:
            body = body[keeper.stdin.write(body) or 0 :]
    return keeper
