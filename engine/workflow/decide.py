"""Decides the next action of a run: a pure function of its progress and its specification.

>>> from backcast.engine.workflow.spec import Spec, Test
>>> spec = Spec(task="t", goal="g", tests=[Test(path="test_a.py", source="import a")])
>>> decide(progress.State(status="planning"), spec)
AskModel(kind='plan', module='', iteration=0, attempt=1)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from backcast.domain.events import (
    Claim,
    Fact,
    GenerationComplete,
    ModelFailed,
    ModuleComplete,
    ModuleStarted,
    PlanningComplete,
    TaskFailed,
)
from backcast.engine.workflow.contracts import plan_in
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress


class AskModel(NamedTuple):
    """Ask for a plan, for code, or for a summary."""

    kind: str
    module: str = ""
    iteration: int = 0
    attempt: int = 1


class TakeAnswer(NamedTuple):
    """Use the model's answer, or refuse it."""

    step: progress.PendingStep


class CheckAll(NamedTuple):
    """Run all tests together."""


class Complete(NamedTuple):
    """Summarise the task, and end it."""


class AppendFacts(NamedTuple):
    """Append facts that follow from the state."""

    facts: tuple[Fact, ...]


class UsePlan(NamedTuple):
    """Use the plan of a finished task."""

    claim: Claim


class AnswerQuestions(NamedTuple):
    """Work on the questions that steps have asked, until each has an answer."""


Action = AskModel | TakeAnswer | CheckAll | Complete | AppendFacts | UsePlan | AnswerQuestions


def decide(
    state: progress.State,
    spec: Spec,
    unsummed: Callable[[str], Sequence[str]] = lambda path: (),
    reused: Callable[[], Claim | None] = lambda: None,
) -> Action | None:
    """Return the next action; None when the task has ended.

    `unsummed` returns the nodes of a module that the model has yet to summarise; `reused` a
    finished task's plan that holds for this one.
    """
    if state.status in progress.ENDED:
        return None
    if state.step is not None and is_wanted(state, state.step):
        return pending(state, spec, state.step)
    if not state.planned:
        return _plan(state, spec, reused)
    for planned in state.planned:
        if action := module_action(state, spec, planned, unsummed):
            return action
    return _whole(state, spec)


def pending(state: progress.State, spec: Spec, step: progress.PendingStep) -> Action:
    """Return the action for a step that has no usable answer yet."""
    if step.question:
        return AnswerQuestions()
    if step.reply:
        return TakeAnswer(step)
    if state.refused > spec.limits.repairs:
        reason = f"of {state.refused} answers none could be used. {state.refusal}".rstrip()
        return AppendFacts((ModelFailed(reason=reason, kind="answer"),))
    return AskModel(step.kind, step.module, step.iteration, progress.attempt(state))


def is_wanted(state: progress.State, step: progress.PendingStep) -> bool:
    """Return whether a step is still wanted: the plan may have been replaced since."""
    return step.kind != "code" or any(one.path == step.module for one in state.planned)


def _plan(state: progress.State, spec: Spec, reused: Callable[[], Claim | None]) -> Action:
    """Take the plan from the specification, or from a finished task, else ask the model."""
    if not spec.planned:
        if claim := reused():
            return UsePlan(claim)
        return _ask(state, spec, "plan", "", 0)
    try:
        return AppendFacts((PlanningComplete(planned=plan_in(spec)),))
    except RefusedError as error:
        return AppendFacts((TaskFailed(reason=f"the modules are no plan: {error}"),))


def module_action(
    state: progress.State,
    spec: Spec,
    planned: progress.Planned,
    unsummed: Callable[[str], Sequence[str]],
) -> Action | None:
    """Return the next action for a module; None where it is complete."""
    module = state.modules.get(planned.path)
    if module is None:
        return AppendFacts((ModuleStarted(module_name=planned.path),))
    if module.status == "complete":
        return None
    if module.failed != 0:
        return _ask(state, spec, "code", planned.path, module.iteration + 1)
    for node in unsummed(planned.path):
        if not state.tries.get(progress.try_key("summary", node)):
            return _ask(state, spec, "summary", node, module.iteration)
    return AppendFacts((ModuleComplete(module_name=planned.path),))


def _missing(state: progress.State, module: str) -> str:
    """Return what is missing after all allowed tries, in words."""
    if not module:
        return "there is no plan"
    if state.whole is not None:
        return f"the tests of the whole do not pass, though {module} was mended,"
    if not state.modules[module].iteration:
        return f"no answer for {module} could be used"
    return f"{module} does not pass its tests"


def _whole(state: progress.State, spec: Spec) -> Action:
    """Return the next action when every module is complete."""
    if state.whole is None:
        return CheckAll()
    if state.whole.failed == 0 and state.whole.passed:
        return AppendFacts((GenerationComplete(),)) if state.status != "generated" else Complete()
    path = blamed(state)
    return _ask(state, spec, "code", path, state.modules[path].iteration + 1)


def blamed(state: progress.State) -> str:
    """Return the path of the module to mend after the tests of the whole failed.

    It is the module that raised the first failure, else the module that the failing test file
    checks, else the last of the modules with the fewest tries.
    """
    at = state.whole.at if state.whole else ""
    for planned in state.planned:
        if planned.path == at:
            return at
    for planned in reversed(state.planned):
        if at in planned.tests:
            return planned.path
    paths = [planned.path for planned in reversed(state.planned)]
    return min(paths, key=lambda path: state.tries.get(progress.try_key("code", path), 0))


def _ask(state: progress.State, spec: Spec, kind: str, module: str, iteration: int) -> Action:
    """Ask for something, or fail the task after too many tries."""
    tries = state.tries.get(progress.try_key(kind, module), 0)
    most = 2 if kind == "plan" else spec.limits.iterations
    if tries >= most:
        return AppendFacts((TaskFailed(reason=f"{_missing(state, module)} after {tries} tries"),))
    return AskModel(kind, module, iteration, progress.attempt(state))
