"""Turns a model's answer into facts: a plan, a module with its checks, a summary, or a refusal."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Semaphore
from typing import NamedTuple

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
from backcast.engine.context.recall.references import is_reference, piece_of
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.model_summariser import VERSION as SUMMARISER
from backcast.engine.memory.model_summariser import contradicted, filled, form_of, made_of
from backcast.engine.memory.summariser import limit_of
from backcast.engine.models import Completion
from backcast.engine.workflow.code_answers import Code, code_of
from backcast.engine.workflow.contracts import json_in, plan_of
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.executor import in_thread, result_of
from backcast.engine.workflow.prompts import PromptBuilder
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.results import ActionResult, checks_ran
from backcast.engine.workflow.said import said
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import Spec
from backcast.projections import dependency_graph, progress
from backcast.projections.progress import SHOW

log = logging.getLogger("backcast")

Checks = Callable[[Mapping[str, bytes], Sequence[str], SandboxLimits], Outcome]
"Runs tests, given by their paths, on files: `run_checks` or a stand-in."


WANTED = {"plan": "the JSON", "summary": "the JSON", "code": "the fenced block"}
"What the model is to answer with, by the kind of step."


class ReadAnswer(NamedTuple):
    """An answer as it is read."""

    text: str
    thought: str


class Answers:
    """The reader of a run's answers."""

    def __init__(self, prompts: PromptBuilder, spec: Spec, checks: Checks, model_id: str) -> None:
        self.prompts, self.task = prompts, prompts.task
        self.spec, self.checks, self.model_id = spec, checks, model_id
        self._cores = Semaphore(os.cpu_count() or 1)
        self.running: dict[int, Future[Outcome]] = {}
        "Checks that run already, by the version of the MODEL_REPLIED whose code they check."

        self.ask: Callable[[progress.PendingStep, progress.State, Code], ActionResult] = _unasked
        "Makes a fact of the question that an answer asks."

    def check_ahead(self, step: progress.PendingStep) -> None:
        """Begin the checks of an answer with code, so that they run beside other calls.

        What follows from it is what `take` returns, at its place among the others.
        """
        try:
            code = self._code(step)
            if code.files:
                files, tests = self._to_check(step, code)
                run = partial(self._checked, files, tests)
                self.running[step.reply] = in_thread(run)
        except RefusedError:
            pass  # `take` says why

    def _checked(self, files: Mapping[str, bytes], tests: Sequence[str]) -> Outcome:
        with self._cores:  # or they would take each other's time
            return self.checks(files, tests, self.spec.checks)

    def take(self, step: progress.PendingStep, seen: progress.State) -> ActionResult:
        """Return the facts that follow from the answer to a step.

        `seen` is the progress as the step stands in it.
        """
        reply = self.task.event(step.reply)
        assert isinstance(reply.fact, ModelReplied)
        try:
            text = self._text(reply.fact, step.kind)
            match step.kind:
                case "plan":
                    planned = plan_of(text, self.spec)
                    return ActionResult([PlanningComplete(planned=planned)], writer=reply.writer)
                case "summary":
                    return self._take_summary(step.module, text, reply.fact)
            code = self._parsed(text, step.module)
            if code.question:
                return self.ask(step, seen, code)
            if code.show:
                return self._show(code, seen.looks)
            return self._check(step, code, reply.writer)
        except RefusedError as error:
            return ActionResult([AnswerRefused(reason=f"Your last answer was not used: {error}")])

    def is_usable(self, action: AskModel, answer: Completion) -> bool:
        """Tell whether an answer is whole, and code where code was asked for."""
        text = said(answer.text).text
        if answer.finish == "length" or not text.strip():
            return False
        try:
            if action.kind == "code":
                self._parsed(text, action.module)
            return True
        except RefusedError:
            return False

    def body_of(self, step: progress.PendingStep) -> bytes | None:
        """Return the text of the module that an answer holds; None where it holds none."""
        try:
            code = self._code(step)
        except RefusedError:
            return None
        return _body(code, step.module) if code.files else None

    def _parsed(self, text: str, path: str) -> Code:
        limits = self.spec.limits
        return code_of(text, path, limits.nodes, asks=bool(limits.asks))

    def _code(self, step: progress.PendingStep) -> Code:
        reply = self.task.event(step.reply).fact
        assert isinstance(reply, ModelReplied)
        return self._parsed(self._text(reply, step.kind), step.module)

    def _text(self, reply: ModelReplied, kind: str) -> str:
        """Return what a model said; `RefusedError` where that is not whole, or nothing."""
        text = self._said(reply)
        if reply.finish == "length":
            raise RefusedError(self._cut_off(text, reply, kind))
        if not text.text.strip():
            raise RefusedError(self._empty(text, reply, kind))
        return text.text

    def _cut_off(self, answer: ReadAnswer, reply: ModelReplied, kind: str) -> str:
        tokens = reply.tokens or self.prompts.profile.generation
        short = f"in at most {tokens // 2} tokens, about {max(1, tokens // 20)} lines"
        if not answer.thought:
            return f"it was cut off after {tokens} tokens. Answer without any explanation, {short}"
        if not answer.text.strip():
            return (
                f"it was cut off after {tokens} tokens, and all of them were thinking: there is no"
                " answer. Think little or not at all, and answer with"
                f" {WANTED[kind]} alone, {short}"
            )
        return (
            f"it was cut off after {tokens} tokens, about {self._thought(answer, reply)} of them"
            f" for thinking. Think less, and answer with {WANTED[kind]} alone, {short}"
        )

    def _empty(self, answer: ReadAnswer, reply: ModelReplied, kind: str) -> str:
        if not answer.thought:
            return f"it was empty. Answer with {WANTED[kind]}"
        return (
            f"it was empty but for thinking ({self._thought(answer, reply)} tokens). Think less,"
            f" and then write {WANTED[kind]} as the answer itself: what is only thought is not read"
        )

    def _check(self, step: progress.PendingStep, code: Code, writer: str) -> ActionResult:
        """Record a module's new text and the results of its tests."""
        try:
            if step.reply in self.running:
                outcome = result_of(self.running.pop(step.reply))
            else:
                outcome = self.checks(*self._to_check(step, code), self.spec.checks)
        except InputError as error:
            raise RefusedError(str(error)) from None
        text = _body(code, step.module)
        tests = checks_ran(outcome, step.module)
        ran = outcome.passed + outcome.failed + outcome.errors
        before = self.task.states.graph.modules.get(step.module)
        source = Blob(text, before.source if before else None)
        made = ModuleIteration(
            module_name=step.module, iteration=step.iteration, source=source.ref,
            score=round(outcome.passed / ran, 4) if ran else 0.0,
        )  # fmt: skip
        facts = [Claim(made, None, writer, ()), *tests.facts]
        # The answer is on the disk: what follows from it is soon made again.
        return ActionResult(facts, [source, *tests.blobs], "sandbox", forced=False)

    def _to_check(
        self, step: progress.PendingStep, code: Code
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Return the files that a module's checks need, its new text among them, and its tests."""
        planned = next(m for m in self.task.stands.planned if m.path == step.module)
        files = self.task.files() | {step.module: _body(code, step.module)}
        if not planned.tests:
            files = {path: body for path, body in files.items() if path not in given(self.spec)}
        return files, planned.tests

    def _show(self, code: Code, looks: int) -> ActionResult:
        """Record the nodes that the model asked to see, as far as they exist."""
        if looks >= self.spec.limits.looks:
            raise RefusedError(f"you have looked {looks} times: answer with the code now")
        nodes = [(name, self._find(name)) for name in code.show if not is_reference(name)]
        known, unknown = self._texts_of(name for name in code.show if is_reference(name))
        existing = tuple(dict.fromkeys([*(node for _, node in nodes if node), *known]))
        missing = [name for name, node in nodes if not node]
        no = [f"there is no {', '.join(missing)}"] if missing else []
        message = "; ".join([*no, *unknown]) or None
        called = ToolCalled(tool=SHOW, arguments={"nodes": list(code.show)})
        returned = ToolReturned(tool=SHOW, nodes=existing, failed=bool(message), message=message)
        return ActionResult([called, returned])

    def _texts_of(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return references to text of earlier work, and for those without one the reason."""
        known, unknown = list[str](), list[str]()
        for name in names:
            try:
                piece_of(self.prompts.builder.cache, self.task.states, name)
                known.append(name)
            except InputError as error:
                unknown.append(str(error))
        return known, unknown

    def _find(self, name: str) -> str:
        """Return the node that a name means; empty unless exactly one matches."""
        facets = dependency_graph.present(self.task.states.graph)
        nodes = [node_id("module", path) for path in facets]
        for path in facets:
            kinds = ((n, facets[path].get(f"sig:{n}", ())) for n in names_in(facets[path]))
            nodes += [node_id(sig[0], path, symbol) for symbol, sig in kinds if sig]
        if name in nodes:
            return name
        same = [node for node in nodes if name in (*names_of(node), node.partition(":")[2])]
        return same[0] if len(same) == 1 else ""

    def _take_summary(self, node: str, text: str, reply: ModelReplied) -> ActionResult:
        """Record a summary that a model wrote, with its sources."""
        inputs = self.task.summary_inputs()
        asked = inputs.node_facts(node)
        limit = limit_of(LIMITS, node)
        answer = Completion(json_in(text))
        form, problem = filled(form_of(node), answer, limit, self.prompts.tokenizer)
        if asked is None:
            raise RefusedError(f"there is no {node}")
        problem = problem or contradicted(asked, form)
        if form is None or problem:
            raise RefusedError(problem)
        made = made_of(asked, form, answer, self.prompts.tokenizer)
        for reason in made.refused:
            log.warning("%s: left out: %s", node, reason)
        name = f"{reply.model or self.model_id} {SUMMARISER}"
        claim, blobs = inputs.claim(node, made, name, self.task.version)
        return ActionResult([claim], blobs)

    def _said(self, reply: ModelReplied) -> ReadAnswer:
        body = self.task.store.get(reply.text) if reply.text else b""
        spoken = said(body.decode(errors="surrogatepass"))
        apart = self.task.store.get(reply.thinking) if reply.thinking else b""
        return ReadAnswer(spoken.text, apart.decode(errors="replace") + spoken.thought)

    def _thought(self, answer: ReadAnswer, reply: ModelReplied) -> int:
        """Return the tokens that were thought, the model's own count where nothing else was."""
        if not answer.text.strip() and reply.tokens:
            return reply.tokens
        counted = self.prompts.tokenizer.count(answer.thought)
        return min(counted, reply.tokens or counted)


def _unasked(step: progress.PendingStep, seen: progress.State, code: Code) -> ActionResult:
    raise RefusedError("no questions are answered here")


def _body(code: Code, path: str) -> bytes:
    return code.files[path].encode(errors="surrogatepass")


def given(spec: Spec) -> list[str]:
    """Return the paths of the tests that came with the task."""
    return [test.path for test in spec.tests]
