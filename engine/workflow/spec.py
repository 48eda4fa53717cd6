"""What a person asks for: a task, its requirements, its tests and its limits, from a TOML file.

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
from backcast.engine.log.codec import first_problem
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
    """A test file that tells whether the task is done; the model sees it and cannot change it."""

    __test__ = False  # pytest: this is none of yours

    path: str
    source: str = ""
    "Its text; in a TOML file `file`, a path beside that file, may stand in its place."


class SpecModule(_Part):
    """A module that is to be written."""

    path: str
    purpose: str = ""
    "Where every module has one, no model is asked for a plan."
    dependencies: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    "The test files that check it, beside those of the whole."


class RunLimits(_Part):
    """How much is tried."""

    iterations: Annotated[int, Field(ge=1, le=100)] = 5
    "Of each module."
    repairs: Annotated[int, Field(ge=0, le=5)] = 1
    "How often a model is told that its answer cannot be used, within one iteration."
    looks: Annotated[int, Field(ge=0, le=10)] = 2
    "How often a model may ask to see something, within one iteration."
    nodes: Annotated[int, Field(ge=1, le=50)] = 4
    "How many nodes it may ask to see at once."
    modules: Annotated[int, Field(ge=1, le=200)] = 20
    "Of a plan."
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    "For one answer of the model."


class Spec(_Part):
    """A task."""

    task: Name
    goal: Text
    context: Shared | None = None
    "What it works on, whose map it shares with all tasks that name the same; None for itself."
    requirements: tuple[Text, ...] = ()
    modules: tuple[SpecModule, ...] = ()
    "What is to be written; empty where the model shall plan it."
    tests: tuple[Test, ...]
    limits: RunLimits = RunLimits()
    checks: SandboxLimits = SandboxLimits()
    summaries: Annotated[str, StringConstraints(pattern="^(derived|model)$")] = "derived"
    "Whether modules and functions that are complete are summed up by the model too."

    @validator(mode="after")
    def _consistent(self) -> "Spec":
        if not self.tests:
            raise ValueError("needed at least one test, by which one sees whether the task is done")
        paths = [*(one.path for one in self.tests), *(one.path for one in self.modules)]
        for path in paths:
            try:
                safe_path(path)
            except InputError as error:
                raise ValueError(str(error)) from None
        together(paths)
        own([one.path for one in self.modules])
        for test in self.tests:
            _parsed(test)
        given = {one.path for one in self.tests}
        for one in self.modules:
            if not one.path.endswith(".py"):
                raise ValueError(f"needed Python modules (.py), found {one.path!r}")
            if odd := [test for test in one.tests if test not in given]:
                raise ValueError(f"{one.path}: needed tests among [[tests]], found {odd[0]!r}")
        ordered([(one.path, one.dependencies) for one in self.modules])
        return self

    @property
    def planned(self) -> bool:
        """Whether the specification is the plan."""
        return bool(self.modules) and all(one.purpose for one in self.modules)


RESERVED = ("conftest", "pytest", "_pytest", "sitecustomize", "usercustomize")
"Names by which code would decide how it is tested."


def _parsed(test: Test) -> None:
    """Raise `ValueError` for a test file without a text, or that is no Python."""
    if not test.source.strip():
        raise ValueError(f"{test.path}: needed source or file, found neither")
    try:
        ast.parse(test.source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{test.path}: needed Python, found {error}") from None


def together(paths: list[str]) -> None:
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


def own(paths: list[str]) -> None:
    """Raise `ValueError` for a module that would decide how the tests are run."""
    for path in paths:
        first, last = path.partition("/")[0], path.rpartition("/")[2]
        names = {first.partition(".")[0].lower(), last.partition(".")[0].lower()}
        if found := sorted(names & set(RESERVED)):
            raise ValueError(f"needed modules of the task's own, found {path!r}: {found[0]} is not")


def ordered(modules: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Paths so that each comes after those that it needs, else as they were given.

    Raises `ValueError` for a dependency that is not there, and names a cycle.

    >>> ordered([("a.py", ("b.py",)), ("b.py", ())])
    ['b.py', 'a.py']
    """
    needs = dict(modules)
    for path, others in modules:
        if odd := [one for one in others if one not in needs]:
            raise ValueError(f"{path}: needed dependencies among the modules, found {odd[0]!r}")
    done: list[str] = []
    while len(done) < len(needs):
        ready = [one for one in needs if one not in done and set(needs[one]) <= set(done)]
        if not ready:
            raise ValueError(f"needed modules without a cycle, found {_cycle(needs, done)}")
        done.append(ready[0])
    return done


def _cycle(needs: dict[str, tuple[str, ...]], done: list[str]) -> str:
    at = next(path for path in needs if path not in done)
    way: list[str] = []
    while at not in way:
        way.append(at)
        at = next(one for one in needs[at] if one not in done)
    return " -> ".join([*way[way.index(at) :], at])


def spec_at(path: Path) -> Spec:
    """The specification in a TOML file. `InputError` names what is wrong with it, and where."""
    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path}: needed a specification of at most {MOST:,} bytes")
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: needed a specification: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: needed TOML: {error}") from None
    try:
        for test in told.get("tests", ()):
            _take_file(path, test)
        return Spec.model_validate(told)
    except ValidationError as error:
        raise InputError(f"{path}: {_problem(error)}") from None
    except (TypeError, AttributeError):
        raise InputError(f"{path}: needed [[tests]] with path, and source or file") from None


def _take_file(spec: Path, test: dict[str, Any]) -> None:
    """Put the text of a test's file in the place of its name."""
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
    """The specification that a log holds."""
    try:
        return Spec.model_validate_json(body)
    except ValidationError as error:
        raise InputError(f"needed a recorded specification: {first_problem(error)}") from None


def _problem(error: ValidationError) -> str:
    """What is wrong, without the word that pydantic puts before it."""
    return first_problem(error).replace("the whole: value error, ", "").split(", found {")[0]
