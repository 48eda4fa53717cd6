"""Makes the calls of a run, alone or side by side: prompt, budget, question, answer, settlement.

A call stands in the log before it is made, with what is set aside for it, and is settled when it
has ended. Of calls that run side by side each answer is appended as it comes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from backcast.domain.call_events import CallSettled
from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    CallCost,
    Claim,
    Fact,
    ModelFailed,
    StepStarted,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Call, Completion, Message, Model
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.so_far import AnswersSoFar
from backcast.engine.models.warming import AskedPrompt, PrefixScheduler
from backcast.engine.workflow.ahead import AheadReader
from backcast.engine.workflow.call_budget import CallBudget, PreparedCall
from backcast.engine.workflow.call_prompts import CallPrompts
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.executor import EndedCall, Race, SideCall, run_calls
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import schema_for
from backcast.engine.workflow.results import ActionResult, replied, replied_again
from backcast.engine.workflow.reused_answers import ReusedAnswers, question_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.engine.workflow.waves import LaneAction, module_of
from backcast.projections import progress
from backcast.projections.completions import KnownAnswer


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
        self.coming = runtime.coming or AnswersSoFar()
        self.reused = ReusedAnswers(task.store, runtime.reuse)
        self.asked = CallPrompts(task, runtime, spec, prompts)
        self.scheduler = PrefixScheduler(runtime.model if runtime.warming != "no" else None)
        self.ahead = AheadReader(runtime, spec, prompts, self.scheduler)
        self.is_usable: Callable[[AskModel, Completion], bool] = lambda action, answer: True
        "Tells whether an answer could be used, where the first such of several wins."
        self.answered: Callable[[progress.PendingStep], None] = lambda step: None
        "Called with the step of each answer of a wave, as soon as it is in the log."

    # Alone

    def alone(self, action: AskModel) -> ActionResult:
        """Make one call, and return its answer or its failure as facts."""
        prepared = self.asked.prepared("", action, self.task.stands)
        if known := self._known(prepared):
            self._begin([[prepared]], in_wave=False, reused=True)
            return replied_again(known, prepared.fact.tokens, self._question(prepared))
        [admitted] = self.budget.admitted([prepared])
        limited = self.task.spending.allowed.limited
        [call] = self._begin([[admitted]], in_wave=False)
        slot = None
        if self.ahead.reads:
            self.end_reading({call: action})
            slot = self._slot(call, admitted)
        began = monotonic()
        try:
            answer = self._ask(admitted, self.model, call, slot=slot)
        except ModelError as error:
            failed = ModelFailed(reason=str(error), kind=error.kind)
            cut = self._cut(admitted, call, "failed", error, monotonic() - began, needed=limited)
            return ActionResult([failed, *cut.facts], cut.blobs, error=error)
        except KeyboardInterrupt:
            stopped, seconds = CallCancelledError(), monotonic() - began
            cut = self._cut(admitted, call, "cancelled", stopped, seconds, needed=limited)
            if cut.facts:
                self.append(cut)
            raise
        self.scheduler.ended(call, answer)
        so_far = self.coming.close(call)
        result = replied(
            answer, self.model.id, admitted.fact.tokens, call if limited else None,
            question=self._question(admitted),
        )  # fmt: skip
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

    def end_reading(self, calls: Mapping[int, AskModel]) -> None:
        """End what is read ahead, as calls have come, or as the run ends with none, and append what
        became of it."""
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

    def make_together(
        self, actions: Sequence[LaneAction], concurrency: int
    ) -> dict[str, ModelError | InputError]:
        """Make calls side by side, append each answer as it comes, and return what failed by lane.

        All prompts are built as of now. Calls for which too little of the budget is left are not
        made; `ModelError` where it suffices for none.
        """
        failed = dict[str, ModelError | InputError]()
        ready = list[list[PreparedCall]]()
        for lane, action in actions:
            assert isinstance(action, AskModel)
            try:
                seen = progress.seen_from(self.task.stands, lane)
                first = self.asked.prepared(lane, action, seen, beside=bool(ready))
                ready.append([first, *self.asked.alternatives(first, seen)])
            except InputError as error:  # the others go on
                failed[lane] = error
        known = self._use_known([race[0] for race in ready])
        ready = [race for race in ready if race[0].lane not in known]
        if not ready:
            return failed
        try:
            admitted = self.budget.admitted_races(ready)
        except ModelError:
            if not known:
                raise
            return failed  # those that are known cost nothing, and come first
        begun = iter(self._begin(admitted, in_wave=True))
        by_call, races, kept = dict[int, PreparedCall](), list[Race](), set[str]()
        for race in admitted:
            calls = list[SideCall]()
            for prepared, call in zip(race, begun, strict=False):
                by_call[call] = prepared
                ask = partial(self._ask, prepared, self._model_of(prepared), call)
                calls.append(SideCall(call, ask, prepared.limits.seconds))
            races.append(Race(calls, partial(self.is_usable, race[0].action)))

        def report(ended: EndedCall) -> None:
            prepared = by_call[ended.call.id]
            if ended.outcome in ("answered", "won"):
                kept.add(prepared.lane)
            elif ended.error is not None:
                failed.setdefault(prepared.lane, ended.error)
            self.scheduler.ended(ended.call.id, ended.answer)
            self._report(prepared, ended)

        asked = {call: self._model_of(prepared) for call, prepared in by_call.items()}
        self.end_reading({call: by_call[call].action for call in by_call})
        run_calls(self._placed(races, by_call, asked, concurrency), report, concurrency)
        failed = {lane: why for lane, why in failed.items() if lane not in kept}
        # In the order of the plan, whatever the order in which they failed.
        facts = list[Fact | Claim]()
        for ran in races:
            call, prepared = ran.calls[0].id, by_call[ran.calls[0].id]
            why, module = failed.get(prepared.lane), module_of(prepared.action)
            if isinstance(why, ModelError):
                failure = ModelFailed(reason=str(why), kind=why.kind)
                named = {"call": call, "module_name": module}
                facts.append(failure.model_copy(update=named))
        if facts:
            self.append(ActionResult(facts))
        # The one that is told is the first in the plan, whichever came first.
        return {lane: failed[lane] for lane, _ in actions if lane in failed}

    def _use_known(self, calls: Sequence[PreparedCall]) -> set[str]:
        """Append the answers that the log has to some calls, and return the lanes of these."""
        found = [(prepared, known) for prepared in calls if (known := self._known(prepared))]
        if not found:
            return set()
        versions = self._begin([[prepared] for prepared, _ in found], in_wave=True, reused=True)
        for (prepared, known), call in zip(found, versions, strict=True):
            module, question = module_of(prepared.action), self._question(prepared)
            again = replied_again(known, prepared.fact.tokens, question, call, module)
            settled = CallSettled(call=call, outcome="reused")
            self.append(again._replace(facts=[*again.facts, settled]))
            self._tell_answered(prepared)
        return {prepared.lane for prepared, _ in found}

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
            ask = partial(self._ask, prepared[call.id], asked[call.id], call.id, slot=slot)
            return call._replace(ask=ask, queue=slot)

        order = {call: number for number, call in enumerate(placed.order)}
        moved = [race._replace(calls=[read_by(call) for call in race.calls]) for race in races]
        return sorted(moved, key=lambda race: order.get(race.calls[0].id, len(order)))

    def _report(self, prepared: PreparedCall, ended: EndedCall) -> None:
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
        result = replied(
            answer, self._model_of(prepared).id, prepared.fact.tokens, call,
            module_of(prepared.action), self._question(prepared),
        )  # fmt: skip
        self.append(result._replace(facts=[*result.facts, settlement]))
        self._tell_answered(prepared)

    def _tell_answered(self, prepared: PreparedCall) -> None:
        lane = self.task.stands.lanes.get(prepared.lane)
        if lane and lane.step and lane.step.reply:
            self.answered(lane.step)

    # Each

    def _ask(
        self, prepared: PreparedCall, model: Model, number: int,
        cancellation: Cancellation | None = None, slot: int | None = None,
    ) -> Completion:  # fmt: skip
        asked = _messages(prepared)
        call = Call(self.task.task_id, *prepared.action, digest=prepared.fact.digest or "")
        so_far = self.coming.open(number)
        limits = prepared.limits._replace(cancellation=cancellation, so_far=so_far, slot=slot)
        schema = schema_for(prepared.action, self.spec)
        return model.complete(asked, limits, schema=schema, call=call)

    def _model_of(self, prepared: PreparedCall) -> Model:
        number = prepared.alternative
        return self.runtime.alternatives[number - 1].model if number else self.model

    def _question(self, prepared: PreparedCall) -> str:
        model, schema = self._model_of(prepared), schema_for(prepared.action, self.spec)
        return question_of(model, prepared.fact, prepared.limits, schema)

    def _known(self, prepared: PreparedCall) -> KnownAnswer | None:
        """Return the answer that the log has to a call; None where it is to be made."""
        return self.reused.find(self._model_of(prepared), self._question(prepared))

    def _begin(
        self, races: Sequence[Sequence[PreparedCall]], *, in_wave: bool, reused: bool = False
    ) -> list[int]:
        """Append that calls are made, with their prompts, and return the versions of their starts.

        All stand in the log before the first is made. `reused`: an answer to them is known.
        """
        claims, blobs, versions, context = list[Claim](), list[Blob](), list[int](), 0
        limited = self.task.spending.allowed.limited
        for prepared in (prepared for race in races for prepared in race):
            action, number = prepared.action, prepared.alternative
            versions.append(self.task.version + len(claims) + 1)
            if not number:
                context = prepared.again or versions[-1] + 1
            again = context if prepared.shares else prepared.again
            extra: dict[str, object] = {"again": again} if again else {}
            if in_wave:
                extra["wave"] = prepared.fact.stood_at or 0
            if reused and in_wave:
                extra["reserved"] = CallCost()
            elif not reused and (limited or in_wave):
                extra["reserved"] = self.budget.most(prepared)
            extra |= {"alternative": number} if number else {}
            started = StepStarted(
                kind=action.kind, module_name=action.module, iteration=action.iteration,
                attempt=action.attempt, runner=self.runner, **extra,
            )  # fmt: skip
            if (made := prepared.made) is None:
                claims.append(Claim(started, None, "loop", ()))
            else:
                claims += [Claim(fact, made.at, "loop", ()) for fact in (started, made.fact)]
                blobs += made.blobs
        self.append(ActionResult(claims, blobs))
        return versions


def _messages(prepared: PreparedCall) -> list[Message]:
    return [Message(role, text) for role, text in prepared.said]
