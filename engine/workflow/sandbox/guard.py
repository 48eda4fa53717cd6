"""The first code inside the sandbox: it names what foreign code tries, then runs its tests.

It refuses the network and writes outside in the interpreter it is in, and tells the sandbox so.
That makes reports readable, and is a fallback where the machine has nothing better. It is no wall:
it shares an interpreter with the code that it watches, and does not see other programs. What it
tells may be made up by that code; what holds is in `isolation.py`.

It is handed over as text, for what is around it is not to be read from inside.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

TELLINGS = 64
"How many different things are told before the rest is not."
PATHS = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1,
         "os.chown": 1, "os.utime": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2}  # fmt: skip
"Events that change the files that their first arguments name."
SOCKETS = {"socket.connect": "connect", "socket.bind": "bind", "socket.sendto": "send to",
           "socket.sendmsg": "send to"}  # fmt: skip
INTERNET = (2, 10)
"Address families, as Linux counts."
LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
HARMLESS = ("/dev/null", "/dev/tty", "/dev/stdout", "/dev/stderr")


class Guard:
    """An audit hook, and a descriptor to tell on what it refused."""

    def __init__(self, box: str, report: int, held: dict[str, str]) -> None:
        self.box, self.report = os.path.realpath(box), report
        self.alone = "guard" in held.values()
        "Whether other programs, which are not watched, would not be held."
        self.socketless = held["network"] == "seccomp"
        self.told: set[str] = set()

    def tell(self, what: str) -> None:
        """Send one line, once each."""
        line = " ".join(what.split())[:200]
        if line not in self.told and len(self.told) < TELLINGS:
            self.told.add(line)
            os.write(self.report, json.dumps(line).encode() + b"\n")

    def refuse(self, what: str) -> NoReturn:
        self.tell(what)
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
            self.tell("network: socket")
        elif self.alone and event in PROGRAMS:
            self.refuse(f"program: {arguments[0]}")

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        """Refuse a file that is opened to be written outside, or that shows another process."""
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
        """Refuse a change outside. Below an open directory only the kernel knows where that is."""
        if event == "os.symlink":
            self.written(arguments[1], follow=False)
            return
        count = PATHS[event]
        if any(isinstance(one, int) and one >= 0 for one in arguments[-count:]) and (
            event not in ("os.truncate", "os.chmod", "os.chown", "os.utime")
        ):
            return
        for path in arguments[:count]:
            if not isinstance(path, int):
                self.written(path, follow=event in ("os.truncate", "os.chmod", "os.chown"))

    def written(self, path: Any, follow: bool = True) -> None:
        """Refuse a path that does not lead into the box."""
        given = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(given)
        real = os.path.realpath(given) if follow else f"{os.path.realpath(folder)}/{name}"
        if not f"{real}/".startswith(f"{self.box}/") and real not in HARMLESS:
            self.refuse(f"write outside: {real}")


def _is_number(host: Any) -> bool:
    """Whether a host is an address already, so that looking it up asks nobody."""
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    return host is None or ":" in text or text.replace(".", "").isdecimal()


def _address(address: Any) -> str:
    parts = address if isinstance(address, tuple) else (address,)
    return ":".join(str(os.fsdecode(p) if isinstance(p, bytes) else p) for p in parts[:2])


def _naming(guard: Guard, module: Any, name: str) -> None:
    """Tell when the kernel refuses another process or thread."""
    real: Callable[..., Any] = getattr(module, name)

    def started(*arguments: Any, **options: Any) -> Any:
        try:
            return real(*arguments, **options)
        except (BlockingIOError, RuntimeError) as error:
            if isinstance(error, BlockingIOError) or "can't start" in str(error):
                guard.tell("processes")
            raise

    setattr(module, name, started)


class Progress:
    """A plugin of pytest that counts the tests which have not come to their end."""

    def __init__(self) -> None:
        self.own, self.unfinished = os.getpid(), 0

    def pytest_collection_finish(self, session: Any) -> None:
        self.unfinished = len(session.items)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.unfinished -= report.when == "teardown"

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End a copy that a test has made of this process: the results are not its to write."""
        if os.getpid() != self.own:
            os._exit(exitstatus)


def _measured(box: str, run: Callable[[], int]) -> int:
    """Run, and write down which share of the lines of each module was run."""
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


def main(
    box: str, report: int, coverage: bool, arguments: list[str], held: dict[str, str]
) -> NoReturn:
    """Run pytest under watch. Its exit code is told on the report, then this process ends."""
    import _posixsubprocess
    import _thread
    import subprocess
    import threading

    import pytest

    os.set_inheritable(report, False)
    progress, guard = Progress(), Guard(box, report, held)
    os.write(report, b'{"started": true}\n')
    # It comes before the plugin that writes the results, which is what "tryfirst" asks for.
    pytest.hookimpl(tryfirst=True)(Progress.pytest_sessionfinish)
    for module, name in ((os, "fork"), (_posixsubprocess, "fork_exec"), (subprocess, "_fork_exec"),
                         (_thread, "start_new_thread"), (threading, "_start_new_thread"),
                         (threading, "_start_joinable_thread")):  # fmt: skip
        if hasattr(module, name):
            _naming(guard, module, name)
    sys.addaudithook(guard)

    def run() -> int:
        return int(pytest.main(arguments, plugins=[progress]))

    code = _measured(box, run) if coverage else run()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpid() == progress.own:
        told = {"ended": code, "unfinished": progress.unfinished}
        os.write(report, json.dumps(told).encode() + b"\n")
    os._exit(code)


if __name__ == "__main__":
    told, holding, descriptor = sys.argv[1:]
    sys.argv[1:] = []
    main(**json.loads(told), held=json.loads(holding), report=int(descriptor))
