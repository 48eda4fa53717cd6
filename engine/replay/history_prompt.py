"""One prompt of an agent under a history policy, beside the recorded one."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.errors import MomentError
from backcast.domain.histories import ShownHistory, shaped
from backcast.domain.message_parts import Count, MessagePart
from backcast.domain.message_settings import MessageSettings
from backcast.engine.history.moments import near_numbers, position_of
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.agent_prompts import agent_prompts
from backcast.engine.replay.find import last_by


class HistoryPrompt(NamedTuple):
    """A prompt as it was, and under a policy."""

    recorded: AgentPrompt
    shown: tuple[MessagePart, ...]


def all_under(
    store: EventStore, task_id: str, settings: MessageSettings, count: Count
) -> Iterator[HistoryPrompt]:
    """Yield every prompt of a task under settings, in log order."""
    compacted = dict[str, int]()
    for prompt in agent_prompts(store, task_id, count):
        history = shaped(prompt.parts, settings, count, compacted.get(prompt.thread, 0))
        compacted[prompt.thread] = history.compacted
        yield HistoryPrompt(prompt, history.parts)


def prompt_under(
    store: EventStore, task_id: str, when: str, settings: MessageSettings, count: Count
) -> HistoryPrompt:
    """Return the prompt at a moment: that event, or the last by that time.

    The run's earlier prompts are gone through, as they tell where it was compacted. `MomentError`
    names the nearest prompts where an event is none.
    """
    prompts, place = prompts_to(store, task_id, when, count)
    wanted = prompts[place]
    history = ShownHistory(())
    for prompt in prompts[: place + 1]:
        if prompt.thread == wanted.thread:
            history = shaped(prompt.parts, settings, count, history.compacted)
    return HistoryPrompt(wanted, history.parts)


def prompts_to(
    store: EventStore, task_id: str, when: str, count: Count
) -> tuple[list[AgentPrompt], int]:
    """Return the prompts of a run, and the place of the one at a moment: that event, or the last by
    that time. `MomentError` names the nearest prompts where an event is none."""
    prompts = list(agent_prompts(store, task_id, count))
    versions = [prompt.version for prompt in prompts]
    if not versions:
        raise MomentError(f"{task_id}: needed an agent's prompt, found none that can be read")
    if when.isdecimal() and int(when) not in versions:
        position_of(store, task_id, int(when))  # there is such an event
        [event] = store.read(task_id, after=int(when) - 1, last=int(when))
        near = " and ".join(f"{task_id}@{near}" for near in near_numbers(int(when), versions, 2))
        needed = "of an answer, whose prompt is formed" if prompts[0].formed else "of a prompt"
        raise MomentError(
            f"{task_id}@{when}: needed the event {needed}, found {event.type}: the nearest are"
            f" {near}"
        )
    version = int(when) if when.isdecimal() else last_by(store, task_id, when, versions, versions)
    return prompts, versions.index(version)
