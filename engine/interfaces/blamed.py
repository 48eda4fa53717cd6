"""Why a thing is in a prompt, or out of it: found, and as lines."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.events import WorkflowEvent
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import event_line, one_line
from backcast.engine.log.store import EventStore
from backcast.engine.replay.blame import Blame, blame
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.find import step_at


class NodeBlame(NamedTuple):
    """Why a node is in a prompt or out of it, with the events behind that."""

    task: str
    version: int
    name: str
    "What was asked for."
    blame: Blame
    events: dict[int, WorkflowEvent]


def blamed(store: EventStore, task: str, when: str, node: str) -> NodeBlame:
    """Explain why a node is in the prompt at a moment, or out of it."""
    step = step_at(store, task, when)
    found = blame(BuilderPool(store), step, node)
    numbers = {*found.because, *(cause for rival in found.rivals for cause in rival.because)}
    events = {
        number: event
        for number in sorted(numbers)
        for event in store.read(task, after=number - 1, last=number)
    }
    return NodeBlame(task, step.version, step.name, found, events)


def blame_lines(asked: NodeBlame) -> Iterator[str]:
    """Yield why a node is in a prompt or out of it, as lines."""
    found, events = asked.blame, asked.events
    yield escaped(f"{asked.task}@{asked.version} {asked.name}")
    node = one_line(found.node, 100)
    if found.level:
        yield f"{node} is in {found.section}, {found.level}, {found.tokens} tokens"
    else:
        yield f"{node} is {'in' if found.inside else 'out'}"
    yield f"why: {one_line(found.why, 200)}"
    if not found.inside and found.tokens:
        yield f"it would take {found.tokens} tokens; its chance to be needed was {found.score:g}"
    yield f"shown last by event {found.last}" if found.last else "no prompt before showed it"
    if found.because:
        yield "it came from"
        yield from (event_line(events[number]) for number in found.because if number in events)
    if found.rivals:
        yield "its tokens went to" if found.last else "the last ones in instead"
        for rival in found.rivals:
            causes = ", ".join(map(str, rival.because))
            yield (
                f"  {one_line(rival.node, 90)}  {rival.level}, {rival.tokens} tokens more, chance"
                f" {rival.score:g}{f', from event {causes}' if causes else ''}"
            )
