"""Keeps watch over one agent, as a process of its own between us and it.

    dispatch -> keeper -> the agent, in a session of its own -> whatever it starts

It outlives both. All that the agent starts becomes its child when it is left alone, in whatever
session, so the keeper finds and ends it. When our process closes the pipe, or is killed, the
keeper ends all of it, removes the agent's folder, and ends.
"""

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from backcast.engine.workflow.dispatch.removal import remove
from backcast.engine.workflow.sandbox import kernel, processes

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full", "/dev/tty",
           "/dev/pts", "/dev/shm")  # fmt: skip
LISTED = 8
"Programs that are named which the agent left running."
STEP = 0.01
"Seconds between two looks at processes that are to end."
LENGTH = 8
"Bytes that tell the length of the orders."


class KeeperOrders(NamedTuple):
    """The keeper's orders: JSON on its standard input, since anybody may read arguments."""

    folder: str
    "The agent's own folder: the only one in which it may write."
    work: str
    command: list[str]
    environment: dict[str, str]
    prompt: str
    "The file that the agent reads as its standard input."
    stdout: int
    stderr: int
    report: int
    "Descriptors to write to."
    lock: int
    "Of the folder, held as long as the keeper lives."
    grace: float
    "Seconds between TERM and KILL."
    held: bool
    "Whether to keep the agent from writing elsewhere, where the system can."


def main() -> NoReturn:
    """Run an agent until it ends or is to end; then end what it started, and remove its folder.

    The argument is the folder; orders come after their length, eight bytes.
    """
    folder = sys.argv[1]
    woken = processes.wakes()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        kernel.prctl(kernel.SUBREAPER)
    body = _exactly(int.from_bytes(_exactly(LENGTH), "big"))
    # It starts while the folder is being filled, and is told when it may begin.
    if not os.read(0, 1):
        remove(folder)
        os._exit(0)
    orders = KeeperOrders(**json.loads(body))
    failing, failed = os.pipe()  # closed by the start of the program
    first = os.fork()
    if first == 0:
        os.close(failing)
        _become(orders, failed)
    os.close(failed)
    with open(failing, "rb") as reason:
        isolation, _, error = reason.read().partition(b"\n")
    for descriptor in (orders.stdout, orders.stderr):
        os.close(descriptor)
    _say(orders, {"started": not error, "error": error.decode(errors="replace"),
                  "isolation": isolation.decode()})  # fmt: skip
    code, ordered = _watched(first, woken)
    descendants = _family()
    killed = [] if ordered else sorted({_name(pid) for pid in descendants})
    remaining = _end_all(first, orders.grace)
    if code is None:
        code = _code_of_ended(first)
    _say(orders, {"code": code, "killed": killed[:LISTED], "left": remaining})
    while os.read(0, 64):  # until we are not needed any more, or were killed
        pass
    _end_all(first, 0)
    remove(folder)
    os._exit(0)


def _exactly(size: int) -> bytes:
    """Read so many bytes of the standard input; fewer at its end."""
    body = b""
    while len(body) < size and (part := os.read(0, size - len(body))):
        body += part
    return body


_ENDED: dict[int, int] = {}
"The status of each child that has ended."


def _become(orders: KeeperOrders, failed: int) -> NoReturn:
    """Become the agent."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE,
                       signal.SIGCHLD):  # fmt: skip
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(orders.prompt or os.devnull, os.O_RDONLY), 0)
        os.dup2(orders.stdout, 1)
        os.dup2(orders.stderr, 2)
        os.chdir(orders.work)
        held = "nobody"
        if orders.held:
            with suppress(OSError):
                kernel.prctl(kernel.NO_NEW_PRIVILEGES)
                # Where folders of agents lie in memory, one would reach those of others.
                devices = [path for path in DEVICES if not orders.folder.startswith(f"{path}/")]
                kernel.landlock(["/"], [orders.folder, *devices])
                held = "landlock"
        os.write(failed, held.encode() + b"\n")
        for descriptor in (orders.stdout, orders.stderr, orders.report, orders.lock):
            os.set_inheritable(descriptor, False)
        os.execve(orders.command[0], orders.command, orders.environment)
    except OSError as error:
        os.write(failed, f"{orders.command[0]}: {error.strerror}".encode())
    os._exit(127)


def _say(orders: KeeperOrders, news: dict[str, object]) -> None:
    with suppress(OSError):
        os.write(orders.report, json.dumps(news).encode() + b"\n")


def _watched(first: int, woken: int) -> tuple[int | None, bool]:
    """Wait for the agent to end, or for an order to end it; return its code, and whether ordered.

    An order is a byte, or the end of the pipe.
    """
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, 64)
            for pid, status in processes.ended():
                _ENDED[pid] = status
            if first in _ENDED:
                return os.waitstatus_to_exitcode(_ENDED[first]), False
        if 0 in ready:
            os.read(0, 1)
            return None, True


def _end_all(first: int, grace: float) -> int:
    """End all descendants, politely at first, and return how many there are all the same."""
    deadline = time.monotonic() + grace
    number = signal.SIGTERM
    while family := _family():
        if time.monotonic() >= deadline:
            if number == signal.SIGKILL:
                return len(family)
            number, deadline = signal.SIGKILL, time.monotonic() + processes.LINGERING
        _signal(first, family, number)
        polite = min(deadline, time.monotonic() + (0.5 if number == signal.SIGTERM else STEP))
        while _family() and time.monotonic() < polite:
            time.sleep(STEP)
    return 0


def _family() -> list[int]:
    """Return all descendants: none without a child, as each orphan becomes one of this process."""
    _ENDED.update(processes.ended())
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return processes.descendants(os.getpid())


def _signal(first: int, family: list[int], number: int) -> None:
    for pid in family:
        with suppress(OSError):
            os.kill(pid, number)
    if first in family:
        with suppress(OSError):
            os.killpg(first, number)


def _code_of_ended(first: int) -> int | None:
    return os.waitstatus_to_exitcode(_ENDED[first]) if first in _ENDED else None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"
