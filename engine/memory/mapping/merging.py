"""Merges new entries into items of the same meaning, which keep their ids."""

from collections.abc import Iterator, Sequence

import numpy as np

from backcast.domain.context_map import MapItem
from backcast.domain.memory_events import MapEdit
from backcast.engine.context.search.embedders import Embedder
from backcast.engine.context.search.vectors import embedded
from backcast.engine.memory.mapping.lines import is_lines
from backcast.projections.context_map import ContextMap


def merged(
    edits: Sequence[MapEdit], map: ContextMap, embedder: Embedder, least: float
) -> list[MapEdit]:
    """Return edits in which each ADD with a cosine of at least `least` to items of its section
    replaces the nearest; the second of two new texts so near to each other is refused."""
    touched = {edit.item for edit in edits if not edit.refused}
    items = [map.items[item] for item in sorted(map.items)]
    free = [item for item in items if not is_lines(item) and item.id not in touched]
    new = [edit for edit in edits if _is_new(edit)]
    if not new:
        return list(edits)
    texts = [edit.text for edit in new] + [item.text for item in free]
    near = _Nearness(texts, embedder, least)
    return list(_merged(edits, new, free, near))


def _is_new(edit: MapEdit) -> bool:
    return edit.operation == "ADD" and not edit.refused


class _Nearness:
    """The cosines between texts."""

    def __init__(self, texts: Sequence[str], embedder: Embedder, least: float) -> None:
        rows = embedded(embedder, texts)
        self.values, self.least = np.round(rows @ rows.T, 6), least

    def nearest(self, number: int, others: Sequence[int]) -> int | None:
        """Return the nearest of the others, the first of equal ones; None if none is near."""
        row = self.values[number]
        near = [other for other in others if row[other] >= self.least]
        return max(near, key=lambda other: (row[other], -other)) if near else None


def _merged(
    edits: Sequence[MapEdit], new: Sequence[MapEdit], free: Sequence[MapItem], near: _Nearness
) -> Iterator[MapEdit]:
    kept, taken, at = list[int](), set[int](), 0
    for edit in edits:
        if not _is_new(edit):
            yield edit
            continue
        own = [number for number in kept if new[number].section == edit.section]
        items = [
            number
            for number, item in enumerate(free, len(new))
            if item.section == edit.section and number not in taken
        ]
        if near.nearest(at, own) is not None:
            yield edit.model_copy(update={"refused": "another edit says nearly the same"})
        elif (target := near.nearest(at, items)) is not None:
            taken.add(target)
            item = free[target - len(new)].id
            kept.append(at)
            yield edit.model_copy(update={"operation": "REPLACE", "item": item, "section": ""})
        else:
            kept.append(at)
            yield edit
        at += 1
