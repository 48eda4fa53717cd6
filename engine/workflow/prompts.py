"""A running task, and the prompts that are built from its states."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BudgetExceededError
from backcast.domain.events import WorkflowEvent
from backcast.domain.policy import Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.context.prefix import Prefix, compared
from backcast.engine.context.recorded import fact_of, in_hand, nearness_of, prefix_of
from backcast.engine.context.request import Request
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.legacies import LegacyReader
from backcast.engine.history.task_states import TaskStates
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.memory.resummarise import SummaryInputs
from backcast.engine.models.chat import thinking as thinking_template
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections import dependency_graph, progress, spending


class RunningTask(TaskFollower):
    """The task of a run, whose modules are outlined as they are written."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        super().__init__(store, task_id)
        self.outlining = Outlining(store, task_id)
        self.spending: spending.State = spending.initial

    def read_on(self, last: int | None = None) -> progress.State:
        """Read new events, and return the progress."""
        stands = super().read_on(last)
        self.outlining.version = max(self.version, self.outlining.version)
        return stands

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event of the task tells, as it is read: a text waits for its outline."""
        super().take(event)
        self.outlining.take(event)
        self.spending = spending.evolve(self.spending, event)

    def outline(self) -> None:
        """Outline the modules that were written since, and read the outlines."""
        if self.outlining.outline():
            self.read_on(self.outlining.version)

    def summary_inputs(self) -> SummaryInputs:
        """Return the inputs of summaries as of the last event that was read."""
        states = self.states
        return SummaryInputs(
            self.store, self.task_id, graph=states.graph, known=states.summaries,
            stands=states.progress,
        )  # fmt: skip


class BuiltPrompt(NamedTuple):
    """A prompt as it is recorded, and as it is asked."""

    fact: ContextBuilt
    blobs: Sequence[Blob]
    messages: Sequence[tuple[str, str]]
    at: datetime
    "The time at which it was built, from which times to live counted."


class LastPrompt:
    """The prompt that was built last, by whichever policy."""

    def __init__(self) -> None:
        self.digest, self.pieces = "", cast(Sequence[PromptPiece], ())


class PromptBuilder:
    """The builder of a run's prompts, for one profile and policy."""

    builder: ContextBuilder
    _last: LastPrompt

    def __init__(
        self, task: RunningTask, profile: ModelProfile, policy: Policy,
        beside: "PromptBuilder | None" = None,
    ) -> None:  # fmt: skip
        """`beside`: the builder of another policy's prompts, between which these stand."""
        self.task, self.policy, self.profile = task, policy, profile
        self.tokenizer = tokenizer_of(profile.tokenizer)
        cache = beside.builder.cache if beside else BuildCache(
            self.tokenizer, task.store.get, legacies=LegacyReader(task.store).state
        )  # fmt: skip
        nearness = nearness_of(task.store, policy)
        self.builder = ContextBuilder(profile, cache, policy, nearness)
        self._last = beside._last if beside else LastPrompt()
        self.thinker = self.builder
        "The builder for calls in which the model thinks, where the template differs."
        if (template := thinking_template(profile.template)) != profile.template:
            open_ended = profile._replace(template=template)
            self.thinker = ContextBuilder(open_ended, cache, policy, nearness)

    def build(
        self, request: Request, *, thinking: bool = False, beside: bool = False
    ) -> BuiltPrompt:
        """Return the prompt of a request, with the bodies that its fact names.

        `beside`: in the task it follows the prompt that was built last, which it stands beside.
        Raises `BudgetExceededError` where the words of the task do not fit.
        """
        task = self.task
        builder = self.thinker if thinking else self.builder
        now = task.store.clock()
        states, profile = task.states._replace(at=now), builder.profile
        context = builder.build(states, task.graph, request)
        if any(item.section == TASK and item.level != "full" for item in context.items):
            # A model that misses some of these words would do another task.
            needed, other = self.tokenizer.count(request.query), context.tokens
            raise BudgetExceededError(needed, profile.prompt - other, ("the words of the task",))
        fact, blobs = fact_of(
            context, request, profile, self.policy, self.tokenizer, task.stood_at,
            in_hand(states, context), self._prefix(context, profile, beside=beside),
        )  # fmt: skip
        nearness = builder.settings.nearness
        if nearness and nearness.blob:
            update = {"embedder": nearness.embedder.id, "query_vector": nearness.blob.ref}
            fact, blobs = fact.model_copy(update=update), [*blobs, nearness.blob]
        return BuiltPrompt(fact, blobs, context.messages, now)

    def foretell(
        self, request: Request, states: TaskStates, body: bytes, *, thinking: bool
    ) -> Sequence[tuple[str, str]]:
        """Return the messages of a request in states that may come, with a text that they name.

        It leaves nothing behind.
        """
        task, known = self.task, Blob(body).ref

        def get(ref: str) -> bytes:
            return body if ref == known else task.store.get(ref)

        builder = self.thinker if thinking else self.builder
        cache = BuildCache(self.tokenizer, get, legacies=LegacyReader(task.store).state)
        foreseeing = ContextBuilder(
            builder.profile, cache, self.policy, nearness_of(task.store, self.policy)
        )
        graph = dependency_graph.graph_of(states.graph, task.graph)
        return foreseeing.build(states._replace(at=task.store.clock()), graph, request).messages

    def _prefix(self, context: Context, profile: ModelProfile, *, beside: bool) -> Prefix | None:
        """Return the prefix that a prompt shares with the task's last, read only if not at hand."""
        task, before = self.task, self.task.states.prompts
        digest, last = self._last.digest, self._last.pieces
        now = pieces(profile.template, context.messages)
        self._last.digest, self._last.pieces = context.digest, now
        if digest and (beside or digest == before.digest):
            return compared(last, now, self.tokenizer, self.policy.words)
        return prefix_of(
            task.store, task.task_id, before.version, context, profile, self.tokenizer, self.policy
        )
