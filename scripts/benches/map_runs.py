"""The runs of a history, one after the other: which used definitions stood on the maps before."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from backcast.domain.context_map import rendered
from backcast.domain.map_lines import Line
from backcast.domain.node import path_of
from backcast.domain.paths import is_aside, is_code
from backcast.domain.policy import MapSettings
from backcast.domain.staleness import Modules
from backcast.engine.context.maps import stale_in
from backcast.engine.history.commits import changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.distiller import needs
from backcast.engine.memory.mapping.lines import LineChooser, is_lines
from backcast.engine.memory.mapping.runs import BEGIN, Ended, read_run
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections.context_map import ContextMap, edited
from scripts.benches.map_arms import ARMS, Arm, Paper

AGO = 10
"The runs before: a function that one of them changed is not new."
OURS = "ours"


@dataclass
class Scores:
    """The shares of used definitions that stood on the map before each run, by arm."""

    all: dict[str, list[float]] = field(default_factory=dict)
    new: dict[str, list[float]] = field(default_factory=dict)
    "The same for uses by functions that the `AGO` runs before did not change."
    tokens: list[int] = field(default_factory=list)
    "The tokens of our map after each run."
    unflagged: list[float] = field(default_factory=list)
    "The share of our lines that differ from the code and are not marked stale."
    wrong: list[float] = field(default_factory=list)
    "The same share of the paper's map, which is never renewed."
    updates: list[float] = field(default_factory=list)
    "Seconds of each update."


@dataclass
class History:
    """The newest runs of a task, ready to be walked."""

    store: EventStore
    task: str
    runs: Sequence[Ended]

    @classmethod
    def of(cls, store: EventStore, task: str, count: int) -> "History":
        """Return the newest changes of a history."""
        runs = [Ended(one.name, one.first, one.last) for one in changed(store, task)]
        return cls(store, task, runs[-count:])

    def walk(self) -> Iterator[tuple[FinishedRun, FinishedRun]]:
        """Yield the code before each run, as a run that changed nothing, and the run."""
        follower = TaskFollower.since(self.store, self.task, self.runs[0].first - 1)
        for run in self.runs:
            follower.read_on(run.first - 1)
            before, graph = follower.states.graph, follower.graph
            yield FinishedRun(BEGIN, before, before, graph), read_run(follower, run)


def scored(
    history: History, tokenizer: Tokenizer, tokens: int, settings: MapSettings,
) -> Scores:  # fmt: skip
    """Score every arm over a history, each before it learns of the run that it is asked about."""
    updater = MapUpdater.of(settings, tokens, tokenizer.count)
    arms = [arm(tokenizer.count, tokens) for arm in ARMS]
    chooser, map, scores = LineChooser(tokenizer.count), ContextMap(history.task), Scores()
    recent: deque[frozenset[str]] = deque(maxlen=AGO)
    for before, run in history.walk():
        if not map.updates:
            map = _updated(updater, map, before, scores)
        lines = list(chooser.candidates(before))
        changed = [node for node in updater.distiller.distil(run, map).changed if _counts(node)]
        if not changed:
            continue
        all, new = used(run, changed, {line.node for line in lines}, recent)
        shown = {arm.name: arm.shown(lines, before) for arm in arms}
        shown[OURS] = on_map(map, lines)
        _note(scores, shown, all, new)
        _mistakes(scores, map, before, lines, arms)
        for arm in arms:
            arm.learn(sorted(all), shown[arm.name])
        map = _updated(updater, map, run, scores)
        scores.tokens.append(tokenizer.count(rendered(map.items.values())))
        recent.append(frozenset(changed))
    return scores


def _counts(node: str) -> bool:
    return is_code(path_of(node)) and not is_aside(path_of(node))


def used(
    run: FinishedRun, changed: Sequence[str], known: set[str], recent: Sequence[frozenset[str]]
) -> tuple[set[str], set[str]]:
    """Return the earlier, unchanged definitions that changed functions use.

    The second set has only the uses by functions that were not changed of late.
    """
    own, lately = set(changed), frozenset[str]().union(*recent)
    all, new = set[str](), set[str]()
    for source in changed:
        targets = {node for node in needs(run, source) if node in known and node not in own}
        all |= targets
        new |= targets if source not in lately else set()
    return all, new


def on_map(map: ContextMap, lines: Sequence[Line]) -> set[str]:
    """Return the nodes whose whole current line stands on the map."""
    current = {line.node: line.text for line in lines}
    nodes = set()
    for item in map.items.values():
        if is_lines(item):
            path, *shown = item.text.split("\n")
            for node in item.nodes[1:]:
                if path_of(node) == path and _stands(current.get(node), node, shown):
                    nodes.add(node)
    return nodes


def _stands(text: str | None, node: str, shown: Sequence[str]) -> bool:
    if text is None:
        return False
    name = node.rpartition("::")[2]
    return text in shown or text.replace(name, name.rpartition(".")[2], 1) in shown


def _updated(updater: MapUpdater, map: ContextMap, run: FinishedRun, scores: Scores) -> ContextMap:
    begin = perf_counter()
    update = updater.update(map, run)
    scores.updates.append(perf_counter() - begin)
    return map if update is None else edited(map, update.fact, "bench", 0)


def _note(scores: Scores, shown: dict[str, set[str]], all: set[str], new: set[str]) -> None:
    for name, nodes in shown.items():
        for shares, wanted in ((scores.all, all), (scores.new, new)):
            if wanted:
                shares.setdefault(name, []).append(len(wanted & nodes) / len(wanted))


def _mistakes(
    scores: Scores,
    map: ContextMap,
    before: FinishedRun,
    lines: Sequence[Line],
    arms: Sequence[Arm],
) -> None:
    """Note lines that differ from the code: unmarked ones on our map, and those on the paper's."""
    stale = set(stale_in(map, Modules(before.after)))
    right, every, wrong = on_map(map, lines), 0, 0
    for item in map.items.values():
        if is_lines(item):
            every += len(item.nodes) - 1
            if item.id not in stale:
                wrong += sum(node not in right for node in item.nodes[1:])
    scores.unflagged.append(wrong / every if every else 0.0)
    current = {line.node: line.text for line in lines}
    for arm in arms:
        if isinstance(arm, Paper) and arm.texts:
            odd = sum(current.get(node) != text for node, text in arm.texts.items())
            scores.wrong.append(odd / len(arm.texts))
