"""Questions that a step of a run asks before it writes: about its own task, as of that moment.

They are worked on as `backcast ask` works on one, in the log of the run and within what is left of
its budget. The step goes on once each has an answer, or is known to have none.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import NOW, Moment
from backcast.domain.question_events import ANSWER, QuestionAsked
from backcast.domain.spending import Allowance, Amounts, remaining
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.ask.asking import Asking
from backcast.engine.workflow.ask.limits import AskLimits, limits_for
from backcast.engine.workflow.ask.subject import Subject
from backcast.engine.workflow.code_answers import Code
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.results import ActionResult
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress, questions, spending

BUDGET = Allowance(calls=12, tokens=20_000)
"What one question of a step may cost at most."
NOW_WRITE = "answer with the code now"


class StepSubject(Subject):
    """The code and the tests of a running task.

    What was said in it is not seen: answers to calls side by side stand in no order that is sure.
    """

    @cached_property
    def events(self) -> dict[int, str]:
        """No texts of events."""
        return {}


class StepQuestions:
    """The questions of one run's steps."""

    def __init__(
        self,
        task: RunningTask,
        runtime: Runtime,
        spec: Spec,
        *,
        runner: str,
        watch: Callable[[Sequence[WorkflowEvent]], None],
    ) -> None:
        self.task, self.runtime, self.spec = task, runtime, spec
        self.runner, self.watch = runner, watch
        self._subjects = dict[str, Subject]()

    def ask(self, step: progress.PendingStep, seen: progress.State, code: Code) -> ActionResult:
        """Return a step's question as a fact; `RefusedError` where it may not be asked.

        `seen` is the progress as the step stands in it.
        """
        state = self.task.states.questions
        known = [node.removeprefix(ANSWER) for node in progress.answers_seen(seen.wanted)]
        if len(known) >= (self.spec.limits.asks or 0):
            raise RefusedError(f"you have asked {len(known)} times: {NOW_WRITE}")
        if _plain(code.question) in [_plain(state.questions[name].text) for name in known]:
            raise RefusedError(f"you have asked this already, see its answer: {NOW_WRITE}")
        about = {}
        try:
            if code.about:
                about = {"about": self._subject(NOW).node(code.about).node}
        except InputError as error:
            raise RefusedError(str(error)) from None
        limits = limits_for(self.runtime.profile)
        allowed = self._allowed(step, limits)
        number = 1 + sum("." not in name for name in sorted(state.questions))
        stated = {name: most for name, most in allowed._asdict().items() if most is not None}
        fact = QuestionAsked(
            name=f"q{number}", text=code.question, call=self._call_of(step), allowed=stated,
            limits=limits._asdict(), **about,
        )  # fmt: skip
        return ActionResult([fact])

    def answer(self) -> None:
        """Work on all questions that wait for an answer, those of several steps side by side."""
        Asking(
            self.task.store, self.task.task_id, self.runtime, self._subject_of, runner=self.runner,
            watch=self.watch, seconds=self.spec.limits.seconds,
        ).go_on()  # fmt: skip
        before = self.task.version
        self.task.read_on()
        if self.task.version == before:
            why = "a step waits for a question that is answered or not there"
            raise InputError(f"task {self.task.task_id!r}: {why}: its log cannot be gone on with")

    def _call_of(self, step: progress.PendingStep) -> int:
        """Return the version of the STEP_STARTED whose answer asks."""
        begun = self.task.store.read(
            self.task.task_id, after=step.context - 2, last=step.reply, types=["STEP_STARTED"]
        )
        reply = self.task.event(step.reply).fact.data.get("call")
        return reply or max(event.version for event in begun)

    def _allowed(self, step: progress.PendingStep, limits: AskLimits) -> Allowance:
        """Return what a question may cost: of what is left beside its step's own next call, those
        of the steps beside it, and their questions; `RefusedError` where that is too little."""
        state, price = self.task.states.questions, self.runtime.price
        spent = spending.committed(self.task.spending)
        for name in sorted(state.questions):
            if "." not in name and state.questions[name].answer is None:
                theirs = questions.unspent(state, name)
                spent = spent.plus(Amounts._make(amount or 0 for amount in theirs))
        rest = remaining(self.task.spending.allowed, spent)
        lanes = self.task.stands.lanes
        waiting = max(1, sum(lanes[key].step is not None for key in sorted(lanes)))
        built = self.task.event(step.context).fact
        prompt = built.tokens or 0 if isinstance(built, ContextBuilt) else 0
        prompt, answer = prompt + 2 * limits.answer, self.runtime.profile.generation
        calls, tokens = BUDGET.calls or 0, BUDGET.tokens or 0
        if rest.calls is not None:
            calls = min(calls, rest.calls - waiting)
        if rest.tokens is not None:
            tokens = min(tokens, rest.tokens - waiting * (prompt + answer))
        money = None
        if rest.money is not None:
            money = round(rest.money - waiting * price.of(prompt, answer), 6)
        if calls < 1 or tokens < limits.answer or (money is not None and money <= 0):
            raise RefusedError(f"too little of the budget is left for a question: {NOW_WRITE}")
        seconds = None if rest.seconds is None else round(rest.seconds / (waiting + 1), 3)
        return Allowance(calls, tokens, seconds, money)

    def _subject_of(self, name: str) -> Subject:
        """Return the task as of the moment at which a question's first one was asked."""
        root = name.partition(".")[0]
        if root not in self._subjects:
            asked = self.task.store.read(self.task.task_id, types=["QUESTION_ASKED"])
            position = next(event.position for event in asked if event.fact.data["name"] == root)
            self._subjects[root] = self._subject(Moment(position))
        return self._subjects[root]

    def _subject(self, moment: Moment) -> Subject:
        task, profile = self.task, self.runtime.profile
        return StepSubject(
            task.store, task.task_id, moment, profile, tokenizer_of(profile.tokenizer)
        )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
