"""Takes from a map what has no room on it: deterministic, the least worth first."""

from collections.abc import Sequence

from backcast.domain.context_map import MapItem, Tokens, within
from backcast.domain.events import MapEdit
from backcast.domain.policy import MapSettings
from backcast.engine.memory.mapping.lines import is_lines
from backcast.projections.context_map import ContextMap, ranked


class ByWorth:
    """Keeps what is worth most; lines of code are left alone, since they fill what is left."""

    id = "worth 1"

    def __init__(self, count: Tokens) -> None:
        self._count = count

    def evicted(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Edits that take away what does not fit so many tokens, headings counted."""
        there: list[MapItem] = [one for one in ranked(map, settings) if not is_lines(one)]
        kept = {one.id for one in within(there, tokens, self._count)}
        gone = [one.id for one in there if one.id not in kept]
        return [MapEdit(operation="DELETE", item=item) for item in reversed(gone)]
