"""Prompts that are formed of an imported run's messages, taken apart and compared as requests are.

Tools, pictures and instructions that no log tells are missing in each of them.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import ModelReplied
from backcast.domain.message_parts import Count, MessagePart
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.agent_prompts import agent_prompts
from backcast.engine.replay.foreign_prompts import (
    Anatomy,
    AnatomyPart,
    PromptDifference,
    difference_of,
)
from backcast.engine.replay.formed_prompts import PromptFormer
from backcast.engine.replay.history_prompt import prompts_to
from backcast.engine.replay.prefix_rows import PrefixRow

FORMED = "formed of its messages"
"Stands where a request has its path."


class FormedOrigin(NamedTuple):
    """A part of a formed prompt that says something, and the event that brought it."""

    part: AnatomyPart
    event: int


def formed_anatomy(store: EventStore, task_id: str, when: str, count: Count) -> Anatomy:
    """Return what the formed prompt at a moment is made of; `MomentError` where there is none."""
    prompts, place = prompts_to(store, task_id, when, count)
    return anatomy_of(store, prompts[place])


def anatomy_of(store: EventStore, prompt: AgentPrompt) -> Anatomy:
    """Return what a formed prompt is made of."""
    parts = tuple(map(_part, prompt.parts))
    reply = _reply(store, prompt)
    purpose = f"side chain {prompt.thread}" if prompt.thread else ""
    return Anatomy(
        prompt.version, FORMED, purpose, parts, 0, sum(part.bytes for part in parts), None,
        reply.prompt_tokens, reply.cached_tokens, None,
    )  # fmt: skip


def _reply(store: EventStore, prompt: AgentPrompt) -> ModelReplied:
    for event in store.read(prompt.task, after=prompt.version - 1, last=prompt.version):
        if isinstance(event.fact, ModelReplied):
            return event.fact
    return ModelReplied()


def _part(part: MessagePart) -> AnatomyPart:
    body = part.text.encode(errors="replace")
    return AnatomyPart(
        part.kind, part.role, part.tool, None, part.tokens, False, len(body),
        part.ref or Blob(body).ref, " ".join(part.text[:200].split()), part.turn,
    )  # fmt: skip


def formed_difference(
    store: EventStore, task_id: str, before: str, after: str, count: Count
) -> PromptDifference:
    """Compare the formed prompts at two moments; `InputError` where the second is no later."""
    prompts, first = prompts_to(store, task_id, before, count)
    _, second = prompts_to(store, task_id, after, count)
    if second < first:
        raise InputError(
            f"needed a second moment behind the first, event {prompts[first].version}, found event"
            f" {prompts[second].version}"
        )
    return _compared(store, prompts[first], prompts[second])


def _compared(store: EventStore, before: AgentPrompt, after: AgentPrompt) -> PromptDifference:
    old, new = anatomy_of(store, before), anatomy_of(store, after)
    sides = ((old, before), (new, after))
    texts = {
        part.text: shown.text
        for found, prompt in sides
        for part, shown in zip(found.parts, prompt.parts, strict=True)
    }
    return difference_of(old, new, lambda part: texts[part.text], None)


def formed_rows(store: EventStore, task_id: str, last: int, count: Count) -> Iterator[PrefixRow]:
    """Yield the formed prompts up to an event, each beside the one before in its conversation.

    `foretold` are the tokens of the parts that both begin with.
    """
    threads: dict[str, AgentPrompt] = {}
    for prompt in agent_prompts(store, task_id, count):
        if prompt.version > last:
            return
        before, threads[prompt.thread] = threads.get(prompt.thread), prompt
        tokens = sum(part.tokens for part in prompt.parts)
        cached = _reply(store, prompt).cached_tokens
        if before is None:
            yield PrefixRow(prompt.version, tokens, None, cached, None, first=True)
            continue
        if prompt.parts[: len(before.parts)] == before.parts:
            kept, broken = sum(part.tokens for part in before.parts), None
        else:
            broken = _compared(store, before, prompt).broken
            kept = broken.kept if broken else tokens
        yield PrefixRow(prompt.version, tokens, kept, cached, broken)


def formed_origins(
    store: EventStore, task_id: str, when: str, wanted: str, count: Count
) -> tuple[int, list[FormedOrigin]]:
    """Return a prompt's event, and its parts that say something or have a name, with the events
    that tell them. `InputError` where there is none."""
    prompts, place = prompts_to(store, task_id, when, count)
    prompt = prompts[place]
    found = [
        FormedOrigin(part, shown.event)
        for part, shown in zip(map(_part, prompt.parts), prompt.parts, strict=True)
        if wanted in (part.kind, part.name, part.title) or wanted in shown.text
    ]
    if not found:
        where = f"{task_id}@{prompt.version}"
        raise InputError(
            f"{where}: needed a text of this prompt, or a part's name, found {wanted!r}: 'backcast"
            f" context {where} --anatomy' lists the parts"
        )
    return prompt.version, found


def said_parts(store: EventStore, task_id: str, last: int) -> Iterator[MessagePart]:
    """Yield each text that stands in a run's messages, calls and results up to an event, once.

    What came behind the last prompt is among them: no later prompt holds it.
    """
    former, known = PromptFormer(store, task_id, lambda text: 0), set[tuple[str, str]]()
    deque(former.prompts(), maxlen=0)
    for part in former.told:
        if part.event <= last and part.text and (part.kind, part.text) not in known:
            known.add((part.kind, part.text))
            yield part
