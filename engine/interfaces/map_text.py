"""Render context maps as text and as JSON, and compare two moments of one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sized
from difflib import ndiff
from re import findall
from textwrap import wrap
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from backcast.domain.context_map import MapItem
from backcast.domain.memory_events import MapEdited
from backcast.domain.moment import Moment
from backcast.domain.name_list import first_names
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.domain.tree import TOP, TREE
from backcast.engine.context.counting import Counting
from backcast.engine.context.maps import ShownMap, parses, shown_map, stale_in
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.maps import EDITS, FAR, Maps, commits_behind, map_known, stale_since
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
"Items of a list that are named one by one."


class MapMoment(NamedTuple):
    """The map of a context at a moment."""

    name: str
    "Name of the context, or of a task that works on it."
    map: ContextMap
    shown: ShownMap
    modules: Modules
    settings: MapSettings
    counting: Counting
    tokens: int
    contexts: tuple[str, ...]
    "All contexts that had a map then."
    task: str
    "Task whose modules decide which items are stale."
    moment: Moment
    behind: int = 0
    "Commits up to the moment that it has not read."

    @classmethod
    def at(
        cls, store: EventStore, context: str, when: str, settings: MapSettings,
        tokens: int, tokenizer: Tokenizer,
    ) -> "MapMoment":  # fmt: skip
        """Return the map at a moment; a task's map as that task knew it."""
        moment = _moment(store, context, when)
        state = Maps(store).at(moment)
        map = context_map.map_of(state, context)
        task = map.task
        if context not in state.maps and store.version(context):
            map, task = map_known(store, lineage_of(store, context), moment), context
        graph = dependency_graph.initial
        if task and map.items:  # of a map that holds nothing, nothing is stale
            graph = state_at(store, dependency_graph, task, moment)
        modules, counting = Modules(dependency_graph.present(graph)), Counting(tokenizer)
        shown = shown_map(map, modules, settings, tokens, counting)
        contexts = tuple(sorted(state.maps))
        behind = commits_behind(store, map.task, map.version, moment) if map.task else 0
        return cls(
            name=context, map=map, shown=shown, modules=modules, settings=settings,
            counting=counting, tokens=tokens, contexts=contexts, task=task, moment=moment,
            behind=behind,
        )  # fmt: skip

    @property
    def line(self) -> str:
        """The map in one line: its name, updates, items and tokens."""
        shown, tokens = self.shown, self.counting.count(self.shown.text)
        knower = f", as {self.name} knew it," if self.name != self.map.context else ""
        return (
            f"map of {self.map.context}{knower} after {self.map.updates} updates:"
            f" {len(shown.items)} of {len(self.map.items)} items, {len(shown.stale)} of them stale;"
            f" {tokens:,} of {self.tokens:,} tokens{'; ' if self.age else ''}{self.age}"
        )

    @property
    def age(self) -> str:
        """How far behind a map is; empty where it is not far."""
        if self.behind < FAR:
            return ""
        return f"last updated {self.behind:,} commits before this moment"


def _moment(store: EventStore, context: str, when: str) -> Moment:
    """Return the moment of a map, by time where a commit names it.

    A map's edits are recorded later than the events they are about, with the time of those.
    """
    moment = moment_at(store, context if store.version(context) else None, when)
    if COMMIT not in when:
        return moment
    last = store.version_at(context, moment)
    [event] = store.read(context, after=last - 1, last=last)
    return Moment(at=event.timestamp)


def plain_of(at: MapMoment, since: Mapping[str, str]) -> dict[str, Any]:
    """Return a map as JSON; `since` gives the event that made an item stale."""
    shown = {one.id for one in at.shown.items}
    return {
        "context": at.map.context,
        "updates": at.map.updates,
        "tokens": at.counting.count(at.shown.text),
        "budget": at.tokens,
        "text": at.shown.text,
        "items": [
            {
                **_plain(item),
                "worth": worth(item, at.map.updates, at.settings),
                "tokens": at.counting.count(item.line),
                "shown": item.id in shown,
                "stale": moved(at, item),
                "stale_since": since.get(item.id),
            }
            for _, item in sorted(at.map.items.items())
        ],
    }


def _plain(item: MapItem) -> dict[str, Any]:
    data = item._asdict()
    data["built_from"] = {path: dict(keys) for path, keys in item.made_of.items()}
    return data


def moved(at: MapMoment, item: MapItem) -> list[str]:
    """Return the sources of an item that have changed, or do not parse."""
    found = [
        f"where {key.removeprefix(TOP)} is" if path == TREE else f"{path} {key}".rstrip()
        for path, key in at.modules.changed(item.made_of)
    ]
    odd = [path for path in sorted(item.made_of) if not parses(at.modules, path)]
    return [*found, *(f"{path} does not parse" for path in odd)]


