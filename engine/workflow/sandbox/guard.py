"""The first code inside the sandbox: it reports what foreign code attempts, and runs its tests.

Inside its own interpreter it refuses the network and writes outside the box, and reports both. This
makes reports readable, and is a fallback where the machine has nothing better. It is no wall: it
shares an interpreter with the code that it watches, which can fake its reports, and it does not see
other programs. The walls are in `isolation.py`.

The sandbox passes it as code, since code inside cannot read the files around this one; beside it
stand `pristine.py` and `witness.py`, which see each test run.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

REPORTS = 64
"Different attempts that are reported; all others are not."
PATHS = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1,
         "os.chown": 1, "os.utime": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2}  # fmt: skip
"Audit events that change files, and the number of leading arguments that name them."
SOCKETS = {"socket.connect": "connect", "socket.bind": "bind", "socket.sendto": "send to",
           "socket.sendmsg": "send to"}  # fmt: skip
INTERNET = (2, 10)
"Address families of IPv4 and IPv6 on Linux."
LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
HARMLESS = ("/dev/null", "/dev/tty", "/dev/stdout", "/dev/stderr")


class Guard:
    """An audit hook that reports each refusal on a descriptor."""

    def __init__(self, box: str, report: int, held: dict[str, str]) -> None:
        self.box, self.report = os.path.realpath(box), report
        self.alone = "guard" in held.values()
        "Whether nothing but this hook holds the run, so that other programs would be free."
        self.socketless = held["network"] == "seccomp"
        self.reported: set[str] = set()

    def report_once(self, what: str) -> None:
        """Report an attempt, unless it was reported before."""
        line = " ".join(what.split())[:200]
        if line not in self.reported and len(self.reported) < REPORTS:
            self.reported.add(line)
            os.write(self.report, json.dumps(line).encode() + b"\n")

    def refuse(self, what: str) -> NoReturn:
        self.report_once(what)
        raise PermissionError(f"not allowed here: {what}")

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self.opened(*arguments)
        elif event in PATHS:
            self.changed(event, arguments)
        elif event in SOCKETS:
            self.refuse(f"network: {SOCKETS[event]} {_address(arguments[1])}")
        elif event in LOOK_UPS and not _is_number(arguments[0]):
            self.refuse(f"network: look up {_address(arguments[:1])}")
        elif event == "socket.__new__" and self.socketless and arguments[1] in INTERNET:
            self.report_once("network: socket")
        elif self.alone and event in PROGRAMS:
            self.refuse(f"program: {arguments[0]}")

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        """Refuse a file that is opened for writing outside, or that shows another process."""
        if isinstance(path, int) or path is None:
            return
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        if isinstance(flags, int) and flags & writes:
            self.written(path)
        elif os.fsdecode(path).startswith("/proc/"):
            owner = os.fsdecode(path).split("/")[2]
            if owner.isdecimal() and int(owner) != os.getpid():
                self.refuse(f"read outside: {os.fsdecode(path)}")

    def changed(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse a change outside the box.

        Only the kernel can resolve a path below an open directory; such paths pass.
        """
        if event == "os.symlink":
            self.written(arguments[1], follow=False)
            return
        count = PATHS[event]
        if any(isinstance(fd, int) and fd >= 0 for fd in arguments[-count:]) and (
            event not in ("os.truncate", "os.chmod", "os.chown", "os.utime")
        ):
            return
        for path in arguments[:count]:
            if not isinstance(path, int):
                self.written(path, follow=event in ("os.truncate", "os.chmod", "os.chown"))

    def written(self, path: Any, follow: bool = True) -> None:
        """Refuse a path that leads out of the box."""
        given = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(given)
        real = os.path.realpath(given) if follow else f"{os.path.realpath(folder)}/{name}"
        if not f"{real}/".startswith(f"{self.box}/") and real not in HARMLESS:
            self.refuse(f"write outside: {real}")


def _is_number(host: Any) -> bool:
    """Return whether a host is an address already, so that its look-up needs no network."""
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    return host is None or ":" in text or text.replace(".", "").isdecimal()


