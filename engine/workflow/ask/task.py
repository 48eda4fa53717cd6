"""The task of a question: how it begins, and how far it stands."""

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Fact,
    PolicyUsed,
    TaskStarted,
    WorkflowEvent,
)
from backcast.domain.question_events import AskedSubject, QuestionAsked
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.ask.limits import AskLimits
from backcast.projections import questions, spending
from backcast.projections.questions import FIRST


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
