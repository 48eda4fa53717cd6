"""Makes the calls of a run, alone or side by side: prompt, budget, question, answer, settlement.

A call stands in the log before it is made, with what is set aside for it, and is settled when it
has ended. Of calls that run side by side each answer is appended as it comes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

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
from backcast.engine.models.warming import AskedPrompt, PrefixScheduler
from backcast.engine.workflow.ahead import AheadReader
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
        self.budget = CallBudget(task, runtime)
        self.scheduler = PrefixScheduler(runtime.model if runtime.warming != "no" else None)
        self.ahead = AheadReader(runtime, spec, prompts, self.scheduler)
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
        slot = None
        if self.ahead.reads:
            self._end_reading({call: action})
            slot = self._slot(call, admitted)
        try:
            answer = self._ask(admitted, self.model, None, slot)
        except ModelError as error:
            failed = ModelFailed(reason=str(error), kind=error.kind)
            settled = (
                [self.budget.settled(call, admitted, "failed", error=error)] if limited else []
            )
            return ActionResult([failed, *settled], error=error)
        except KeyboardInterrupt:
            if limited:
                cut = CallCancelledError()
                self.append(
                    ActionResult([self.budget.settled(call, admitted, "cancelled", error=cut)])
                )
            raise
        self.scheduler.ended(call, answer)
        result = replied(answer, self.model.id, admitted.fact.tokens, call if limited else None)
        if not limited:
            return result
        settlement = self.budget.settled(call, admitted, "answered", answer)
        return result._replace(facts=[*result.facts, settlement])

    def _end_reading(self, calls: Mapping[int, AskModel]) -> None:
        """End what is read ahead, as calls have come, and append what became of it."""
        if facts := self.ahead.ended(calls):
            self.append(ActionResult(facts))

    def _slot(self, call: int, prepared: PreparedCall) -> int | None:
        """Return the slot of a call alone, where others read ahead: None for a model without."""
        if self.scheduler.slots < 2:
            return None
        return self.scheduler.best(AskedPrompt(
            call, _messages(prepared), prepared.limits, prepared.fact.tokens or 0
        ))  # fmt: skip

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
                ask = partial(self._ask, prepared, model)
                calls.append(SideCall(call, ask, prepared.limits.seconds))
            races.append(Race(calls, partial(self.is_usable, prepared.action)))

        def report(ended: EndedCall) -> None:
            prepared = by_call[ended.call.id]
            if ended.outcome in ("answered", "won"):
                kept.add(prepared.lane)
            elif ended.error is not None:
                failed.setdefault(prepared.lane, ended.error)
            self.scheduler.ended(ended.call.id, ended.answer)
            self._report(prepared, ended, asked[ended.call.id])

        self._end_reading({call: by_call[call].action for call in by_call})
        run_calls(self._placed(races, by_call, asked, concurrency), report, concurrency)
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

    def _placed(
        self,
        races: Sequence[Race],
        prepared: Mapping[int, PreparedCall],
        asked: Mapping[int, Model],
        concurrency: int,
    ) -> list[Race]:
        """Return calls by the slots of the server that read them, once these have read what
        several of the prompts begin with."""
        prompts = [
            AskedPrompt(
                call, _messages(prepared[call]), prepared[call].limits,
                prepared[call].fact.tokens or 0,
            )
            for call, model in asked.items() if model is self.model
        ]  # fmt: skip
        placed = self.scheduler.place(prompts, concurrency)
        if placed.facts:
            self.append(ActionResult(placed.facts))

        def read_by(call: SideCall) -> SideCall:
            slot = placed.slots.get(call.id)
            if slot is None:
                return call
            ask = partial(self._ask, prepared[call.id], asked[call.id], slot=slot)
            return call._replace(ask=ask, queue=slot)

        order = {call: number for number, call in enumerate(placed.order)}
        moved = [race._replace(calls=[read_by(call) for call in race.calls]) for race in races]
        return sorted(moved, key=lambda race: order.get(race.calls[0].id, len(order)))

    def _report(self, prepared: PreparedCall, ended: EndedCall, model: Model) -> None:
        """Append how a call of a wave ended; the answer of one that lost is kept, and not used."""
        call, answer = ended.call.id, ended.answer
        settlement = self.budget.settled(
            call, prepared, ended.outcome, answer, ended.error, seconds=ended.seconds
        )
        if answer is None or ended.outcome == "lost":
            text = [Blob(answer.text.encode(errors="surrogatepass"))] if answer else []
            named = {"answer": text[0].ref} if text else {}
            self.append(ActionResult([settlement.model_copy(update=named)], text))
            return
        result = replied(answer, model.id, prepared.fact.tokens, call, module_of(prepared.action))
        self.append(result._replace(facts=[*result.facts, settlement]))
        lane = self.task.stands.lanes.get(prepared.lane)
        if lane and lane.step and lane.step.reply:
            self.answered(lane.step)

    # Each

    def _ask(
        self,
        prepared: PreparedCall,
        model: Model,
        cancellation: Cancellation | None,
        slot: int | None = None,
    ) -> Completion:
        asked = _messages(prepared)
        call = Call(self.task.task_id, *prepared.action, digest=prepared.fact.digest or "")
        limits = prepared.limits._replace(cancellation=cancellation, slot=slot)
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


def _messages(prepared: PreparedCall) -> list[Message]:
    return [Message(role, text) for role, text in prepared.said]
