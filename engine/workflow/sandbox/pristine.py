"""The second code inside the sandbox: it tells what was changed of what runs the tests.

Before any foreign code is read it notes the functions that run tests, and the ones that tests
compare values by; later it compares. It shares its names with `witness.py`, which is passed too.
"""

import ast
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

LISTED = 20
"Changes that are told."
RUNNERS = (
    "_pytest.runner", "_pytest.python", "_pytest.reports", "_pytest.unittest", "_pytest.skipping",
    "_pytest.outcomes", "_pytest.raises", "_pytest.recwarn", "_pytest.nodes", 
    "_pytest.python_api", "_pytest.subtests",
    "_pytest.assertion", "_pytest.assertion.rewrite", "_pytest.assertion.util",
    "pytest", "pluggy._hooks", "pluggy._callers",
    "pluggy._result", "unittest.case",
)  # fmt: skip
"Modules that run tests and compare values for them."
FREE = frozenset({"print", "input", "open", "breakpoint", "help", "exit", "quit", "_",
                  "copyright", "credits", "license", "__import__", "__build_class__"})  # fmt: skip
"Built-in names that decide no test."
NAME = "<backcast>"
"The file name of the codes that the sandbox passes."
STANDARD = frozenset({"__name__", "__doc__", "__package__", "__loader__", "__spec__",
                      "__build_class__", "__import__", "__debug__"})  # fmt: skip
"Names that every module has."
SETTLED = (("sys", "platform"), ("sys", "version_info"), ("sys", "implementation"), ("os", "name"))
"Values by which tests choose whether they run."
Send = Callable[[object], None]


