"""The third code inside the sandbox: it sees each test run, and tells what it saw.

It takes its own notes on the calls of the tests, on who left out a test, and on changes of what
runs the tests. The sandbox compares these notes with the tests' text and with pytest's results; it
alone judges. The notes are sent under a secret that was agreed before any foreign code ran. It is
no wall: code that searches the interpreter's memory for this plugin can forge its notes.

The sandbox passes it as code, since code inside cannot read the files around this one; it shares
its names with `pristine.py`.
"""

import functools
import inspect
import os
import sys
import types
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backcast.engine.workflow.sandbox.pristine import LISTED, NAME, RunnerWatch, _file_of

BATCH = 500
"Passed tests that are told at a time."
Send = Callable[[object], None]


def sender(descriptor: int, secret: str) -> Send:
    """Return a function that sends notes; copies of this process send nothing."""
    write, text, getpid, own = os.write, ascii, os.getpid, os.getpid()

    def send(entry: object) -> None:
        if getpid() == own:
            data = f"{secret} {text(_plain(entry))}\n".encode()
            while data:
                data = data[write(descriptor, data) :]

    return send


class Witness:
    """A plugin of pytest that notes what becomes of each test."""

    def __init__(self, watch: "RunnerWatch", send: Send) -> None:
        self.watch, self.send = watch, send
        self.case: dict[str, Any] = {}
        self.untold: list[object] = []
        self.path: object = None
        "The file of the tests that are running."
        self.paths: dict[object, str] = {}

    # What runs the tests

    def pytest_load_initial_conftests(self) -> None:
        self.watch.note()

    def pytest_plugin_registered(self, plugin: Any, plugin_name: str) -> None:
        """Tell of a plugin that is neither pytest's nor a library's."""
        held = vars(plugin if isinstance(plugin, types.ModuleType) else type(plugin))
        hooks = sorted(name for name in held if name.startswith("pytest_"))
        odd = [name for name in hooks if self.watch.inside(_file_of(held[name]))]
        file = str(getattr(plugin, "__file__", ""))
        if odd or file in self.watch.given or (hooks and file and self.watch.inside(file)):
            at = next((self.watch.defined(held[name]) for name in odd), [])
            path = self.watch.relative(file) if file in self.watch.given else ""
            self.send({"plugin": str(plugin_name), "of": path, "hooks": hooks, "at": at})

    def pytest_collection_finish(self, session: Any) -> None:
        """Note the modules of the tests, whose import has run foreign code."""
        held = {
            id(module): module for module in (getattr(i, "module", None) for i in session.items)
        }
        held |= {id(module): module for module in list(sys.modules.values())}
        watched = self.watch.given
        self.watch.note_tests([m for m in held.values() if _source(m) in watched])
        self.watch.compare()
        self.path = session.items[0].path if session.items else None

    # What becomes of each test

    def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, Any]:
        """Tell which files were left out as a whole."""
        report = yield
        call = getattr(report, "call", None)
        if call is not None and call.excinfo is not None and report.outcome == "skipped":
            path = self._path_of(collector)
            skip = ["skipped", *self._origin(call.excinfo.value), _said(call.excinfo.value)]
            self.send({"cases": [[path, "", path, "skipped", "", [skip]]]})
        return report

    def pytest_runtest_call(self, item: Any) -> Generator[None, Any, Any]:
        """Note that the test's function is called and returns."""
        real = getattr(item, "obj", None)
        if real is None or not _is_sync(real):
            self.case["returned"] = True  # cannot be seen from here
            return (yield)
        case = self.case
        case["maker"] = case["maker"] and self.watch.maker(real)

        @functools.wraps(real)
        def seen(*arguments: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            result = real(*arguments, **options)
            case["returned"] = True
            return result

        item.obj = seen
        try:
            return (yield)
        finally:
            item.obj = real

    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, Any]:
        """Note how a phase of a test ended, before any other plugin sees it."""
        if call.when == "setup":
            if item.path != self.path:
                self.watch.compare()
                self.path = item.path
            self.case.clear()
            self.case.update(
                state="passed",
                skips=[],
                returned=False,
                maker=self.watch.maker(getattr(item, "obj", None)),
            )
        caught = getattr(item, "_excinfo", None)  # of a unittest.TestCase, whose runner takes it
        raised = caught[0] if caught else call.excinfo
        error = raised.value if raised is not None else None
        report = yield
        state, case = "passed", self.case
        if report.outcome == "skipped":
            state = "xfailed" if hasattr(report, "wasxfail") else "skipped"
            origin = self._origin(error) if _leaves(error) else ["", 0, False]
            skip = [state, *origin, _said(getattr(report, "wasxfail", "") or error)]
            case["skips"] = [*case["skips"], skip][:LISTED]
        elif report.outcome != "passed" or error is not None:
            state = "failed"
        order = ("passed", "xfailed", "skipped", "failed")
        case["state"] = max(state, case["state"], key=order.index)
        if call.when == "teardown":
            self._tell(item)
        return report

    def _tell(self, item: Any) -> None:
        case = self.case
        state = "unrun" if case["state"] == "passed" and not case["returned"] else case["state"]
        path, name = self._path_of(item), getattr(item, "originalname", None)
        class_node = _class_node()
        classes = [str(node.name) for node in item.listchain() if isinstance(node, class_node)]
        qualified = ".".join([*classes, name or item.name])
        node = item.nodeid if item.nodeid.startswith(path) else f"{path}{item.nodeid}"
        entry = [path, qualified, node, state, case["maker"], case["skips"]]
        self.untold.append(entry)
        if state != "passed" or len(self.untold) >= BATCH:
            self.flush()

    def _path_of(self, node: Any) -> str:
        path = self.paths.get(node.path)
        if path is None:
            path = self.paths[node.path] = os.path.relpath(node.path, self.watch.folder)
        return path

    def flush(self) -> None:
        """Tell of the tests that were not told of yet."""
        if self.untold:
            self.send({"cases": self.untold})
            self.untold = []

    def _origin(self, error: BaseException | None) -> list[Any]:
        """Return path and line where somebody left out a test, and whether through a library.

        The path is empty where only pytest itself can be seen.
        """
        places, outside = [], False
        trace = error.__traceback__ if error is not None else None
        while trace is not None:
            places.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
            trace = trace.tb_next
        for file, line in reversed(places):
            if self.watch.inside(file):
                return [self.watch.relative(file), line, outside]
            outside = outside or not _is_runner(file)
        context = error.__context__ if error is not None else None
        return self._origin(context) if context is not None else ["", 0, outside]


