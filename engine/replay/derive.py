"""Today's prompt for a step of a log, under the recorded policy or another one."""

from collections.abc import Callable

from backcast.domain.budget import MISTRAL_7B_8K, ModelProfile
from backcast.domain.context import Context
from backcast.domain.events import ContextBuilt
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.policies import policy_of
from backcast.engine.context.recorded import nearness_of, profile_of
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of
from backcast.engine.replay.steps import ReplayStep
from backcast.projections import prompts


class BuilderPool:
    """Builders for the steps of one store, which share all that does not depend on a policy."""

    def __init__(
        self, store: EventStore, tokenizer: Callable[[str], Tokenizer] = tokenizer_of
    ) -> None:
        self.store, self._tokenizer = store, tokenizer
        self._kept: dict[str, BuildCache] = {}
        self._builders: dict[tuple[str, str], ContextBuilder] = {}

    def kept(self, profile: ModelProfile) -> BuildCache:
        """What is shared among all who count as a profile's model does."""
        name = profile.tokenizer
        if name not in self._kept:
            self._kept[name] = BuildCache(self._tokenizer(name), self.store.get)
        return self._kept[name]

    def recorded(self, fact: ContextBuilt) -> ContextBuilder:
        """The builder of a recorded prompt; `InputError` where that cannot be known."""
        names = fact.profile or "", fact.policy or ""
        if fact.embedder and fact.query_vector:
            asked = Nearness.recorded(self.store, fact.embedder, self.store.get(fact.query_vector))
            return self.builder(*self.settings(fact), asked)
        if names not in self._builders:
            self._builders[names] = self.builder(*self.settings(fact))
        return self._builders[names]

    def settings(self, fact: ContextBuilt) -> tuple[ModelProfile, Policy]:
        """The profile and the policy of a recorded prompt."""
        profile = profile_of(self.store.get(fact.profile)) if fact.profile else MISTRAL_7B_8K
        return profile, policy_of(self.store.get(fact.policy)) if fact.policy else DEFAULT

    def builder(
        self, profile: ModelProfile, policy: Policy, nearness: Nearness | None = None
    ) -> ContextBuilder:
        """A builder of its own for a profile and a policy."""
        meant = nearness or nearness_of(self.store, policy)
        return ContextBuilder(profile, self.kept(profile), policy, meant)


class PolicyReplay:
    """The prompts of one task under one policy: each begins as its own one before did."""

    def __init__(
        self,
        workshop: BuilderPool,
        profile: ModelProfile | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Without a profile or policy each prompt's own recorded one is taken."""
        self._workshop, self._profile, self._policy = workshop, profile, policy
        self._builders: dict[tuple[str | None, str | None], ContextBuilder] = {}
        self._before: dict[int, prompts.State] = {}
        "What each prompt showed, by the version of the event that tells of the recorded one."
        self._last = prompts.initial

    def context(self, step: ReplayStep) -> Context:
        """The prompt of a step; `BudgetExceededError` where what must be shown does not fit."""
        states = step.known.states
        known = states.prompts
        before = self._before.get(known.version, known) if step.built else self._last
        builder = self.builder(step)
        context = builder.build(states._replace(prompts=before), step.known.graph, step.request)
        self._last = self._before[step.version] = shown_by(context, step)
        return context

    def builder(self, step: ReplayStep) -> ContextBuilder:
        """The builder for a step."""
        fact, profile, policy = step.built, self._profile, self._policy
        if fact is not None and profile is None and policy is None:
            return self._workshop.recorded(fact)
        told = fact is not None and (profile is None or policy is None)
        key = (fact.profile, fact.policy) if fact and told else (None, None)
        if key not in self._builders:
            settings = self._workshop.settings(fact) if fact and told else (_unrecorded(), DEFAULT)
            self._builders[key] = self._workshop.builder(
                profile or settings[0], policy or settings[1]
            )
        return self._builders[key]


def _unrecorded() -> ModelProfile:
    """The profile of a prompt that was never recorded."""
    return MISTRAL_7B_8K._replace(tokenizer=counted_by(MISTRAL_7B_8K.tokenizer))


def shown_by(context: Context, step: ReplayStep) -> prompts.State:
    """What a prompt showed, as the next one will know it once this one is recorded."""
    parts = tuple(
        prompts.ShownPart(item.node, item.section, item.level, ref_of(_bytes(item.text)))
        for item in context.items
        if item.node not in step.request.wanted
    )
    return prompts.State(step.request.target, step.version, context.digest, context.tokens, parts)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
