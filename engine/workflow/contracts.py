"""Parses the plans of models, in a closed form.

Models err, and may be hostile: an answer that does not match its form exactly raises `RefusedError`
with one line for the model, and no part of it is used.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from backcast.domain.events import PlannedModule
from backcast.domain.problems import first_problem
from backcast.engine.workflow.code_answers import LONGEST, check_encodable, checked
from backcast.engine.workflow.fences import blocks_of
from backcast.engine.workflow.module_names import check_importable
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.spec import Spec, check_names, check_one_folder, ordered

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
        form = PlanForm.model_validate(json.loads(json_in(text[:LONGEST])))
    except ValidationError as error:
        raise RefusedError(first_problem(error)) from None
    except (ValueError, RecursionError) as error:
        begins = text.strip()[:40]
        found = "" if begins[:1] in ("{", "[") else f" alone, found text that begins {begins!a}"
        raise RefusedError(f"needed JSON{found or f': {error}'}") from None
    return checked_plan([PlannedModule(**module.model_dump()) for module in form.modules], spec)


def json_in(text: str) -> str:
    """Return the JSON of an answer: the text itself, or the one block of it that holds JSON."""
    if text.lstrip()[:1] in "{[" or "```" not in text:
        return text
    try:
        held = [block for block in blocks_of(text) if block.language in ("", "json")]
    except RefusedError:
        return text
    return held[0].body if len(held) == 1 else text


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
    check_encodable("".join(f"{module.path}{module.purpose}" for module in modules))
    for path, module in by_path.items():
        checked(path)
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
        check_importable([*by_path], (test.source for test in spec.tests))
        order = ordered([(module.path, module.dependencies) for module in modules])
    except ValueError as error:
        raise RefusedError(str(error)) from None
    return tuple(by_path[path] for path in order)
