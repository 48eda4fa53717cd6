"""Which of the nodes that a model was shown stay in hand?

As many as fit a number of tokens, counted as each prompt recorded them. The lowest in priority goes
first, of equal ones the one shown longest ago; what somebody asked to see goes last.
"""

from typing import NamedTuple

from immutables import Map

from backcast.domain.cache import FOUND
from backcast.domain.context import PRIORITIES
from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.policy import PRIORITY

SHOWN = 64
"Shown nodes that are remembered."
TOKENS = 8_192
"Tokens of all shown nodes together; as many as the largest prompt showed, where that is more."
RANK = {priority: rank for rank, priority in enumerate(PRIORITIES)}
USUAL = "MEDIUM"
"The priority of what no section of the default policy ranks, and the highest of earlier prompts."


class ShownNode(NamedTuple):
    """How a node was shown last."""

    level: str
    found: str
    "online, offline or made; empty if unknown."
    tokens: int
    text: str | None
    "The blob of the shown text."
    version: int
    priority: str = USUAL
    "That of its section in this prompt."
    pinned: bool = False
    "Whether somebody asked to see it in full since the task began."


def shown_in(
    prompt: ContextBuilt, item: ContextItem, version: int, before: ShownNode | None
) -> ShownNode:
    """Return an item of a prompt of some version as a shown node, which was shown `before`."""
    found = item.found if item.found in FOUND else ""
    own = item.node == prompt.target
    priority = "CRITICAL" if own else PRIORITY.get(item.section, USUAL)
    pinned = item.node in prompt.wanted or (before is not None and before.pinned)
    tokens = max(0, item.tokens)
    return ShownNode(item.level, found, tokens, item.text, version, priority, pinned)


def priority_of(node: ShownNode, last: int) -> str:
    """Return a node's priority now; `last` is the version of the latest prompt."""
    high = RANK[node.priority] < RANK[USUAL]
    return USUAL if high and node.version < last else node.priority


def last_shown(shown: Map[str, ShownNode]) -> int:
    """Return the version of the latest prompt; 0 for none."""
    return max((node.version for _, node in shown.items()), default=0)


def within(shown: Map[str, ShownNode], limit: int, last: int) -> Map[str, ShownNode]:
    """Return the nodes without those that are too many, or more than `limit` tokens."""
    tokens = sum(node.tokens for _, node in shown.items())
    if tokens <= limit and len(shown) <= SHOWN:
        return shown

    def worth(name: str) -> tuple[object, ...]:
        node = shown[name]
        return node.pinned, -RANK[priority_of(node, last)], node.version, name

    for name in sorted(shown, key=worth):
        if tokens <= limit and len(shown) <= SHOWN:
            break
        tokens -= shown[name].tokens
        shown = shown.delete(name)
    return shown