def prepared(folder: str, given: Sequence[str], imports: Sequence[str], send: Send) -> Witness:
    """Return a witness whose hooks come before all others; see `RunnerWatch`."""
    import pytest

    watch = RunnerWatch(folder, given, imports, send)
    watch.take_texts()

    for name in ("pytest_make_collect_report", "pytest_runtest_call", "pytest_runtest_makereport"):
        pytest.hookimpl(wrapper=True, tryfirst=True)(getattr(Witness, name))
    pytest.hookimpl(tryfirst=True)(Witness.pytest_load_initial_conftests)
    return Witness(watch, send)


def _said(reason: object) -> str:
    """Return the beginning of a reason; empty where it cannot be told."""
    try:
        return "".join((str(reason),))[:500] if reason is not None else ""
    except Exception:
        return ""


def _plain(value: Any) -> Any:
    """Return a note of built-in types only: others could write something else than they are."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return "".join((value,)) if isinstance(value, str) else value


def _source(module: Any) -> str:
    return str(getattr(module, "__dict__", {}).get("__file__"))


def _leaves(error: BaseException | None) -> bool:
    """Return whether an exception itself leaves out a test, or says that it may fail."""
    from _pytest.outcomes import OutcomeException

    unittest = sys.modules.get("unittest")
    return isinstance(error, OutcomeException) or (
        unittest is not None and isinstance(error, unittest.SkipTest)
    )


def _is_runner(file: str) -> bool:
    return "/_pytest/" in file or "/unittest/" in file or "/pluggy/" in file or file == NAME


def _is_sync(function: Any) -> bool:
    return not (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or getattr(function, "_is_coroutine", False)
    )


@functools.cache
def _class_node() -> Any:
    import pytest

    return pytest.Class
