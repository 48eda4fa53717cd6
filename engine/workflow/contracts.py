"""Parses a model's answers: closed forms for plans, fenced blocks for code.

Models err, and may be hostile: an answer that does not match its form exactly raises `RefusedError`
with one line for the model, and no part of it is used.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from backcast.domain.errors import InputError
from backcast.domain.events import PlannedModule
from backcast.engine.log.codec import first_problem
from backcast.engine.workflow.sandbox.run import safe_path
from backcast.engine.workflow.spec import Spec, check_names, check_one_folder, ordered
from backcast.projections.progress import SHOW

LONGEST = 2_000_000
"Characters of an answer that are read."
PYTHON: tuple[list[str], ...] = ([], ["python"], ["py"], ["python3"], ["Python"])
"Labels of a block of Python."
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$")


class RefusedError(Exception):
    """An answer that cannot be used. Its text is for the model."""


PATH, PURPOSE, NEEDS, TESTS = 80, 200, 8, 4
"Most characters of a path and a purpose; most dependencies and tests of a module."
Short = Annotated[str, StringConstraints(max_length=PATH)]


class _PlanForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleForm(_PlanForm):
    """A module in a model's plan."""

    path: Short
    purpose: Annotated[str, StringConstraints(max_length=PURPOSE)]
    dependencies: Annotated[tuple[Short, ...], Field(max_length=NEEDS)]
    tests: Annotated[tuple[str, ...], Field(max_length=TESTS)]


class PlanForm(_PlanForm):
    """A model's plan."""

    modules: tuple[ModuleForm, ...]


class Code(NamedTuple):
    """An answer with code, or with a request to see nodes first."""

    files: dict[str, str]
    "Text by path, the module itself first."
    show: tuple[str, ...] = ()
    "Nodes that the model asks to see in full; there are no files then."


def plan_schema(spec: Spec) -> dict[str, Any]:
    """Return the JSON schema of a plan for a task: small, closed, and bounded everywhere."""
    named = [module.path for module in spec.modules]
    path: dict[str, Any] = {"enum": named} if named else {"type": "string", "maxLength": PATH}
    tests = {"enum": [test.path for test in spec.tests]}
    fields = {
        "path": path,
        "purpose": {"type": "string", "maxLength": PURPOSE},
        "dependencies": {"type": "array", "items": path, "maxItems": NEEDS},
        "tests": {"type": "array", "items": tests, "maxItems": TESTS},
    }
    module = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    most = len(named) or spec.limits.modules
    modules = {"type": "array", "items": module, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "properties": {"modules": modules},
        "required": ["modules"],
        "additionalProperties": False,
    }


def plan_of(text: str, spec: Spec) -> tuple[PlannedModule, ...]:
    """Return the modules of a plan, each after its dependencies."""
    try:
        form = PlanForm.model_validate(json.loads(text[:LONGEST]))
    except ValidationError as error:
        raise RefusedError(first_problem(error)) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"needed JSON: {error}") from None
    return checked_plan([PlannedModule(**module.model_dump()) for module in form.modules], spec)


def plan_in(spec: Spec) -> tuple[PlannedModule, ...]:
    """Return the plan that a specification states itself."""
    return checked_plan([PlannedModule(**module.model_dump()) for module in spec.modules], spec)


