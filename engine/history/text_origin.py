"""What does the log say of where a module's latest text came from, and of one that is unknown?"""

from typing import NamedTuple

from backcast.domain.events import ModuleIteration, ModuleRenamed, SourceRead
from backcast.engine.log.store import EventStore

UNTOLD = "the log does not hold it"


class TextOrigin(NamedTuple):
    """What the event that made a module's latest version says of its text."""

    unknown: str
    "Why its text is unknown; empty where it is known."
    by_lines: bool = False
    "Whether it is known by lines only."
    pieces: tuple[tuple[str, str], ...] = ()
    "What is known of an unknown text: what was replaced, and by what."


def origin_of(store: EventStore, task_id: str, version: int) -> TextOrigin:
    """Return what the event that made a version says of its text."""
    for event in store.read(task_id, after=version - 1, last=version):
        match event.fact:
            case ModuleIteration(source=None) | ModuleRenamed(source=None) as fact:
                return TextOrigin(fact.unknown or UNTOLD, pieces=fact.pieces)
            case ModuleIteration(line_ends=ends) | ModuleRenamed(line_ends=ends):
                return TextOrigin("", ends == "assumed")
            case SourceRead(line_ends=ends):
                return TextOrigin("", ends == "assumed")
    return TextOrigin(UNTOLD)
