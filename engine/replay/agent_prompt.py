"""A prompt of an agent, as parts, with what the agent did next."""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.message_parts import MessagePart
from backcast.engine.log.store import EventStore

GONE = "[its text is not in the log]"


class AgentPrompt(NamedTuple):
    """A prompt of an agent, and what the agent did next."""

    task: str
    version: int
    "The event of the request; of a formed prompt the answer's."
    parts: tuple[MessagePart, ...]
    action: tuple[str, ...]
    "The answer's text, and each call with its arguments; empty where none came."
    formed: bool
    "Whether it was formed of messages, as no request was recorded."
    thread: str = ""
    "The side chain that it belongs to; empty for the run itself."


def read_text(store: EventStore, ref: str | None) -> str:
    """Return the text of a blob; empty where there is none, or it is gone."""
    if not ref:
        return ""
    try:
        return store.get(ref).decode(errors="replace")
    except (DamagedError, ValueError, LookupError):
        return GONE


def as_read(parts: Sequence[MessagePart], module: str) -> str:
    """Return the path under which a module was read, else its own."""
    for part in reversed(parts):
        if part.reads and (part.reads.path == module or part.reads.path.endswith(f"/{module}")):
            return part.reads.path
    return module
