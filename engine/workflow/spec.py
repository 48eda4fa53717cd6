"""The specification of a task: goal, requirements, tests and limits, from a TOML file.

>>> spec = Spec(task="t", goal="g", tests=[Test(path="test_a.py", source="def test(): pass")])
>>> spec.limits.iterations, spec.checks.seconds
(5, 60)
"""

import ast
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validator

from backcast.domain.errors import InputError
from backcast.domain.problems import first_problem
from backcast.engine.workflow.module_names import check_importable
from backcast.engine.workflow.sandbox.box import check_paths, safe_path
from backcast.engine.workflow.sandbox.run import SandboxLimits

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$", max_length=100)]
Shared = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=200)]
MOST = 1_000_000
"Bytes of a specification."


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Test(_Part):
    """A test file that decides whether the task is done; the model sees it, but never writes it."""

    __test__ = False  # pytest would collect it by its name

    path: str
    source: str = ""
    "Its text; a TOML file may give `file` instead, a path relative to itself."


class SpecModule(_Part):
    """A module to write."""

    path: str
    purpose: str = ""
    "Its purpose; where every module has one, no model is asked for a plan."
    dependencies: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    "Test files that check this module, beside the tests of the whole."


class RunLimits(_Part):
    """Limits of the tries of a run."""

    iterations: Annotated[int, Field(ge=1, le=100)] = 5
    "Iterations of each module."
    repairs: Annotated[int, Field(ge=0, le=5)] = 1
    "Refused answers after which a model may answer again, within one iteration."
    looks: Annotated[int, Field(ge=0, le=10)] = 2
    "Times that a model may ask to see nodes, within one iteration."
    nodes: Annotated[int, Field(ge=1, le=50)] = 4
    "Nodes that it may ask to see at once."
    modules: Annotated[int, Field(ge=1, le=200)] = 20
    "Modules of a plan."
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    "Seconds for one answer of the model."
    silence: Annotated[float, Field(gt=0, le=86_400)] | None = None
    "Seconds for which an answer that has begun may bring nothing more; None for no such limit."
    asks: Annotated[int, Field(ge=0, le=10)] | None = None
    "Questions that it may ask before it writes, within one iteration; None for no such thing."


class Spec(_Part):
    """The specification of a task."""

    task: Name
    goal: Text
    context: Shared | None = None
    "Its subject, whose map all tasks with the same subject share; None for the task itself."
    requirements: tuple[Text, ...] = ()
    modules: tuple[SpecModule, ...] = ()
    "Modules to write; empty where the model plans them."
    tests: tuple[Test, ...]
    limits: RunLimits = RunLimits()
    checks: SandboxLimits = SandboxLimits()
    summaries: Annotated[str, StringConstraints(pattern="^(derived|model)$")] = "derived"
    "The writer of summaries of complete modules and functions: nobody, or the model."

    @validator(mode="after")
    def _consistent(self) -> "Spec":
        if not self.tests:
            raise ValueError("needed at least one test, by which one sees whether the task is done")
        paths = [*(test.path for test in self.tests), *(m.path for m in self.modules)]
        for path in paths:
            try:
                safe_path(path)
            except InputError as error:
                raise ValueError(str(error)) from None
        check_one_folder(paths)
        check_names([module.path for module in self.modules])
        for test in self.tests:
            _check_python(test)
        given = {test.path for test in self.tests}
        for module in self.modules:
            if not module.path.endswith(".py"):
                raise ValueError(f"needed Python modules (.py), found {module.path!r}")
            if odd := [test for test in module.tests if test not in given]:
                raise ValueError(f"{module.path}: needed tests among [[tests]], found {odd[0]!r}")
        ordered([(module.path, module.dependencies) for module in self.modules])
        return self

    @property
    def planned(self) -> bool:
        """Whether the specification states the whole plan."""
        return bool(self.modules) and all(module.purpose for module in self.modules)


RESERVED = ("conftest", "pytest", "_pytest", "pluggy", "iniconfig", "sitecustomize",
            "usercustomize")  # fmt: skip
