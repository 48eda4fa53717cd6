"""The second code inside the sandbox: it sees each test run, and tells what it saw.

It takes its own notes on the calls of the tests, on who left out a test, and on changes of what
runs the tests. The sandbox compares these notes with the tests' text and with pytest's results; it
alone judges. The notes are sent under a secret that was agreed before any foreign code ran. It is
no wall: code that searches the interpreter's memory for this plugin can forge its notes.

The sandbox passes it as code, since code inside cannot read the files around this one.
"""

import functools
import inspect
import json
import os
import sys
import types
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any

BATCH = 500
"Passed tests that are told at a time."
LISTED = 20
"Changes that are told."
RUNNERS = (
    "_pytest.runner", "_pytest.python", "_pytest.reports", "_pytest.unittest", "_pytest.skipping",
    "_pytest.outcomes", "_pytest.raises", "_pytest.recwarn", "_pytest.nodes", "_pytest.main",
    "_pytest.junitxml", "_pytest.python_api", "_pytest.fixtures", "_pytest.subtests",
    "_pytest.assertion", "_pytest.assertion.rewrite", "_pytest.assertion.util",
    "_pytest.monkeypatch", "pytest", "pluggy._hooks", "pluggy._callers",
    "pluggy._manager", "pluggy._result", "unittest.case",
)  # fmt: skip
"Modules that run tests and compare values for them."
FREE = frozenset({"print", "input", "open", "breakpoint", "help", "exit", "quit", "_",
                  "copyright", "credits", "license", "__import__", "__build_class__"})  # fmt: skip
"Built-in names that decide no test."
NAME = "<backcast>"
"The file name of this code and of the guard's."
Send = Callable[[object], None]


def sender(descriptor: int, secret: str) -> Send:
    """Return a function that sends notes; copies of this process send nothing."""
    write, dumps, getpid, own = os.write, json.dumps, os.getpid, os.getpid()

    def send(entry: object) -> None:
        if getpid() == own:
            data = f"{secret} {dumps(entry)}\n".encode()
            while data:
                data = data[write(descriptor, data) :]

    return send


