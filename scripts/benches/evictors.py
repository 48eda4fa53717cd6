"""Evictors that are compared: ours with other settings, the paper's order, and chance."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from backcast.domain.context_map import MapItem, Tokens, within
from backcast.domain.events import MapEdit
from backcast.domain.policy import SECTION_WORTH, TAG_WORTH, MapSettings
from backcast.engine.memory.mapping import Evictor
from backcast.engine.memory.mapping.updating import ByWorth
from backcast.projections.context_map import ContextMap, worth


class Ordered(ABC):
    """Keeps what comes first by an order, as long as it fits."""

    def __init__(self, count: Tokens) -> None:
        self._count = count

    def evict(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Edits that take away what does not fit."""
        there = self.order(map, settings)
        kept = {one.id for one in within(there, tokens, self._count)}
        gone = [one.id for one in there if one.id not in kept]
        return [MapEdit(operation="DELETE", item=item) for item in reversed(gone)]

    @abstractmethod
    def order(self, map: ContextMap, settings: MapSettings) -> list[MapItem]:
        """The items, the last to go first."""


class OldestFirst(Ordered):
    """The paper's order: of equals the oldest goes first."""

    def order(self, map: ContextMap, settings: MapSettings) -> list[MapItem]:
        """The items by worth, of equals the youngest first."""
        return sorted(
            map.items.values(),
            key=lambda one: (worth(one, map.updates, settings), int(one.id.rpartition("-")[2])),
            reverse=True,
        )


class AnyFirst(Ordered):
    """Any order, another after each update."""

    def order(self, map: ContextMap, settings: MapSettings) -> list[MapItem]:
        """The items, mixed: the same for the same map."""
        there = [map.items[item] for item in sorted(map.items)]
        random.Random(map.updates).shuffle(there)
        return there


class Arm(NamedTuple):
    """An evictor and its settings."""

    name: str
    settings: MapSettings = MapSettings()
    evictor: Callable[[Tokens], Evictor] = ByWorth


def _tags(**other: float) -> dict[str, float]:
    return {**TAG_WORTH, **other}


EQUAL = dict.fromkeys(SECTION_WORTH, 0.0)
CORE = ("CONTEXT UNDERSTANDING", "CONTEXT ROADMAP")
PAPER = {"helpful": 1.0, "harmful": -1.0, "neutral": 0.0, "stale": -1.0}
DEFAULT = Arm("as by default")
ARMS: Sequence[Arm] = (
    DEFAULT,
    Arm("no fading", MapSettings(fading=1)),
    Arm("fading 0.95", MapSettings(fading=0.95)),
    Arm("neutral -0.5 (C3)", MapSettings(tags=_tags(neutral=-0.5))),
    Arm("neutral 0", MapSettings(tags=_tags(neutral=0.0))),
    Arm("sections worth the same", MapSettings(sections=EQUAL)),
    Arm("size 0.5", MapSettings(size=0.5)),
    Arm("size 1", MapSettings(size=1)),
    Arm("core: roadmap, understanding", MapSettings(core=CORE)),
    Arm("the paper's", MapSettings(tags=PAPER, fading=1, sections=EQUAL), OldestFirst),
    Arm("any", MapSettings(), AnyFirst),
)
