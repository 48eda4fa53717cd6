"""Context maps as people and programs read them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from difflib import ndiff
from re import findall
from textwrap import wrap
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from backcast.domain.context_map import MapItem
from backcast.domain.events import MapEdited
from backcast.domain.moment import Moment
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.engine.context.counting import Counting
from backcast.engine.context.maps import ShownMap, parses, shown_map, stale_in
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.maps import EDITS, Maps, map_known, stale_since
from backcast.engine.history.moments import COMMIT, moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import context_map, dependency_graph
from backcast.projections.context_map import ContextMap, worth

WIDTH, SET_IN = 100, "    "
FIRST, NAMED, OMITTED = 3, 4, 8
"How many of a kind are named one by one."


class MapMoment(NamedTuple):
    """The map of a context at a moment."""

    name: str
    "Of the context, or of a task that works on it."
    map: ContextMap
    shown: ShownMap
    modules: Modules
    settings: MapSettings
    counting: Counting
    tokens: int
    contexts: tuple[str, ...]
    "All that had a map then."
    task: str
    "The task by whose modules it is told what is stale."
    moment: Moment

    @classmethod
    def at(
        cls, store: EventStore, context: str, when: str, settings: MapSettings,
        tokens: int, tokenizer: Tokenizer,
    ) -> "MapMoment":  # fmt: skip
        """Return the map at a moment; that of a task, a branch say, as the task knew it."""
        then = _moment(store, context, when)
        state = Maps(store).at(then)
        map = context_map.map_of(state, context)
        task = map.task
        if context not in state.maps and store.version(context):
            map, task = map_known(store, lineage_of(store, context), then), context
        graph = state_at(store, dependency_graph, task, then) if task else dependency_graph.initial
        modules, counting = Modules(dependency_graph.present(graph)), Counting(tokenizer)
        shown = shown_map(map, modules, settings, tokens, counting)
        there = tuple(sorted(state.maps))
        return cls(context, map, shown, modules, settings, counting, tokens, there, task, then)

    @property
    def told(self) -> str:
        """The map in one line."""
        shown, taken = self.shown, self.counting.count(self.shown.text)
        known = f", as {self.name} knew it," if self.name != self.map.context else ""
        return (
            f"map of {self.map.context}{known} after {self.map.updates} updates:"
            f" {len(shown.items)} of {len(self.map.items)} items, {len(shown.stale)} of them stale;"
            f" {taken:,} of {self.tokens:,} tokens"
        )


def _moment(store: EventStore, context: str, when: str) -> Moment:
    """The moment of a map. Its edits are recorded later than the runs that they are about, with the
    times of those: so a commit names a time here."""
    moment = moment_at(store, context if store.version(context) else None, when)
    if COMMIT not in when:
        return moment
    last = store.version_at(context, moment)
    [event] = store.read(context, after=last - 1, last=last)
    return Moment(at=event.timestamp)


def plain_of(then: MapMoment, since: Mapping[str, str]) -> dict[str, Any]:
    """A map as JSON."""
    shown = {one.id for one in then.shown.items}
    return {
        "context": then.map.context,
        "updates": then.map.updates,
        "tokens": then.counting.count(then.shown.text),
        "budget": then.tokens,
        "text": then.shown.text,
        "items": [
            {
                **_plain(one),
                "worth": worth(one, then.map.updates, then.settings),
                "tokens": then.counting.count(one.line),
                "shown": one.id in shown,
                "stale": moved(then, one),
                "stale_since": since.get(one.id),
            }
            for one in (then.map.items[item] for item in sorted(then.map.items))
        ],
    }


def _plain(one: MapItem) -> dict[str, Any]:
    told = one._asdict()
    told["built_from"] = {path: dict(keys) for path, keys in one.made_of.items()}
    return told


def moved(then: MapMoment, one: MapItem) -> list[str]:
    """What an item was made of and is not as it was, or cannot be told any more."""
    found = [f"{path} {key}".rstrip() for path, key in then.modules.changed(one.made_of)]
    odd = [path for path in sorted(one.made_of) if not parses(then.modules, path)]
    return [*found, *(f"{path} does not parse" for path in odd)]


def since(store: EventStore, then: MapMoment) -> dict[str, str]:
    """The event, `TASK@VERSION`, since which each stale item does not hold, where that is known."""
    stale = [then.map.items[item] for item in stale_in(then.map, then.modules)]
    found = stale_since(store, lineage_of(store, then.task), stale, then.moment) if stale else {}
    return {item: f"{then.task}@{version}" for item, version in found.items()}


def taggers(store: EventStore, then: MapMoment) -> dict[str, str]:
    """Who said last of each item of what use it was, and in which event, by id."""
    return {
        item: f"{event.fact.distiller or 'somebody'} in {event.task_id}@{event.version}"
        for event in store.read(moment=then.moment, types=EDITS)
        if isinstance(event.fact, MapEdited)
        and (event.fact.context or event.task_id) == then.map.context
        for item in event.fact.tags
    }


def explained(
    then: MapMoment, since: Mapping[str, str], tagged: Mapping[str, str], console: Console
) -> None:
    """Print where each item came from, what was said of it, and what would go next."""
    paragraphs = [list(_origin(then, one, since, tagged)) for one in then.shown.items]
    order = [one.id for one in reversed(then.shown.items)]
    paragraphs.append([f"first to go: {', '.join(order[:FIRST])}"])
    if then.shown.left_out:
        ids = [(one.node.rpartition(" ")[2], one.reason) for one in then.shown.left_out]
        told = [f"{item} ({reason}{_by(since, item)})" for item, reason in ids]
        paragraphs.append([f"not shown: {_some(told, OMITTED)}"])
    width = min(console.width, WIDTH)
    for first, *rest in ([*map(escaped, told)] for told in paragraphs):
        lines = wrap(first, width, subsequent_indent=SET_IN, break_on_hyphens=False)
        for line in rest:
            lines += wrap(line, width, initial_indent=SET_IN, subsequent_indent=2 * SET_IN,
                          break_on_hyphens=False)  # fmt: skip
        console.print(Text("\n".join(lines)))


def _origin(
    then: MapMoment, one: MapItem, since: Mapping[str, str], tagged: Mapping[str, str]
) -> Iterator[str]:
    """An item and, a line each, what it is worth, what it was made of, and why it is stale."""
    said = Counter(tag for _, tag in one.tags)
    found = ", ".join(f"{said[tag]}x {tag}" for tag in sorted(said))
    yield one.line.partition("\n")[0]
    yield (
        f"worth {worth(one, then.map.updates, then.settings):.2f},"
        f" {then.counting.count(one.line)} tokens, since update {one.added}, written by"
        f" {one.task}@{one.version}"
    )
    if found:
        yield f"found {found}, last by {tagged.get(one.id, 'somebody')}"
    named = set(findall(r"[\w./-]+", one.text))
    others = [one_line(path) for path in sorted(one.made_of) if path not in named]
    made = f"made of {_many(one.built_from, 'facet')} of {_many(one.made_of, 'file')}"
    yield f"{made}, among them {_some(others, NAMED)}" if others else made
    if facets := [one_line(facet) for facet in moved(then, one)]:
        yield f"stale{_by(since, one.id)}: {_some(facets, NAMED)}"


def _by(since: Mapping[str, str], item: str) -> str:
    return f" since {since[item]}" if item in since else ""


def _many(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _some(told: Sequence[str], most: int) -> str:
    """The first of some things, and how many more there are."""
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return f"{', '.join(told[:most])}{more}"


class ItemDifference(NamedTuple):
    """What became of an item between two moments."""

    change: str
    item: str
    text: str
    "As it is, or for one that went, as it was."
    before: str = ""
    "Of one that was rewritten."

    def __str__(self) -> str:
        first, *rest = self.text.split("\n")
        if self.change != "~" or not rest:
            return f"{self.change} [{self.item}] {self.text}"
        lines = [one for one in ndiff(self.before.split("\n")[1:], rest) if one[:2] in ("- ", "+ ")]
        return "\n".join([f"~ [{self.item}] {first}", *(f"  {one}" for one in lines)])


def compared(old: MapMoment, new: MapMoment) -> list[ItemDifference]:
    """What came (+), went (-), or was rewritten (~) between two moments, by item."""
    before, after = ({one.id: one for one in then.shown.items} for then in (old, new))
    found = []
    for item in sorted({*before, *after}, key=lambda id: id.rpartition("-")[2]):
        if item not in after:
            found.append(ItemDifference("-", item, before[item].text))
        elif item not in before:
            found.append(ItemDifference("+", item, after[item].text))
        elif before[item].text != after[item].text:
            found.append(ItemDifference("~", item, after[item].text, before[item].text))
    return found
