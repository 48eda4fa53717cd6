"""What an answer must look like: closed forms for plans, fenced blocks for code.

Models err, and may be hostile: whatever is not exactly of the form raises `RefusedError` with one
line, that the model can be told, and nothing of the answer is used.
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
from backcast.engine.workflow.spec import Spec, ordered, own, together
from backcast.projections.progress import SHOW

LONGEST = 2_000_000
"Characters of an answer that are looked at."
PYTHON: tuple[list[str], ...] = ([], ["python"], ["py"], ["python3"], ["Python"])
"What a block of Python may be called."
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$")


class RefusedError(Exception):
    """An answer that cannot be used. Its text is for the model."""


PATH, PURPOSE, NEEDS, TESTS = 80, 200, 8, 4
"Characters of a path and a purpose, and how many a module needs and is checked by, at most."
Short = Annotated[str, StringConstraints(max_length=PATH)]


class _PlanForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleForm(_PlanForm):
    """A module of a plan, as a model answers it."""

    path: Short
    purpose: Annotated[str, StringConstraints(max_length=PURPOSE)]
    dependencies: Annotated[tuple[Short, ...], Field(max_length=NEEDS)]
    tests: Annotated[tuple[str, ...], Field(max_length=TESTS)]


class PlanForm(_PlanForm):
    """A plan, as a model answers it."""

    modules: tuple[ModuleForm, ...]


class Code(NamedTuple):
    """An answer with code, or one that asks to see something first."""

    files: dict[str, str]
    "Text by path, the module itself first."
    show: tuple[str, ...] = ()
    "What the model asks to see in full; then there are no files."


def plan_schema(spec: Spec) -> dict[str, Any]:
    """The JSON schema of a plan for a task: small, closed, and bounded everywhere."""
    named = [one.path for one in spec.modules]
    path: dict[str, Any] = {"enum": named} if named else {"type": "string", "maxLength": PATH}
    tests = {"enum": [one.path for one in spec.tests]}
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
    """The modules of a plan, each after those that it needs."""
    try:
        form = PlanForm.model_validate(json.loads(text[:LONGEST]))
    except ValidationError as error:
        raise RefusedError(first_problem(error)) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"needed JSON: {error}") from None
    return checked([PlannedModule(**one.model_dump()) for one in form.modules], spec)


def plan_in(spec: Spec) -> tuple[PlannedModule, ...]:
    """The plan that a specification is itself."""
    return checked([PlannedModule(**one.model_dump()) for one in spec.modules], spec)


def checked(modules: Sequence[PlannedModule], spec: Spec) -> tuple[PlannedModule, ...]:
    """Planned modules in the order in which they can be written."""
    if not 0 < len(modules) <= spec.limits.modules:
        raise RefusedError(f"needed 1 to {spec.limits.modules} modules, found {len(modules)}")
    by_path = {one.path: one for one in modules}
    given = {one.path for one in spec.tests}
    if len(by_path) < len(modules):
        raise RefusedError("needed each path once")
    _written("".join(f"{one.path}{one.purpose}" for one in modules))
    for one in modules:
        _path(one.path)
        if not one.path.endswith(".py"):
            raise RefusedError(f"needed Python modules (.py), found {one.path!r}")
        if one.path in given:
            raise RefusedError(f"{one.path} is a given test file, it is not to be written")
        if odd := [test for test in one.tests if test not in given]:
            raise RefusedError(f"{one.path}: needed tests among {sorted(given)}, found {odd[0]!r}")
    if missing := [one.path for one in spec.modules if one.path not in by_path]:
        raise RefusedError(f"needed a plan with {missing[0]}, found none")
    if spec.modules and len(by_path) > len(spec.modules):
        odd = sorted(set(by_path) - {one.path for one in spec.modules})
        raise RefusedError(f"needed only the modules that were named, found {odd[0]!r}")
    try:
        together([*given, *by_path])
        own([*by_path])
        order = ordered([(one.path, one.dependencies) for one in modules])
    except ValueError as error:
        raise RefusedError(str(error)) from None
    return tuple(by_path[path] for path in order)


def code_of(text: str, path: str, most: int) -> Code:
    """The files of an answer, or what it asks to see.

    One fenced block with its path on the fence, after the language; or one block of Python and no
    path on any. Nothing but the module that was asked for may be written.
    """
    if "\0" in text or len(text) > LONGEST:
        raise RefusedError("needed text with one fenced block, found binary or far too much")
    _written(text)
    blocks = _blocks(text)
    asked = [body for label, body in blocks if label.split()[:1] == [SHOW]]
    if asked:
        names = [line.strip().strip("`-* ") for body in asked for line in body.splitlines()]
        nodes = tuple(dict.fromkeys(filter(None, names)))
        if not nodes:
            raise RefusedError("needed a name on each line of the show block, found none")
        return Code({}, tuple(one[:300] for one in nodes[:most]))
    return Code({path: _file(blocks, path)})


def _file(blocks: Sequence[tuple[str, str]], path: str) -> str:
    """The text of a module among the blocks of an answer."""
    named = [(_named(label), body) for label, body in blocks]
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


def _named(label: str) -> str:
    """The path on a fence: `python validators.py`, `python path=validators.py`, `validators.py`."""
    words = [word.rpartition("=")[2].strip("\"'") for word in label.split()]
    words = [word.removeprefix("python:").removeprefix("./") for word in words]
    named = [word for word in words if word.endswith(".py") or set(word) & set("/\\")]
    return named[-1] if named else ""


def _written(text: str) -> None:
    """Refuse what cannot be written as UTF-8."""
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
    """Label and body of each fenced block; line by line, so that no text takes long."""
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
