"""What is a model asked, in words? The request of a context, by the kind of call.

The words stand at the end of a prompt, behind all that stays from call to call. Equal states give
equal words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.node import kind_of, node_id
from domain.policy import Policy
from domain.summary import LIMITS
from engine.context.builder import Request
from engine.memory.model_summariser import form_of, schema_of
from engine.memory.summariser import limit_of
from engine.models import Limits
from engine.workflow.contracts import plan_schema
from engine.workflow.decide import AskModel
from engine.workflow.spec import Spec
from projections import progress

LONGEST = 600
"Characters of each text of a summary's form."


def request_of(action: AskModel, state: progress.State, spec: Spec) -> Request:
    """What a context is asked for."""
    match action.kind:
        case "plan":
            wanted = tuple(node_id("module", one.path) for one in spec.tests)
            return Request("", _plan(spec), (*wanted, *state.wanted))
        case "summary":
            return Request(action.module, _summary(action.module), (action.module,))
    planned = next(one for one in state.planned if one.path == action.module)
    files = [planned.path, *planned.tests]
    if state.whole is not None:
        files += [one.path for one in spec.tests]
    wanted = tuple(dict.fromkeys(node_id("module", path) for path in files))
    return Request(
        node_id("module", planned.path), _code(action, planned, state, spec),
        (*wanted, *state.wanted), planned.dependencies,
    )  # fmt: skip


def schema_for(action: AskModel, spec: Spec) -> Mapping[str, Any] | None:
    """The JSON schema of an answer; None for code."""
    match action.kind:
        case "plan":
            return plan_schema(spec)
        case "summary":
            return schema_of(form_of(action.module), longest=LONGEST)
    return None


def limits_for(
    action: AskModel, state: progress.State, spec: Spec, policy: Policy, generation: int
) -> Limits:
    """How much a model may answer, and how much of it think."""
    thinking = 0
    if _thinks(action, state, policy):
        thinking = int(generation * policy.thinking.share)
    if action.kind == "summary":
        generation = min(generation, 4 * limit_of(LIMITS, action.module))
    return Limits(generation, thinking, spec.limits.seconds)


def _thinks(action: AskModel, state: progress.State, policy: Policy) -> bool:
    settings = policy.thinking
    if action.kind != "code":
        return False
    planned = next((one for one in state.planned if one.path == action.module), None)
    needs = len(planned.dependencies) if planned else 0
    hard = action.iteration > settings.failures or needs >= settings.dependencies
    return settings.always or hard


def _plan(spec: Spec) -> str:
    told = [
        f"Plan the modules of: {spec.goal}",
        *_requirements(spec),
        "Each module has a path, a purpose in one sentence, the paths of the other modules that it"
        " needs, and the given test files that check it. The given tests are"
        f" {', '.join(one.path for one in spec.tests)}; do not plan them again.",
    ]
    if spec.modules:
        told.append(f"The modules are {', '.join(one.path for one in spec.modules)}.")
    return "\n".join([*told, "Answer in JSON."])


def _code(action: AskModel, planned: progress.Planned, state: progress.State, spec: Spec) -> str:
    first = action.iteration == 1
    what = "Write" if first else "Mend"
    told = [f"{what} the module {planned.path}: {planned.purpose.rstrip('.') or 'see the goal'}."]
    if planned.dependencies:
        told.append(f"It may import {_modules(planned.dependencies)}.")
    if planned.tests:
        told.append(f"It is checked by {', '.join(planned.tests)}.")
    told += _requirements(spec)
    if not first:
        told.append("What failed stands under Recent errors.")
    told.append(
        f"Answer with one fenced block that begins with ```python {planned.path} and holds the"
        " whole file."
    )
    if state.looks < spec.limits.looks:
        told.append(
            "To see something in full first, answer instead with a block that begins with"
            f" ```show and names it, at most {spec.limits.nodes} names, one a line."
        )
    return "\n".join(told)


def _summary(node: str) -> str:
    what = node.partition(":")[2].replace("::", ", ")
    return (
        f"Sum up the {kind_of(node)} {what} for a programmer who will not see it."
        " Say only what the text shows. Answer in JSON."
    )


def _requirements(spec: Spec) -> list[str]:
    if not spec.requirements:
        return []
    return ["Requirements:", *(f"- {one}" for one in spec.requirements)]


def _modules(paths: Sequence[str]) -> str:
    return ", ".join(path.removesuffix(".py").replace("/", ".") for path in paths)
