"""Carries out the actions of a run: asks the model, runs tests, and returns facts."""

from collections.abc import Callable, Sequence
from functools import partial

from backcast.domain.call_events import BudgetGranted
from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    AnswerRefused,
    Claim,
    Fact,
    ModelFailed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import node_id
from backcast.domain.outline import names_in
from backcast.engine.workflow.answers import Answers, Checks, given
from backcast.engine.workflow.calls import Calls
from backcast.engine.workflow.decide import (
    Action,
    AnswerQuestions,
    AppendFacts,
    AskModel,
    CheckAll,
    Complete,
    TakeAnswer,
    UsePlan,
)
from backcast.engine.workflow.plan_reuse import reused_plan
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.results import ActionResult, checks_ran, with_some_run
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import run_checks
from backcast.engine.workflow.spec import Spec
from backcast.engine.workflow.step_questions import StepQuestions
from backcast.engine.workflow.task_facts import completed, settings_used
from backcast.engine.workflow.waves import LaneAction, module_of
from backcast.projections import dependency_graph, progress


class Performer:
    """The performer of a run's actions."""

    def __init__(
        self,
        task: RunningTask,
        runtime: Runtime,
        spec: Spec,
        *,
        runner: str,
        watch: Callable[[Sequence[WorkflowEvent]], None] = lambda events: None,
        checks: Checks | None = None,
    ) -> None:
        """`runner` identifies this process; `watch` is called with the events that are appended;
        `checks` runs the tests in place of the sandbox."""
        self.task, self.runtime, self.model = task, runtime, runtime.model
        self.prompts = PromptBuilder(task, runtime.profile, runtime.policy)
        self.spec, self.runner, self.watch = spec, runner, watch
        self.checks: Checks = checks or partial(run_checks, given=given(spec))
        self.answers = Answers(self.prompts, spec, self.checks, self.model.id)
        self.store, self.task_id = task.store, task.task_id
        self.calls = Calls(task, runtime, spec, self.prompts, self.append, runner)
        self.calls.answered = self.answers.check_ahead
        self.calls.is_usable = self.answers.is_usable
        self.questions = StepQuestions(task, runtime, spec, runner=runner, watch=watch)
        self.answers.ask = self.questions.ask

    def perform(self, action: Action) -> ActionResult:
        """Carry out an action and return its result; the log announces a model's call first."""
        match action:
            case AskModel():
                return self.calls.alone(action)
            case TakeAnswer(step=step):
                with self.calls.ahead.beside(step, partial(self.answers.body_of, step)):
                    return self.answers.take(step, self.task.stands)
            case CheckAll():
                outcome = self.checks(self.task.files(), given(self.spec), self.spec.checks)
                return checks_ran(with_some_run(outcome), None)
            case Complete():
                return completed(self.task, self.prompts.tokenizer)
            case AppendFacts(facts=facts):
                return ActionResult(facts, forced=False)  # they follow from what is on the disk
            case UsePlan(claim=claim):
                return ActionResult([claim])
            case AnswerQuestions():
                self.questions.answer()
                return ActionResult([])  # what came of it stands in the log already

    def work_in_lanes(
        self, actions: Sequence[LaneAction], concurrency: int
    ) -> dict[str, ModelError | InputError]:
        """Make calls side by side, or do one other thing, and return what failed, by lane."""
        if isinstance(actions[0].action, AskModel):
            return self.calls.make_together(actions, concurrency)
        for lane, action in actions:
            self.append(self._perform_in(lane, action))
        return {}

    def _perform_in(self, lane: str, action: Action) -> ActionResult:
        """Carry out the action of one lane; what follows from it names the lane's call."""
        if isinstance(action, TakeAnswer):
            seen = progress.seen_from(self.task.stands, lane)
            result = self.answers.take(action.step, seen)
        else:
            result = self.perform(action)
        own = self.task.stands.lanes.get(lane)
        if own is None or own.step is None or not own.calls:
            return result
        call, module = own.calls[0], module_of(own.step)
        return result._replace(facts=[_of_call(fact, call, module) for fact in result.facts])

    def append(self, done: ActionResult) -> None:
        """Append after the last event that was read, and read the new events."""
        events = self.store.append(
            self.task_id, done.facts, after=self.task.version, writer=done.writer,
            blobs=done.blobs, forced=done.forced,
        )  # fmt: skip
        self.task.read_on(events[-1].version if events else None)
        self.watch(events)

    def use(self) -> None:
        """Record the model, profile and policy of the run where they differ from the last ones."""
        runtime = self.runtime
        used = settings_used(runtime.profile, runtime.policy, runtime.name, runtime.out)
        if [self.task.used] != used.facts:
            self.append(used)
        if cut := self.calls.budget.settled_cut():
            self.append(ActionResult(cut))
        budget = self.runtime.budget
        if budget is not None and budget != self.task.spending.allowed:
            limits = {name: most for name, most in budget._asdict().items() if most is not None}
            self.append(ActionResult([BudgetGranted(**limits)]))

    def reused(self) -> Claim | None:
        """Return a finished task's plan that holds for this one, where the policy uses such."""
        return reused_plan(self.task, self.spec) if self.runtime.policy.plans == "use" else None

    def unsummed(self, path: str) -> list[str]:
        """Return the nodes of a module that the model has yet to summarise."""
        if self.spec.summaries != "model":
            return []
        inputs, known = self.task.summary_inputs(), self.task.states.summaries
        modules = dependency_graph.present(self.task.states.graph)
        if path not in modules:
            return []
        facets, nodes = modules[path], [node_id("module", path)]
        nodes += [node_id(facets[f"sig:{name}"][0], path, name) for name in names_in(facets)]
        return [
            node
            for node in nodes
            if not any(inputs.modules.holds(s.made_of) for s in known.nodes.get(node, ()))
        ]


def _of_call(fact: Fact | Claim, call: int, module: str) -> Fact | Claim:
    """Return a fact that tells which call it follows from, where its kind can tell that."""
    if isinstance(fact, ModelFailed | AnswerRefused):
        return fact.model_copy(update={"call": call, "module_name": module})
    if isinstance(fact, ToolReturned):
        return fact.model_copy(update={"call": call})
    return fact
