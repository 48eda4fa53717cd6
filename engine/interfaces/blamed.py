"""Why a thing is in a prompt, or out of it: found, and as lines."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.events import WorkflowEvent
from backcast.domain.node import kind_of
from backcast.domain.policy import Policy
from backcast.domain.removed import KINDS
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import cause_line, one_line
from backcast.engine.log.store import EventStore
from backcast.engine.replay.blame import Blame, blame
from backcast.engine.replay.blame_settings import ChoiceBehind, choice_behind
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
    behind: ChoiceBehind | None = None
    "Of a function or class, and of what is out and could have been chosen."
    policy: str = ""
    "The other policy that built the prompt; empty for its own."


def blamed(
    store: EventStore, task: str, when: str, node: str, policy: Policy | None = None
) -> NodeBlame:
    """Explain why a node is in the prompt at a moment, or out of it; with `policy` in the prompt
    that this one builds."""
    step = step_at(store, task, when)
    pool = BuilderPool(store)
    found = blame(pool, step, node, policy=policy)
    numbers = {*found.because, *(cause for rival in found.rivals for cause in rival.because)}
    events = {
        number: event
        for number in sorted(numbers)
        for event in store.read(task, after=number - 1, last=number)
    }
    is_symbol = kind_of(found.node) in KINDS
    behind = None
    if is_symbol or (found.tokens and not found.inside):
        behind = choice_behind(pool, step, found.node, policy)
        if found.inside:  # perhaps in the text of what holds it: no setting has to show it
            behind = behind._replace(tried=0, shown_by=())
    name = policy.name if policy else ""
    return NodeBlame(task, step.version, step.name, found, events, behind, name)


def blame_lines(asked: NodeBlame) -> Iterator[str]:
    """Yield why a node is in a prompt or out of it, as lines."""
    found, events = asked.blame, asked.events
    under = f", under {asked.policy}" if asked.policy else ""
    yield escaped(f"{asked.task}@{asked.version} {asked.name}{under}")
    node = one_line(found.node, 100)
    if found.level:
        yield f"{node} is in {found.section}, {found.level}, {found.tokens} tokens"
    else:
        yield f"{node} is {'in' if found.inside else 'out'}"
    yield f"why: {one_line(found.why, 200)}"
    if not found.inside and found.tokens:
        yield f"it would take {found.tokens} tokens; its chance to be needed was {found.score:g}"
    if asked.behind:
        yield from _behind_lines(asked.behind)
    yield f"shown last by event {found.last}" if found.last else "no prompt before showed it"
    if found.because:
        yield "it came from"
        yield from (cause_line(events[number]) for number in found.because if number in events)
    if found.rivals:
        yield (
            "its tokens went to" if found.last and not asked.policy else "the last ones in instead"
        )
        for rival in found.rivals:
            causes = ", ".join(map(str, rival.because))
            yield (
                f"  {one_line(rival.node, 90)}  {rival.level}, {rival.tokens} tokens more, chance"
                f" {rival.score:g}{f', from event {causes}' if causes else ''}"
            )


def _behind_lines(behind: ChoiceBehind) -> Iterator[str]:
    """Yield the evidence behind a chance, what it was worth, and settings that would show it."""
    if behind.worth is not None and behind.least is not None and not behind.tried:
        yield f"it is worth {behind.worth:.4g} per token"
    elif behind.worth is not None and behind.least is not None:
        yield (
            f"it is worth {behind.worth:.4g} per token; of what is in and need not be, the least is"
            f" worth {behind.least:.4g}"
        )
    for table in dict.fromkeys(kind.table for kind in behind.evidence):
        parts = [
            f"{kind.name} {kind.value:g} x {kind.weight:g}"
            for kind in behind.evidence
            if kind.table == table
        ]
        if parts:
            yield f"evidence, [{table}]: {', '.join(parts)}"
    if behind.shown_by:
        yield "shown by each of these settings alone ('backcast help weights')"
        yield from (
            f"  {found.setting}: {found.level}, {found.tokens} tokens" for found in behind.shown_by
        )
    elif behind.tried:
        yield f"none of {behind.tried} settings that were tried, each alone, would show it"
