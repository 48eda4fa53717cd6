"""Build today's prompt for a step of a log, under the recorded policy or another one."""

from collections.abc import Callable

from backcast.domain.budget import MISTRAL_7B_8K, ModelProfile, reserved
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.policies import policy_of
from backcast.engine.context.recorded import nearness_of, profile_of
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.history.legacies import LegacyReader
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.workflow.ask.words import StepBuilder
from backcast.projections import fold, prompts, questions
from backcast.projections.questions import KIND


class BuilderPool:
    """The context builders for one store, which share everything that no policy changes."""

    def __init__(
        self, store: EventStore, tokenizer: Callable[[str], Tokenizer] = tokenizer_of
    ) -> None:
        self.store, self._tokenizer = store, tokenizer
        self._kept: dict[str, BuildCache] = {}
        self._builders: dict[tuple[str, str], ContextBuilder] = {}

    def kept(self, profile: ModelProfile) -> BuildCache:
        """Return the cache of all builders that count tokens as a profile's model does."""
        name = profile.tokenizer
        if name not in self._kept:
            self._kept[name] = BuildCache(
                self._tokenizer(name), self.store.get, legacies=LegacyReader(self.store).state
            )
        return self._kept[name]

    def recorded(self, fact: ContextBuilt) -> ContextBuilder:
        """Return the builder of a recorded prompt; `InputError` where it cannot be known."""
        names = fact.profile or "", fact.policy or ""
        if fact.embedder and fact.query_vector:
            asked = Nearness.recorded(self.store, fact.embedder, self.store.get(fact.query_vector))
            return self.builder(*self.settings(fact), asked)
        if names not in self._builders:
            profile, policy = self.settings(fact)
            # One without a vector compared nothing: once likeness by meaning asked no embedder.
            meant = nearness_of(self.store, policy) if policy.weights.get("meaning") else None
            self._builders[names] = ContextBuilder(profile, self.kept(profile), policy, meant)
        return self._builders[names]

    def settings(self, fact: ContextBuilt) -> tuple[ModelProfile, Policy]:
        """Return the profile and the policy of a recorded prompt."""
        profile = profile_of(self.store.get(fact.profile)) if fact.profile else MISTRAL_7B_8K
        return profile, policy_of(self.store.get(fact.policy)) if fact.policy else COVERAGE

    def builder(
        self, profile: ModelProfile, policy: Policy, nearness: Nearness | None = None
    ) -> ContextBuilder:
        """Make a builder for a profile and a policy."""
        meant = nearness or nearness_of(self.store, policy)
        return ContextBuilder(profile, self.kept(profile), policy, meant)


def asked_again(pool: BuilderPool, task_id: str, fact: ContextBuilt) -> Context | None:
    """Return the prompt of a step towards an answer, from what its log held then.

    None for any other prompt: only the questions themselves choose what these show.
    """
    if KIND not in fact.code:
        return None
    stood = pool.store.read(task_id, last=fact.stood_at or 0)
    state: questions.State = fold(questions, stood)
    profile, name = pool.settings(fact)[0], (fact.target or "").partition(":")[2]
    if name not in state.questions:
        raise InputError(f"needed the question {name!r} in the log, found none")
    counter = pool.kept(profile).counting.tokenizer
    return StepBuilder(profile, counter, pool.store.get).build(state, name).context


class PolicyReplay:
    """The prompts of one task under one policy, each built after its own predecessor."""

    def __init__(
        self,
        pool: BuilderPool,
        profile: ModelProfile | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Without a profile or policy, take the one that each prompt recorded."""
        if profile is not None:
            reserved(profile)
        self._pool, self._profile, self._policy = pool, profile, policy
        self._reference = ref_of((policy or DEFAULT).body)
        self._builders: dict[tuple[str | None, str | None], ContextBuilder] = {}
        self._before: dict[int, prompts.State] = {}
        "What each prompt showed, by the version of its recorded event."
        self._last = prompts.initial

    def context(self, step: ReplayStep) -> Context:
        """Build a step's prompt; `BudgetExceededError` where its mandatory items do not fit."""
        if step.built and (asked := asked_again(self._pool, step.task_id, step.built)):
            return asked
        states = step.known.states
        known = states.prompts
        before = self._before.get(known.version, known) if step.built else self._last
        builder = self.builder(step)
        context = builder.build(states._replace(prompts=before), step.known.graph, step.request)
        by_record = step.built if self._policy is None else None
        policy = by_record.policy or "" if by_record else self._reference
        self._last = self._before[step.version] = shown_by(context, step, policy)
        return context

    def builder(self, step: ReplayStep) -> ContextBuilder:
        """Return the builder for a step."""
        fact, profile, policy = step.built, self._profile, self._policy
        if fact is not None and profile is None and policy is None:
            return self._pool.recorded(fact)
        as_recorded = fact is not None and (profile is None or policy is None)
        key = (fact.profile, fact.policy) if fact and as_recorded else (None, None)
        if key not in self._builders:
            settings = (
                self._pool.settings(fact) if fact and as_recorded else (_unrecorded(), DEFAULT)
            )
            self._builders[key] = self._pool.builder(profile or settings[0], policy or settings[1])
        return self._builders[key]


def _unrecorded() -> ModelProfile:
    """Return the profile for a step that recorded no prompt."""
    return MISTRAL_7B_8K._replace(tokenizer=counted_by(MISTRAL_7B_8K.tokenizer))


def shown_by(context: Context, step: ReplayStep, policy: str) -> prompts.State:
    """Return what a prompt of a policy's blob showed, as the next prompt knows it once this one is
    recorded."""
    parts = tuple(
        prompts.ShownPart(item.node, item.section, item.level, ref_of(_bytes(item.text)))
        for item in context.items
        if item.node not in step.request.wanted
    )
    return prompts.State(
        step.request.target, step.version, context.digest, context.tokens, parts,
        step.request.query, policy,
    )  # fmt: skip


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
