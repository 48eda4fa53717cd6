"""A running task, and the prompts that are built from its states."""

from collections.abc import Sequence

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BudgetExceededError
from backcast.domain.events import ContextBuilt
from backcast.domain.policy import Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.context.recorded import fact_of, in_hand, nearness_of, prefix_of
from backcast.engine.context.request import Request
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.memory.resummarise import SummaryInputs
from backcast.engine.models.chat import thinking as thinking_template
from backcast.engine.models.tokenizers import tokenizer_of


class RunningTask(TaskFollower):
    """The task of a run, whose modules are outlined as they are written."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        super().__init__(store, task_id)
        self.outlining = Outlining(store, task_id)

    def outline(self) -> None:
        """Outline the modules that were written since, and read the outlines."""
        if self.outlining.catch_up():
            self.read_on()

    def summary_inputs(self) -> SummaryInputs:
        """Return the inputs of summaries as of the last event that was read."""
        states = self.states
        return SummaryInputs(
            self.store, self.task_id, graph=states.graph, known=states.summaries,
            stands=states.progress,
        )  # fmt: skip


class PromptBuilder:
    """The builder of a run's prompts, for one profile and policy."""

    def __init__(self, task: RunningTask, profile: ModelProfile, policy: Policy) -> None:
        self.task, self.policy, self.profile = task, policy, profile
        self.tokenizer = tokenizer_of(profile.tokenizer)
        cache = BuildCache(self.tokenizer, task.store.get)
        nearness = nearness_of(task.store, policy)
        self.builder = ContextBuilder(profile, cache, policy, nearness)
        self.thinker = self.builder
        "The builder for calls in which the model thinks, where the template differs."
        if (template := thinking_template(profile.template)) != profile.template:
            open_ended = profile._replace(template=template)
            self.thinker = ContextBuilder(open_ended, cache, policy, nearness)

    def build(
        self, request: Request, *, thinking: bool = False
    ) -> tuple[ContextBuilt, Sequence[Blob]]:
        """Return the context of a request as a fact, and the bodies that it names.

        Raises `BudgetExceededError` where the words of the task do not fit.
        """
        task, store = self.task, self.task.store
        builder = self.thinker if thinking else self.builder
        states, profile = task.states, builder.profile
        context = builder.build(states, task.graph, request)
        if any(item.section == TASK and item.level != "full" for item in context.items):
            # A model that misses some of these words would do another task.
            needed, other = self.tokenizer.count(request.query), context.tokens
            raise BudgetExceededError(needed, profile.prompt - other, ("the words of the task",))
        prefix = prefix_of(
            store,
            task.task_id,
            states.prompts.version,
            context,
            profile,
            self.tokenizer,
            self.policy,
        )
        fact, blobs = fact_of(
            context, request, profile, self.policy, self.tokenizer, task.stood_at,
            in_hand(states, context), prefix,
        )  # fmt: skip
        nearness = builder.settings.nearness
        if nearness and nearness.blob:
            update = {"embedder": nearness.embedder.id, "query_vector": nearness.blob.ref}
            return fact.model_copy(update=update), [*blobs, nearness.blob]
        return fact, blobs
