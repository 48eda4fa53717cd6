"""What was each item of a prompt worth? The nats of the known outcome without it.

Each section is left out as a whole, then each item alone, and each sentence of our own words where
that is asked for. Items that say the same stand in for each other, so that each of them may seem to
be worth nothing where both together are worth much. Where there are many items, random halves of
them are read instead, and a sparse linear fit tells what each one was worth beside any others.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from backcast.domain.errors import InputError, ModelError
from backcast.engine.context.builder import TASK
from backcast.engine.history.commits import changed
from backcast.engine.log.store import EventStore
from backcast.engine.replay.actions import actions, replies
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.find import change_at, last_by, names_change, prompt_at, step_at
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of
from backcast.engine.replay.prompt_variants import PromptPart, parts_of, with_halves, without_parts
from backcast.engine.replay.said_variants import said_items, said_variants, sections_and_largest
from backcast.engine.replay.score import ScorePlan
from backcast.engine.replay.score_jobs import LessPart, ScoreJob, StepScore, digest_of_messages
from backcast.engine.replay.score_summary import DRAWS, LEAST_UNITS, SEED
from backcast.engine.replay.sparse_fit import in_half, sparse_fit
from backcast.engine.replay.steps import ReplayStep, asked, steps

KINDS = ("section", "item", "instruction")
MANY, HALVES = 24, 32
"Items from which on halves of them are read, and how many."
LEAST = 8
"Halves without which nothing can be fitted."


class Influence(NamedTuple):
    """What a part of a prompt was worth."""

    part: PromptPart
    nats: float
    "The nats that it saves in the outcome's new lines: below 0 where it does harm."
    interval: tuple[float, float] | None
    "95 % interval by bootstrap over the new lines, or the halves; None for few lines."

    @property
    def certain(self) -> bool:
        """Whether its interval holds no 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


class InfluencePlan(NamedTuple):
    """A step whose prompt is read without each of its parts."""

    plan: ScorePlan
    "Its settings are the whole prompt, and the prompt without each part."
    parts: tuple[PromptPart, ...]
    not_read: int
    "Items beyond the most that are read."
    items: tuple[PromptPart, ...] = ()
    "The items that halves are drawn of; empty where each is left out alone."
    halves: tuple[tuple[bool, ...], ...] = ()
    "Of each half, read behind the parts, which items are in it."


def version_at(store: EventStore, task_id: str, when: str) -> int:
    """Return the version of the step at a moment; `InputError` where there is none."""
    if asked(store, task_id) and not names_change(store, task_id, when):
        return prompt_at(store, task_id, when).version
    if found := _reply_at(store, task_id, when):
        return found
    return change_at(store, task_id, when).first


def _reply_at(store: EventStore, task_id: str, when: str) -> int:
    """Return the version of an agent's reply at a moment; 0 where a change is meant, or no agent
    sent any."""
    versions = [reply.version for reply in replies(store, task_id)]
    is_change = when.isdecimal() and any(
        change.first == int(when) for change in changed(store, task_id)
    )
    if not versions or (is_change and int(when) not in versions):
        return 0
    return last_by(store, task_id, when, versions, versions)


def step_with_outcome(store: EventStore, task_id: str, when: str) -> ReplayStep:
    """Return the step at a moment, with its outcome; `InputError` where there is none."""
    if not asked(store, task_id) or names_change(store, task_id, when):
        if version := _reply_at(store, task_id, when):
            return next(step for step in actions(store, task_id) if step.version == version)
        return step_at(store, task_id, when)
    version = prompt_at(store, task_id, when).version
    every = steps(store, task_id, outcomes=True)
    return next(step for step in every if step.version == version)


