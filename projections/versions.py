"""Which version of each module is the latest, and who wrote it?

Every iteration of a module carries a vector clock over the writers of that module. Of two
iterations where neither clock dominates, neither writer knew of the other's: both stay, as heads,
until somebody who knows both goes on.

What a writer knew is derived from the log. An event without `because` follows all that stood
before it. An event that names its causes knows them, what they knew, and all that its own writer
wrote. While every event knows the one before it, the log is one line and nothing is kept for
this; bookkeeping begins at the first event that does not. It goes back `HORIZON` versions, so that
the state stays small: a cause further back counts as one that knew all before it.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.clock import VectorClock
from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)

NAME = "versions"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"
HORIZON = 256


class ModuleVersion(NamedTuple):
    """One iteration of a module: the latest, or one of the latest where writers were concurrent."""

    iteration: int
    version: int
    "The task version of the event that made it."
    writer: str
    timestamp: datetime
    clock: VectorClock
    source: str | None
    "The blob of its text; None where the log does not hold it."
    mode: str | None
    deleted: bool


class Knowledge(NamedTuple):
    """What an event knew: all up to a version, and later ones by some writers."""

    upto: int = 0
    beyond: Map[str, int] = Map()
    "Per writer, the version of the last event known, where it is later than `upto`."

    def covers(self, writer: str, version: int) -> bool:
        """Whether an event was known."""
        return version <= self.upto or version <= self.beyond.get(writer, 0)

    def joined(self, other: "Knowledge") -> "Knowledge":
        """All that either knew."""
        beyond = self.beyond
        for writer in sorted(other.beyond):
            beyond = beyond.set(writer, max(other.beyond[writer], beyond.get(writer, 0)))
        return Knowledge(max(self.upto, other.upto), beyond)


class VersionsState(NamedTuple):
    """The heads of every module ever seen, and what its writers knew where that is not plain."""

    modules: Map[str, tuple[ModuleVersion, ...]] = Map()
    line: int = 0
    "The last version of a stretch in which every event knew all before it."
    last_version: int = 0
    last_writer: str = ""
    spoke: Map[str, int] = Map()
    "Per writer, the last version of theirs in such a stretch, noted when another writer goes on."
    writers: Map[str, Knowledge] = Map()
    "What each writer knew after the last event of theirs outside such a stretch."
    events: Map[int, Knowledge] = Map()
    "What each event outside such a stretch knew, of the last `HORIZON` versions."


State = VersionsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """The state after one more event."""
    modules, known = state.modules, _known(state, event)
    match event.fact:
        case ModuleIteration(module_name=name) | ModuleDeleted(module_name=name):
            modules = _advance(modules, name, event, known)
        case ModuleRenamed(module_name=name, previous_name=previous):
            before = modules
            modules = _advance(modules, previous, event, known)
            modules = modules.set(name, _advance(before, name, event, known, previous)[name])
    return _noted(state, event, modules, known)


def latest(state: State) -> dict[str, ModuleVersion]:
    """The modules there are, by path: of concurrent heads the one recorded last."""
    heads = {name: state.modules[name][-1] for name in sorted(state.modules)}
    return {name: head for name, head in heads.items() if not head.deleted}


def conflicts(state: State) -> dict[str, tuple[ModuleVersion, ...]]:
    """The modules with several heads: iterations whose writers did not know of each other."""
    return {
        name: state.modules[name] for name in sorted(state.modules) if len(state.modules[name]) > 1
    }


def _known(state: State, event: WorkflowEvent) -> Knowledge | None:
    """What an event knew; None where that is all before it, as it is while the log is one line."""
    version, writer, because = event.version, event.writer, event.because
    if not because:
        return None
    if state.line == state.last_version:
        if writer == state.last_writer or state.last_version in because:
            return None
        spoke = state.last_version if writer == state.last_writer else state.spoke.get(writer, 0)
    else:
        spoke = state.spoke.get(writer, 0)
    known = state.writers.get(writer, Knowledge()).joined(Knowledge(spoke))
    for cause in because:
        known = known.joined(state.events.get(cause, Knowledge(cause)))
    known = Knowledge(known.upto, known.beyond.set(writer, version))
    return None if _knows_all(state, known) else known


def _noted(
    state: State,
    event: WorkflowEvent,
    modules: Map[str, tuple[ModuleVersion, ...]],
    known: Knowledge | None,
) -> State:
    """The state with the modules after an event, and with what the event knew."""
    version, writer = event.version, event.writer
    line, spoke, writers, events = state.line, state.spoke, state.writers, state.events
    if writer != state.last_writer and line == state.last_version:
        spoke = spoke.set(state.last_writer, line)
    if known is None:
        line = version
    else:
        writers, events = writers.set(writer, known), events.set(version, known)
    if version - HORIZON in events:
        events = events.delete(version - HORIZON)
    return State(modules, line, version, writer, spoke, writers, events)


def _knows_all(state: State, known: Knowledge) -> bool:
    """Whether everything up to here is known, so that the log is one line again."""
    return known.upto >= state.line and all(
        known.covers(writer, state.writers[writer].beyond[writer])
        for writer in sorted(state.writers)
    )


def _advance(
    modules: Map[str, tuple[ModuleVersion, ...]],
    name: str,
    event: WorkflowEvent,
    known: Knowledge | None,
    came_from: str | None = None,
) -> Map[str, tuple[ModuleVersion, ...]]:
    """The modules after an event made a new version of one: heads that it knew give way to it."""
    fact, writer, heads = event.fact, event.writer, modules.get(name, ())
    clock = VectorClock()
    unseen: tuple[ModuleVersion, ...] = ()
    if known is None and came_from is None and len(heads) == 1:
        clock = heads[0].clock
    elif heads or came_from:
        clock, unseen = _joined(heads, modules.get(came_from or "", ()), writer, known)
    if isinstance(fact, ModuleIteration) or (isinstance(fact, ModuleRenamed) and came_from):
        iteration, source, mode, deleted = fact.iteration, fact.source, fact.mode, False
    else:
        iteration, source, mode, deleted = heads[-1].iteration if heads else 0, None, None, True
    new = ModuleVersion(
        iteration, event.version, writer, event.timestamp, clock.tick(writer), source, mode, deleted
    )
    return modules.set(name, (*unseen, new))


def _joined(
    heads: tuple[ModuleVersion, ...],
    previous: tuple[ModuleVersion, ...],
    writer: str,
    known: Knowledge | None,
) -> tuple[VectorClock, tuple[ModuleVersion, ...]]:
    """The clock of all that a writer knew of a module, and the heads that it did not know."""
    clock, unseen = VectorClock(), []
    for head in heads + previous:
        if known is None or known.covers(head.writer, head.version):
            clock = clock.merge(head.clock)
        elif head in heads:
            unseen.append(head)
            # What the writer itself did to the module, it knows.
            clock = clock.merge(VectorClock.of({writer: head.clock.steps(writer)}))
    return clock, tuple(unseen)
