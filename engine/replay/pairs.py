"""Build pairs of prompts to compare: two policies, two profiles, two moments, two logs."""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.policy import Policy
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.recorded import messages, template_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import UpperBound, tokenizer_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.diff import ComparablePrompt, Diff, built, diff, recorded
from backcast.engine.replay.steps import RecordedPrompt, ReplayStep, asked

MOST = 100_000
"Omissions that are named one by one: all of them, since each must be explained."


class Side(NamedTuple):
    """The settings that build one of two prompts."""

    name: str
    policy: Policy | None = None
    "None for the policy by which it was recorded."
    profile: ModelProfile | None = None
    now: bool = True
    "Whether it is built now, rather than taken as recorded."


def context_of(builder: ContextBuilder, step: ReplayStep) -> Context:
    """Build a step's prompt after the recorded one before it, naming every omission."""
    telling = builder.policy.model_copy(update={"omissions": MOST})
    other = ContextBuilder(builder.profile, builder.cache, telling, builder.settings.nearness)
    return other.build(step.known.states, step.known.graph, step.request)


def prompt_of(pool: BuilderPool, step: ReplayStep, side: Side) -> ComparablePrompt:
    """Return a step's prompt as it was recorded, or as it is built now."""
    if not side.now and step.built:
        room = pool.settings(step.built)[0].prompt
        return recorded(side.name, step.built, pool.store.get, room)
    builder = PolicyReplay(pool, side.profile, side.policy).builder(step)
    return built(side.name, context_of(builder, step), builder.profile.template)


def compared(pool: BuilderPool, step: ReplayStep, before: Side, after: Side) -> Diff:
    """Compare one step's prompt built in two ways, each beside the prompt asked before it."""
    counting = PolicyReplay(pool, after.profile, after.policy).builder(step).counting
    was, now = (prompt_of(pool, step, side) for side in (before, after))
    return diff(was, now, counting, asked_before(pool.store, step))


def asked_before(store: EventStore, step: ReplayStep) -> Sequence[PromptPiece] | None:
    """Return the last recorded prompt before a step; None where there is none."""
    version = step.known.states.prompts.version
    for event in store.read(step.task_id, after=version - 1, last=version) if version else ():
        if isinstance(event.fact, ContextBuilt) and event.fact.template:
            return pieces(template_of(event.fact, store.get), messages(event.fact, store.get))
    return None


def moved(
    pool: BuilderPool, before: ReplayStep, after: ReplayStep, profile: ModelProfile | None
) -> Diff:
    """Compare the prompts of two moments, each under its own policy: as it was recorded, where it
    was and no profile is given."""
    builders = [PolicyReplay(pool, profile).builder(step) for step in (before, after)]
    both = [
        _moved(pool, builder, step, as_recorded=profile is None)
        for step, builder in zip((before, after), builders, strict=True)
    ]
    return diff(both[0], both[1], builders[1].counting)


def _moved(
    pool: BuilderPool, builder: ContextBuilder, step: ReplayStep, *, as_recorded: bool
) -> ComparablePrompt:
    """Return the prompt of a moment; of a recorded one, a prompt that is built now tells only the
    events that its items came from, and why others fell out where the log does not."""
    if not (as_recorded and step.built):
        return built(step.name, context_of(builder, step), builder.profile.template)
    found = recorded(step.name, step.built, pool.store.get, builder.profile.prompt)
    try:
        now = built("", context_of(builder, step), builder.profile.template)
    except InputError:
        return found
    known = {thing.node: thing for thing in now.things}
    things = tuple(
        thing._replace(because=known[thing.node].because, priority=known[thing.node].priority)
        if thing.node in known
        else thing
        for thing in found.things
    )
    return found._replace(things=things, omissions={**now.omissions, **found.omissions})


class Pair(NamedTuple):
    """The prompts at the same place in two logs."""

    before: RecordedPrompt | None
    after: RecordedPrompt | None

    @property
    def same(self) -> bool:
        """Whether both prompts are the same to the byte."""
        pair = self.before, self.after
        return pair[0] is not None and pair[1] is not None and (
            pair[0].fact.digest == pair[1].fact.digest
        )  # fmt: skip


def pairs(stores: tuple[EventStore, EventStore], tasks: tuple[str, str]) -> list[Pair]:
    """Return the prompts of two tasks side by side in their order; `InputError` for none."""
    old, new = (asked(store, task) for store, task in zip(stores, tasks, strict=True))
    count = max(len(old), len(new))
    if not count:
        raise InputError(f"needed prompts in {tasks[0]!r} or {tasks[1]!r}, found none")
    return [
        Pair(old[n] if n < len(old) else None, new[n] if n < len(new) else None)
        for n in range(count)
    ]  # fmt: skip


def between(stores: tuple[EventStore, EventStore], pair: Pair) -> Diff | None:
    """Compare the recorded prompts of a pair; None where one is missing."""
    if pair.before is None or pair.after is None:
        return None
    both = []
    for store, prompt in zip(stores, (pair.before, pair.after), strict=True):
        settings = BuilderPool(store).settings(prompt.fact)
        name = f"{prompt.version} {prompt.name}"
        both.append(recorded(name, prompt.fact, store.get, settings[0].prompt))
    try:
        counting = tokenizer_of(settings[0].tokenizer)
    except InputError:
        counting = UpperBound()
    return diff(both[0], both[1], counting)
