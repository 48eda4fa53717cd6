"""The share of a dispatched agent's prompt that the definitions of its tools take."""

from typing import Any

from backcast.domain.errors import DamagedError, MomentError
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.log.store import EventStore
from backcast.engine.replay.foreign_prompts import UNCOUNTED, anatomy, request_at


def tool_share(store: EventStore, task: str | None) -> dict[str, Any]:
    """Return tools, their tokens, and those of the last prompt that a proxy recorded of a task.

    Empty without a proxy, or before the first call.
    """
    if not task:
        return {}
    try:
        found = anatomy(store, task, request_at(store, task), message_counter().count)
    except (MomentError, DamagedError):
        return {}
    tools = [part for part in found.parts if part.kind == "tool"]
    whole = sum(part.tokens for part in found.parts if part.kind not in UNCOUNTED)
    return {"count": len(tools), "tokens": sum(part.tokens for part in tools), "of": whole}


def said(share: dict[str, Any]) -> str:
    """Return a share in words; empty for none."""
    if not share:
        return ""
    part = share["tokens"] / max(1, share["of"])
    return f"{share['count']} tools: {part:.0%} of its last prompt".replace("1 tools", "1 tool", 1)
