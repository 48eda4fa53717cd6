"""What was the model shown last?

The state keeps the items of the latest context, in order: a model reads a prompt again only from
the place where it differs from the one before. Questions that a step of a run asks are not in that
row.
"""

from typing import Literal, NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import WorkflowEvent
from backcast.domain.question_events import step_question

NAME = "prompts"
VERSION = 3
SCOPE: Literal["task", "store"] = "task"


class ShownPart(NamedTuple):
    """One thing that was shown."""

    node: str
    section: str
    level: str
    text: str | None
    "The blob of the shown text."


class PromptsState(NamedTuple):
    """The latest context."""

    target: str = ""
    version: int = 0
    "The version of its CONTEXT_BUILT; 0 for none."
    digest: str = ""
    tokens: int = 0
    parts: tuple[ShownPart, ...] = ()
    "The items that were not asked for by name."
    query: str = ""
    policy: str = ""
    "The blob of the policy that chose them; empty where none was recorded."


State = PromptsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case ContextBuilt(items=items, wanted=wanted) as fact if not step_question(fact):
            # Nodes were wanted for that prompt alone: that is no reason to show them again.
            kept = (one for one in items if one.node not in wanted)
            parts = tuple(ShownPart(one.node, one.section, one.level, one.text) for one in kept)
            return State(
                fact.target or "", event.version, fact.digest or "", fact.tokens or 0, parts,
                fact.query or "", fact.policy or "",
            )  # fmt: skip
    return state
