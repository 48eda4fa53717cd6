"""Writes summaries of a task as of a moment: new facts, beside those that stand there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.errors import DamagedError
from domain.events import Claim, SummaryWritten
from domain.moment import Moment
from domain.names import Reader
from domain.node import Reference, kind_of, name_of, path_of
from domain.outline import SOURCE, Facet
from domain.staleness import Modules
from domain.summary import (
    BuiltFrom,
    Summary,
    built_from,
    rate_of,
    summary_of,
    task_summary,
)
from engine.log.store import EventStore
from engine.memory.summariser import ModelSummariser, read_whole
from engine.replay.staleness import clock_of
from engine.replay.states import state_at
from engine.replay.texts import text_of
from projections import dependency_graph, progress, summaries


class Done(NamedTuple):
    """What came of a run."""

    written: int
    kept: int
    "Nodes whose summary by this summariser still holds: they were not asked again."
    failed: Sequence[tuple[str, str]]
    "Node and what was wrong with the answer."


def resummarise(
    store: EventStore,
    task_id: str,
    summariser: ModelSummariser,
    nodes: Iterable[str],
    moment: Moment,
    progress_of: Callable[[int], None] = lambda done: None,
) -> Done:
    """Ask for the summary of each node that has none which still holds, and record the answers.

    A fact takes the time of the latest event that it was made of, so that the past can see it.
    """
    state = state_at(store, dependency_graph, task_id, moment)
    facets = dependency_graph.present(state)
    modules = Modules(facets)
    known = state_at(store, summaries, task_id, moment)
    built = dependency_graph.built_at(state)
    written, kept, failed = 0, 0, []
    for node in nodes:
        progress_of(1)
        if any(
            one.summariser == summariser.id and modules.holds(one.made_of)
            for one in known.nodes.get(node, ())
        ):
            kept += 1
            continue
        found = _told(store, task_id, state, known, node, moment)
        if found is None:
            failed.append((node, "there is no such node at this moment"))
            continue
        answer = summariser.summarise(*found)
        if isinstance(answer, str):
            failed.append((node, answer))
            continue
        clock = dict(clock_of(state, node, found[0].built_from))
        fact = answer.model_copy(update={"built_at": built, "clock": clock})
        _append(store, task_id, fact, built)
        written += 1
    return Done(written, kept, failed)


def _told(
    store: EventStore,
    task_id: str,
    state: dependency_graph.State,
    known: summaries.State,
    node: str,
    moment: Moment,
) -> tuple[Summary, str, str] | None:
    """What a summariser is told of a node: the extractive summary, its source, its history."""
    facets = dependency_graph.present(state)
    if kind_of(node) == "task":
        stands = state_at(store, progress, task_id, moment)
        checks = known.checks.get("")
        rate = (checks[0], checks[1]) if checks else None
        whole = task_summary(task_id, stands.goal, stands.status, list(facets), rate)
        return whole._replace(built_from=_texts(facets)), "", ""
    summary = summary_of(facets, node)
    if summary is None:
        return None
    path = path_of(node)
    try:
        reference = Reference(task_id, path, name=name_of(node) or None)
        source = text_of(store, reference, moment).decode(errors="replace")
    except DamagedError:
        source = ""
    history = f"iteration {state.modules[path].iteration}"
    if checks := known.checks.get(path):
        history += f", {rate_of(checks[0], checks[1])}"
    return read_whole(facets, summary), source, history


def _texts(facets: Mapping[str, Mapping[str, Facet]]) -> BuiltFrom:
    """What a task is built from: the text of each of its modules."""
    reader = Reader(facets)
    for path in facets:
        reader.facet(path, SOURCE)
    return built_from(reader)


def _append(store: EventStore, task_id: str, fact: SummaryWritten, built: int) -> None:
    version = store.version(task_id)
    [source] = store.read(task_id, after=built - 1, last=built) if built else [None]
    because = tuple(sorted({built, version} - {0}))
    timestamp = source.timestamp if source else None
    claim = Claim(fact, timestamp, fact.summariser or "", because)
    store.append(task_id, [claim], after=version)