class Witness:
    """A plugin of pytest that notes what becomes of each test."""

    def __init__(self, folder: str, given: Collection[str], imports: Sequence[str], send: Send):
        """`given` are the task's own files in `folder`; `imports` what they import."""
        self.folder, self.send = folder, send
        self.given = {os.path.normpath(f"{folder}/{path}") for path in given}
        self.imports = imports
        self.codes: dict[int, types.CodeType] = {}
        self.case: dict[str, Any] = {}
        self.passed: list[object] = []
        self.pristine: list[tuple[Any, str, Any, Any]] = []
        self.told: set[str] = set()
        self.path: object = None
        "The file of the tests that are running."
        self.paths: dict[object, str] = {}

    def take_texts(self) -> None:
        """Compile the task's files as they are now, so that no later change of them counts."""
        import ast
        import importlib.util

        from _pytest.assertion import rewrite

        taken = {}
        for path in sorted(self.given):
            try:
                with open(path, "rb") as file:
                    source = file.read()
                tree = ast.parse(source, filename=path)
                rewrite.rewrite_asserts(tree, source, path, None)
                code = compile(tree, path, "exec", dont_inherit=True)
            except (OSError, SyntaxError, ValueError, RecursionError):
                continue  # pytest will tell
            taken[path] = importlib.util.source_hash(source), code
            self._note_codes(code)
        read = getattr(rewrite, "_rewrite_test", None)
        if read is not None:  # else the files are compared after the run
            rewrite._rewrite_test = lambda fn, config: taken.get(str(fn)) or read(fn, config)

    def _note_codes(self, code: types.CodeType) -> None:
        self.codes[id(code)] = code
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                self._note_codes(inner)

    # What runs the tests

    def pytest_load_initial_conftests(self) -> None:
        """Note what runs the tests before any foreign code is read."""
        for name in self.imports:
            try:
                __import__(name)
            except Exception:
                continue  # the tests will tell
        for name in (*RUNNERS, *self.imports):
            if (module := sys.modules.get(name)) is not None:
                self.pristine += _parts(module)
                self.pristine.append((sys.modules, name, module, None))
        builtins = sys.modules["builtins"]
        self.pristine += [part for part in _parts(builtins) if part[1] not in FREE]

    def compare(self) -> None:
        """Tell what has been changed of what runs the tests."""
        for owner, name, value, code in self.pristine:
            held = owner if isinstance(owner, dict) else vars(owner)
            found = held.get(name)
            if found is value and (code is None or getattr(value, "__code__", None) is code):
                continue
            label = f"{_name(owner)}{name}"
            if label not in self.told and len(self.told) < LISTED:
                self.told.add(label)
                self.send({"changed": label, "at": self._defined(found)})
        for kind in ("trace", "profile"):
            function = getattr(sys, f"get{kind}")()
            at = self._defined(function)
            if function is not None and at and kind not in self.told:
                self.told.add(kind)
                self.send({"changed": f"sys.set{kind}", "at": at})

    def _defined(self, value: Any) -> list[Any]:
        """Return path and line of a function or class among the files; else an empty list."""
        value = getattr(value, "__func__", value)
        if isinstance(value, type):
            file = str(getattr(sys.modules.get(value.__module__), "__file__", "/"))
            return [self._relative(file), 0] if self._inside(file) else []
        code = getattr(value, "__code__", None)
        if not isinstance(code, types.CodeType):
            code = getattr(vars(type(value)).get("__call__"), "__code__", None)
        if isinstance(code, types.CodeType) and self._inside(code.co_filename):
            return [self._relative(code.co_filename), code.co_firstlineno]
        return []

    def pytest_plugin_registered(self, plugin: Any, plugin_name: str) -> None:
        """Tell of a plugin that is neither pytest's nor a library's."""
        held = vars(plugin if isinstance(plugin, types.ModuleType) else type(plugin))
        hooks = sorted(name for name in held if name.startswith("pytest_"))
        odd = [name for name in hooks if self._inside(_file_of(held[name]))]
        file = str(getattr(plugin, "__file__", ""))
        if odd or file in self.given or (hooks and file and self._inside(file)):
            at = next((self._defined(held[name]) for name in odd), [])
            path = self._relative(file) if file in self.given else ""
            self.send({"plugin": str(plugin_name), "of": path, "hooks": hooks, "at": at})

    def _inside(self, file: str) -> bool:
        """Return whether a file is neither a library's nor this one."""
        return file != NAME and (
            file.startswith(f"{self.folder}/") or not file.startswith(("/", "<frozen "))
        )

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.folder}/")

    # What becomes of each test

    def pytest_collection_finish(self, session: Any) -> None:
        self.compare()
        self.path = session.items[0].path if session.items else None

    def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, Any]:
        """Tell which files were left out as a whole."""
        report = yield
        call = getattr(report, "call", None)
        if call is not None and call.excinfo is not None and report.outcome == "skipped":
            path = self._path_of(collector)
            skip = ["skipped", *self._origin(call.excinfo.value), str(call.excinfo.value)[:500]]
            self.send({"cases": [[path, "", path, "skipped", False, [skip]]]})
        return report

    def pytest_runtest_call(self, item: Any) -> Generator[None, Any, Any]:
        """Note that the test's function is called and returns."""
        real = getattr(item, "obj", None)
        if real is None or not _is_sync(real):
            self.case["returned"] = True  # cannot be seen from here
            return (yield)
        case = self.case
        case["own"] = case["own"] and self._is_own(item)

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
                self.compare()
                self.path = item.path
            self.case.clear()
            self.case.update(state="passed", skips=[], returned=False, own=self._is_own(item))
        caught = getattr(item, "_excinfo", None)  # of a unittest.TestCase, whose runner takes it
        raised = caught[0] if caught else call.excinfo
        error = raised.value if raised is not None else None
        report = yield
        state, case = "passed", self.case
        if report.outcome == "skipped":
            state = "xfailed" if hasattr(report, "wasxfail") else "skipped"
            origin = self._origin(error) if _leaves(error) else ["", 0, False]
            reason = str(getattr(report, "wasxfail", "") or error or "")
            case["skips"] = [*case["skips"], [state, *origin, reason[:500]]][:LISTED]
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
        entry = [path, qualified, node, state, case["own"], case["skips"]]
        self.passed.append(entry)
        if state != "passed" or len(self.passed) >= BATCH:
            self.flush()

    def _path_of(self, node: Any) -> str:
        path = self.paths.get(node.path)
        if path is None:
            path = self.paths[node.path] = os.path.relpath(node.path, self.folder)
        return path

    def flush(self) -> None:
        """Tell of the tests that were not told of yet."""
        if self.passed:
            self.send({"cases": self.passed})
            self.passed = []

    def _is_own(self, item: Any) -> bool:
        """Return whether the function of a test is one that the task's own text defines."""
        function = getattr(item, "obj", None)
        for _ in range(20):
            function = getattr(function, "__func__", function)
            if id(getattr(function, "__code__", None)) in self.codes:
                return True
            function = getattr(function, "__wrapped__", getattr(function, "func", None))
            if function is None:
                break
        return False

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
            if self._inside(file):
                return [self._relative(file), line, outside]
            outside = outside or not _is_runner(file)
        context = error.__context__ if error is not None else None
        return self._origin(context) if context is not None else ["", 0, outside]


def prepared(witness: Witness) -> Witness:
    """Return a witness whose hooks come before all others."""
    import pytest

    for name in ("pytest_make_collect_report", "pytest_runtest_call", "pytest_runtest_makereport"):
        pytest.hookimpl(wrapper=True, tryfirst=True)(getattr(Witness, name))
    pytest.hookimpl(tryfirst=True)(Witness.pytest_load_initial_conftests)
    witness.take_texts()
    return witness


def _parts(module: Any) -> Iterator[tuple[Any, str, Any, Any]]:
    """Yield owner, name, value and code of each function and class of a module."""
    for name, value in vars(module).items():
        if isinstance(value, type):
            yield module, name, value, None
            if value.__module__ == module.__name__:
                for inner, held in vars(value).items():
                    if callable(held) or isinstance(held, staticmethod | classmethod | property):
                        yield value, inner, held, getattr(held, "__code__", None)
        elif isinstance(value, types.FunctionType):
            yield module, name, value, value.__code__
        elif callable(value):
            yield module, name, value, None


def _name(owner: Any) -> str:
    """Return the whole name of a module or class, with a dot; empty for others."""
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}."
    return f"{owner.__name__}." if isinstance(owner, types.ModuleType) else ""


def _leaves(error: BaseException | None) -> bool:
    """Return whether an exception itself leaves out a test, or says that it may fail."""
    from _pytest.outcomes import OutcomeException

    unittest = sys.modules.get("unittest")
    return isinstance(error, OutcomeException) or (
        unittest is not None and isinstance(error, unittest.SkipTest)
    )


def _is_runner(file: str) -> bool:
    return "/_pytest/" in file or "/unittest/" in file or "/pluggy/" in file or file == NAME


def _file_of(function: Any) -> str:
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return code.co_filename if isinstance(code, types.CodeType) else "/"


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
