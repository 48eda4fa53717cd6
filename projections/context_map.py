"""Which orientation knowledge is on the map?

For each context (a repository, a corpus) the state keeps the items of its map, the updates that
judged their use, and the nodes that the runs behind those updates used. Whether an item still holds
depends on a moment's modules too (`backcast.domain.staleness`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.context_map import SECTIONS, TAGS, MapItem, lawful
from backcast.domain.events import WorkflowEvent
from backcast.domain.memory_events import MapEdit, MapEdited
from backcast.domain.node import path_of
from backcast.domain.policy import MapSettings
from backcast.domain.summary import flat

NAME = "context_map"
VERSION = 1
SCOPE: Literal["task", "store"] = "store"
REMEMBERED = 24
"Updates that are kept of each item, and of each node."
DECIMALS = 6
"Worths are rounded before they are compared: sums of floats differ in their last bits."
MOST = 2_000
"The most items of a map; the shown ones are chosen from these to fit its tokens."


class Share(NamedTuple):
    """The share of one thing in a run."""

    update: int
    "The update, counted from 1."
    part: float
    "The part of all that the run used, or changed: more than 0, at most 1."


class ContextMap(NamedTuple):
    """The map of one context."""

    context: str = ""
    updates: int = 0
    "The number of runs that it was made of."
    numbers: int = 0
    "The number of the last new item; no number is used twice."
    items: Map[str, MapItem] = Map()
    "Items by id."
    uses: Map[str, tuple[Share, ...]] = Map()
    "By node, the last updates whose runs used it, the newest first."
    changes: Map[str, tuple[Share, ...]] = Map()
    "By path, the last updates whose runs changed functions or classes there, the newest first."
    refused: int = 0
    "Edits that could not be made: unknown items or sections, or unlawful texts."
    task: str = ""
    version: int = 0
    "The event that edited it last."


class ContextMapState(NamedTuple):
    """The maps of all contexts."""

    maps: Map[str, ContextMap] = Map()
    "Maps by context."


State = ContextMapState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case MapEdited() as fact:
            context = fact.context or event.task_id
            before = state.maps.get(context, ContextMap(context))
            return State(
                state.maps.set(context, edited(before, fact, event.task_id, event.version))
            )
    return state


def map_of(state: State, context: str) -> ContextMap:
    """Return the map of a context; an empty one if it has none."""
    return state.maps.get(context, ContextMap(context))


def edited(before: ContextMap, fact: MapEdited, task: str = "", version: int = 0) -> ContextMap:
    """Return the map after an event of a task. Even a map that starts again reuses no number."""
    if fact.anew:
        return ContextMap(before.context, numbers=before.numbers, task=task, version=version)
    number, items = before.updates + 1, before.items
    used = Counter(dict.fromkeys(fact.used, 1))
    changed = Counter(map(path_of, dict.fromkeys(fact.changed)))
    uses = _shared(before.uses, number, used)
    changes = _shared(before.changes, number, changed)
    with items.mutate() as tagging:
        for item in sorted(fact.tags):
            if item in items and fact.tags[item] in TAGS:
                tags = ((number, fact.tags[item]), *items[item].tags)
                tagging[item] = items[item]._replace(tags=tags[:REMEMBERED])
        items = tagging.finish()
    after = before._replace(
        updates=number, items=items, uses=uses, changes=changes,
        task=task, version=version,
    )  # fmt: skip
    for edit in fact.edits:
        after = _made(after, edit)
    return after


def _shared(
    before: Map[str, tuple[Share, ...]], number: int, counts: Mapping[str, int]
) -> Map[str, tuple[Share, ...]]:
    """Return the last shares of each thing, with those of one more update."""
    whole = sum(counts.values())
    with before.mutate() as changing:
        for name in sorted(counts):
            shares = (Share(number, counts[name] / whole), *changing.get(name, ()))
            changing[name] = shares[:REMEMBERED]
        after = changing.finish()
    return after


def _made(before: ContextMap, edit: MapEdit) -> ContextMap:
    """Return the map after an edit; an impossible edit is only counted."""
    items, known = before.items, before.items.get(edit.item)
    if edit.refused:
        return before._replace(refused=before.refused + 1)
    match edit.operation:
        case "DELETE" if known:
            return before._replace(items=items.delete(known.id))
        case "REPLACE" if known and lawful(edit.text):
            return before._replace(items=items.set(known.id, _written(known, edit, before)))
        case "ADD" if edit.section in SECTIONS and lawful(edit.text) and len(items) < MOST:
            number = before.numbers + 1
            new = MapItem(f"{SECTIONS[edit.section]}-{number:05}", edit.section, edit.text)
            new = _written(new._replace(added=before.updates), edit, before)
            return before._replace(numbers=number, items=items.set(new.id, new))
    return before._replace(refused=before.refused + 1)


def _written(item: MapItem, edit: MapEdit, map: ContextMap) -> MapItem:
    return item._replace(
        text=edit.text,
        nodes=edit.nodes,
        built_from=flat(edit.built_from),
        task=map.task,
        version=map.version,
    )


def ranked(map: ContextMap, settings: MapSettings) -> list[MapItem]:
    """Return the items of a map, the most worth first, then the oldest; those of the settings' core
    sections before all others.

    An item's worth is that of its section, plus its tags, which fade with each update, minus a
    price for its size.
    """

    def place(item: MapItem) -> tuple[bool, float, str]:
        value = worth(item, map.updates, settings)
        return item.section not in settings.core, -value, item.id.rpartition("-")[2]

    return sorted((map.items[item] for item in sorted(map.items)), key=place)


def worth(item: MapItem, now: int, settings: MapSettings) -> float:
    """Return the worth of an item after `now` updates."""
    said = (
        settings.tags.get(tag, 0.0) * settings.fading ** (now - update) for update, tag in item.tags
    )
    size = settings.size * len(item.text) / 100
    return round(settings.sections.get(item.section, 0.0) + sum(said) - size, DECIMALS)
