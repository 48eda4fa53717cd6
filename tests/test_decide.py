"""What is done next follows from how far the task has come, and always leads to its end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.events import (
    AnswerRefused,
    CheckFailure,
    ChecksRan,
    Fact,
    GenerationComplete,
    ModelFailed,
    ModelReplied,
    ModuleComplete,
    ModuleIteration,
    ModuleStarted,
    PlannedModule,
    PlanningComplete,
    PolicyUsed,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolReturned,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.engine.workflow.decide import (
    Action,
    AnswerQuestions,
    AppendFacts,
    AskModel,
    CheckAll,
    Complete,
    TakeAnswer,
    UsePlan,
    blamed,
    decide,
)
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from backcast.projections import fold, progress
from backcast.projections.progress import PendingStep
from tests.strategies import NOON, logs

SPEC = Spec(task="t", goal="g", tests=(Test(path="test_a.py", source="import a"),))
PLAN = PlanningComplete(
    planned=(
        PlannedModule(path="a.py", tests=("test_a.py",)),
        PlannedModule(path="b.py", dependencies=("a.py",)),
    )
)


def stands(*facts: Fact) -> progress.State:
    events = [WorkflowEvent(n, "t", n, fact, NOON, NOON, "", ()) for n, fact in enumerate(facts, 1)]
    state: progress.State = fold(progress, events)
    return state


def asked(kind: str = "plan", module: str = "", iteration: int = 0, attempt: int = 1) -> list[Fact]:
    step = StepStarted(kind=kind, module_name=module, iteration=iteration, attempt=attempt)
    return [step, ModelReplied()]


def written(path: str, iteration: int = 1, failed: int = 0, **more: Any) -> list[Fact]:
    """A module that was asked for, came, and was checked."""
    return [
        *asked("code", path, iteration),
        ModuleIteration(module_name=path, iteration=iteration),
        ChecksRan(passed=1, failed=failed, module_name=path, **more),
    ]


BEGUN = [TaskStarted(goal="g"), PLAN, ModuleStarted(module_name="a.py")]


def done(path: str) -> list[Fact]:
    return [*written(path), ModuleComplete(module_name=path)]


ALL = [*BEGUN, *done("a.py"), ModuleStarted(module_name="b.py"), *done("b.py")]


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        ([TaskStarted()], AskModel("plan")),
        ([TaskStarted(), *asked()[:1]], AskModel("plan")),
        ([TaskStarted(), *asked()], TakeAnswer(PendingStep("plan", reply=3, call=2))),
        ([TaskStarted(), *asked(), AnswerRefused()], AskModel("plan", attempt=2)),
        ([TaskStarted(), *asked()[:1], ModelFailed(kind="timeout")], AskModel("plan")),
        ([TaskStarted(), PLAN], AppendFacts((ModuleStarted(module_name="a.py"),))),
        (BEGUN, AskModel("code", "a.py", 1)),
        ([*BEGUN, *written("a.py", failed=1)], AskModel("code", "a.py", 2)),
        ([*BEGUN, *asked("code", "a.py", 1), ToolReturned(tool="show", nodes=("b",))],
         AskModel("code", "a.py", 1, 2)),
        ([*BEGUN, *written("a.py")], AppendFacts((ModuleComplete(module_name="a.py"),))),
        ([*BEGUN, *done("a.py")], AppendFacts((ModuleStarted(module_name="b.py"),))),
        (ALL, CheckAll()),
        ([*ALL, ChecksRan(passed=3, failed=0)], AppendFacts((GenerationComplete(),))),
        ([*ALL, ChecksRan(passed=3, failed=0), GenerationComplete()], Complete()),
        ([*ALL, ChecksRan(passed=0, failed=0)], AskModel("code", "b.py", 2)),
        ([*ALL, ChecksRan(passed=3, failed=1)], AskModel("code", "b.py", 2)),
        ([*ALL, ChecksRan(passed=3, failed=0), *written("a.py", 2)], AppendFacts(
            (ModuleComplete(module_name="a.py"),))),
        ([*ALL, TaskComplete()], None),
        ([*ALL, TaskFailed()], None),
    ],
)  # fmt: skip
def test_the_next_action_follows_from_the_log(facts: list[Fact], action: Action | None) -> None:
    assert decide(stands(*facts), SPEC) == action


def test_an_answer_refused_too_often_is_a_failure_and_too_many_of_those_fail_the_task() -> None:
    refused = AnswerRefused(reason="Not so.")
    twice = [*asked(), AnswerRefused(), *asked(attempt=2), refused]
    reason = "of 2 answers none could be used. Not so."
    failed = AppendFacts((ModelFailed(reason=reason, kind="answer"),))
    assert decide(stands(TaskStarted(), *twice), SPEC) == failed
    again = [TaskStarted(), *twice, *failed.facts]
    assert decide(stands(*again), SPEC) == AskModel("plan", attempt=3), "each call has its own name"
    ended = decide(stands(*again, *twice, *failed.facts), SPEC)
    assert ended == AppendFacts((TaskFailed(reason="there is no plan after 2 tries"),))


def test_a_module_is_tried_as_often_as_the_limits_say() -> None:
    spec = SPEC.model_copy(update={"limits": RunLimits(iterations=2)})
    facts = [*BEGUN, *written("a.py", 1, failed=1), *written("a.py", 2, failed=1)]
    ended = decide(stands(*facts), spec)
    assert ended == AppendFacts((TaskFailed(reason="a.py does not pass its tests after 2 tries"),))


def test_a_prompt_for_another_model_or_policy_is_not_asked_again() -> None:
    step = StepStarted(kind="plan")
    begun = PendingStep("plan", call=2)
    assert stands(TaskStarted(), step, PolicyUsed(model="other")).step == begun


@pytest.mark.parametrize(
    ("at", "module"),
    [("a.py:3", "a.py"), ("b.py:1", "b.py"), ("test_a.py:9", "a.py"), ("test_all.py:1", "b.py"),
     ("", "b.py")],
)  # fmt: skip
def test_the_module_in_which_the_whole_fails_is_mended(at: str, module: str) -> None:
    state = stands(*ALL, ChecksRan(passed=1, failed=1, failures=(CheckFailure(name="t", at=at),)))
    assert blamed(state) == module
    assert decide(state, SPEC) == AskModel("code", module, 2)


def test_a_specification_that_is_a_plan_needs_no_model() -> None:
    modules = (
        SpecModule(path="b.py", purpose="p", dependencies=("a.py",)),
        SpecModule(path="a.py", purpose="p"),
    )
    action = decide(stands(TaskStarted()), SPEC.model_copy(update={"modules": modules}))
    assert isinstance(action, AppendFacts)
    [plan] = action.facts
    assert isinstance(plan, PlanningComplete)
    assert [one.path for one in plan.planned] == ["a.py", "b.py"]


@given(logs())
def test_something_can_be_done_whatever_stands_in_the_log(events: list[WorkflowEvent]) -> None:
    state = fold(progress, events)
    action = decide(state, SPEC)
    assert (action is None) == (state.status in ("complete", "failed"))


@given(st.lists(st.sampled_from(["refuse", "fail", "pass", "look", "ask", "break"]), max_size=60))
def test_every_run_comes_to_its_end(replies: list[str]) -> None:
    """However answers turn out, the limits bound how many there are."""
    facts: list[Fact] = [TaskStarted(goal="g")]
    turn = iter([*replies, *["refuse"] * 200])
    for _ in range(300):
        action = decide(stands(*facts), SPEC)
        if action is None:
            return
        facts += _done(action, next(turn) if isinstance(action, TakeAnswer | CheckAll) else "")
    raise AssertionError("it goes on and on")


def _done(action: Action, turn: str) -> list[Fact]:
    """What an action might come to."""
    match action:
        case AppendFacts(facts=facts):
            return list(facts)
        case AskModel() as ask:
            return asked(*ask)
        case Complete():
            return [TaskComplete()]
        case CheckAll():
            return [ChecksRan(passed=1, failed=turn == "fail")]
        case TakeAnswer(step=step) if turn == "look" and step.kind == "code":
            return [
                ToolReturned(tool="show", nodes=("module:a.py",)),
                UnknownFact(kind="X", payload={}),
            ]
        case TakeAnswer(step=step) if turn == "ask" and step.kind == "code":
            return [QuestionAsked(name="q1")]
        case AnswerQuestions():
            return [AnswerGiven(name="q1"), UnknownFact(kind="X", payload={})]
        case TakeAnswer(step=step) if turn == "refuse":
            return [AnswerRefused(reason="no")]
        case TakeAnswer(step=PendingStep(kind="plan")):
            return [PLAN]
        case UsePlan(claim=claim):
            return [claim.fact]
    path, number = action.step.module, action.step.iteration
    failed = turn in ("fail", "break")
    return [
        ModuleIteration(module_name=path, iteration=number),
        ChecksRan(passed=0, failed=failed, module_name=path),
    ]


def test_where_nobody_knows_which_module_is_wrong_each_is_mended_in_turn() -> None:
    whole = ChecksRan(passed=1, failed=1, failures=(CheckFailure(name="t", at="test_all.py:1"),))
    once = [*ALL, whole]
    assert blamed(stands(*once)) == "b.py"
    twice = [*once, *written("b.py", 2), ModuleComplete(module_name="b.py"), whole]
    assert blamed(stands(*twice)) == "a.py"


def test_only_what_was_asked_for_closes_what_was_asked() -> None:
    open_step = [TaskStarted(), *asked()]
    other = SummaryWritten(node="module:a.py", text="by somebody else")
    plan = PendingStep("plan", reply=3, call=2)
    assert decide(stands(*open_step, other), SPEC) == TakeAnswer(plan)
    stray = ModuleIteration(module_name="b.py", iteration=9)
    step = PendingStep("code", "a.py", 1, reply=5, call=4)
    assert decide(stands(*BEGUN, *asked("code", "a.py", 1), stray), SPEC) == TakeAnswer(step)


def test_what_was_asked_for_by_another_plan_is_let_go() -> None:
    other = PlanningComplete(planned=(PlannedModule(path="c.py"),))
    facts = [*BEGUN, *asked("code", "a.py", 1), other]
    assert decide(stands(*facts), SPEC) == AppendFacts((ModuleStarted(module_name="c.py"),))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ([*BEGUN, *[*asked("code", "a.py", 1), AnswerRefused(reason="No."), AnswerRefused(),
          ModelFailed(kind="answer")] * 5], "no answer for a.py could be used after 5 tries"),
        ([*ALL, *[ChecksRan(passed=1, failed=1), *written("b.py", 2),
          ModuleComplete(module_name="b.py")] * 4,
          ChecksRan(passed=1, failed=1, failures=(CheckFailure(name="t", at="b.py:1"),))],
         "the tests of the whole do not pass, though b.py was mended, after 5 tries"),
    ],
)  # fmt: skip
def test_a_task_that_fails_says_what_there_is_not(facts: list[Fact], reason: str) -> None:
    assert decide(stands(*facts), SPEC) == AppendFacts((TaskFailed(reason=reason),))
