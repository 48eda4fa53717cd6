"""Makes the calls of a run, alone or side by side: prompt, budget, question, answer, settlement.

A call stands in the log before it is made, with what is set aside for it, and is settled when it
has ended. Of calls that run side by side each answer is appended as it comes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    Claim,
    ContextBuilt,
    Fact,
    ModelFailed,
    StepStarted,
)
from backcast.engine.context.recorded import messages
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Call, Completion, Message, Model
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.so_far import AnswersSoFar
from backcast.engine.workflow.call_budget import CallBudget, PreparedCall
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import limits_for, request_of, schema_for
from backcast.engine.workflow.results import ActionResult, replied
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.engine.workflow.waves import LaneAction, module_of
from backcast.projections import progress


class Calls:
    """The calls of one run to its model."""

    def __init__(
        self,
        task: RunningTask,
        runtime: Runtime,
        spec: Spec,
        prompts: PromptBuilder,
        append: Callable[[ActionResult], None],
        runner: str,
    ) -> None:
        self.task, self.runtime, self.spec, self.prompts = task, runtime, spec, prompts
        self.model, self.append, self.runner = runtime.model, append, runner
        self.budget = CallBudget(task, runtime, prompts.tokenizer)
        self.coming = runtime.coming or AnswersSoFar()
        self.is_usable: Callable[[AskModel, Completion], bool] = lambda action, answer: True
        "Tells whether an answer could be used, where the first such of several wins."
        self.answered: Callable[[progress.PendingStep], None] = lambda step: None
        "Called with the step of each answer of a wave, as soon as it is in the log."

    # Alone

    def alone(self, action: AskModel) -> ActionResult:
        """Make one call, and return its answer or its failure as facts."""
        prepared = self._prepared("", action, self.task.stands)
        [admitted] = self.budget.admitted([prepared])
        limited = self.task.spending.allowed.limited
        [call] = self._begin([admitted], in_wave=False)
        began = monotonic()
        try:
            answer = self._ask(admitted, self.model, call)
        except ModelError as error:
            failed = ModelFailed(reason=str(error), kind=error.kind)
            cut = self._cut(admitted, call, "failed", error, monotonic() - began, needed=limited)
            return ActionResult([failed, *cut.facts], cut.blobs, error=error)
        except KeyboardInterrupt:
            error, seconds = CallCancelledError(), monotonic() - began
            if (
                cut := self._cut(admitted, call, "cancelled", error, seconds, needed=limited)
            ).facts:
                self.append(cut)
            raise
        so_far = self.coming.close(call)
        result = replied(answer, self.model.id, admitted.fact.tokens, call if limited else None)
        if not limited:
            return result
        settlement = self.budget.settled(call, admitted, "answered", answer, so_far=so_far)
        return result._replace(facts=[*result.facts, settlement])

    def _cut(
        self, prepared: PreparedCall, call: int, outcome: str, error: ModelError | None,
        seconds: float, *, needed: bool,
    ) -> ActionResult:  # fmt: skip
        """Return the settlement of a call without an answer, with what had come of one.

        Nothing where that is nothing, and a settlement is not `needed`.
        """
        so_far = self.coming.close(call)
        part, named, blobs = so_far.part, dict[str, str](), list[Blob]()
        if not (needed or part.came or so_far.earlier):
            return ActionResult([])
        for name, text in (("part", part.text), ("part_thinking", part.thinking)):
            if text:
                blobs.append(Blob(text.encode(errors="surrogatepass")))
                named[name] = blobs[-1].ref
        settled = self.budget.settled(
            call, prepared, outcome, error=error, seconds=seconds, so_far=so_far
        )
        return ActionResult([settled.model_copy(update=named)], blobs)

    # Side by side

    def together(
        self, actions: Sequence[LaneAction], concurrency: int
    ) -> dict[str, ModelError | InputError]:
        """Make calls side by side, append each answer as it comes, and return what failed by lane.

        All prompts are built as of now. Calls for which too little of the budget is left are not
        made; `ModelError` where it suffices for none.
        """
        failed = dict[str, ModelError | InputError]()
        ready = list[PreparedCall]()
        for lane, action in actions:
            assert isinstance(action, AskModel)
            try:
                seen = progress.seen_from(self.task.stands, lane)
                ready.append(self._prepared(lane, action, seen, beside=bool(ready)))
            except InputError as error:  # the others go on
                failed[lane] = error
        if not ready:
            return failed
        admitted = self.budget.admitted(ready)
        begun = iter(self._begin(admitted, in_wave=True))
        models, by_call = [self.model, *self.runtime.alternatives], dict[int, PreparedCall]()
        asked, races, kept = dict[int, Model](), list[Race](), set[str]()
        for prepared in admitted:
            calls = list[SideCall]()
            for model, call in zip(models, begun, strict=False):
                by_call[call], asked[call] = prepared, model
                ask = partial(self._ask, prepared, model, call)
                calls.append(SideCall(call, ask, prepared.limits.seconds))
            races.append(Race(calls, partial(self.is_usable, prepared.action)))

        def report(ended: EndedCall) -> None:
            prepared = by_call[ended.call.id]
            if ended.outcome in ("answered", "won"):
                kept.add(prepared.lane)
            elif ended.error is not None:
                failed.setdefault(prepared.lane, ended.error)
            self._report(prepared, ended, asked[ended.call.id])

        run_calls(races, report, concurrency)
        failed = {lane: why for lane, why in failed.items() if lane not in kept}
        # In the order of the plan, whatever the order in which they failed.
        facts = list[Fact | Claim]()
        for race in races:
            call, prepared = race.calls[0].id, by_call[race.calls[0].id]
            why, module = failed.get(prepared.lane), module_of(prepared.action)
            if isinstance(why, ModelError):
                failure = ModelFailed(reason=str(why), kind=why.kind)
                named = {"call": call, "module_name": module}
                facts.append(failure.model_copy(update=named))
        if facts:
            self.append(ActionResult(facts))
        # The one that is told is the first in the plan, whichever came first.
        return {lane: failed[lane] for lane, _ in actions if lane in failed}

    def _report(self, prepared: PreparedCall, ended: EndedCall, model: Model) -> None:
        """Append how a call of a wave ended; the answer of one that lost is kept, and not used."""
        call, answer = ended.call.id, ended.answer
        if answer is None:
            cut = self._cut(prepared, call, ended.outcome, ended.error, ended.seconds, needed=True)
            self.append(cut)
            return
        settlement = self.budget.settled(
            call, prepared, ended.outcome, answer, seconds=ended.seconds,
            so_far=self.coming.close(call),
        )  # fmt: skip
        if ended.outcome == "lost":
            text = Blob(answer.text.encode(errors="surrogatepass"))
            self.append(ActionResult([settlement.model_copy(update={"answer": text.ref})], [text]))
            return
        result = replied(answer, model.id, prepared.fact.tokens, call, module_of(prepared.action))
        self.append(result._replace(facts=[*result.facts, settlement]))
        lane = self.task.stands.lanes.get(prepared.lane)
        if lane and lane.step and lane.step.reply:
            self.answered(lane.step)

    # Each

    def _ask(
        self, prepared: PreparedCall, model: Model, number: int,
        cancellation: Cancellation | None = None,
    ) -> Completion:  # fmt: skip
        asked = [Message(role, text) for role, text in prepared.said]
        call = Call(self.task.task_id, *prepared.action, digest=prepared.fact.digest or "")
        so_far = self.coming.open(number)
        limits = prepared.limits._replace(cancellation=cancellation, so_far=so_far)
        schema = schema_for(prepared.action, self.spec)
        return model.complete(asked, limits, schema=schema, call=call)

    def _prepared(
        self, lane: str, action: AskModel, seen: progress.State, *, beside: bool = False
    ) -> PreparedCall:
        """Return a call with its prompt: a prompt that was built and never answered stays as it is.

        `beside`: another prompt was built just now, behind which this one will stand.
        """
        runtime = self.runtime
        limits = limits_for(action, seen, self.spec, runtime.policy, runtime.profile.generation)
        if seen.step and seen.step.context:
            built = self.task.event(seen.step.context).fact
            if isinstance(built, ContextBuilt):
                said = messages(built, self.task.store.get)
                return PreparedCall(lane, action, built, said, limits, seen.step.context)
        request = request_of(action, seen, self.spec)
        made = self.prompts.build(request, thinking=limits.thinking > 0, beside=beside)
        return PreparedCall(lane, action, made.fact, made.messages, limits, made=made)

    def _begin(self, calls: Sequence[PreparedCall], *, in_wave: bool) -> list[int]:
        """Append that calls are made, with their prompts, and return the versions of their starts.

        All stand in the log before the first is made.
        """
        claims, blobs, versions = list[Claim](), list[Blob](), list[int]()
        limited = self.task.spending.allowed.limited
        for prepared in calls:
            action = prepared.action
            extra: dict[str, object] = {"again": prepared.again} if prepared.again else {}
            if in_wave:
                extra["wave"] = prepared.fact.stood_at or 0
            if limited or in_wave:
                extra["reserved"] = self.budget.most(prepared)
            started = StepStarted(
                kind=action.kind, module_name=action.module, iteration=action.iteration,
                attempt=action.attempt, runner=self.runner, **extra,
            )  # fmt: skip
            versions.append(self.task.version + len(claims) + 1)
            context = prepared.again or versions[-1] + 1
            if prepared.made is None:
                claims.append(Claim(started, None, "loop", ()))
            else:
                made = prepared.made
                claims += [Claim(fact, made.at, "loop", ()) for fact in (started, made.fact)]
                blobs += made.blobs
            for number in range(1, len(self.runtime.alternatives) + 1 if in_wave else 1):
                versions.append(self.task.version + len(claims) + 1)
                update = {"again": context, "alternative": number}
                claims.append(Claim(started.model_copy(update=update), None, "loop", ()))
        self.append(ActionResult(claims, blobs))
        return versions
