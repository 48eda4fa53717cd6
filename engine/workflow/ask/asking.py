"""Works on a question until it has an answer: reads its log, asks the model, does what it says.

All its knowledge comes from the log. A question that was cut off goes on where its log ends, and
asks again only what has no answer there. What a question sees depends on its own actions alone, and
what it may spend on what its asker had left: so in whatever order the calls end, they are the same.
"""

import json
from collections.abc import Callable, Sequence
from uuid import uuid4

from backcast.domain.call_events import BudgetGranted
from backcast.domain.errors import ModelError
from backcast.domain.events import (
    AnswerRefused,
    Claim,
    Fact,
    PolicyUsed,
    WorkflowEvent,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.ask.actions import (
    AnswerAction,
    TakenAction,
    answer_in,
    read_action,
    words_in,
)
from backcast.engine.workflow.ask.asked_calls import QuestionCalls
from backcast.engine.workflow.ask.doing import ActionDoer, DoneAction
from backcast.engine.workflow.ask.subject import SubjectOf
from backcast.engine.workflow.ask.task import AskedTask
from backcast.engine.workflow.ask.words import POLICY
from backcast.engine.workflow.executor import EndedCall, Further, Race, Report, run_calls
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import questions
from backcast.projections.questions import FIRST

Watch = Callable[[Sequence[WorkflowEvent]], None]
Run = Callable[[Sequence[Race], Report, int, Further], None]
REPAIRS = 1
"Replies that could not be used, after which the next one ends the question."


class Asking:
    """What works on one question, and on all that it asks further."""

    def __init__(
        self,
        store: EventStore,
        task_id: str,
        runtime: Runtime,
        subject_of: SubjectOf,
        *,
        runner: str = "",
        watch: Watch = lambda events: None,
        seconds: float = 600.0,
        run: Run = run_calls,
    ) -> None:
        """`subject_of` returns what a question is about; `seconds` are the most for one call;
        `run` runs calls in place of the executor."""
        self.task, self.runtime = AskedTask(store, task_id), runtime
        self.watch, self.run, name = watch, run, runner or uuid4().hex
        self.calls = QuestionCalls(
            self.task, runtime, subject_of, self._append, runner=name, seconds=seconds
        )
        self.doer = ActionDoer(store, subject_of, self.calls.tokenizer, runtime)
        self.stopped: ModelError | None = None
        "Why the first question itself got no answer of the model."

    def work(self) -> questions.State:
        """Work until the question has an answer, and return the questions.

        `ModelError` where the model gives none to the first question itself: the log then holds all
        that was found, and another call goes on from there.
        """
        self.task.read_on()
        self._use()
        return self.go_on()

    def go_on(self) -> questions.State:
        """Work as `work` does, with a model and a budget that the log has already."""
        self.task.read_on()
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
        if cut := self.calls.budget.settled_cut():
            self._append(cut)
        if runtime.budget is not None and runtime.budget != self.task.spending.allowed:
            stated = runtime.budget._asdict().items()
            self._append(
                [BudgetGranted(**{name: most for name, most in stated if most is not None})]
            )

    # What follows from the log

    def _further(self) -> list[Race]:
        """Do all that can be done without the model, and return the calls that come next."""
        begun = list[int]()
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
                call, why = self.calls.begun(name)
                if call:
                    begun.append(call)
                else:
                    self._done(self.doer.end(self.task.asked, name, why))
                    moved = True
        return self.calls.placed(begun)

    def _moved(self, name: str) -> bool:
        """Do what is next for a question without the model; whether there was anything."""
        state = self.task.asked
        question = state.questions[name]
        if question.answer is not None:
            return False
        if not question.turns:
            limits = state.limits
            tokens = limits.get("look", limits.get("result", 0))
            self._done(self.doer.look(state, name, tokens))
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
            taken = self._read(reply, question)
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
        if why := self._doubt(question, taken):
            self._append([AnswerRefused(reason=why, call=question.replied, module_name=name)])
            return
        self._done(self.doer.do(state, name, taken))

    def _doubt(self, question: questions.OpenQuestion, taken: TakenAction) -> str:
        """Return why an answer is to be given again, as nothing shows it; empty where it is not:
        that happens once, and only where what was left was enough for another step."""
        if question.refusals or question.actions == ("answer",):
            return ""
        if not isinstance(taken.action, AnswerAction):
            return ""
        return self.doer.doubted(question, taken.action)

    def _read(self, reply: str, question: questions.OpenQuestion) -> TakenAction:
        if not question.cut:
            return read_action(reply, question.actions)
        if answer := answer_in(reply):  # what was cut are its quotes
            return answer
        raise RefusedError("it was cut, as it is too long")

    def _report(self, ended: EndedCall) -> None:
        """Append how a call ended; what is made of its answer comes when further calls are due."""
        name, error = self.calls.ended(ended)
        if name == FIRST and error is not None:
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
