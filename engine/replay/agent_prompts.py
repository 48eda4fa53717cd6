"""The prompts of an agent's run, each as parts, with what the agent did next.

A recorded request is taken from its body. An imported run may have no bodies: each of its prompts
is formed of the messages, calls and results that came before the answer, so that its tools, and
where no log tells them its instructions, are unknown.
"""

from collections.abc import Iterator

from backcast.domain.message_parts import Count
from backcast.engine.log.exchanges.requests import RequestReader
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.formed_prompts import PromptFormer
from backcast.engine.replay.recorded_prompts import recorded_prompts


def agent_prompts(
    store: EventStore, task_id: str, count: Count, unread: list[int] | None = None
) -> Iterator[AgentPrompt]:
    """Yield the prompts of a task in log order: its requests, else prompts that are formed.

    The events of requests whose texts are masked or gone are added to `unread`.
    """
    if has_requests(store, task_id):
        yield from recorded_prompts(store, task_id, count, [] if unread is None else unread)
    else:
        yield from PromptFormer(store, task_id, count).prompts()


def prompts_with(store: EventStore, task_id: str, text: str, last: int) -> tuple[list[int], int]:
    """Return the events of the prompts up to an event that hold a text, and the number of all."""
    prompts = agent_prompts(store, task_id, lambda text: 0)
    by_then = [prompt for prompt in prompts if prompt.version <= last]
    held = [each.version for each in by_then if any(text in part.text for part in each.parts)]
    return held, len(by_then)


def has_requests(store: EventStore, task_id: str) -> bool:
    """Return whether a task holds requests of another program."""
    return any(True for _ in RequestReader(store, task_id).all())


def has_messages(store: EventStore, task_id: str) -> bool:
    """Return whether a task is an agent's run: a log without prompts of our own, with answers."""
    first = next(store.read(task_id, types=["CONTEXT_BUILT"]), None)
    if first is not None:
        return has_requests(store, task_id)
    return any(True for _ in store.read(task_id, types=["MODEL_REPLIED"]))
