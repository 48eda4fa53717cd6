"""What was the model shown last?

The items of the latest context, in their order: a prompt that begins as the one before it did is
read again by the model only from where it differs.
"""

from typing import Literal, NamedTuple

from backcast.domain.events import ContextBuilt, WorkflowEvent

NAME = "prompts"
VERSION = 2
SCOPE: Literal["task", "store"] = "task"


class ShownPart(NamedTuple):
    """One thing that was shown."""

    node: str
    section: str
    level: str
    text: str | None
    "The blob of what was shown."


class PromptsState(NamedTuple):
    """The latest context that was built."""

    target: str = ""
    version: int = 0
    "The version of the event that tells of it; 0 where there was none."
    digest: str = ""
    tokens: int = 0
    parts: tuple[ShownPart, ...] = ()
    "What was shown, but for what was asked for by name."


State = PromptsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """The state after one more event."""
    match event.fact:
        case ContextBuilt(items=items, wanted=wanted) as fact:
            # What was wanted was wanted for that prompt alone: it is no reason to show it again.
            told = (one for one in items if one.node not in wanted)
            parts = tuple(ShownPart(one.node, one.section, one.level, one.text) for one in told)
            return State(
                fact.target or "", event.version, fact.digest or "", fact.tokens or 0, parts
            )
    return state
