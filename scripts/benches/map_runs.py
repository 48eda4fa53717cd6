"""The runs of a repository's history, one after the other: what each used, and which of that stood
on the maps before it."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
"Runs before: a function that was changed in one of them is edited again and again."
OURS = "ours"


@dataclass
class Scores:
    """Of each run, by arm, the share of what it used that stood on the map before it."""

    all: dict[str, list[float]] = field(default_factory=dict)
    new: dict[str, list[float]] = field(default_factory=dict)
    "Of what functions use that were not changed in the `AGO` runs before."
    tokens: list[int] = field(default_factory=list)
    "Of our map after each run."
    unflagged: list[float] = field(default_factory=list)
    "Of our lines, the share that is not as the code is, and not told to be stale."
    wrong: list[float] = field(default_factory=list)
    "The same of a map that is never renewed: the paper's."
    updates: list[float] = field(default_factory=list)
    "Seconds of each update."


@dataclass
class History:
    """The newest runs of a task, ready to be walked."""

    store: EventStore
    task: str
    runs: Sequence[Ended]

    @classmethod
    def of(cls, store: EventStore, task: str, many: int) -> "History":
        """The newest changes of a history."""
        found = [Ended(one.name, one.first, one.last) for one in changed(store, task)]
        return cls(store, task, found[-many:])

    def walk(self) -> Iterator[tuple[FinishedRun, FinishedRun]]:
        """What there was before each run, as a run that changed nothing, and the run."""
        running = TaskFollower.since(self.store, self.task, self.runs[0].first - 1)
        for one in self.runs:
            running.read_on(one.first - 1)
            before, graph = running.states.graph, running.graph
            yield FinishedRun(BEGIN, before, before, graph), read_run(running, one)


def scored(
    history: History, tokenizer: Tokenizer, tokens: int, settings: MapSettings,
    freeze: Sequence[int] = (),
) -> Scores:  # fmt: skip
    """Every arm over a history, each before it learns of the run that it is asked about."""
    policy = MapUpdater.of(settings, tokens, tokenizer.count)
    arms = [one(tokenizer.count, tokens) for one in ARMS]
    lines, map, found = LineChooser(tokenizer.count), ContextMap(history.task), Scores()
    frozen: dict[int, ContextMap] = {}
    recent: deque[frozenset[str]] = deque(maxlen=AGO)
    for then, run in history.walk():
        if not map.updates:
            map = _updated(policy, map, then, found)
        there = list(lines.candidates(then))
        told = policy.distiller.distil(run, map)
        changed = [one for one in told.changed if _counts(one)]
        if not changed:
            continue
        all, new = used(run, changed, {one.node for one in there}, recent)
        shown = {arm.name: arm.shown(there, then) for arm in arms}
        shown[OURS] = on_map(map, there)
        for many in freeze:
            if map.updates <= many + 1:
                frozen[many] = map
            shown[f"frozen after {many}"] = on_map(frozen[many], there)
        _note(found, shown, all, new)
        _mistakes(found, map, then, there, arms)
        for arm in arms:
            arm.learn(sorted(all), shown[arm.name])
        map = _updated(policy, map, run, found)
        found.tokens.append(tokenizer.count(rendered(map.items.values())))
        recent.append(frozenset(changed))
    return found


def _counts(node: str) -> bool:
    return is_code(path_of(node)) and not is_aside(path_of(node))


def used(
    run: FinishedRun, changed: Sequence[str], there: set[str], recent: Sequence[frozenset[str]]
) -> tuple[set[str], set[str]]:
    """What the changed functions use that was there before and was not changed itself; and what of
    that those use which were not changed of late."""
    own, lately = set(changed), frozenset[str]().union(*recent)
    all, new = set[str](), set[str]()
    for source in changed:
        targets = {node for node in needs(run, source) if node in there and node not in own}
        all |= targets
        new |= targets if source not in lately else set()
    return all, new


def on_map(map: ContextMap, there: Sequence[Line]) -> set[str]:
    """The nodes of whose lines the map shows the whole, as they are now."""
    now = {one.node: one.text for one in there}
    found = set()
    for item in map.items.values():
        if is_lines(item):
            path, *shown = item.text.split("\n")
            for node in item.nodes[1:]:
                if node in now and path_of(node) == path and _stands(now[node], node, shown):
                    found.add(node)
    return found


def _stands(text: str, node: str, shown: Sequence[str]) -> bool:
    name = node.rpartition("::")[2]
    return text in shown or text.replace(name, name.rpartition(".")[2], 1) in shown


def _updated(policy: MapUpdater, map: ContextMap, run: FinishedRun, found: Scores) -> ContextMap:
    begin = perf_counter()
    update = policy.update(map, run)
    found.updates.append(perf_counter() - begin)
    return map if update is None else edited(map, update.fact, "bench", 0)


def _note(found: Scores, shown: dict[str, set[str]], all: set[str], new: set[str]) -> None:
    for name, nodes in shown.items():
        for scores, wanted in ((found.all, all), (found.new, new)):
            if wanted:
                scores.setdefault(name, []).append(len(wanted & nodes) / len(wanted))


def _mistakes(
    found: Scores, map: ContextMap, then: FinishedRun, there: Sequence[Line], arms: Sequence[Arm]
) -> None:
    """Lines that are not as the code is, on our map where nobody says so, and on the paper's."""
    stale = set(stale_in(map, Modules(then.after)))
    right, every = on_map(map, there), 0
    wrong = 0
    for item in map.items.values():
        if is_lines(item):
            every += len(item.nodes) - 1
            if item.id not in stale:
                wrong += sum(node not in right for node in item.nodes[1:])
    found.unflagged.append(wrong / every if every else 0.0)
    now = {one.node: one.text for one in there}
    for arm in arms:
        if isinstance(arm, Paper) and arm.texts:
            odd = sum(now.get(node) != text for node, text in arm.texts.items())
            found.wrong.append(odd / len(arm.texts))


def stored(path: Path) -> EventStore:
    """A log that is only read."""
    return EventStore.open(f"sqlite:///{path}", create=False)
