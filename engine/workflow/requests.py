"""Words the request of a prompt, by the kind of call.

The words stand at the end of a prompt, behind all that stays from call to call. Equal states give
equal words: those in which requests are recorded, which each policy shows in its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.policy import Policy
from backcast.domain.summary import LIMITS
from backcast.domain.texts import TEXTS
from backcast.engine.context.request import Request
from backcast.engine.memory.model_summariser import form_of, schema_of
from backcast.engine.memory.summariser import limit_of
from backcast.engine.models import Limits
from backcast.engine.workflow.contracts import plan_schema
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress

FORM = (
    '{"modules": [{"path": "a.py", "purpose": "...", "dependencies": ["b.py"],'
    ' "tests": ["test_a.py"]}]}'
)
AROUND = 8
"Neighbours of a module, by its dependencies or theirs, that a request lists."
ASK = (
    "To ask something about the project first, answer instead with a block that begins with"
    " ```ask and holds one question; a line of it may name what it is about, as about: NODE."
)
"The line that offers questions, where a run allows them."
LONGEST = 600
"Characters of each text of a summary's form."


def request_of(action: AskModel, state: progress.State, spec: Spec) -> Request:
    """Return the request for which a context is built."""
    match action.kind:
        case "plan":
            wanted = tuple(node_id("module", test.path) for test in spec.tests)
            return Request("", _plan(spec), (*wanted, *state.wanted))
        case "summary":
            return Request(action.module, _summary(action.module), (action.module,))
    planned = next(module for module in state.planned if module.path == action.module)
    files = [planned.path, *tests_of(planned, state)]
    if state.whole is not None or len(files) == 1:
        files += [test.path for test in spec.tests]
    wanted = tuple(dict.fromkeys(node_id("module", path) for path in files))
    return Request(
        node_id("module", planned.path), _code(action, planned, state, spec),
        (*wanted, *state.wanted), planned.dependencies,
    )  # fmt: skip


def schema_for(action: AskModel, spec: Spec) -> Mapping[str, Any] | None:
    """Return the JSON schema of an answer; None for code."""
    match action.kind:
        case "plan":
            return plan_schema(spec)
        case "summary":
            return schema_of(form_of(action.module), longest=LONGEST)
    return None


def limits_for(
    action: AskModel, state: progress.State, spec: Spec, policy: Policy, generation: int
) -> Limits:
    """Return the limits of an answer: tokens, tokens of thinking among them, and seconds."""
    thinking = 0
    if _thinks(action, state, policy):
        thinking = int(generation * policy.thinking.share)
    if action.kind == "summary":
        generation = min(generation, 4 * limit_of(LIMITS, action.module))
    return Limits(generation, thinking, spec.limits.seconds, silence=spec.limits.silence)


def _thinks(action: AskModel, state: progress.State, policy: Policy) -> bool:
    settings = policy.thinking
    if action.kind != "code":
        return False
    planned = next((m for m in state.planned if m.path == action.module), None)
    needs = len(planned.dependencies) if planned else 0
    hard = action.iteration > settings.failures or needs >= settings.dependencies
    return settings.always or hard


def tests_of(planned: progress.Planned, state: progress.State) -> list[str]:
    """Return the tests of a module, or of the modules that need it where it has none."""
    needing = [other for other in state.planned if planned.path in other.dependencies]
    tests = planned.tests or [test for other in needing for test in other.tests]
    return list(dict.fromkeys(tests))


def _plan(spec: Spec) -> str:
    lines = [
        TEXTS["plan"],
        *_requirements(spec),
        TEXTS["modules"].format(tests=", ".join(test.path for test in spec.tests)),
    ]
    if spec.modules:
        named = (f"- {m.path}{f': {m.purpose}' if m.purpose else ''}" for m in spec.modules)
        lines += [TEXTS["given"], *named]
    lines += [TEXTS["paths"], TEXTS["json"].format(form=FORM)]
    return "\n".join(lines)


def _code(action: AskModel, planned: progress.Planned, state: progress.State, spec: Spec) -> str:
    first = action.iteration == 1
    purpose = planned.purpose.rstrip(".") or "see the goal"
    lines = [TEXTS["write" if first else "mend"].format(path=planned.path, purpose=purpose)]
    if around := [other for other in state.planned if _is_near(planned, other)]:
        lines += [TEXTS["beside"], *map(_line, around[:AROUND])]
    if planned.dependencies:
        lines.append(TEXTS["import"].format(modules=_modules(planned.dependencies)))
    if planned.tests:
        lines.append(TEXTS["checked"].format(tests=", ".join(planned.tests)))
    lines += _requirements(spec)
    if not first:
        lines.append(TEXTS["failed"])
    answers = len(progress.answers_seen(state.wanted))
    if (number := progress.attempt(state) - answers) > 1:
        lines.append(TEXTS["attempt"].format(number=number))
    lines.append(TEXTS["form"].format(path=planned.path))
    if state.looks < spec.limits.looks:
        lines.append(TEXTS["show"].format(nodes=spec.limits.nodes))
    if answers < (spec.limits.asks or 0):
        lines.append(ASK)
    return "\n".join(lines)


def _summary(node: str) -> str:
    path, name = path_of(node), name_of(node)
    what = f"{name} of {path}" if name else path
    fields = ", ".join(form_of(node).model_fields)
    words = limit_of(LIMITS, node) // 2
    return TEXTS["summary"].format(kind=kind_of(node), what=what, fields=fields, words=words)


def _requirements(spec: Spec) -> list[str]:
    if not spec.requirements:
        return []
    return [TEXTS["requirements"], *(f"- {one}" for one in spec.requirements)]


def _is_near(planned: progress.Planned, other: progress.Planned) -> bool:
    """Return whether one of two modules needs the other."""
    return other.path in planned.dependencies or planned.path in other.dependencies


def _line(module: progress.Planned) -> str:
    needs = f" (needs {', '.join(module.dependencies)})" if module.dependencies else ""
    return f"- {module.path}: {module.purpose}{needs}"


def _modules(paths: Sequence[str]) -> str:
    names = (path.removesuffix(".py").removesuffix("/__init__") for path in paths)
    return ", ".join(name.replace("/", ".") for name in names)
