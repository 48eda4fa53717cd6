"""What each action does in the world, and the facts that tell of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from domain.cache import names_of
from domain.errors import ModelError
from domain.events import (
    AnswerRefused,
    ChecksRan,
    Claim,
    ContextBuilt,
    Fact,
    ModelFailed,
    ModelReplied,
    ModuleIteration,
    PlanningComplete,
    PolicyUsed,
    StepStarted,
    TaskComplete,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from domain.node import node_id
from domain.outline import names_in
from domain.summary import LIMITS
from engine.context.recorded import messages
from engine.context.tokenizers import UpperBound
from engine.log.blobs import Blob
from engine.memory.model_summariser import VERSION as SUMMARISER
from engine.memory.model_summariser import filled, form_of, made_of
from engine.memory.resummarise import Then
from engine.memory.summariser import Extractive, limit_of
from engine.models import Call, Completion, Limits, Message
from engine.workflow.contracts import SHOW, Code, RefusedError, code_of, plan_of
from engine.workflow.decide import Action, AskModel, CheckAll, Complete, Record, TakeAnswer
from engine.workflow.requests import limits_for, request_of, schema_for
from engine.workflow.running import Prompts, Running
from engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks
from engine.workflow.served import Served
from engine.workflow.spec import Spec
from projections import dependency_graph, progress

Checks = Callable[[Mapping[str, bytes], Sequence[str], SandboxLimits], Outcome]
"Runs tests among some files."
PREVIEW = 2_000
"Characters of a test run's output that stand in the fact itself."


class Done(NamedTuple):
    """What is to be appended."""

    facts: Sequence[Fact | Claim]
    blobs: Sequence[Blob] = ()
    writer: str = "loop"
    error: ModelError | None = None
    "Why the run stops here for now."


class Performer:
    """Performs the actions of one run."""

    def __init__(
        self,
        running: Running,
        served: Served,
        spec: Spec,
        *,
        runner: str,
        watch: Callable[[Sequence[WorkflowEvent]], None] = lambda events: None,
        checks: Checks = run_checks,
    ) -> None:
        """`runner` tells this process from all others; `watch` is told of what is appended."""
        self.running, self.served, self.model = running, served, served.model
        self.prompts = Prompts(running, served.profile, served.policy)
        self.spec, self.runner, self.watch, self.checks = spec, runner, watch, checks
        self.store, self.task_id = running.store, running.task_id

    def perform(self, action: Action) -> Done:
        """What comes of an action; a model is asked only after the log says that it will be."""
        match action:
            case AskModel():
                return self._asked(action)
            case TakeAnswer(step=step):
                return self._taken(step)
            case CheckAll():
                outcome = self.checks(self._files(), self._given(), self.spec.checks)
                return _checked(outcome, None)
            case Complete():
                return self._completed()
            case Record(facts=facts):
                return Done(facts)

    # Asking

    def _asked(self, action: AskModel) -> Done:
        built = self._begun(action)
        asked = [Message(role, text) for role, text in messages(built, self.store.get)]
        limits = self._limits(action)
        call = Call(self.task_id, *action, digest=built.digest or "")
        try:
            answer = self.model.complete(
                asked, limits, schema=schema_for(action, self.spec), call=call
            )
        except ModelError as error:
            return Done([ModelFailed(reason=str(error), kind=error.kind)], error=error)
        return _replied(answer, self.model.id, built.tokens)

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
            built = self._event(step.context).fact
            if isinstance(built, ContextBuilt):
                self.append(Done([told.model_copy(update={"again": step.context})]))
                return built
        request = request_of(action, self.running.stands, self.spec)
        fact, blobs = self.prompts.built(request, thinking=self._limits(action).thinking > 0)
        self.append(Done([told, fact], blobs))
        return fact

    def append(self, done: Done) -> None:
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
            self.append(Done([fact], [profile, policy]))

    # Taking what was answered

    def _taken(self, step: progress.Step) -> Done:
        reply = self._event(step.reply)
        assert isinstance(reply.fact, ModelReplied)
        text = self._text(reply.fact)
        try:
            if reply.fact.finish == "length":
                raise RefusedError(self._cut(reply.fact))
            match step.kind:
                case "plan":
                    planned = plan_of(text, self.spec)
                    return Done([PlanningComplete(planned=planned)], writer=reply.writer)
                case "summary":
                    return self._summed_up(step.module, text, reply.fact)
            code = code_of(text, step.module, self.spec.limits.nodes)
            if code.show:
                return self._shown(code)
            return self._tried(step, code, reply.writer)
        except RefusedError as error:
            return Done([AnswerRefused(reason=f"Your last answer was not used: {error}")])

    def _cut(self, reply: ModelReplied) -> str:
        tokens = reply.tokens or self.prompts.profile.generation
        return f"it was cut off after {tokens} tokens. Answer in at most {tokens // 2} tokens"

    def _tried(self, step: progress.Step, code: Code, writer: str) -> Done:
        """A module's new text, and what its tests say of it."""
        text = code.files[step.module].encode(errors="surrogatepass")
        planned = next(one for one in self.running.stands.planned if one.path == step.module)
        files = self._files() | {step.module: text}
        if not planned.tests:
            files = {path: body for path, body in files.items() if path not in self._given()}
        outcome = self.checks(files, planned.tests, self.spec.checks)
        told = _checked(outcome, step.module)
        ran = outcome.passed + outcome.failed + outcome.errors
        before = self.running.states.graph.modules.get(step.module)
        source = Blob(text, before.source if before else None)
        made = ModuleIteration(
            module_name=step.module, iteration=step.iteration, source=source.ref,
            score=round(outcome.passed / ran, 4) if ran else 0.0,
        )  # fmt: skip
        facts = [Claim(made, None, writer, ()), *told.facts]
        return Done(facts, [source, *told.blobs], "sandbox")

    def _shown(self, code: Code) -> Done:
        """What the model asks to see, as far as it is there."""
        state = self.running.stands
        if state.looks >= self.spec.limits.looks:
            raise RefusedError(f"you have looked {state.looks} times: answer with the code now")
        nodes = [(name, self._found(name)) for name in code.show]
        there = tuple(dict.fromkeys(node for _, node in nodes if node))
        missing = [name for name, node in nodes if not node]
        message = f"there is no {', '.join(missing)}" if missing else None
        called = ToolCalled(tool=SHOW, arguments={"nodes": list(code.show)})
        returned = ToolReturned(tool=SHOW, nodes=there, failed=bool(missing), message=message)
        return Done([called, returned])

    def _found(self, name: str) -> str:
        """The node that a name means; empty where none does, or several do."""
        facets = dependency_graph.present(self.running.states.graph)
        nodes = [node_id("module", path) for path in facets]
        for path in facets:
            kinds = ((one, facets[path].get(f"sig:{one}", ())) for one in names_in(facets[path]))
            nodes += [node_id(sig[0], path, one) for one, sig in kinds if sig]
        if name in nodes:
            return name
        same = [node for node in nodes if name in (*names_of(node), node.partition(":")[2])]
        return same[0] if len(same) == 1 else ""

    def _summed_up(self, node: str, text: str, reply: ModelReplied) -> Done:
        """A summary that a model wrote, with all that it was made of."""
        then = self.then()
        asked = then.asked(node)
        limit = limit_of(LIMITS, node)
        answer = Completion(text)
        form, problem = filled(form_of(node), answer, limit, self.prompts.tokenizer)
        if form is None or asked is None:
            raise RefusedError(problem or f"there is no {node}")
        made = made_of(asked, form, answer, self.prompts.tokenizer)
        name = self.summariser(reply.model or self.model.id)
        claim, blobs = then.claim(node, made, name, self.running.version)
        return Done([claim], blobs)

    def summariser(self, model: str) -> str:
        """Who a summary is by, as facts state it."""
        return f"{model} {SUMMARISER}"

    def unsummed(self, path: str) -> list[str]:
        """The nodes of a module that the model has still to sum up."""
        if self.spec.summaries != "model":
            return []
        then, known = self.then(), self.running.states.summaries
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

    def then(self) -> Then:
        """What summaries are made of, now."""
        states = self.running.states
        return Then(
            self.store, self.task_id, graph=states.graph, known=states.summaries,
            stands=states.progress,
        )  # fmt: skip

    def _completed(self) -> Done:
        """The task's summary, and its end: what it leaves is there for later tasks from now on."""
        then, node = self.then(), node_id("task", self.task_id)
        asked = then.asked(node)
        if asked is None:
            return Done([TaskComplete()])
        made = Extractive().summarise(asked, LIMITS, UpperBound())
        claim, _ = then.claim(node, made, Extractive.id, self.running.version)
        return Done([claim, TaskComplete()])

    # What stands in the log

    def _files(self) -> dict[str, bytes]:
        """The latest text of every module and test."""
        modules = self.running.states.graph.modules
        there = {path: modules[path].source for path in sorted(modules)}
        return {path: self.store.get(source) for path, source in there.items() if source}

    def _given(self) -> list[str]:
        return [one.path for one in self.spec.tests]

    def _event(self, version: int) -> WorkflowEvent:
        [event] = self.store.read(self.task_id, after=version - 1, last=version)
        return event

    def _text(self, reply: ModelReplied) -> str:
        body = self.store.get(reply.text) if reply.text else b""
        return body.decode(errors="surrogatepass")


