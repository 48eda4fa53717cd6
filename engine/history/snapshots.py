"""The state of a projection at a moment: the nearest kept state, and the events after it.

A kept state is only a cache. Most hold all events of a task up to a version. Where some of those
claim to have happened after what follows them, a second one leaves them out, so that one wild
timestamp does not spoil every later one. A kept state serves a moment when it leaves out nothing
that the moment holds, and holds nothing that the moment leaves out.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
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
"""Events between kept states: half the spacing halves the look-up, and doubles the bytes."""


class Recent:
    """States that were asked for lately, of the store that asks: the next is often near one.

    They are values and share their parts, so that many take little. Only whole prefixes are held.
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self.states: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        "By projection, task and version; those asked for last stand last."
        self.versions: dict[tuple[str, str], list[int]] = {}

    def before(self, name: str, task_id: str, last: int) -> tuple[int, Any] | None:
        """The latest state that is held up to a version."""
        versions = self.versions.get((name, task_id), [])
        place = bisect_right(versions, last)
        if not place:
            return None
        key = name, task_id, versions[place - 1]
        self.states.move_to_end(key)
        return versions[place - 1], self.states[key]

    def hold(self, name: str, task_id: str, version: int, state: Any) -> None:
        """Hold a state, and let go of that which nobody has asked for longest."""
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
    recent: Recent | None = None,
) -> Any:
    """The state at a moment, of a task, or of the whole store for a projection of that scope.

    With `recent`, states are held in memory for the next question.
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


def keep_states(
    store: EventStore, projection: Projection, task_id: str, spacing: int = SPACING
) -> int:
    """Keep a state every `spacing` events of a task since the last one kept; gives how many."""
    last = store.version(task_id)
    kept = _nearest(store, projection, task_id, last, None)
    begin, state = _opened(projection, kept)
    if last - begin < spacing:
        return 0
    low = store.recorder.kept_from(projection.NAME, projection.VERSION, task_id, begin)
    ahead = sorted(store.recorder.times_after(task_id, begin, low))
    count, previous = 0, begin
    for block in _blocks(store.read(task_id, after=begin), spacing):
        times = [to_microseconds(event.timestamp) for event in block]
        cut = bisect_right(ahead, median_low(times))
        if cut:
            low, ahead = max(low, ahead[cut - 1]), ahead[cut:]
        if ahead and previous and low > -LAST_US:
            # What is ahead claims to be later than most of what came next: leave it out.
            partial = _state(store, projection, task_id, previous, low)
            _keep(store, projection, task_id, previous, (low, ahead[0], -LAST_US), partial)
        for time in times:
            insort(ahead, time)
        state, previous = fold(projection, block, state), block[-1].version
        times_us = (max(low, ahead[-1]), LAST_US, min(times))
        _keep(store, projection, task_id, previous, times_us, state)
        count += 1
    return count


def _state(
    store: EventStore, projection: Projection, task_id: str, last: int, at_us: int | None
) -> Any:
    begin, state = _opened(projection, _nearest(store, projection, task_id, last, at_us))
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
    return store.recorder.kept(projection.NAME, projection.VERSION, task_id, last, at_us)


def _opened(projection: Projection, kept: Snapshot | None) -> tuple[int, Any]:
    """The version after which to go on, and the state there."""
    if kept is not None:
        # A kept state only saves time: one that cannot be read is as if it were not there.
        with suppress(ValueError, TypeError, LookupError, AttributeError, zstandard.ZstdError):
            return kept.version, load(projection.State, zstandard.decompress(kept.state))
    return 0, projection.initial


def _keep(
    store: EventStore,
    projection: Projection,
    task_id: str,
    version: int,
    times_us: tuple[int, int, int],
    state: Any,
) -> None:
    kept = Snapshot(version, *times_us, zstandard.compress(dump(state)))
    store.recorder.keep(projection.NAME, projection.VERSION, task_id, [kept])


def _blocks(events: Iterator[WorkflowEvent], size: int) -> Iterator[list[WorkflowEvent]]:
    """Whole blocks only: what is left over is not worth a kept state yet."""
    while len(block := list(islice(events, size))) == size:
        yield block