"Module names by which code would control its own tests."


def _check_python(test: Test) -> None:
    """Raise `ValueError` for a test file that has no text or does not parse."""
    if not test.source.strip():
        raise ValueError(f"{test.path}: needed source or file, found neither")
    try:
        ast.parse(test.source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{test.path}: needed Python, found {error}") from None


def check_one_folder(paths: list[str]) -> None:
    """Raise `ValueError` for paths that cannot all be files of one folder, on any machine."""
    seen: dict[str, str] = {}
    for path in paths:
        if other := seen.get(path.casefold()):
            twice = f"{path!r} twice" if path == other else f"{other!r} and {path!r}"
            raise ValueError(f"needed each path once, found {twice}")
        seen[path.casefold()] = path
    try:
        check_paths(dict.fromkeys(paths, b""))
    except InputError as error:
        raise ValueError(str(error)) from None


def check_names(paths: list[str]) -> None:
    """Raise `ValueError` for a module that would control how the tests are run."""
    for path in paths:
        first, last = path.partition("/")[0], path.rpartition("/")[2]
        names = {first.partition(".")[0].lower(), last.partition(".")[0].lower()}
        if found := sorted(names & set(RESERVED)):
            raise ValueError(f"needed modules of the task's own, found {path!r}: {found[0]} is not")


def ordered(modules: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return paths with each after its dependencies, else in the given order.

    Raises `ValueError` for an unknown dependency and for a cycle, which it names.

    >>> ordered([("a.py", ("b.py",)), ("b.py", ())])
    ['b.py', 'a.py']
    """
    needs = dict(modules)
    for path, others in modules:
        if odd := [other for other in others if other not in needs]:
            raise ValueError(f"{path}: needed dependencies among the modules, found {odd[0]!r}")
    done: list[str] = []
    while len(done) < len(needs):
        ready = [path for path in needs if path not in done and set(needs[path]) <= set(done)]
        if not ready:
            raise ValueError(f"needed modules without a cycle, found {_cycle(needs, done)}")
        done.append(ready[0])
    return done


def _cycle(needs: dict[str, tuple[str, ...]], done: list[str]) -> str:
    at = next(path for path in needs if path not in done)
    way: list[str] = []
    while at not in way:
        way.append(at)
        at = next(path for path in needs[at] if path not in done)
    return " -> ".join([*way[way.index(at) :], at])


def spec_at(path: Path) -> Spec:
    """Return the specification in a TOML file; `InputError` names the first problem."""
    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path}: needed a specification of at most {MOST:,} bytes")
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if isinstance(error, IsADirectoryError):
            raise InputError(
                f"{path}: needed a specification, a TOML file, found a folder: name a file in it"
            ) from None
        raise InputError(f"{path}: needed a specification: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: needed TOML: {error}") from None
    try:
        for test in fields.get("tests", ()):
            _inline_file(path, test)
        spec = Spec.model_validate(fields)
        # Not of a specification that a log holds: its task may have ended long ago.
        check_importable([one.path for one in spec.modules], [one.source for one in spec.tests])
        return spec
    except ValidationError as error:
        raise InputError(f"{path}: {_problem(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, AttributeError):
        raise InputError(f"{path}: needed [[tests]] with path, and source or file") from None


def _inline_file(spec: Path, test: dict[str, Any]) -> None:
    """Replace the name of a test's file by its text."""
    if "file" not in test:
        return
    if "source" in test:
        raise InputError(f"{spec}: tests: needed source or file, found both")
    file = spec.parent / str(test.pop("file"))
    try:
        test["source"] = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: needed a test file: {error}") from None


def spec_of(body: bytes) -> Spec:
    """Return the specification that a log holds."""
    try:
        return Spec.model_validate_json(body)
    except ValidationError as error:
        raise InputError(f"needed a recorded specification: {first_problem(error)}") from None


def _problem(error: ValidationError) -> str:
    """Return the first problem without pydantic's prefix."""
    return first_problem(error).replace("the whole: value error, ", "").split(", found {")[0]
