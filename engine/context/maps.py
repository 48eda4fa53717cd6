"""The context map as a prompt shows it: what fits its tokens, and what may not hold any more."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.allocation import OVER
from backcast.domain.context import Omission
from backcast.domain.context_map import MapItem, rendered, within
from backcast.domain.policy import MAP, MapSettings
from backcast.domain.staleness import Modules
from backcast.domain.texts import TEXTS
from backcast.engine.context.counting import Counting
from backcast.projections.context_map import ContextMap, ranked

HEADING = f"{TEXTS[MAP]}\n\n"
"The heading above the map in a prompt, by default."


class ShownMap(NamedTuple):
    """A map in a prompt."""

    text: str
    items: tuple[MapItem, ...]
    "By worth, the most first."
    stale: tuple[str, ...]
    "The ids of the items that may not hold any more."
    left_out: tuple[Omission, ...]


def shown_map(
    map: ContextMap, modules: Modules, settings: MapSettings, tokens: int, counting: Counting,
    heading: str = TEXTS[MAP],
) -> ShownMap:  # fmt: skip
    """Return the items of a map that fit a number of tokens, headings counted."""
    stale = frozenset(stale_in(map, modules))
    candidates = ranked(map, settings)
    if settings.stale == "withheld":
        candidates = [item for item in candidates if item.id not in stale]
    room = tokens - counting.count(f"{heading}\n\n") - 1
    items = within(candidates, room, counting.tokenizer.count, stale)
    shown = frozenset(one.id for one in items)
    return ShownMap(
        rendered(items, stale),
        tuple(items),
        tuple(one.id for one in items if one.id in stale),
        tuple(
            Omission(f"map item {item}", MAP, OVER if item not in stale else "stale")
            for item in sorted(map.items)
            if item not in shown
        ),
    )


def stale_in(map: ContextMap, modules: Modules) -> Iterator[str]:
    """Yield the ids of the items whose sources changed since, or do not parse any more; sorted."""
    for id in sorted(map.items):
        made_of = map.items[id].made_of
        if not modules.holds(made_of) or not all(parses(modules, p) for p in made_of):
            yield id


def parses(modules: Modules, path: str) -> bool:
    """Tell whether a module's outline is that of its present text, not of an earlier one."""
    return "error" not in modules.modules.get(path, ())
