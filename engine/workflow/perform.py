"""Carries out the actions of a run: asks the model, runs tests, and returns facts."""

import json
from collections.abc import Callable, Sequence
from functools import partial

from backcast.domain.errors import ModelError
from backcast.domain.events import (
    Claim,
    ContextBuilt,
    ModelFailed,
    PolicyUsed,
    StepStarted,
    TaskComplete,
    WorkflowEvent,
)
from backcast.domain.node import node_id
from backcast.domain.outline import names_in
from backcast.domain.summary import LIMITS
from backcast.engine.context.recorded import messages
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.summariser import Extractive
from backcast.engine.models import Call, Limits, Message
from backcast.engine.workflow.answers import (
    ActionResult,
    Answers,
    Checks,
    checks_ran,
    given,
    replied,
    with_some_run,
)
from backcast.engine.workflow.decide import (
    Action,
    AppendFacts,
    AskModel,
    CheckAll,
    Complete,
    TakeAnswer,
    UsePlan,
)
from backcast.engine.workflow.plan_reuse import reused_plan
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import limits_for, request_of, schema_for
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import run_checks
from backcast.engine.workflow.spec import Spec
from backcast.projections import dependency_graph


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

    def perform(self, action: Action) -> ActionResult:
        """Carry out an action and return its result; the log announces a model's call first."""
        match action:
            case AskModel():
                return self._ask(action)
            case TakeAnswer(step=step):
                return self.answers.take(step)
            case CheckAll():
                outcome = self.checks(self.task.files(), given(self.spec), self.spec.checks)
                return checks_ran(with_some_run(outcome), None)
            case Complete():
                return self._complete()
            case AppendFacts(facts=facts):
                return ActionResult(facts, forced=False)  # they follow from what is on the disk
            case UsePlan(claim=claim):
                return ActionResult([claim])

    # Asking

    def _ask(self, action: AskModel) -> ActionResult:
        built, said = self._begin(action)
        asked = [Message(role, text) for role, text in said]
        limits = self._limits(action)
        call = Call(self.task_id, *action, digest=built.digest or "")
        try:
            answer = self.model.complete(
                asked, limits, schema=schema_for(action, self.spec), call=call
            )
        except ModelError as error:
            return ActionResult([ModelFailed(reason=str(error), kind=error.kind)], error=error)
        return replied(answer, self.model.id, built.tokens)

    def _limits(self, action: AskModel) -> Limits:
        return limits_for(
            action,
            self.task.stands,
            self.spec,
            self.runtime.policy,
            self.runtime.profile.generation,
        )

    def _begin(self, action: AskModel) -> tuple[ContextBuilt, Sequence[tuple[str, str]]]:
        """Append that a step starts, with its prompt, and return the prompt and its messages.

        A prompt that was built and never answered is asked again unchanged.
        """
        step = self.task.stands.step
        started = StepStarted(
            kind=action.kind, module_name=action.module, iteration=action.iteration,
            attempt=action.attempt, runner=self.runner,
        )  # fmt: skip
        if step and step.context:
            built = self.task.event(step.context).fact
            if isinstance(built, ContextBuilt):
                self.append(ActionResult([started.model_copy(update={"again": step.context})]))
                return built, messages(built, self.store.get)
        request = request_of(action, self.task.stands, self.spec)
        made = self.prompts.build(request, thinking=self._limits(action).thinking > 0)
        claims = [Claim(fact, made.at, "loop", ()) for fact in (started, made.fact)]
        self.append(ActionResult(claims, made.blobs))
        return made.fact, made.messages

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
        name, out = self.runtime.name, self.runtime.out
        profile = Blob(json.dumps(self.runtime.profile._asdict(), sort_keys=True).encode())
        policy = Blob(self.runtime.policy.body)
        fact = PolicyUsed(policy=policy.ref, profile=profile.ref, model=name, out=out)
        if self.task.used != fact:
            self.append(ActionResult([fact], [profile, policy]))

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

    def _complete(self) -> ActionResult:
        """Summarise the task and end it: later tasks see its results from now on."""
        inputs, node = self.task.summary_inputs(), node_id("task", self.task_id)
        # The summary is appended together with the end, and is read after it.
        inputs.stands = self.task.stands._replace(status="complete")
        asked = inputs.node_facts(node)
        if asked is None:
            return ActionResult([TaskComplete()])
        made = Extractive().summarise(asked, LIMITS, self.prompts.tokenizer)
        claim, _ = inputs.claim(node, made, Extractive.id, self.task.version)
        return ActionResult([claim, TaskComplete()])
