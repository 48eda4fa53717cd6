"""Works on a question until it has an answer: reads its log, asks the model, does what it says.

All its knowledge comes from the log. A question that was cut off goes on where its log ends, and
asks again only what has no answer there. What a question sees depends on its own actions alone, and
what it may spend on what its asker had left: so in whatever order the calls end, they are the same.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from backcast.domain.cache import LookUpPolicy, look_up
from backcast.domain.context import Context
from backcast.domain.errors import BudgetExceededError, InputError, ModelError
from backcast.domain.events import (
    AnswerRefused,
    AskedSubject,
    BudgetGranted,
    Claim,
    ContextBuilt,
    Fact,
    ModelFailed,
    PolicyUsed,
    QuestionAsked,
    StepStarted,
    TaskStarted,
    WorkflowEvent,
)
from backcast.domain.spending import Amounts, short_of
from backcast.engine.context.prefix import compared
from backcast.engine.context.recorded import fact_of, messages
from backcast.engine.context.request import Request
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models import Call, Completion, Limits, Message
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.ask.actions import read_action, schema_of, words_in
from backcast.engine.workflow.ask.doing import ActionDoer, DoneAction
from backcast.engine.workflow.ask.limits import AskLimits
from backcast.engine.workflow.ask.subject import Subject
from backcast.engine.workflow.ask.words import POLICY, VERSION, StepBuilder
from backcast.engine.workflow.call_budget import CallBudget, PreparedCall
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.executor import EndedCall, Further, Race, Report, SideCall, run_calls
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.results import replied
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import questions, spending
from backcast.projections.questions import FIRST, KIND

Watch = Callable[[Sequence[WorkflowEvent]], None]
Run = Callable[[Sequence[Race], Report, int, Further], None]
REPAIRS = 1
"Replies that could not be used, after which the next one ends the question."


def start(
    store: EventStore, task_id: str, text: str, subject: AskedSubject, limits: AskLimits,
    about: str = "",
) -> None:  # fmt: skip
    """Begin a task that answers a question. `InputError` where the task exists already."""
    if store.version(task_id):
        raise InputError(
            f"task {task_id!r} is in this store already: 'backcast show answer {task_id}' shows"
            f" what it found, 'backcast resume {task_id}' goes on with it; to ask anew, name"
            " another --task"
        )
    if not text.strip():
        raise InputError("needed a question, found no words")
    asked = {"about": about} if about else {}
    facts: list[Fact] = [
        TaskStarted(goal=text),
        QuestionAsked(
            name=FIRST, text=text, limits=limits._asdict(), subject=subject, **asked
        ),
    ]  # fmt: skip
    store.append(task_id, facts, after=0, writer="ask")


class AskedTask:
    """The task of a question, up to the last event that was read."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.store, self.task_id, self.version = store, task_id, 0
        self.asked: questions.State = questions.initial
        self.spending: spending.State = spending.initial
        self.used: PolicyUsed | None = None

    def read_on(self) -> None:
        """Read new events."""
        for event in self.store.read(self.task_id, after=self.version):
            self.version = event.version
            self.asked = questions.evolve(self.asked, event)
            self.spending = spending.evolve(self.spending, event)
            if isinstance(event.fact, PolicyUsed):
                self.used = event.fact

    def event(self, version: int) -> WorkflowEvent:
        """Return the event at a version of the task."""
        [event] = self.store.read(self.task_id, after=version - 1, last=version)
        return event