def checked_plan(modules: Sequence[PlannedModule], spec: Spec) -> tuple[PlannedModule, ...]:
    """Return planned modules in the order in which they can be written."""
    if not 0 < len(modules) <= spec.limits.modules:
        raise RefusedError(f"needed 1 to {spec.limits.modules} modules, found {len(modules)}")
    by_path = {module.path: module for module in modules}
    given = {test.path for test in spec.tests}
    if len(by_path) < len(modules):
        raise RefusedError("needed each path once")
    _check_encodable("".join(f"{module.path}{module.purpose}" for module in modules))
    for path, module in by_path.items():
        _path(path)
        if not path.endswith(".py"):
            raise RefusedError(f"needed Python modules (.py), found {path!r}")
        if path in given:
            raise RefusedError(f"{path} is a given test file, it is not to be written")
        if odd := [test for test in module.tests if test not in given]:
            raise RefusedError(f"{path}: needed tests among {sorted(given)}, found {odd[0]!r}")
    if missing := [module.path for module in spec.modules if module.path not in by_path]:
        raise RefusedError(f"needed a plan with {missing[0]}, found none")
    if spec.modules and len(by_path) > len(spec.modules):
        odd = sorted(set(by_path) - {module.path for module in spec.modules})
        raise RefusedError(f"needed only the modules that were named, found {odd[0]!r}")
    try:
        check_one_folder([*given, *by_path])
        check_names([*by_path])
        order = ordered([(module.path, module.dependencies) for module in modules])
    except ValueError as error:
        raise RefusedError(str(error)) from None
    return tuple(by_path[path] for path in order)


def code_of(text: str, path: str, most: int) -> Code:
    """Return the file of an answer, or the first `most` nodes that it asks to see.

    The file is the one fenced block with `path` on its fence, after the language, or the only block
    of Python where no fence names a path. A block with another path is refused.
    """
    if "\0" in text or len(text) > LONGEST:
        raise RefusedError("needed text with one fenced block, found binary or far too much")
    _check_encodable(text)
    blocks = _blocks(text)
    asked = [body for label, body in blocks if label.split()[:1] == [SHOW]]
    if asked:
        names = [line.strip().strip("`-* ") for body in asked for line in body.splitlines()]
        nodes = tuple(dict.fromkeys(filter(None, names)))
        if not nodes:
            raise RefusedError("needed a name on each line of the show block, found none")
        return Code({}, tuple(node[:300] for node in nodes[:most]))
    return Code({path: _file(blocks, path)})


def _file(blocks: Sequence[tuple[str, str]], path: str) -> str:
    """Return the text of a module among the blocks of an answer."""
    named = [(_path_on(label), body) for label, body in blocks]
    whole = [(_path(name), body) for name, body in named if name]
    for name, _ in whole:
        if name != path:
            raise RefusedError(f"needed the file {path} only, found one for {name!r}")
    # Blocks that name no file may show how it is used, or what is to be installed.
    bodies = [body for _, body in whole] or [
        body for label, body in blocks if label.split()[:1] in PYTHON
    ]
    if len(bodies) != 1:
        found = f"{len(bodies)}" if bodies else "none"
        raise RefusedError(
            f"needed exactly one fenced block with the whole of {path}, found {found}"
        )
    if not bodies[0].strip():
        raise RefusedError(f"needed the whole of {path}, found an empty block")
    return bodies[0]


def _path_on(label: str) -> str:
    """Return the path on a fence: `python a.py`, `python path=a.py`, `a.py`; empty for none."""
    words = [word.rpartition("=")[2].strip("\"'") for word in label.split()]
    words = [word.removeprefix("python:").removeprefix("./") for word in words]
    named = [word for word in words if word.endswith(".py") or set(word) & set("/\\")]
    return named[-1] if named else ""


def _check_encodable(text: str) -> None:
    """Refuse a text that UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError("needed whole characters, found halves of some") from None


def _path(path: str) -> str:
    try:
        return safe_path(path)
    except InputError as error:
        raise RefusedError(str(error)) from None


def _blocks(text: str) -> list[tuple[str, str]]:
    """Return label and body of each fenced block; line by line, so that no text takes long."""
    found: list[tuple[str, str]] = []
    fence, label, body = "", "", list[str]()
    for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"):
        match = FENCE.match(line)
        if not fence and match:
            fence, label, body = match[1], match[2].strip(), []
        elif fence and match and match[1].startswith(fence) and not match[2].strip():
            found.append((label, "\n".join(body) + "\n" if body else ""))
            fence = ""
        elif fence:
            body.append(line)
    if fence:
        raise RefusedError("needed blocks that end, found one whose fence is never closed")
    return found
