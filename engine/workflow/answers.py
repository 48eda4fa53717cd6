"""What is made of an answer: a plan, a module with its checks, a summary, or a refusal."""

from collections.abc import Callable, Mapping, Sequence

from backcast.domain.cache import names_of
from backcast.domain.errors import InputError
from backcast.domain.events import (
    AnswerRefused,
    Claim,
    ModelReplied,
    ModuleIteration,
    PlanningComplete,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.node import node_id
from backcast.domain.outline import names_in
from backcast.domain.summary import LIMITS
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.model_summariser import VERSION as SUMMARISER
from backcast.engine.memory.model_summariser import filled, form_of, made_of
from backcast.engine.memory.summariser import limit_of
from backcast.engine.models import Completion
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.workflow.contracts import Code, RefusedError, code_of, plan_of
from backcast.engine.workflow.done import ActionResult, checked
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import Spec
from backcast.projections import dependency_graph, progress
from backcast.projections.progress import SHOW

Checks = Callable[[Mapping[str, bytes], Sequence[str], SandboxLimits], Outcome]
"Runs tests, by their paths, on files: `run_checks`, or what stands in for it."


class Answers:
    """Takes the answers of one run."""

    def __init__(
        self, running: RunningTask, spec: Spec, checks: Checks, tokenizer: Tokenizer,
        model_id: str, generation: int,
    ) -> None:  # fmt: skip
        """`generation`: the tokens that an answer may have."""
        self.running, self.spec, self.checks = running, spec, checks
        self.tokenizer, self.model_id, self.generation = tokenizer, model_id, generation

    def taken(self, step: progress.PendingStep) -> ActionResult:
        reply = self.running.event(step.reply)
        assert isinstance(reply.fact, ModelReplied)
        text = self._text(reply.fact)
        try:
            if reply.fact.finish == "length":
                raise RefusedError(self._cut(reply.fact))
            match step.kind:
                case "plan":
                    planned = plan_of(text, self.spec)
                    return ActionResult([PlanningComplete(planned=planned)], writer=reply.writer)
                case "summary":
                    return self._summed_up(step.module, text, reply.fact)
            code = code_of(text, step.module, self.spec.limits.nodes)
            if code.show:
                return self._shown(code)
            return self._tried(step, code, reply.writer)
        except RefusedError as error:
            return ActionResult([AnswerRefused(reason=f"Your last answer was not used: {error}")])

    def _cut(self, reply: ModelReplied) -> str:
        tokens = reply.tokens or self.generation
        return (
            f"it was cut off after {tokens} tokens. Answer without any explanation, in at most"
            f" {tokens // 2} tokens, about {max(1, tokens // 20)} lines"
        )

    def _tried(self, step: progress.PendingStep, code: Code, writer: str) -> ActionResult:
        """A module's new text, and what its tests say of it."""
        text = code.files[step.module].encode(errors="surrogatepass")
        planned = next(one for one in self.running.stands.planned if one.path == step.module)
        files = self.running.files() | {step.module: text}
        if not planned.tests:
            files = {path: body for path, body in files.items() if path not in given(self.spec)}
        try:
            outcome = self.checks(files, planned.tests, self.spec.checks)
        except InputError as error:
            raise RefusedError(str(error)) from None
        told = checked(outcome, step.module)
        ran = outcome.passed + outcome.failed + outcome.errors
        before = self.running.states.graph.modules.get(step.module)
        source = Blob(text, before.source if before else None)
        made = ModuleIteration(
            module_name=step.module, iteration=step.iteration, source=source.ref,
            score=round(outcome.passed / ran, 4) if ran else 0.0,
        )  # fmt: skip
        facts = [Claim(made, None, writer, ()), *told.facts]
        return ActionResult(facts, [source, *told.blobs], "sandbox")

    def _shown(self, code: Code) -> ActionResult:
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
        return ActionResult([called, returned])

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

    def _summed_up(self, node: str, text: str, reply: ModelReplied) -> ActionResult:
        """A summary that a model wrote, with all that it was made of."""
        then = self.running.summary_inputs()
        asked = then.asked(node)
        limit = limit_of(LIMITS, node)
        answer = Completion(text)
        form, problem = filled(form_of(node), answer, limit, self.tokenizer)
        if form is None or asked is None:
            raise RefusedError(problem or f"there is no {node}")
        made = made_of(asked, form, answer, self.tokenizer)
        name = f"{reply.model or self.model_id} {SUMMARISER}"
        claim, blobs = then.claim(node, made, name, self.running.version)
        return ActionResult([claim], blobs)

    def _text(self, reply: ModelReplied) -> str:
        body = self.running.store.get(reply.text) if reply.text else b""
        return body.decode(errors="surrogatepass")


def given(spec: Spec) -> list[str]:
    """The paths of the tests that came with the task."""
    return [one.path for one in spec.tests]
