"""Prompts of an agent that stand in the log as requests."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    ModelReplied,
    ModuleIteration,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.message_parts import RESULT, Count, MessagePart
from backcast.engine.log.exchanges.requests import RequestReader
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt, as_read, read_text
from backcast.engine.replay.request_parts import KeptTexts, RequestPartsReader
from backcast.engine.replay.tool_calls import argument_text, called


class _KnownResult(NamedTuple):
    """A result as events tell it."""

    failed: bool
    module: str = ""
    "The file that its call changed."
    leaves: str = ""
    "The blob of the text that the call left in it."


def recorded_prompts(
    store: EventStore, task_id: str, count: Count, unread: list[int]
) -> Iterator[AgentPrompt]:
    """Yield the prompts of a task's requests; those that cannot be read are added to `unread`."""
    actions, known = _actions(store, task_id), _known_results(store, task_id)

    def finish(part: MessagePart, before: Sequence[MessagePart]) -> MessagePart:
        part = _with_known(part, before, known.get(part.call))
        return part._replace(tokens=count(part.text))

    reader = RequestPartsReader(KeptTexts(store), finish)
    for found in RequestReader(store, task_id).all():
        if found.request.purpose:
            continue
        try:
            parts = reader.parts(found)
        except (DamagedError, ValueError):
            unread.append(found.version)
            continue
        action, formed = actions.get(found.version, ()), not found.request.digest
        yield AgentPrompt(task_id, found.version, parts, action, formed)


def _known_results(store: EventStore, task_id: str) -> dict[str, _KnownResult]:
    """Return what the events tell of results beyond the requests, by the ids of their calls."""
    found: dict[str, _KnownResult] = {}
    calls: dict[int, str] = {}
    for event in store.read(task_id, types=["TOOL_RETURNED", "MODULE_ITERATION"]):
        match event.fact:
            case ToolReturned(call_id=str() as call, failed=failed):
                calls[event.version] = call
                found[call] = _KnownResult(failed)
            case ModuleIteration(module_name=module, source=text):
                for call in [calls[cause] for cause in event.because if cause in calls]:
                    found[call] = found[call]._replace(module=module, leaves=text or "")
    return found


def _with_known(
    part: MessagePart, before: Sequence[MessagePart], known: _KnownResult | None
) -> MessagePart:
    """Return a result with what events tell of it."""
    if part.kind != RESULT or known is None:
        return part
    path = part.writes or (as_read(before, known.module) if known.module else "")
    failed = part.failed or known.failed
    return part._replace(failed=failed, writes=path, leaves=known.leaves)


def _actions(store: EventStore, task_id: str) -> dict[int, tuple[str, ...]]:
    """Return what was answered to each request, by its event."""
    found: dict[int, tuple[str, ...]] = {}
    asked: dict[int, int] = {}
    for event in store.read(task_id, types=["MODEL_REPLIED", "TOOL_CALLED"]):
        match event.fact:
            case ModelReplied() as fact:
                request = max(event.because, default=0)
                asked[event.version] = request
                text = read_text(store, fact.text)
                found[request] = (text,) if text else ()
            case ToolCalled() as fact:
                request = asked.get(max(event.because, default=0), 0)
                if request in found:
                    call = called(fact.tool, argument_text(fact.arguments, store))
                    found[request] = (*found[request], call)
    return found
