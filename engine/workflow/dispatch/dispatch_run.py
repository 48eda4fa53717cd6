"""A run over a list of tasks: its settings, and what its log tells of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backcast.domain.errors import InputError
from backcast.domain.events import Fact, TaskStarted, WorkflowEvent
from backcast.domain.ledger import STALLS, StallPolicy
from backcast.domain.spending import Allowance
from backcast.domain.task_list import ListedTask
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.dispatch.agents import AgentForm
from backcast.engine.workflow.dispatch.budget import ModelProxy
from backcast.engine.workflow.dispatch.landing import tip
from backcast.engine.workflow.dispatch.leaving import Leaving
from backcast.engine.workflow.dispatch.routing_file import Routes
from backcast.engine.workflow.dispatch.side_by_side import Turns
from backcast.engine.workflow.dispatch.source import SourceRepository
from backcast.engine.workflow.dispatch.task_file import TaskFile
from backcast.engine.workflow.sandbox.run import SandboxLimits
from backcast.projections import dispatches, fold, spending

WRITER = "dispatch"
ATTEMPTS = 3
LIMITS = SandboxLimits(seconds=300, cpu_seconds=300)
UNLIMITED = Allowance()


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """The settings of a run over a list of tasks."""

    implementer: AgentForm
    reviewer: AgentForm | None = None
    tests: tuple[str, ...] = ()
    "The files, folders or patterns of tests that decide; those with a usual name if empty."
    limits: SandboxLimits = LIMITS
    attempts: int = ATTEMPTS
    budget: Allowance = UNLIMITED
    proxy: ModelProxy | None = None
    "Before the model's server; None where agents have their own."
    concurrency: int = 1
    "Tasks that are worked on at once."
    only: tuple[str, ...] = ()
    "The tasks to work on; all that are to do if empty."
    again: tuple[str, ...] = ()
    "The tasks to do anew, though the log has them as done."
    routes: Routes | None = None
    "Chooses the implementer of each attempt, in place of the one above."
    stalls: StallPolicy = STALLS


class DispatchRun:
    """A run over a list of tasks, as its log has it."""

    def __init__(
        self, store: EventStore, task: str, source: SourceRepository, file: Path,
        settings: DispatchSettings, tell: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.store, self.task, self.source, self.settings = store, task, source, settings
        self.tell, self.tasks = tell, TaskFile(file)
        self.version = 0
        self.state: dispatches.State = dispatches.initial
        self.spending: spending.State = spending.initial
        self.goal = ""
        self._leaving = list[Leaving]()
        self.turns = Turns()
        self.listed: dict[str, tuple[tuple[str, ...], tuple[str, str]]] = {}
        "Of each commit its paths, and the file of its project's rules."
        self.read_on()

    @property
    def branch(self) -> str:
        """The branch of the repository that holds what is done."""
        return f"backcast/{self.task}"

    def leave(self, leaving: Leaving) -> None:
        """Have the folder of an agent removed, and do not wait for that."""
        leaving.begin()
        with self.turns.lock:
            self._leaving.append(leaving)

    def settle_leaving(self) -> None:
        """Wait until the folders of all agents that have ended are gone."""
        with self.turns.lock:
            leaving, self._leaving = self._leaving, []
        for ended in leaving:
            ended.settle()

    def read_on(self) -> None:
        """Fold the events that are new."""
        events = list(self.store.read(self.task, after=self.version))
        if not events:
            return
        if isinstance(first := events[0].fact, TaskStarted) and not self.version:
            self.goal = first.goal or ""
        self.version = events[-1].version
        self.state = fold(dispatches, events, self.state)
        self.spending = fold(spending, events, self.spending)

    def append(
        self, facts: Sequence[Fact], blobs: Sequence[Blob] = (), because: Sequence[int] = ()
    ) -> list[WorkflowEvent]:
        """Append facts after the last event that was read, and fold them."""
        with self.turns.lock:
            events = self.store.append(
                self.task, facts, after=self.version, writer=WRITER, because=because, blobs=blobs
            )
            self.read_on()
            return events

    def note_tasks(self) -> None:
        """Record the list of tasks where it is not as it was recorded last."""
        fact, blob = self.tasks.fact()
        known = (self.state.path, self.state.tasks)
        if known != (fact.path, fact.tasks):
            self.append([fact], [blob])
            for note in fact.notes:
                self.tell(f"{self.tasks.path.name}: {note}")

    def items(self) -> list[ListedTask]:
        """Return the tasks that are to do and hold no others, in the order of the list."""
        return self.tasks.open_items(self.settings.only)

    def base(self) -> str:
        """Return the commit that the next agent begins with: what is done so far, or HEAD."""
        known = self.state.commit
        if known is None:
            return self.source.commit
        if tip(self.source.repository, self.branch) is None:
            raise InputError(
                f"branch {self.branch}: needed the work that is done, {known[:12]}, found no such"
                f" branch: 'git branch {self.branch} {known[:12]}' makes it again"
            )
        return known

    def mark(self, item: str, status: str, *others: str) -> None:
        """Mark a task in the list, and others with it, and record that."""
        with self.turns.lock:
            fact, blob = self.tasks.mark(dict.fromkeys((item, *others), status))
            if fact is None or blob is None:
                return
            self.append([fact], [blob])
            for note in fact.notes:
                self.tell(f"{self.tasks.path.name}: {note}")
