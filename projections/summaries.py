"""What was written about each node, at each level, and from which versions?

Only summaries by a model or a person are here; extractive ones are derived
(`backcast.domain.summary`). The state keeps the latest text of each summariser on a node. Whether a
summary still holds depends on the outlines of the moment too (`backcast.domain.staleness`).
"""

from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.events import ChecksRan, WorkflowEvent
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.outline import ABSENT, ITERATION, digest_of
from backcast.domain.score_events import Scored
from backcast.domain.staleness import Modules
from backcast.domain.summary import BuiltFrom, Digests, by_path, flat, rate_of

NAME = "summaries"
VERSION = 3
SCOPE: Literal["task", "store"] = "task"


DIGEST, CLOCK, TIME, SUMMARISER = "digest", "clock", "time", "summariser"
"""What a summary goes stale by: the digests of what it was made of; the iterations that it names,
where it names no digests; its time to live; or a later version of its summariser."""


class Written(NamedTuple):
    """One summary, as it was written."""

    text: str
    summariser: str
    "Name and version: `qwen3-8b 1`."
    version: int
    "The task version of its event."
    timestamp: datetime
    tokens: int | None
    built_at: int
    "The version of the latest event that it was built from."
    clock: tuple[tuple[str, int], ...]
    "The iteration of each module that it was built from, by path."
    built_from: Digests
    "Path, key and digest of each facet that was read; of the iterations where none was stated."
    lives: float | None
    "Seconds after its timestamp for which it holds; None for ever."
    fields: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    "The parts of a form that were filled in, by name: purpose, inputs, outputs, ..."

    @property
    def kept_by(self) -> str:
        """What tells whether it is up to date: digest or clock; empty for neither."""
        return kept_by(self.made_of)

    @property
    def made_of(self) -> BuiltFrom:
        """The digests of the facets that were read, by path and key."""
        return by_path(self.built_from)


class SummariesState(NamedTuple):
    """The latest summaries, and the latest version of each summariser."""

    nodes: Map[str, tuple[Written, ...]] = Map()
    "By node, the latest summary of each summariser, the newest last."
    summarisers: Map[str, int] = Map()
    "The highest version of each summariser that has written anything, by name."
    last_at: datetime | None = None
    "The timestamp of the last event."
    checks: Map[str, tuple[int, ...]] = Map()
    "Passed and failed checks of each module's last run; of the whole task under ''."


State = SummariesState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case Scored():
            return state
        case SummaryWritten(node=str(node), text=str()) as fact:
            name, number = named(fact.summariser or "")
            written = _written(fact, event)
            others = (w for w in state.nodes.get(node, ()) if named(w.summariser)[0] != name)
            highest = max(number, state.summarisers.get(name, 0))
            return State(
                state.nodes.set(node, (*others, written)),
                state.summarisers.set(name, highest),
                event.timestamp,
                state.checks,
            )
        case ChecksRan(passed=passed, unmet=failed, module_name=module):
            checks = state.checks.set(module or "", (passed, failed))
            return state._replace(last_at=event.timestamp, checks=checks)
        case _:
            return state._replace(last_at=event.timestamp)


def success_rate(state: State) -> str:
    """Return how many checks passed in the last run of the whole task, else in the last runs of
    its modules together; empty where no checks ran."""
    if whole := state.checks.get(""):
        return rate_of(whole[0], whole[1])
    passed, failed = (sum(counts[n] for counts in state.checks.values()) for n in (0, 1))
    return f"{rate_of(passed, failed)[:-1]}, by module)" if state.checks else ""


def outlived(written: Written, at: datetime | None, most: float | None = None) -> bool:
    """Return whether a summary has outlived its time at a moment; at `most` seconds, if given."""
    limits = [seconds for seconds in (written.lives, most) if seconds is not None]
    if not limits or at is None:
        return False
    # In seconds, since a time to live may be longer than all times together.
    age = (at - written.timestamp).total_seconds()
    return any(age > seconds or seconds <= 0 for seconds in limits)


def kept_by(built_from: BuiltFrom) -> str:
    """Return what tells whether an entry is up to date: digest or clock; empty for neither."""
    keys = [key for keys in built_from.values() for key in keys]
    if not keys:
        return ""
    return CLOCK if all(key == ITERATION for key in keys) else DIGEST


def stale_by(
    state: State,
    written: Written,
    modules: Modules,
    at: datetime | None,
    most: float | None = None,
) -> str:
    """Return what a summary is stale by at a moment: time, summariser, clock or digest; empty where
    it holds. A policy may let it live for `most` seconds."""
    if outlived(written, at, most):
        return TIME
    if superseded(state, written):
        return SUMMARISER
    return "" if modules.holds(written.made_of) else written.kept_by


def superseded(state: State, written: Written) -> bool:
    """Return whether a later version of the summariser has written anything."""
    name, number = named(written.summariser)
    return number < state.summarisers.get(name, 0)


def named(summariser: str) -> tuple[str, int]:
    """Return name and version of a summariser; version 0 if it states none."""
    name, _, number = summariser.rpartition(" ")
    if name and number.isascii() and number.isdigit():
        return name, int(number[:9])
    return summariser, 0


def _by_iteration(clock: dict[str, int]) -> BuiltFrom:
    """Return the sources of a summary that states iterations alone: any later one outdates it.

    Iteration 0 is that of a module which was not there.
    """
    return {path: {ITERATION: digest_of((str(n),)) if n else ABSENT} for path, n in clock.items()}


def _written(fact: SummaryWritten, event: WorkflowEvent) -> Written:
    return Written(
        text=fact.text or "",
        summariser=fact.summariser or "",
        version=event.version,
        timestamp=event.timestamp,
        tokens=fact.tokens,
        built_at=event.version if fact.built_at is None else fact.built_at,
        clock=tuple(sorted(fact.clock.items())),
        built_from=flat(fact.built_from or _by_iteration(fact.clock)),
        lives=fact.lives,
        fields=tuple(fact.fields.items()),
    )