def _address(address: Any) -> str:
    parts = address if isinstance(address, tuple) else (address,)
    return ":".join(str(os.fsdecode(p) if isinstance(p, bytes) else p) for p in parts[:2])


def _report_refusals(guard: Guard, module: Any, name: str) -> None:
    """Wrap a function to report when the kernel refuses another process or thread."""
    real: Callable[..., Any] = getattr(module, name)

    def started(*arguments: Any, **options: Any) -> Any:
        try:
            return real(*arguments, **options)
        except (BlockingIOError, RuntimeError) as error:
            if isinstance(error, BlockingIOError) or "can't start" in str(error):
                guard.report_once("processes")
            raise

    setattr(module, name, started)


class Progress:
    """A plugin of pytest that counts unfinished tests."""

    def __init__(self) -> None:
        self.own, self.unfinished = os.getpid(), 0

    def pytest_collection_finish(self, session: Any) -> None:
        self.unfinished = len(session.items)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.unfinished -= report.when == "teardown"

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End a copy of this process that a test forked: it must not write the results."""
        if os.getpid() != self.own:
            os._exit(exitstatus)


def _measured(box: str, run: Callable[[], int]) -> int:
    """Call `run`, and write each module's share of executed lines to a file."""
    try:
        from coverage import Coverage
    except ImportError:
        return run()
    folder = f"{box}/files"
    watch = Coverage(data_file=None, config_file=False, include=[f"{folder}/*"])
    watch.start()
    code = run()
    watch.stop()
    shares = {}
    for path in watch.get_data().measured_files():
        _, lines, _, missing, _ = watch.analysis2(path)
        shares[os.path.relpath(path, folder)] = 1 - len(missing) / len(lines) if lines else 1.0
    with open(f"{box}/coverage.json", "w") as out:
        json.dump(shares, out)
    return code


def _digest(path: str) -> str:
    """Return the digest of the results as they were written."""
    from _blake2 import blake2b

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return str(blake2b(file.read() or b"").hexdigest())
    except OSError:
        return ""


def main(
    box: str, report: int, coverage: bool, arguments: list[str], given: list[str],
    imports: list[str], held: dict[str, str], witnessing: dict[str, Any], late: float = 0.0,
) -> NoReturn:  # fmt: skip
    """Run pytest under the guard, report its exit code, and end this process.

    After `late` seconds, shortly before the run is stopped, it prints where the code is.
    """
    import _posixsubprocess
    import _thread
    import faulthandler
    import subprocess
    import threading

    import pytest

    os.set_inheritable(report, False)
    progress, guard, secret = Progress(), Guard(box, report, held), os.urandom(16).hex()
    started = {"started": True, "secret": secret}
    os.write(report, json.dumps(started).encode() + b"\n")
    send, exit_now = witnessing["sender"](report, secret), os._exit
    witness = witnessing["prepared"](f"{guard.box}/files", given, imports, send)
    # "tryfirst": before the plugin that writes the results.
    pytest.hookimpl(tryfirst=True)(Progress.pytest_sessionfinish)
    for module, name in ((os, "fork"), (_posixsubprocess, "fork_exec"), (subprocess, "_fork_exec"),
                         (_thread, "start_new_thread"), (threading, "_start_new_thread"),
                         (threading, "_start_joinable_thread")):  # fmt: skip
        if hasattr(module, name):
            _report_refusals(guard, module, name)
    sys.addaudithook(guard)
    if late > 0:
        with suppress(RuntimeError, OSError):  # no thread may be free for that
            faulthandler.dump_traceback_later(late, file=2)

    def run() -> int:
        return int(pytest.main(arguments, plugins=[witness, progress]))

    code = _measured(box, run) if coverage else run()
    witness.watch.compare()
    witness.flush()
    results = _digest(f"{box}/junit.xml")
    sys.stdout.flush()
    sys.stderr.flush()
    send({"ended": code, "unfinished": progress.unfinished, "results": results})
    exit_now(code)


if __name__ == "__main__":
    orders, holding, descriptor = sys.argv[1:]
    sys.argv[1:] = []
    main(
        **json.loads(orders),
        held=json.loads(holding),
        report=int(descriptor),
        witnessing=globals()["witnessing"],
    )
