"""Which version of each module is the latest, and who wrote it?

Every iteration of a module carries a vector clock over the writers of that module. If neither clock
of two iterations dominates, neither writer knew of the other's work: both stay, as heads, until
somebody who knows both continues.

A writer's knowledge is derived from the log. An event without `because` follows all events before
it. An event that names its causes knows them, their knowledge, and all events of its own writer.
While every event knows the one before it, the log is one line and nothing is stored for this;
bookkeeping begins at the first event that does not. It goes back `HORIZON` versions, so that the
state stays small: an older cause counts as one that knew all before it. Events that tell how
others were imported are left out, as no writer continues them.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.clock import VectorClock
from backcast.domain.events import (
    Imported,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)
from backcast.domain.score_events import Scored

NAME = "versions"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"
HORIZON = 256


class ModuleVersion(NamedTuple):
    """The latest iteration of a module, or one of several by concurrent writers."""

    iteration: int
    version: int
    "The task version of the event that made it."
    writer: str
    timestamp: datetime
    clock: VectorClock
    source: str | None
    "The blob of its text; None if the log does not hold it."
    mode: str | None
    deleted: bool


class Knowledge(NamedTuple):
    """The knowledge of an event: all up to a version, and later events of some writers."""

    upto: int = 0
    beyond: Map[str, int] = Map()
    "Per writer, the version of the last known event, if it is later than `upto`."

    def covers(self, writer: str, version: int) -> bool:
        """Return whether an event was known."""
        return version <= self.upto or version <= self.beyond.get(writer, 0)

    def joined(self, other: "Knowledge") -> "Knowledge":
        """Return the union of two pieces of knowledge."""
        beyond = self.beyond
        for writer in sorted(other.beyond):
            beyond = beyond.set(writer, max(other.beyond[writer], beyond.get(writer, 0)))
        return Knowledge(max(self.upto, other.upto), beyond)


class VersionsState(NamedTuple):
    """The heads of every module ever seen, and the knowledge of its writers."""

    modules: Map[str, tuple[ModuleVersion, ...]] = Map()
    line: int = 0
    "The last version of a stretch in which every event knew all before it."
    last_version: int = 0
    last_writer: str = ""
    spoke: Map[str, int] = Map()
    "Per writer, the version of their last event on the line, noted when another continues."
    writers: Map[str, Knowledge] = Map()
    "Each writer's knowledge after their last event outside such a stretch."
    events: Map[int, Knowledge] = Map()
    "The knowledge of each event outside such a stretch, for the last `HORIZON` versions."


State = VersionsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    if isinstance(event.fact, Imported | Scored):
        return state
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
    """Return the existing modules, by path: of concurrent heads the one recorded last."""
    heads = {name: state.modules[name][-1] for name in sorted(state.modules)}
    return {name: head for name, head in heads.items() if not head.deleted}


def conflicts(state: State) -> dict[str, tuple[ModuleVersion, ...]]:
    """Return the modules with several heads: their writers did not know of each other."""
    return {
        name: state.modules[name] for name in sorted(state.modules) if len(state.modules[name]) > 1
    }


def _known(state: State, event: WorkflowEvent) -> Knowledge | None:
    """Return an event's knowledge; None if it knows all before it, as in a log of one line."""
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
    """Return the state with the modules after an event, and with the event's knowledge."""
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
    """Return whether every event up to here is known, so that the log is one line again."""
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
    """Return the modules with a new version of one: it replaces the heads that its event knew."""
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
    """Return the clock of a writer's knowledge of a module, and the heads unknown to it."""
    clock, unseen = VectorClock(), []
    for head in heads + previous:
        if known is None or known.covers(head.writer, head.version):
            clock = clock.merge(head.clock)
        elif head in heads:
            unseen.append(head)
            # A writer knows its own changes of the module.
            clock = clock.merge(VectorClock.of({writer: head.clock.steps(writer)}))
    return clock, tuple(unseen)