def since(store: EventStore, at: MapMoment) -> dict[str, str]:
    """Return the event, as `TASK@VERSION`, that made each stale item so, where known."""
    stale = [at.map.items[item] for item in stale_in(at.map, at.modules)]
    versions = stale_since(store, lineage_of(store, at.task), stale, at.moment) if stale else {}
    return {item: f"{at.task}@{version}" for item, version in versions.items()}


def taggers(store: EventStore, at: MapMoment) -> dict[str, str]:
    """Return who tagged each item last and in which event, by item id."""
    return {
        item: f"{event.fact.distiller or 'somebody'} in {event.task_id}@{event.version}"
        for event in store.read(moment=at.moment, types=EDITS)
        if isinstance(event.fact, MapEdited)
        and (event.fact.context or event.task_id) == at.map.context
        for item in event.fact.tags
    }


def explained(
    at: MapMoment, since: Mapping[str, str], tagged: Mapping[str, str], console: Console
) -> None:
    """Print each item's origin, worth and tags, and the items that would go first."""
    paragraphs = [list(_origin(at, one, since, tagged)) for one in at.shown.items]
    order = [one.id for one in reversed(at.shown.items)]
    paragraphs.append([f"first to go: {', '.join(order[:FIRST])}"])
    if at.shown.left_out:
        ids = [(one.node.rpartition(" ")[2], one.reason) for one in at.shown.left_out]
        names = [f"{item} ({reason}{_by(since, item)})" for item, reason in ids]
        paragraphs.append([f"not shown: {first_names(names, OMITTED)}"])
    width = min(console.width, WIDTH)
    for first, *rest in ([*map(escaped, names)] for names in paragraphs):
        lines = wrap(first, width, subsequent_indent=SET_IN, break_on_hyphens=False)
        for line in rest:
            lines += wrap(line, width, initial_indent=SET_IN, subsequent_indent=2 * SET_IN,
                          break_on_hyphens=False)  # fmt: skip
        console.print(Text("\n".join(lines)))


def _origin(
    at: MapMoment, item: MapItem, since: Mapping[str, str], tagged: Mapping[str, str]
) -> Iterator[str]:
    """Yield an item's text, then lines for its worth, tags, sources and staleness."""
    said = Counter(tag for _, tag in item.tags)
    found = ", ".join(f"{said[tag]}x {tag}" for tag in sorted(said))
    yield item.line.partition("\n")[0]
    yield (
        f"worth {worth(item, at.map.updates, at.settings):.2f},"
        f" {at.counting.count(item.line)} tokens, since update {item.added}, written by"
        f" {item.task}@{item.version}"
    )
    if found:
        yield f"found {found}, last by {tagged.get(item.id, 'somebody')}"
    named = set(findall(r"[\w./-]+", item.text))
    files = [path for path in sorted(item.made_of) if path != TREE]
    others = [one_line(path) for path in files if path not in named]
    facets = [one for one in item.built_from if one[0] != TREE]
    made = f"made of {_many(facets, 'facet')} of {_many(files, 'file')}"
    yield f"{made}, among them {first_names(others, NAMED)}" if others else made
    if changed := [one_line(facet) for facet in moved(at, item)]:
        yield f"stale{_by(since, item.id)}: {first_names(changed, NAMED)}"


def _by(since: Mapping[str, str], item: str) -> str:
    return f" since {since[item]}" if item in since else ""


def _many(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


class ItemDifference(NamedTuple):
    """The change of an item between two moments."""

    change: str
    item: str
    text: str
    "Its text now, or before it went."
    before: str = ""
    "Text of a rewritten item before."

    def __str__(self) -> str:
        first, *rest = self.text.split("\n")
        if self.change != "~" or not rest:
            return f"{self.change} [{self.item}] {self.text}"
        changes = ndiff(self.before.split("\n")[1:], rest)
        lines = [line for line in changes if line[:2] in ("- ", "+ ")]
        return "\n".join([f"~ [{self.item}] {first}", *(f"  {line}" for line in lines)])


def compared(old: MapMoment, new: MapMoment) -> list[ItemDifference]:
    """Return the items that came (+), went (-) or were rewritten (~) between two moments."""
    before, after = ({one.id: one for one in at.shown.items} for at in (old, new))
    differences = []
    for item in sorted({*before, *after}, key=lambda id: id.rpartition("-")[2]):
        if item not in after:
            differences.append(ItemDifference("-", item, before[item].text))
        elif item not in before:
            differences.append(ItemDifference("+", item, after[item].text))
        elif before[item].text != after[item].text:
            differences.append(ItemDifference("~", item, after[item].text, before[item].text))
    return differences