def _replied(answer: Completion, id: str, predicted: int | None) -> Done:
    """What a model answered, as a fact."""
    text = Blob(answer.text.encode(errors="surrogatepass"))
    thinking = [Blob(answer.thinking.encode(errors="surrogatepass"))] if answer.thinking else []
    model = answer.model or id
    fact = ModelReplied(
        text=text.ref, model=model, finish=answer.finish, prompt_tokens=answer.prompt_tokens,
        predicted_tokens=predicted, tokens=answer.tokens, cached_tokens=answer.cached_tokens,
        seconds=answer.seconds, thinking=thinking[0].ref if thinking else None,
    )  # fmt: skip
    return Done([fact], [text, *thinking], model)


def _checked(outcome: Outcome, path: str | None) -> Done:
    """What a run of tests came to, as a fact."""
    output = outcome.output.decode(errors="replace")
    long = [Blob(outcome.output)] if len(output) > PREVIEW else []
    fact = ChecksRan(
        passed=outcome.passed, failed=outcome.failed, errors=outcome.errors, module_name=path,
        failures=outcome.failures, preview=output[-PREVIEW:],
        output=long[0].ref if long else None, contained=outcome.contained,
        isolation=dict(outcome.isolation), seconds=round(outcome.seconds, 3),
        coverage=dict(outcome.coverage),
    )  # fmt: skip
    return Done([fact], long, "sandbox")