def plan_influence(
    plan: ScorePlan,
    log: str,
    store: EventStore,
    step: ReplayStep,
    most: int,
    halves: int | None = None,
    *,
    texts: bool = False,
) -> InfluencePlan:
    """Make a plan read the prompts that tell what the parts of a step's prompt were worth.

    `plan` has one setting. It gets one for each prompt in its place, and the step as a job. Of the
    items the `most` largest are left out one by one; with `halves` that many random halves of all
    items are read instead, and without a number `HALVES` where there are more than `MANY` items.
    With `texts` each sentence of our own words is left out as well. `InputError` where the step has
    no outcome that can be read, or none with a new line.
    """
    place = f"{step.task_id}@{step.version} {step.name}"
    outcome = _new_outcome(store, step, place)
    [setting] = plan.settings
    own = step.action if setting.policy is None else None
    if own is not None:  # as the agent was told it, and not as a policy would tell it
        every = said_items(own, plan.reader.count)
    else:
        builder = plan.builder(store, step, setting)
        context = builder.build(step.known.states, step.known.graph, step.request)
        items = [item for item in context.items if item.section != TASK]
        every = [PromptPart("item", i.node, i.section, i.level, i.tokens) for i in items]
    if halves is None:
        halves = HALVES if len(every) > MANY else 0
    if halves and halves < LEAST:
        raise InputError(f"needed {LEAST} halves or more for a fit, found {halves}")
    drawn = [[in_half(n, f"{item.section}:{item.name}") for item in every] for n in range(halves)]
    if own is not None:
        parts, not_read = sections_and_largest(every, 0 if halves else most)
        variants = [*said_variants(own, parts, every, drawn)]
    else:
        parts, not_read = parts_of(context, 0 if halves else most)
        variants = [
            *without_parts(context, builder.policy, parts, texts=texts),
            *with_halves(context, builder.policy, items, drawn),
        ]
    try:
        prompts = [plan.reader.prompt(one.messages, outcome.header) for one in variants]
        tokens = [plan.size(prompt, outcome.text) for prompt in prompts]
    except (InputError, ModelError) as error:
        raise InputError(f"{place}: {error}") from None
    shown = digest_of_messages(variants[0].messages)
    plan.settings = [Setting(f"{setting.name}{one.name}", setting.policy) for one in variants]
    plan.jobs.append(
        ScoreJob(
            log, step.task_id, step.version, step.name, place, step.request.target, outcome,
            tuple(prompts), tuple(tokens),
            tuple(_less(variant.part, prompts[0].digest, shown) for variant in variants),
            plan.names.spans(step, outcome),
        )
    )  # fmt: skip
    read = tuple(
        variant.part._replace(tokens=tokens[0] - size)
        if variant.part.kind == "instruction" else variant.part
        for variant, size in zip(variants, tokens, strict=True) if variant.part
    )  # fmt: skip
    if not halves:
        return InfluencePlan(plan, read, not_read)
    return InfluencePlan(plan, read, 0, tuple(every), tuple(map(tuple, drawn)))


def _new_outcome(store: EventStore, step: ReplayStep, place: str) -> KnownOutcome:
    """Return a step's outcome; `InputError` where it has none, or none with a new line."""
    try:
        outcome = outcome_of(step, store.get)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if outcome is None:
        raise InputError(f"{place}: needed a step whose outcome is known, found none")
    if not any(outcome.new):
        raise InputError(f"{place}: needed an outcome with a new line, found none")
    return outcome


def _less(part: PromptPart | None, whole: str, shown: str) -> LessPart | None:
    """Return what a reading elsewhere needs to know of a part that is left out; None for others."""
    if part is None or part.kind == "instruction":
        return None
    return LessPart(part.name, part.section if part.kind == "item" else None, whole, shown)


def influences(
    step: StepScore, parts: Sequence[PromptPart], items: Sequence[PromptPart] = (),
    halves: Sequence[Sequence[bool]] = (),
) -> list[Influence]:  # fmt: skip
    """Return what each part was worth, sections, items, our words; of each kind harm first.

    With `items`, what they were worth follows from `halves` of them, which were read last.
    """
    found = [_influence(step, number, part) for number, part in enumerate(parts, 1)]
    if items:
        numbers = (0, *range(len(parts) + 1, len(parts) + 1 + len(halves)))
        nats = [step.sums(number, new=True).nats for number in numbers]
        fitted = sparse_fit([[True] * len(items), *halves], nats)
        for part, (value, (low, high)) in zip(items, fitted, strict=True):
            found.append(Influence(part, -value + 0.0, (-high + 0.0, -low + 0.0)))
    return sorted(
        found, key=lambda worth: (KINDS.index(worth.part.kind), worth.nats, worth.part.name)
    )


def _influence(step: StepScore, number: int, part: PromptPart) -> Influence:
    saved = np.array(list(_saved(step, number)))
    interval = None
    if len(saved) >= LEAST_UNITS:
        drawn = np.random.default_rng(SEED).integers(0, len(saved), (DRAWS, len(saved)))
        low, high = np.percentile(saved[drawn].sum(axis=1), [2.5, 97.5])
        interval = float(low), float(high)
    return Influence(part, float(saved.sum()), interval)


def _saved(step: StepScore, number: int) -> Iterator[float]:
    """Yield the nats that each new line needs more under a variant than under the whole prompt."""
    for whole, other, new in zip(
        step.lines[0], step.lines[number], step.job.outcome.new, strict=True
    ):
        if new:
            yield other.nats - whole.nats
