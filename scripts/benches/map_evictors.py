"""Which items does an evictor keep best? Maps of prose alone, kept by different settings.

Lines of code are left out: on these maps stands what the roadmap and the events of runs tell. A
run's score is the share of the functions, classes and constants that its code uses, and of the
modules that it changes, that the items on the map before it name or lead to. Of an attribute that
is used, its class counts; what was not there before, or is changed by the run itself, does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from backcast.domain.context_map import MapEntry, Tokens, rendered
from backcast.domain.events import MapEdit, MapEdited
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facets
from backcast.domain.paths import is_aside, is_code
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.cartographer import prose_edits, roadmap_of
from backcast.engine.memory.mapping.distiller import SYMBOLS, FromEvents, needs
from backcast.engine.memory.mapping.updating import guarded
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections.context_map import ContextMap, edited
from scripts.benches.evictors import ARMS, DEFAULT, Arm
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.map_runs import History
from scripts.benches.paired import pooled
from scripts.benches.regress_windows import stored

SIZES = (50, 128, 256)
"Tokens of the maps; 50 are about the share that all but lines of code have by default of 1,024."
DISTILLER = FromEvents()


@dataclass
class Keeper:
    """One arm's map, and how it did before each run."""

    arm: Arm
    tokens: int
    count: Tokens
    map: ContextMap
    scores: list[float] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)
    "Of what had stood on the map, how many items went after each run."
    away: list[int] = field(default_factory=list)
    "Of what the run brought, how many never came to stand there."
    over: int = 0

    def ask(self, wanted: set[str]) -> None:
        """Note what share of what a run wants is on the map."""
        there = {node for item in self.map.items.values() for node in item.nodes}
        self.scores.append(len(wanted & there) / len(wanted))

    def learn(self, run: FinishedRun, roadmap: Sequence[MapEntry]) -> None:
        """Renew the map after a run."""
        told, settings = DISTILLER.distil(run, self.map), self.arm.settings
        fact = MapEdited(context=self.map.context, run=run.name, tags=dict(told.tags))
        tagged = edited(self.map, fact)
        edits = prose_edits(tagged, [*roadmap, *told.entries], run)
        edits = [guarded(one, tagged, self.count, settings.item_tokens) for one in edits]
        after = edited(self.map, fact.model_copy(update={"edits": tuple(edits)}))
        gone = self._evicted(after)
        old = sum(edit.item in self.map.items for edit in gone)
        self.evicted.append(old)
        self.away.append(len(gone) - old)
        self.map = edited(self.map, fact.model_copy(update={"edits": (*edits, *gone)}))
        self.over += bool(self.tokens) and self._size() > self.tokens

    def _evicted(self, after: ContextMap) -> Sequence[MapEdit]:
        if not self.tokens:
            return ()
        return self.arm.evictor(self.count).evict(after, self.tokens, self.arm.settings)

    def _size(self) -> int:
        return self.count(rendered(self.map.items.values()))


def measure(bench: Bench, many: int, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """The rows of the table: each arm beside the default, for each number of tokens."""
    all = dict[str, list[Keeper]]()
    for folder in bench.repositories:
        url, task = stored(bench, folder)
        bench.say(f"{task}: evictors over maps of {', '.join(map(str, sizes))} tokens")
        with EventStore.open(url, create=False) as store:
            all[task] = kept(History.of(store, task, many), sizes)
    return [figure for size in sizes for figure in _rows(size, all)]


def kept(history: History, sizes: Sequence[int]) -> list[Keeper]:
    """Every arm over a history, each asked about a run before it learns of it; behind them one map
    from which nothing is taken, as the most that any of them could have."""
    count = lru_cache(maxsize=100_000)(tokenizer_of("mistral-v3").count)
    keepers = [Keeper(arm, size, count, ContextMap(history.task)) for size in sizes for arm in ARMS]
    keepers.append(Keeper(DEFAULT, 0, count, ContextMap(history.task)))
    begun = False
    for then, run in history.walk():
        if not begun:
            _learn(keepers, then)
            begun = True
        wanted = set(_wanted(run, then.after))
        if wanted:
            for one in keepers:
                one.ask(wanted)
        _learn(keepers, run)
    return keepers


def _learn(keepers: Sequence[Keeper], run: FinishedRun) -> None:
    roadmap = roadmap_of(run.state, run.graph)
    for one in keepers:
        one.learn(run, roadmap)


def _wanted(run: FinishedRun, before: Mapping[str, Facets]) -> Iterator[str]:
    """What a run's code uses that was there before it and is not changed by it, and the modules
    that it changes; each may come more than once."""
    told = DISTILLER.distil(run, ContextMap())
    changed = [one for one in told.changed if is_code(path_of(one)) and not is_aside(path_of(one))]
    for source in changed:
        if path_of(source) in before:
            yield node_id("module", path_of(source))
        for node in needs(run, source):
            found = _subject(node, before)
            if found and found not in changed:
                yield found


def _subject(node: str, before: Mapping[str, Facets]) -> str:
    """The function, class or constant that a need is about; empty where it was not there before."""
    path, name = path_of(node), name_of(node)
    facets = before.get(path)
    if facets is None:
        return ""
    owner = name.rpartition(".")[0]
    if kind_of(node) == "attribute" and owner:
        return node_id("class", path, owner) if f"sig:{owner}" in facets else ""
    if kind_of(node) in SYMBOLS:
        return node if f"sig:{name}" in facets else ""
    return node if kind_of(node) == "attribute" and f"name:{name}" in facets else ""


def _rows(size: int, all: Mapping[str, Sequence[Keeper]]) -> Iterator[Figure]:
    """The rows for maps of so many tokens."""
    found = {task: [one for one in some if one.tokens == size] for task, some in all.items()}
    runs = sum(len(some[0].scores) for some in found.values())
    group = f"prose in {size} tokens, before {runs:,} runs (repositories: {len(found)})"
    for number, arm in enumerate(ARMS):
        yield _row(group, arm.name, [some[number] for some in found.values()],
                   [some[0] for some in found.values()])  # fmt: skip
    most = [100 * float(np.mean(some[-1].scores)) for some in all.values()]
    yield Figure(group, "nothing evicted", [float(np.mean(most))], "%", _each(most),
                 ", ".join(found))  # fmt: skip
    over = sum(one.over for some in found.values() for one in some)
    yield Figure(group, "maps over their tokens", [float(over)], "", must=Bound("<=", 0))


def _row(group: str, name: str, mine: Sequence[Keeper], default: Sequence[Keeper]) -> Figure:
    """What one arm kept, and what it is better than the default by."""
    means = [100 * float(np.mean(one.scores)) for one in mine]
    evicted, away = (
        float(np.mean([many for one in mine for many in getattr(one, what)]))
        for what in ("evicted", "away")
    )
    against = f"evicted a run {evicted:.2f}, turned away {away:.1f}"
    if mine[0].arm is not DEFAULT:
        pairs = zip(mine, default, strict=True)
        mean, low, high = pooled([100 * np.subtract(a.scores, b.scores) for a, b in pairs])
        against = f"{mean:+.1f} points, 95 % {low:+.1f} to {high:+.1f}; {against}"
    return Figure(group, name, [float(np.mean(means))], "%", _each(means), against)


def _each(values: Sequence[float]) -> str:
    return f"by repository {', '.join(f'{value:.0f}' for value in values)}"