class Asking:
    """What works on one question, and on all that it asks further."""

    def __init__(
        self,
        store: EventStore,
        task_id: str,
        runtime: Runtime,
        subject: Subject,
        *,
        runner: str = "",
        watch: Watch = lambda events: None,
        seconds: float = 600.0,
        run: Run = run_calls,
    ) -> None:
        """`seconds` are the most for one call; `run` runs calls in place of the executor."""
        self.task, self.runtime, self.subject = AskedTask(store, task_id), runtime, subject
        self.runner, self.watch, self.seconds, self.run = runner or uuid4().hex, watch, seconds, run
        self.budget = CallBudget(self.task, runtime)
        self.tokenizer = tokenizer_of(runtime.profile.tokenizer)
        self.builder = StepBuilder(runtime.profile, self.tokenizer, store.get)
        self.doer = ActionDoer(store, subject, self.tokenizer, runtime.price)
        self.flying: dict[int, PreparedCall] = {}
        "The open calls, by the version of their STEP_STARTED."
        self.stopped: ModelError | None = None
        "Why the first question itself got no answer of the model."
        self._last: Sequence[PromptPiece] = ()

    def work(self) -> questions.State:
        """Work until the question has an answer, and return the questions.

        `ModelError` where the model gives none to the first question itself: the log then holds all
        that was found, and another call goes on from there.
        """
        self.task.read_on()
        self._use()
        try:
            if races := self._further():
                self.run(races, self._report, self.runtime.concurrency, self._further)
        finally:
            self.task.store.force()
        if self.stopped:
            raise self.stopped
        return self.task.asked

    def _use(self) -> None:
        """Record the model and its budget where they differ from the last; settle what was cut."""
        runtime = self.runtime
        profile = Blob(json.dumps(runtime.profile._asdict(), sort_keys=True).encode())
        policy = Blob(POLICY.body)
        fact = PolicyUsed(policy=policy.ref, profile=profile.ref, model=runtime.name)
        if self.task.used != fact:
            self._append([fact], [profile, policy])
        if cut := self.budget.settled_cut():
            self._append(cut)
        if runtime.budget is not None and runtime.budget != self.task.spending.allowed:
            stated = runtime.budget._asdict().items()
            self._append(
                [BudgetGranted(**{name: most for name, most in stated if most is not None})]
            )

    # What follows from the log

    def _further(self) -> list[Race]:
        """Do all that can be done without the model, and return the calls that come next."""
        races = list[Race]()
        moved = True
        while moved:
            moved = False
            for name in sorted(self.task.asked.questions):
                moved = self._moved(name) or moved
            if moved:
                continue
            for name in questions.unanswered(self.task.asked):
                if name == FIRST and self.stopped:
                    continue
                if race := self._begun(name):
                    races.append(race)
                else:
                    moved = True
        return races

    def _moved(self, name: str) -> bool:
        """Do what is next for a question without the model; whether there was anything."""
        state = self.task.asked
        question = state.questions[name]
        if question.answer is not None:
            return False
        if not question.turns:
            limits = state.limits
            self._done(self.doer.look(state, name, limits.get("result", 0)))
        elif question.reply is not None:
            self._take(name)
        elif not question.turns[-1].closed and not questions.waiting(state, name):
            self._done(self.doer.close(state, name))
        elif question.failure and name != FIRST and not question.call:
            self._done(self.doer.end(state, name, f"its call failed: {question.failure}"))
        else:
            return False
        return True

    def _take(self, name: str) -> None:
        """Make of a reply what it says."""
        state = self.task.asked
        question = state.questions[name]
        reply = self.task.store.get(question.reply or "").decode(errors="replace")
        try:
            if question.cut:
                raise RefusedError("it was cut, as it is too long")
            taken = read_action(reply, question.actions)
        except RefusedError as error:
            if question.refused < REPAIRS:
                call = question.replied
                fact = AnswerRefused(reason=str(error), call=call, module_name=name)
                self._append([fact])
                return
            text = words_in(reply)
            reason = f"its replies could not be used: {error}"
            self._done(self.doer.end(state, name, reason, text))
            return
        self._done(self.doer.do(state, name, taken))

    # Calls

    def _begun(self, name: str) -> Race | None:
        """Append that a question's next call is made, and return it; None where it is not made."""
        state, store = self.task.asked, self.task.store
        question = state.questions[name]
        limits = Limits(state.limits.get("answer", 256), seconds=self.seconds)
        blobs = list[Blob]()
        if question.context:
            built = self.task.event(question.context).fact
            assert isinstance(built, ContextBuilt)
            actions, again = question.actions, question.context
            said = messages(built, store.get)
            number, attempt = question.iteration, question.refused + 1
        else:
            try:
                step = self.builder.build(state, name)
            except BudgetExceededError as error:
                self._done(self.doer.end(state, name, str(error)))
                return None
            built, blobs = self._built(name, question.text, step.context)
            actions, again, said = step.allowed, 0, step.context.messages
            number, attempt = step.number, step.attempt
        rest = questions.unspent(state, name)
        if rest.seconds is not None:
            limits = limits._replace(seconds=round(min(limits.seconds, rest.seconds), 3))
        asked = AskModel(KIND, name, number, attempt)
        prepared = PreparedCall(name, asked, built, said, limits, again)
        most = self.budget.most(prepared)
        needed = Amounts(1, most.tokens, max(most.seconds, 0.001), most.money)
        if short := short_of(question.allowed, questions.used(state, name), needed):
            self._done(self.doer.end(state, name, f"the budget does not suffice: {short}"))
            return None
        extra: dict[str, object] = {"again": again} if again else {}
        started = StepStarted(
            kind=KIND, module_name=name, iteration=number, attempt=attempt, runner=self.runner,
            reserved=most, actions=actions, **extra,
        )  # fmt: skip
        self._append([started] if again else [started, built], blobs)
        call = self.task.asked.questions[name].call
        self.flying[call] = prepared
        return Race([SideCall(call, partial(self._ask, prepared, actions), limits.seconds)])

    def _built(self, name: str, text: str, context: Context) -> tuple[ContextBuilt, list[Blob]]:
        """Return a prompt as it is recorded."""
        profile, tokenizer = self.runtime.profile, self.tokenizer
        before, self._last = self._last, pieces(profile.template, context.messages)
        prefix = compared(before, self._last, tokenizer, POLICY.words) if before else None
        request = Request(f"question:{name}", text)
        found = look_up([item.node for item in context.items], (), (), LookUpPolicy(enough=0))
        fact, blobs = fact_of(
            context, request, profile, POLICY, tokenizer, self.task.version, found, prefix
        )
        code = {**fact.code, KIND: str(VERSION)}
        return fact.model_copy(update={"code": code}), blobs

    def _ask(
        self, prepared: PreparedCall, actions: tuple[str, ...], cancellation: Cancellation
    ) -> Completion:
        said = [Message(role, text) for role, text in prepared.said]
        call = Call(self.task.task_id, *prepared.action, digest=prepared.fact.digest or "")
        limits = prepared.limits._replace(cancellation=cancellation)
        return self.runtime.model.complete(said, limits, schema=schema_of(actions), call=call)

    def _report(self, ended: EndedCall) -> None:
        """Append how a call ended; what is made of its answer comes when further calls are due."""
        call, prepared = ended.call.id, self.flying.pop(ended.call.id)
        settlement = self.budget.settled(
            call, prepared, ended.outcome, ended.answer, ended.error, seconds=ended.seconds
        )
        if ended.answer is not None:
            result = replied(
                ended.answer, self.runtime.model.id, prepared.fact.tokens, call, prepared.lane
            )
            self._append([*result.facts, settlement], result.blobs, writer=result.writer)
            return
        if ended.outcome != "failed" or ended.error is None:
            self._append([settlement])
            return
        error = ended.error
        failed = ModelFailed(
            reason=str(error), kind=error.kind, call=call, module_name=prepared.lane
        )
        self._append([failed, settlement])
        if prepared.lane == FIRST:
            self.stopped = error

    # The log

    def _done(self, done: DoneAction) -> None:
        self._append(done.facts, done.blobs)

    def _append(
        self, facts: Sequence[Fact | Claim], blobs: Sequence[Blob] = (), writer: str = "ask"
    ) -> None:
        """Append after the last event that was read, and read the new events."""
        events = self.task.store.append(
            self.task.task_id, facts, after=self.task.version, writer=writer, blobs=blobs
        )
        self.task.read_on()
        self.watch(events)