class RunnerWatch:
    """A comparison of what runs the tests with what it was at first."""

    def __init__(self, folder: str, given: Collection[str], imports: Sequence[str], send: Send):
        """`given` are the task's own files in `folder`; `imports` what they import."""
        self.folder, self.send, self.imports = folder, send, imports
        self.given = {os.path.normpath(f"{folder}/{path}") for path in given}
        self.codes: dict[int, types.CodeType] = {}
        "The codes of the task's own text, by identity."
        self.trees: dict[str, ast.Module] = {}
        # Four lists, not tuples: so many new containers would wake the garbage collector.
        self.pristine: tuple[list[Any], ...] = ([], [], [], [])
        self.names: list[tuple[Any, frozenset[str]]] = []
        "The names in each module and class of the tests."
        self.told: set[str] = set()

    def take_texts(self) -> None:
        """Compile the task's files as they are now, so that no later change of them counts."""
        from _pytest.assertion import rewrite

        taken = {}
        for path in sorted(self.given):
            try:
                with open(path, "rb") as file:
                    source = file.read()
                tree = self.trees[path] = ast.parse(source, filename=path)
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

    def maker(self, function: Any) -> str:
        """Return who defines a function, or what it wraps: text, library, or nobody known."""
        file = NAME
        for _ in range(20):
            function = getattr(function, "__func__", function)
            if id(getattr(function, "__code__", None)) in self.codes:
                return "text"
            file = _file_of(function)
            drawn = getattr(getattr(function, "hypothesis", None), "inner_test", None)
            function = drawn or getattr(function, "__wrapped__", getattr(function, "func", None))
            if function is None:
                break
        return "" if self.inside(file) or file == NAME else "library"

    def note(self) -> None:
        """Note what runs the tests, before any foreign code is read."""
        for name in self.imports:
            try:
                __import__(name)
            except Exception:
                continue  # the tests will tell
        for name in dict.fromkeys((*RUNNERS, *self.imports)):
            if (module := sys.modules.get(name)) is not None:
                self.keep_parts(module)
                self.keep(sys.modules, name, module, None)
        builtins = sys.modules["builtins"]
        self.keep(sys.modules, "builtins", builtins, None)
        self.keep_parts(builtins, FREE)
        for owner, name in SETTLED:
            module = sys.modules[owner]
            self.keep(module, name, vars(module)[name], None)

    def keep_parts(self, module: Any, free: Collection[str] = ()) -> None:
        """Keep each function and class of a module, without the names in `free`."""
        owners, names, values, codes = self.pristine
        for owner, name, value, code in _parts(module):
            if name not in free:
                owners.append(owner)
                names.append(name)
                values.append(value)
                codes.append(code)

    def keep(self, *part: Any) -> None:
        """Keep owner, name, value and code of what must not change."""
        for held, value in zip(self.pristine, part, strict=True):
            held.append(value)

    def note_tests(self, modules: Collection[Any]) -> None:
        """Note the modules of the tests, and tell what they hold that is not of their text."""
        known = {
            name: value
            for owner, name, value, _ in zip(*self.pristine, strict=True)
            if owner is sys.modules
        }
        for module in modules:
            held = vars(module)
            tree = self.trees.get(str(held.get("__file__")))
            if tree is None:
                continue
            for name, value in _imported(tree, known):
                if held.get(name, value) is not value:
                    self.tell(module, name, held[name])
            builtins = sys.modules["builtins"]
            if held.get("__builtins__") is not vars(builtins):
                self.tell(module, "__builtins__", None)
            for name in (held.keys() & vars(builtins).keys()) - STANDARD - _bound(tree):
                self.tell(module, name, held[name])
            self.keep_parts(module)
            for name, value in held.items():
                if isinstance(value, types.ModuleType):
                    self.keep(module, name, value, None)
            classes = [value for value in held.values() if isinstance(value, type)]
            own = [value for value in classes if value.__module__ == module.__name__]
            self.names += [(owner, frozenset(vars(owner))) for owner in (module, *own)]

    def compare(self) -> None:
        """Tell what has been changed since."""
        for owner, name, value, code in zip(*self.pristine, strict=True):
            held = owner if isinstance(owner, dict) else vars(owner)
            found = held.get(name)
            same = found is value and (not code or getattr(value, "__code__", None) is code)
            if not same and not self._completes(owner, name, found):
                self.tell(owner, name, found)
        for owner, names in self.names:
            held = vars(owner)
            for name in held.keys() - names:
                if callable(held[name]) and not self._completes(owner, name, held[name]):
                    self.tell(owner, name, held[name])
        for kind in ("trace", "profile"):
            function = getattr(sys, f"get{kind}")()
            if function is not None and self.defined(function):
                self.tell(sys, f"set{kind}", function)

    def _completes(self, owner: Any, name: str, value: Any) -> bool:
        """Return whether a library completes a class when it is first used, such as a protocol."""
        special = isinstance(owner, type) and name[:2] == "__" and owner.__module__ not in RUNNERS
        return special and not self.defined(value)

    def tell(self, owner: Any, name: str, value: Any) -> None:
        """Tell of one change, once."""
        label = f"{_name(owner)}{name}"
        if label not in self.told and len(self.told) < LISTED:
            self.told.add(label)
            file = _file(owner)
            of = self.relative(file) if file in self.given else ""
            self.send({"changed": label, "at": self.defined(value), "of": of})

    def defined(self, value: Any) -> list[Any]:
        """Return path and line of a function or class among the files; else an empty list."""
        value = getattr(value, "__func__", value)
        if isinstance(value, type):
            file = _file(value)
            return [self.relative(file), 0] if self.inside(file) else []
        code = getattr(value, "__code__", None)
        if not isinstance(code, types.CodeType):
            code = getattr(vars(type(value)).get("__call__"), "__code__", None)
        if isinstance(code, types.CodeType) and self.inside(code.co_filename):
            return [self.relative(code.co_filename), code.co_firstlineno]
        return []

    def inside(self, file: str) -> bool:
        """Return whether a file is neither a library's nor this one."""
        return file != NAME and (
            file.startswith(f"{self.folder}/") or not file.startswith(("/", "<frozen "))
        )

    def relative(self, path: str) -> str:
        """Return a path as the task names it."""
        return path.removeprefix(f"{self.folder}/")


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


def _file(owner: Any) -> str:
    """Return the file of a module, or of the one that defines a class."""
    module = sys.modules.get(owner.__module__) if isinstance(owner, type) else owner
    return str(getattr(module, "__file__", None) or "/")


def _file_of(function: Any) -> str:
    """Return the file of a function's code; this one's where there is no code."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code.co_filename if isinstance(code, types.CodeType) else NAME


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that a text binds anywhere."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
    return found


def _imported(tree: ast.Module, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names that a text imports from known modules, and their values."""
    bound = dict[str, Any]()
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                bound[alias.asname or name] = known.get(name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = known.get(node.module or "")
            for alias in node.names:
                held = vars(module).get(alias.name) if module is not None else None
                bound[alias.asname or alias.name] = held
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.pop(node.name, None)
        else:
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    bound.pop(part.id, None)
    return ((name, value) for name, value in bound.items() if value is not None)
