"""Summaries that no longer hold at a moment, each with its proof: the event and the path."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from backcast.domain.errors import MomentError
from backcast.domain.events import (
    EventType,
    Fact,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    WorkflowEvent,
)
from backcast.domain.graph import Graph
from backcast.domain.moment import Moment
from backcast.domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from backcast.domain.outline import (
    EXISTS,
    ITERATION,
    SOURCE,
    Facet,
    Outline,
    applied,
    digest_of,
    names_in,
    part_of,
)
from backcast.domain.staleness import Modules, Proof
from backcast.domain.summary import EXTRACTIVE, BuiltFrom, summary_of
from backcast.domain.tree import TOP, TREE, Tree, tells_roots, tops_in
from backcast.engine.history.moments import asked_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph, summaries

KINDS = (
    EventType.MODULE_ITERATION,
    EventType.MODULE_RENAMED,
    EventType.MODULE_DELETED,
    EventType.MODULE_OUTLINED,
)


class DerivedEntry(NamedTuple):
    """Something that was derived from modules, and may be stale."""

    node: str
    summariser: str
    clock: Sequence[tuple[str, int]]
    "The iterations of the modules that it was built from."
    built_at: int
    built_from: BuiltFrom


class Stale(NamedTuple):
    """An entry that no longer holds, and why."""

    node: str
    summariser: str
    clock: Sequence[tuple[str, int]]
    proof: Proof | None
    reason: str = ""
    "The reason where no module changed, or it names a version that the task does not have."
    by: str = summaries.DIGEST
    "What it is stale by: digest, clock, time or summariser."

    def __str__(self) -> str:
        built = ", ".join(f"{path}={iteration}" for path, iteration in self.clock)
        by = "by clock, " if self.by == summaries.CLOCK else ""
        return f"{self.node} summary ({by}built at {built}) {self.reason or self.proof}"


def stale(
    store: EventStore,
    task_id: str,
    moment: Moment,
    since: Moment | None = None,
    lives: Mapping[str, float] = MappingProxyType({}),
    states: tuple[dependency_graph.State, summaries.State] | None = None,
) -> list[Stale]:
    """Return the summaries that do not hold at a moment, by node; `states` are those then.

    With `since`, check the extractive summaries of that moment instead of the written ones. `lives`
    are the seconds for which a policy lets summaries hold, by kind of node.
    """
    graph_state, written = states or (
        state_at(store, dependency_graph, task_id, moment),
        state_at(store, summaries, task_id, moment),
    )
    if since is not None:
        before = state_at(store, dependency_graph, task_id, since)
        if dependency_graph.built_at(before) > dependency_graph.built_at(graph_state):
            raise MomentError("needed a moment to ask about before the one asked at, found later")
        entries = list(extracted(before))
        outdated: list[Stale] = []
    else:
        entries = [entry for entry, _ in _written(written)]
        outdated = list(_outdated(written, asked_at(store, moment, written.last_at), lives))
    modules = Modules(dependency_graph.present(graph_state))
    known = {(found.node, found.summariser) for found in outdated}
    asked = [entry for entry in entries if (entry.node, entry.summariser) not in known]
    broken = [entry for entry in asked if not modules.holds(entry.built_from)]
    graph = dependency_graph.graph_of(graph_state)
    proven = proofs(store.read(task_id, moment=moment, types=KINDS), broken, graph)
    for entry, proof in zip(broken, proven, strict=True):
        by = summaries.kept_by(entry.built_from)
        reason = _unknown(entry.clock, graph_state) if by == summaries.CLOCK else ""
        found = None if reason else proof
        outdated.append(Stale(entry.node, entry.summariser, entry.clock, found, reason, by))
    return sorted(outdated, key=lambda entry: (entry.node, entry.summariser))


def extracted(
    state: dependency_graph.State, kinds: Iterable[str] = ("module", *SYMBOLS)
) -> Iterator[DerivedEntry]:
    """Yield the extractive summaries of a state, in the order of their paths and names."""
    wanted = tuple(kinds)
    built = dependency_graph.built_at(state)
    modules = dependency_graph.present(state)
    for path, facets in modules.items():
        nodes = [node_id("module", path)]
        for name in names_in(facets):
            nodes.append(node_id((facets[f"sig:{name}"] or ("function",))[0], path, name))
        for node in nodes:
            if kind_of(node) in wanted and (summary := summary_of(modules, node)):
                clock = clock_of(state, summary.node, summary.built_from)
                yield DerivedEntry(node, EXTRACTIVE, clock, built, summary.built_from)


def clock_of(
    state: dependency_graph.State, node: str, built_from: BuiltFrom
) -> list[tuple[str, int]]:
    """Return the iterations of the modules that a node was built from, its own first.

    Modules that were only tested for existence are left out.
    """
    own = path_of(node)
    read = (path for path, keys in built_from.items() if any(key != EXISTS for key in keys))
    paths = [own, *sorted(path for path in read if path != own)]
    return list(dependency_graph.clock_of(state, paths).items())


def _written(state: summaries.State) -> Iterator[tuple[DerivedEntry, summaries.Written]]:
    for node in sorted(state.nodes):
        for written in state.nodes[node]:
            clock = sorted(written.clock, key=lambda pair: (pair[0] != path_of(node), pair))
            entry = DerivedEntry(node, written.summariser, clock, written.built_at, written.made_of)
            yield entry, written


def _unknown(clock: Sequence[tuple[str, int]], state: dependency_graph.State) -> str:
    """Tell the versions of a clock that the task has not reached; empty where it has them all."""
    parts = []
    for path, iteration in clock:
        module = state.modules.get(path)
        if module is None and iteration:
            parts.append(f"{path}={iteration}, which this task never had")
        elif module is not None and module.iteration < iteration and not module.deleted:
            parts.append(f"{path}={iteration}, and the task is at {path}={module.iteration}")
    return f"not known to hold: its clock names {'; '.join(parts)}" if parts else ""


def _outdated(
    state: summaries.State, at: datetime | None, lives: Mapping[str, float]
) -> Iterator[Stale]:
    """Yield the summaries that outlived their time or were superseded by their summariser."""
    for entry, written in _written(state):
        reason, by = "", summaries.SUMMARISER
        most = lives.get(kind_of(entry.node))
        if summaries.outlived(written, at, most):
            least = min(seconds for seconds in (written.lives, most) if seconds is not None)
            said = " as the policy says" if least != written.lives else ""
            by = summaries.TIME
            reason = (
                f"outlived: it held for {max(0, least):g} s from {written.timestamp.isoformat()}"
                f"{said}"
            )
        elif summaries.superseded(state, written):
            name, number = summaries.named(written.summariser)
            latest = state.summarisers[name]
            reason = f"superseded: its summariser {name} moved on from {number} to {latest}"
        if reason:
            yield Stale(entry.node, entry.summariser, entry.clock, None, reason, by)


def proofs(
    events: Iterable[WorkflowEvent], entries: Sequence[DerivedEntry], graph: Graph
) -> list[Proof]:
    """Return why each entry no longer holds: the first change to what it was made of."""
    readers: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for path in entry.built_from:
            readers.setdefault(path, []).append(number)
    first: dict[int, Proof] = {}
    for version, path, moved, facets in _changes(events, readers, _tops(entries)):
        for number in readers[path]:
            entry = entries[number]
            if version <= entry.built_at or number in first:
                continue
            if not _concerns(facets, entry.built_from[path]):
                continue
            keys = _broken(facets, entry.built_from[path])
            if keys:
                way = _path_to(graph, path_of(entry.node), moved[0])
                parts = tuple(_part_name(key) for key in keys)
                first[number] = Proof(version, (moved,), way, parts)
    return [first.get(number) or _unproven(entry) for number, entry in enumerate(entries)]


def turns(
    events: Iterable[WorkflowEvent], entries: Sequence[DerivedEntry], graph: Graph
) -> list[list[tuple[int, Proof | None]]]:
    """Return when each entry went stale, with the proof, and held again, with None; by version.

    The first proof is that of `proofs`, where the log still holds the change.
    """
    readers: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for path in entry.built_from:
            readers.setdefault(path, []).append(number)
    broken: list[set[str]] = [set() for _ in entries]
    turns_of: list[list[tuple[int, Proof | None]]] = [[] for _ in entries]
    for version, path, moved, facets in _changes(events, readers, _tops(entries)):
        for number in readers[path]:
            entry, before = entries[number], bool(broken[number])
            if version <= entry.built_at or not _concerns(facets, entry.built_from[path]):
                continue
            keys = _broken(facets, entry.built_from[path])
            (broken[number].add if keys else broken[number].discard)(path)
            if before != bool(broken[number]):
                way = _path_to(graph, path_of(entry.node), moved[0]) if keys else ()
                parts = tuple(_part_name(key) for key in keys)
                proof = Proof(version, (moved,), way, parts) if keys else None
                turns_of[number].append((version, proof))
    return turns_of


class _Change(NamedTuple):
    """What a module, or the tree, is after an event."""

    version: int
    path: str
    moved: tuple[str, int]
    "The module that changed, and its iteration; 0 for a removed one."
    facets: Mapping[str, Facet] | None
    "None once it is deleted."


def _tops(entries: Sequence[DerivedEntry]) -> Mapping[str, int]:
    """Return the names in the tree that entries were built from, with when the first one was."""
    found: dict[str, int] = {}
    for entry in entries:
        for key in entry.built_from.get(TREE, ()):
            found[key] = min(found.get(key, entry.built_at), entry.built_at)
    return found


def _changes(
    events: Iterable[WorkflowEvent], paths: Mapping[str, object], tops: Mapping[str, int]
) -> Iterator[_Change]:
    """Yield the modules among some paths after each change, and the tree if names are asked for.

    A new text comes twice, as its iteration alone, and with its outline where it has one.
    """
    outlines: dict[str, Outline] = {}
    iterations: dict[int, int] = {}
    changes: list[_Change] = []
    existing: set[str] = set()
    oldest = min(tops.values(), default=0)
    for event in events:
        moved = _come_or_gone(event.fact, existing) if tops else ()
        if event.version > oldest and _may_lead_elsewhere(moved, tops):
            shown = moved[-1], getattr(event.fact, "iteration", 0)
            changes.append(_Change(event.version, TREE, shown, Tree(sorted(existing)).facets))
        match event.fact:
            case ModuleIteration(module_name=path, iteration=iteration):
                iterations[event.version] = iteration
                if path in paths:
                    alone = {ITERATION: (str(iteration),)}
                    changes.append(_Change(event.version, path, (path, iteration), alone))
            case ModuleRenamed(module_name=path, previous_name=previous, iteration=iteration):
                iterations[event.version] = iteration
                if path in paths:
                    alone = {ITERATION: (str(iteration),)}
                    changes.append(_Change(event.version, path, (path, iteration), alone))
                if previous in paths:
                    changes.append(_Change(event.version, previous, (previous, 0), None))
            case ModuleDeleted(module_name=path) if path in paths:
                changes.append(_Change(event.version, path, (path, 0), None))
            case ModuleOutlined(module_name=path) if path in paths:
                version = event.because[0] if event.because else event.version
                outlines[path] = outline = applied(outlines.get(path), event.fact)
                facets = {**outline.facets, SOURCE: (event.fact.source or "",)}
                moved_to = path, iterations.get(version, 0)
                changes.append(_Change(version, path, moved_to, facets))
    return iter(sorted(changes, key=lambda change: change.version))


def _come_or_gone(fact: Fact, existing: set[str]) -> tuple[str, ...]:
    """Return the modules that a fact adds or removes, and change the existing ones."""
    match fact:
        case ModuleRenamed(module_name=path, previous_name=previous):
            existing.discard(previous)
            existing.add(path)
            return previous, path
        case ModuleDeleted(module_name=path) if path in existing:
            existing.remove(path)
            return (path,)
        case ModuleIteration(module_name=path) | ModuleOutlined(module_name=path) if (
            path not in existing
        ):
            existing.add(path)
            return (path,)
    return ()


def _may_lead_elsewhere(paths: Sequence[str], tops: Mapping[str, int]) -> bool:
    return any(map(tells_roots, paths)) or not tops_in(paths).isdisjoint(tops)


def _concerns(facets: Mapping[str, Facet] | None, keys: Mapping[str, str]) -> bool:
    """Return whether a change tells of the keys: an iteration alone, or an outline."""
    return facets is None or (ITERATION in keys) == (ITERATION in facets)


def _broken(facets: Mapping[str, Facet] | None, keys: Mapping[str, str]) -> list[str]:
    """Return the keys under which a module is not as it was."""
    return [
        key
        for key, digest in sorted(keys.items())
        if digest_of(None if facets is None else part_of(facets, key)) != digest
    ]


def _path_to(graph: Graph, own: str, moved: str) -> tuple[str, ...]:
    """Return the path from the entry's module to the changed one, along imports where it can."""
    if own == moved:
        return (own,)
    return tuple(graph.path(own, moved)) or (own, moved)


def _part_name(key: str) -> str:
    return f"where {key[4:]} is" if key.startswith(TOP) else key or "its being there"


def _unproven(entry: DerivedEntry) -> Proof:
    """Return a proof without events, for a change that the log does not hold any more."""
    return Proof(0, (), (path_of(entry.node), name_of(entry.node)), ())
