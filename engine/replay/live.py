"""Prompts of a recorded run, asked of a real model under several policies; each on a branch.

This is the one part of a comparison that calls a model. What it answers is recorded as facts, so
that it can be looked at and asked again; nothing is said of which answer is better.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import ModelError
from backcast.domain.events import Claim, Fact, ModelFailed, PolicyUsed
from backcast.domain.policy import Policy
from backcast.engine.context.recorded import messages
from backcast.engine.history.branches import fork
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models import Call, Limits, Message, Model
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.steps import RecordedPrompt, asked
from backcast.engine.workflow.answers import replied
from backcast.engine.workflow.prompts import PromptBuilder

WRITER = "live"


class Asking(NamedTuple):
    """What it is going to cost."""

    calls: int
    tokens: int
    "Of the recorded prompts that are asked again, once for each policy."
    answers: int
    "Tokens that the answers may have, all together."


class LiveAnswer(NamedTuple):
    """One prompt, asked under one policy."""

    version: int
    name: str
    policy: str
    branch: str
    "The task in which prompt and answer are recorded."
    prompt_tokens: int
    tokens: int | None
    "Of the answer; None where there is none, or the model does not say."
    seconds: float | None
    error: str = ""


def sampled(
    store: EventStore, task_id: str, versions: Sequence[int], many: int
) -> list[RecordedPrompt]:
    """So many of the prompts of some events, evenly spread over them."""
    there = {one.version: one for one in asked(store, task_id)}
    wanted = [there[version] for version in versions if version in there]
    if len(wanted) <= many:
        return wanted
    return [wanted[number * len(wanted) // many] for number in range(many)]


def cost(
    sample: Sequence[RecordedPrompt], settings: Sequence[Setting], profile: ModelProfile
) -> Asking:
    """What asking a sample under every setting takes at most."""
    calls = len(sample) * len(settings)
    tokens = len(settings) * sum(one.fact.tokens or 0 for one in sample)
    return Asking(calls, tokens, calls * profile.generation)


def answers(
    store: EventStore, task_id: str, sample: Sequence[RecordedPrompt],
    settings: Sequence[tuple[str, Policy]], model: Model, profile: ModelProfile,
) -> Iterator[LiveAnswer]:  # fmt: skip
    """Ask a model for each prompt of a sample under each policy."""
    for one in sample:
        for name, policy in settings:
            branch = fork(store, task_id, one.stood_at, runner=f"{WRITER} {one.version} {name}")
            yield _answered(store, branch.task_id, one, name, policy, model, profile)


def _answered(
    store: EventStore, branch: str, one: RecordedPrompt, name: str, policy: Policy, model: Model,
    profile: ModelProfile,
) -> LiveAnswer:  # fmt: skip
    running = TaskFollower(store, branch)
    running.read_on()
    fact, blobs = PromptBuilder(running, profile, policy).built(one.request)
    settings = Blob(policy.body)
    used = PolicyUsed(policy=settings.ref, model=model.id)
    begun = one.begun.model_copy(update={"runner": WRITER})
    _append(running, [used, begun, fact], [settings, *blobs])
    told = [Message(role, text) for role, text in messages(fact, store.get)]
    call = Call(branch, begun.kind or "", begun.module_name or "", begun.iteration or 0,
                begun.attempt or 1, fact.digest or "")  # fmt: skip
    found = LiveAnswer(one.version, one.name, name, branch, fact.tokens or 0, None, None)
    try:
        answer = model.complete(told, Limits(profile.generation), call=call)
    except ModelError as error:
        _append(running, [ModelFailed(reason=str(error), kind=error.kind)], [])
        return found._replace(error=str(error))
    done = replied(answer, model.id, fact.tokens)
    _append(running, done.facts, done.blobs)
    return found._replace(tokens=answer.tokens, seconds=answer.seconds)


def _append(running: TaskFollower, facts: Sequence[Fact | Claim], blobs: Sequence[Blob]) -> None:
    store, task_id = running.store, running.task_id
    store.append(task_id, facts, after=running.version, writer=WRITER, blobs=blobs)
    running.read_on()
