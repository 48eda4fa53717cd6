"""What is new and means the same as something on the map takes its place, and keeps its id."""

from collections.abc import Iterator, Sequence

import numpy as np

from backcast.domain.context_map import MapItem
from backcast.domain.events import MapEdit
from backcast.engine.context.search.embedders import Embedder
from backcast.engine.context.search.vectors import embedded
from backcast.engine.memory.mapping.lines import is_lines
from backcast.projections.context_map import ContextMap


def merged(
    edits: Sequence[MapEdit], map: ContextMap, embedder: Embedder, least: float
) -> list[MapEdit]:
    """Edits of which each ADD that is at least so near (cosine) to an item of its section replaces
    that, the nearest; the second of two that are so near to each other is refused."""
    touched = {one.item for one in edits if not one.refused}
    items = [map.items[item] for item in sorted(map.items)]
    there = [one for one in items if not is_lines(one) and one.id not in touched]
    new = [one for one in edits if _is_new(one)]
    if not new:
        return list(edits)
    texts = [one.text for one in new] + [one.text for one in there]
    near = _Nearness(texts, embedder, least)
    return list(_merged(edits, new, there, near))


def _is_new(edit: MapEdit) -> bool:
    return edit.operation == "ADD" and not edit.refused


class _Nearness:
    """How near some texts are to each other."""

    def __init__(self, texts: Sequence[str], embedder: Embedder, least: float) -> None:
        rows = embedded(embedder, texts)
        self.values, self.least = np.round(rows @ rows.T, 6), least

    def first(self, one: int, others: Sequence[int]) -> int | None:
        """The nearest of others, of equal ones the first; None where none is near enough."""
        near = [other for other in others if self.values[one, other] >= self.least]
        return max(near, key=lambda other: (self.values[one, other], -other)) if near else None


def _merged(
    edits: Sequence[MapEdit], new: Sequence[MapEdit], there: Sequence[MapItem], near: _Nearness
) -> Iterator[MapEdit]:
    kept, taken, at = list[int](), set[int](), 0
    for edit in edits:
        if not _is_new(edit):
            yield edit
            continue
        own = [one for one in kept if new[one].section == edit.section]
        items = [
            number
            for number, item in enumerate(there, len(new))
            if item.section == edit.section and number not in taken
        ]
        if near.first(at, own) is not None:
            yield edit.model_copy(update={"refused": "another edit says nearly the same"})
        elif (found := near.first(at, items)) is not None:
            taken.add(found)
            item = there[found - len(new)].id
            kept.append(at)
            yield edit.model_copy(update={"operation": "REPLACE", "item": item, "section": ""})
        else:
            kept.append(at)
            yield edit
        at += 1
