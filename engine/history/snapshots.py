"""The state of a projection at a moment: the nearest snapshot, and the events after it.

A snapshot is only a cache. Most hold all events of a task up to a version. Where some of those
claim to have happened after the events that follow them, a second snapshot leaves them out, so that
one wild timestamp does not spoil every later one. A snapshot serves a moment when it leaves out
nothing that the moment holds, and holds nothing that the moment leaves out.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from statistics import median_low
from typing import Any

import zstandard

from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import NOW, Moment
from backcast.engine.history.state_json import dump, load
from backcast.engine.log.codec import from_microseconds, to_microseconds
from backcast.engine.log.recorder import LAST_US, Snapshot
from backcast.engine.log.store import EventStore
from backcast.projections import Projection, fold

SPACING = 250
"""Events between snapshots: half the spacing halves the look-up, and doubles the bytes."""

TOGETHER = 16
"Snapshots of a projection that are stored at once."


class RecentStates:
    """States that were asked for lately, in memory: the next one is often near one of them.

    They are values that share their parts, so many take little room. Only states of whole prefixes
    of a task are held.
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self.states: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        "By projection, task and version; the last used come last."
        self.versions: dict[tuple[str, str], list[int]] = {}

    def before(self, name: str, task_id: str, last: int) -> tuple[int, Any] | None:
        """Return the latest state up to a version, with its version; None where there is none."""
        versions = self.versions.get((name, task_id), [])
        place = bisect_right(versions, last)
        if not place:
            return None
        key = name, task_id, versions[place - 1]
        self.states.move_to_end(key)
        return versions[place - 1], self.states[key]

    def hold(self, name: str, task_id: str, version: int, state: Any) -> None:
        """Hold a state, and drop the one that was not used for longest."""
        if (name, task_id, version) not in self.states:
            insort(self.versions.setdefault((name, task_id), []), version)
        self.states[name, task_id, version] = state
        while len(self.states) > self.size:
            (name, task_id, version), _ = self.states.popitem(last=False)
            self.versions[name, task_id].remove(version)


def state_at(
    store: EventStore,
    projection: Projection,
    task_id: str | None = None,
    moment: Moment = NOW,
    recent: RecentStates | None = None,
) -> Any:
    """Return the state at a moment: a task's, or the store's for a projection of that scope.

    With `recent`, the state is held in memory for the next call.
    """
    if task_id is None or projection.SCOPE == "store":
        return fold(projection, store.read(moment=moment))
    last = store.version_at(task_id, moment)
    at_us = to_microseconds(moment.at) if moment.at else None
    if recent is None or at_us is not None:
        return _state(store, projection, task_id, last, at_us)
    near = recent.before(projection.NAME, task_id, last)
    if near is None or last - near[0] > SPACING:
        state = _state(store, projection, task_id, last, None)
    else:
        state = fold(projection, store.read(task_id, after=near[0], last=last), near[1])
    recent.hold(projection.NAME, task_id, last, state)
    return state


def save_snapshots(
    store: EventStore, projections: Sequence[Projection], task_id: str, spacing: int = SPACING
) -> int:
    """Save a snapshot every `spacing` events since the last one, and return how many were saved."""
    last = store.version(task_id)
    keepers = [_Keeper(store, projection, task_id) for projection in projections]
    count = 0
    for begin in sorted({keeper.begin for keeper in keepers}):
        if last - begin < spacing:
            continue
        behind = [keeper for keeper in keepers if keeper.begin == begin]
        for block in _blocks(store.read(task_id, after=begin), spacing):
            times = [to_microseconds(event.timestamp) for event in block]
            for keeper in behind:
                keeper.take(block, times)
            count += len(behind)
        for keeper in behind:
            keeper.save()
    return count


class _Keeper:
    """The state of a projection on its way through the events after its last snapshot."""

    def __init__(self, store: EventStore, projection: Projection, task_id: str) -> None:
        self.store, self.projection, self.task_id = store, projection, task_id
        nearest = _nearest(store, projection, task_id, store.version(task_id), None)
        self.begin, self.state = _loaded(projection, nearest)
        self.previous = self.begin
        self.low = store.recorder.from_us_before(
            projection.NAME, projection.VERSION, task_id, self.begin
        )
        self.ahead = sorted(store.recorder.times_after(task_id, self.begin, self.low))
        "The times of the events before, from `low` on."
        self.made: list[Snapshot] = []

    def take(self, block: Sequence[WorkflowEvent], times: Sequence[int]) -> None:
        """Take the next events with their times, and keep the state behind them."""
        cut = bisect_right(self.ahead, median_low(times))
        if cut:
            self.low, self.ahead = max(self.low, self.ahead[cut - 1]), self.ahead[cut:]
        if self.ahead and self.previous and self.low > -LAST_US:
            # What is ahead claims to be later than most of what came next: leave it out.
            self.save()
            partial = _state(self.store, self.projection, self.task_id, self.previous, self.low)
            self._keep((self.low, self.ahead[0], -LAST_US), partial)
            self.save()
        for time in times:
            insort(self.ahead, time)
        self.state = fold(self.projection, block, self.state)
        self.previous = block[-1].version
        self._keep((max(self.low, self.ahead[-1]), LAST_US, min(times)), self.state)
        if len(self.made) >= TOGETHER:
            self.save()

    def _keep(self, times_us: tuple[int, int, int], state: Any) -> None:
        kept = zstandard.compress(dump(state))
        self.made.append(Snapshot(self.previous, *times_us, kept))

    def save(self) -> None:
        """Store the snapshots that were made."""
        if self.made:
            name, version = self.projection.NAME, self.projection.VERSION
            self.store.recorder.save_snapshots(name, version, self.task_id, self.made)
            self.made = []


def _state(
    store: EventStore, projection: Projection, task_id: str, last: int, at_us: int | None
) -> Any:
    begin, state = _loaded(projection, _nearest(store, projection, task_id, last, at_us))
    if at_us is None:
        return fold(projection, store.read(task_id, after=begin, last=last), state)
    at = Moment(at=from_microseconds(at_us))
    for after, end in store.recorder.stretches(
        projection.NAME, projection.VERSION, task_id, begin, last, at_us
    ):
        state = fold(projection, store.read(task_id, after=after, last=end, moment=at), state)
    return state


def _nearest(
    store: EventStore, projection: Projection, task_id: str, last: int, at_us: int | None
) -> Snapshot | None:
    return store.recorder.snapshot_before(projection.NAME, projection.VERSION, task_id, last, at_us)


def _loaded(projection: Projection, snapshot: Snapshot | None) -> tuple[int, Any]:
    """Return the version after which to read on, and the state there."""
    if snapshot is not None:
        # A snapshot only saves time: one that cannot be read counts as missing.
        with suppress(ValueError, TypeError, LookupError, AttributeError, zstandard.ZstdError):
            return snapshot.version, load(projection.State, zstandard.decompress(snapshot.state))
    return 0, projection.initial


def _blocks(events: Iterator[WorkflowEvent], size: int) -> Iterator[list[WorkflowEvent]]:
    """Yield whole blocks only: a shorter one is not worth a snapshot yet."""
    while len(block := list(islice(events, size))) == size:
        yield block
