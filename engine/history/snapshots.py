"""The state of a projection at a moment: the nearest snapshot, and the events after it.

A snapshot is only a cache. Most hold all events of a task up to a version. Where some of those
claim to have happened after the events that follow them, a second snapshot leaves them out, so that
one wild timestamp does not spoil every later one. A snapshot serves a moment when it leaves out
nothing that the moment holds, and holds nothing that the moment leaves out.

A state grows with the log, so snapshots at even distances would take room that grows like the
square of it. The larger a snapshot is, the more bytes of events follow it before the next one: so
all of them together take room like the events themselves, and reading on from one takes at most
about as long as reading it.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from math import isqrt
from statistics import median_low
from typing import Any

import zstandard

from backcast.domain.errors import BackcastError
from backcast.domain.events import WorkflowEvent
from backcast.domain.moment import NOW, Moment
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.state_json import dump, load
from backcast.engine.log.codec import from_microseconds, to_microseconds
from backcast.engine.log.recorder import LAST_US, Snapshot
from backcast.engine.log.store import EventStore
from backcast.projections import Projection, fold

SPACING = 250
"""The least number of events between snapshots. Large ones stand further apart."""
FAR = 2_000
"""Events that are read on from a snapshot until a reader saves another one. A log that is imported
has nearer ones; of a run, and of states whose form is newer than the import, nobody made any."""
ROW = 100
"What an event takes in the store beside its body, about."


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
    [state] = states_of(store, [projection], task_id, moment, recent)
    return state


def states_of(
    store: EventStore,
    projections: Sequence[Projection],
    task_id: str,
    moment: Moment = NOW,
    recent: RecentStates | None = None,
) -> list[Any]:
    """Return the states of a task at a moment; the events after their snapshots are read once."""
    last = store.version_at(task_id, moment)
    if moment.at is not None:
        at_us = to_microseconds(moment.at)
        prefix = store.recorder.prefix_until(task_id, last, at_us)
        if prefix is None:
            return [_state(store, projection, task_id, last, at_us) for projection in projections]
        last = prefix
    with rarely_collecting():
        begun = [_begun(store, projection, task_id, last, recent) for projection in projections]
    states = [state for _, state in begun]
    first = min((begin for begin, _ in begun), default=last)
    times = list[int]()
    for event in store.read(task_id, after=first, last=last):
        times.append(to_microseconds(event.timestamp))
        for index, projection in enumerate(projections):
            if event.version > begun[index][0]:
                states[index] = projection.evolve(states[index], event)
    if recent is not None:
        for projection, state in zip(projections, states, strict=True):
            recent.hold(projection.NAME, task_id, last, state)
    if len(times) >= FAR and store.recorder.is_lasting:
        for projection, (begin, _), state in zip(projections, begun, states, strict=True):
            if last - begin >= FAR and len(times) == last - first:
                _save_far(store, projection, task_id, last, state, times[begin - first :])
    return states


def _save_far(
    store: EventStore, projection: Projection, task_id: str, last: int, state: Any,
    times: Sequence[int],
) -> None:  # fmt: skip
    """Save the state of a reader that read far, unless a snapshot stands near, or nothing can be
    written; no damaged event is among those that it read."""
    latest = _nearest(store, projection, task_id, last, None)
    begin = latest.version if latest else 0
    if last - begin < FAR or last - begin != len(times):
        return
    if latest and _weight(store, task_id, begin, last) < len(latest.state):
        return
    keeper = _Keeper(store, projection, task_id, latest)
    keeper.version, keeper.state, keeper.times = last, state, list(times)
    with suppress(BackcastError):
        keeper.save()


def save_snapshots(
    store: EventStore, projections: Sequence[Projection], task_id: str, spacing: int = SPACING
) -> int:
    """Save snapshots of a task since the last ones, and return how many were saved.

    Two of a projection are at least `spacing` events apart, and further where they are large.
    """
    last = store.version(task_id)
    latest = [_nearest(store, projection, task_id, last, None) for projection in projections]
    sizes = [len(snapshot.state) if snapshot else 0 for snapshot in latest]
    keepers: dict[int, _Keeper] = {}
    for index, (projection, snapshot) in enumerate(zip(projections, latest, strict=True)):
        begin = snapshot.version if snapshot else 0
        if last - begin >= spacing and _weight(store, task_id, begin, last) >= _due(sizes, index):
            keepers[index] = _Keeper(store, projection, task_id, snapshot)
    count, before = 0, min((keeper.version for keeper in keepers.values()), default=last)
    events = store.read(task_id, after=before, last=last)
    while block := list(islice(events, spacing)):
        weight = _weight(store, task_id, before, block[-1].version)
        before = block[-1].version
        for index, keeper in keepers.items():
            keeper.take(block, weight)
            if len(keeper.times) >= spacing and keeper.weight >= _due(sizes, index):
                sizes[index] = keeper.save()
                count += 1
    return count


def _due(sizes: Sequence[int], index: int) -> int:
    """Return the bytes of events after which a projection's next snapshot is due.

    `sizes` are those of the latest snapshots. The square root shares the room out so that reading
    on takes the least time in all: one of the largest waits for about its own bytes, a smaller one
    for more than its own.
    """
    return isqrt(sizes[index] * sum(sizes))


def _weight(store: EventStore, task_id: str, after: int, last: int) -> int:
    """Return about how many bytes some events of a task take in the store, without their texts."""
    return store.recorder.body_bytes(task_id, after, last) + ROW * (last - after)


class _Keeper:
    """What saves the snapshots of one projection while the events of a task go by."""

    def __init__(
        self, store: EventStore, projection: Projection, task_id: str, latest: Snapshot | None
    ) -> None:
        self.store, self.projection, self.task_id = store, projection, task_id
        self.saved, self.state = _loaded(projection, latest)
        "The version of the last snapshot, and the state up to `version`."
        self.version = self.saved
        names = projection.NAME, projection.VERSION, task_id
        self.low = store.recorder.from_us_before(*names, self.saved)
        self.ahead = sorted(store.recorder.times_after(task_id, self.saved, self.low))
        self.times: list[int] = []
        self.weight = 0
        "The timestamps and the bytes of the events since the last snapshot."

    def take(self, events: Sequence[WorkflowEvent], weight: int) -> None:
        """Read on, unless the events are in the state already."""
        new = [event for event in events if event.version > self.version]
        if new:
            self.state = fold(self.projection, new, self.state)
            self.version = new[-1].version
            self.times += [to_microseconds(event.timestamp) for event in new]
            self.weight += weight

    def save(self) -> int:
        """Save a snapshot of the state, and return the bytes that it takes."""
        size, times = 0, self.times
        cut = bisect_right(self.ahead, median_low(times))
        if cut:
            self.low, self.ahead = max(self.low, self.ahead[cut - 1]), self.ahead[cut:]
        if self.ahead and self.saved and self.low > -LAST_US:
            # What is ahead claims to be later than most of what came next: leave it out.
            partial = _state(self.store, self.projection, self.task_id, self.saved, self.low)
            size += self._save(self.saved, (self.low, self.ahead[0], -LAST_US), partial)
        self.ahead = sorted(self.ahead + times)
        times_us = (max(self.low, self.ahead[-1]), LAST_US, min(times))
        size += self._save(self.version, times_us, self.state)
        self.saved, self.times, self.weight = self.version, [], 0
        return size

    def _save(self, version: int, times_us: tuple[int, int, int], state: Any) -> int:
        snapshot = Snapshot(version, *times_us, zstandard.compress(dump(state)))
        names = self.projection.NAME, self.projection.VERSION, self.task_id
        self.store.recorder.save_snapshots(*names, [snapshot])
        return len(snapshot.state)


def _begun(
    store: EventStore,
    projection: Projection,
    task_id: str,
    last: int,
    recent: RecentStates | None,
) -> tuple[int, Any]:
    """Return a version to read on from, and the state there: in memory, or a snapshot."""
    near = recent.before(projection.NAME, task_id, last) if recent else None
    if near is not None and last - near[0] <= SPACING:
        return near
    snapshot = _nearest(store, projection, task_id, last, None)
    if near is not None and (snapshot is None or snapshot.version - near[0] <= SPACING):
        return near
    return _loaded(projection, snapshot)


def _state(store: EventStore, projection: Projection, task_id: str, last: int, at_us: int) -> Any:
    begin, state = _loaded(projection, _nearest(store, projection, task_id, last, at_us))
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
