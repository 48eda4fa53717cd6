"""What each action does in the world, and the facts that tell of it."""

import json
from collections.abc import Callable, Sequence

from backcast.domain.errors import ModelError
from backcast.domain.events import (
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
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.workflow.answers import Answers, Checks, given
from backcast.engine.workflow.decide import (
    Action,
    AppendFacts,
    AskModel,
    CheckAll,
    Complete,
    TakeAnswer,
)
from backcast.engine.workflow.done import ActionResult, checked, replied
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import limits_for, request_of, schema_for
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import run_checks
from backcast.engine.workflow.spec import Spec
from backcast.projections import dependency_graph


class Performer:
    """Performs the actions of one run."""

    def __init__(
        self,
        running: RunningTask,
        served: Runtime,
        spec: Spec,
        *,
        runner: str,
        watch: Callable[[Sequence[WorkflowEvent]], None] = lambda events: None,
        checks: Checks = run_checks,
    ) -> None:
        """`runner` tells this process from all others; `watch` is told of what is appended."""
        self.running, self.served, self.model = running, served, served.model
        self.prompts = PromptBuilder(running, served.profile, served.policy)
        self.spec, self.runner, self.watch, self.checks = spec, runner, watch, checks
        self.answers = Answers(
            running, spec, checks, self.prompts.tokenizer, self.model.id,
            served.profile.generation,
        )  # fmt: skip
        self.store, self.task_id = running.store, running.task_id

    def perform(self, action: Action) -> ActionResult:
        """What comes of an action; a model is asked only after the log says that it will be."""
        match action:
            case AskModel():
                return self._asked(action)
            case TakeAnswer(step=step):
                return self.answers.taken(step)
            case CheckAll():
                outcome = self.checks(self.running.files(), given(self.spec), self.spec.checks)
                return checked(outcome, None)
            case Complete():
                return self._completed()
            case AppendFacts(facts=facts):
                return ActionResult(facts)

    # Asking

    def _asked(self, action: AskModel) -> ActionResult:
        built = self._begun(action)
        asked = [Message(role, text) for role, text in messages(built, self.store.get)]
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
        used = self.served
        return limits_for(
            action, self.running.stands, self.spec, used.policy, used.profile.generation
        )

    def _begun(self, action: AskModel) -> ContextBuilt:
        """The prompt, after the log has taken it that it will be asked now.

        One that was built and never answered is asked as it was.
        """
        step = self.running.stands.step
        told = StepStarted(
            kind=action.kind, module_name=action.module, iteration=action.iteration,
            attempt=action.attempt, runner=self.runner,
        )  # fmt: skip
        if step and step.context:
            built = self.running.event(step.context).fact
            if isinstance(built, ContextBuilt):
                self.append(ActionResult([told.model_copy(update={"again": step.context})]))
                return built
        request = request_of(action, self.running.stands, self.spec)
        fact, blobs = self.prompts.built(request, thinking=self._limits(action).thinking > 0)
        self.append(ActionResult([told, fact], blobs))
        return fact

    def append(self, done: ActionResult) -> None:
        """Append after the last event that was read, and read it on."""
        events = self.store.append(
            self.task_id, done.facts, after=self.running.version, writer=done.writer,
            blobs=done.blobs,
        )  # fmt: skip
        self.running.read_on()
        self.watch(events)

    def use(self) -> None:
        """Tell which model, profile and policy the run goes on with, where that is new."""
        name, out = self.served.name, self.served.out
        profile = Blob(json.dumps(self.served.profile._asdict(), sort_keys=True).encode())
        policy = Blob(self.served.policy.body)
        fact = PolicyUsed(policy=policy.ref, profile=profile.ref, model=name, out=out)
        if self.running.used != fact:
            self.append(ActionResult([fact], [profile, policy]))

    def unsummed(self, path: str) -> list[str]:
        """The nodes of a module that the model has still to sum up."""
        if self.spec.summaries != "model":
            return []
        then, known = self.running.summary_inputs(), self.running.states.summaries
        modules = dependency_graph.present(self.running.states.graph)
        if path not in modules:
            return []
        facets, nodes = modules[path], [node_id("module", path)]
        nodes += [node_id(facets[f"sig:{one}"][0], path, one) for one in names_in(facets)]
        return [
            node
            for node in nodes
            if not any(then.modules.holds(one.made_of) for one in known.nodes.get(node, ()))
        ]

    def _completed(self) -> ActionResult:
        """The task's summary, and its end: what it leaves is there for later tasks from now on."""
        then, node = self.running.summary_inputs(), node_id("task", self.task_id)
        asked = then.asked(node)
        if asked is None:
            return ActionResult([TaskComplete()])
        made = Extractive().summarise(asked, LIMITS, UpperBound())
        claim, _ = then.claim(node, made, Extractive.id, self.running.version)
        return ActionResult([claim, TaskComplete()])
