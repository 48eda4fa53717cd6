"""Context maps as people and programs read them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.context_map import MapItem
from domain.moment import Moment
from domain.policy import MapSettings
from domain.staleness import Modules
from engine.context.counting import Counting
from engine.context.maps import ShownMap, shown_map
from engine.context.policies import policy_named
from engine.context.search.embedders import sentence_embedder
from engine.context.tokenizers import Tokenizer
from engine.interfaces.asked import model_asked
from engine.interfaces.moments import COMMIT, moment_of
from engine.log.store import EventStore
from engine.memory.mapping.updating import Keeping
from engine.replay.branches import line_of
from engine.replay.maps import Maps, map_known
from engine.replay.states import state_at
from projections import context_map, dependency_graph
from projections.context_map import ContextMap, worth


class Then(NamedTuple):
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
        cls, store: EventStore, context: str, moment: dict[str, Any], settings: MapSettings,
        tokens: int, tokenizer: Tokenizer,
    ) -> "Then":  # fmt: skip
        """The map as it was shown at a moment that options name; that of a task, a branch say, as
        the task knew it."""
        then = _moment(store, context, moment)
        state = Maps(store).at(then)
        map = context_map.map_of(state, context)
        task = map.task
        if context not in state.maps and store.version(context):
            map, task = map_known(store, line_of(store, context), then), context
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


def keeping_of(
    policy: str, tokens: int, tokenizer: Tokenizer, model: str | None, profile: str | None
) -> Keeping:
    """Who keeps a map by a policy; a model that is named takes both roles, where the policy names
    none."""
    used = policy_named(policy)
    settings = used.map
    if model and "model" not in (settings.distiller, settings.cartographer):
        settings = settings.model_copy(update={"distiller": "model", "cartographer": "model"})
    asked = model_asked("--model", model, profile) if model else None
    embedder = sentence_embedder(used.embedder or None) if settings.merge else None
    return Keeping.of(settings, tokens, tokenizer.count, asked, embedder)


def _moment(store: EventStore, context: str, options: dict[str, Any]) -> Moment:
    """The moment of a map. Its edits are recorded later than what they are about, with the time of
    that: so a commit names a time here."""
    at = options.get("at") or options.get("before")
    if not at or not at.startswith(COMMIT):
        return moment_of(store, None, **options)
    named = moment_of(store, context, **options)
    last = store.version_at(context, named)
    [event] = store.read(context, after=last - 1, last=last)
    return Moment(at=event.timestamp)


def plain_of(then: Then) -> dict[str, Any]:
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
            }
            for one in (then.map.items[item] for item in sorted(then.map.items))
        ],
    }


def _plain(one: MapItem) -> dict[str, Any]:
    told = one._asdict()
    told["built_from"] = {path: dict(keys) for path, keys in one.made_of.items()}
    return told


def moved(then: Then, one: MapItem) -> list[str]:
    """What an item was made of and is not as it was."""
    return [f"{path} {key}".rstrip() for path, key in then.modules.changed(one.made_of)]


def explained(then: Then, console: Console) -> None:
    """Print where each item came from, what was said of it, and what would go next."""
    table = Table("item", "worth", "tokens", "since", "found", "written by", "made of", "stale by")
    for one in then.shown.items:
        table.add_row(*(Text(cell) for cell in _row(then, one)))
    console.print(table)
    order = [one.id for one in reversed(then.shown.items)]
    console.print(Text(f"first to go: {', '.join(order[:3])}"))
    if then.shown.left_out:
        named = ", ".join(f"{one.node.rpartition(' ')[2]} ({one.reason})"
                          for one in then.shown.left_out[:8])  # fmt: skip
        console.print(Text(f"not shown: {named}"))


def _row(then: Then, one: MapItem) -> Iterator[str]:
    said = Counter(tag for _, tag in one.tags)
    yield one.id
    yield f"{worth(one, then.map.updates, then.settings):.2f}"
    yield str(then.counting.count(one.line))
    yield f"update {one.added}"
    yield ", ".join(f"{said[tag]} {tag}" for tag in sorted(said)) or "-"
    yield f"{one.task}@{one.version}"
    yield ", ".join(sorted(one.made_of))
    yield ", ".join(moved(then, one)) or "-"


def compared(old: Then, new: Then) -> list[tuple[str, str, str]]:
    """What came (+), went (-), or was rewritten (~) between two moments, by item."""
    before, after = ({one.id: one for one in then.shown.items} for then in (old, new))
    found = []
    for item in sorted({*before, *after}, key=lambda id: id.rpartition("-")[2]):
        if item not in after:
            found.append(("-", item, before[item].text))
        elif item not in before:
            found.append(("+", item, after[item].text))
        elif before[item].text != after[item].text:
            found.append(("~", item, after[item].text))
    return found
