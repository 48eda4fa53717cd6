"""Recorded requests of other programs: their parts, and the bytes that these give."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt, ForeignRequest, RequestPart
from backcast.domain.errors import DamagedError
from backcast.engine.log.store import EventStore

HELD = 64
"Requests whose parts are held at once; others are read again."


class RecordedRequest(NamedTuple):
    """A request of a task, with all its parts."""

    version: int
    at: datetime
    fact: ContextBuilt
    request: ForeignRequest
    parts: tuple[RequestPart, ...]


class RequestReader:
    """A reader of the requests of one task."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.store, self.task_id = store, task_id
        self._held: OrderedDict[int, tuple[RequestPart, ...]] = OrderedDict()

    def all(self, after: int = 0) -> Iterator[RecordedRequest]:
        """Yield the task's requests in log order."""
        for event in self.store.read(self.task_id, after=after, types=["CONTEXT_BUILT"]):
            if isinstance(event.fact, ContextBuilt) and (request := event.fact.request):
                parts = self.parts(event.version)
                yield RecordedRequest(event.version, event.timestamp, event.fact, request, parts)

    def at(self, version: int) -> RecordedRequest | None:
        """Return the request of an event; None where the event is none."""
        for found in self.all(after=version - 1):
            return found if found.version == version else None
        return None

    def parts(self, version: int) -> tuple[RequestPart, ...]:
        """Return all parts of the request of an event. `DamagedError` where one is missing."""
        waiting: list[tuple[int, ForeignRequest]] = []
        at: int | None = version
        while at is not None and at not in self._held:
            request = self._request(at)
            waiting.append((at, request))
            at = request.base
        for at, request in reversed(waiting):
            base = () if request.base is None else self._held[request.base]
            self.hold(at, assembled(request, base))
        self._held.move_to_end(version)
        found = self._held[version]
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return found

    def hold(self, version: int, parts: tuple[RequestPart, ...]) -> None:
        """Hold the parts of a request that was just written."""
        self._held[version] = parts

    def _request(self, version: int) -> ForeignRequest:
        for event in self.store.read(self.task_id, after=version - 1, last=version):
            if isinstance(event.fact, ContextBuilt) and event.fact.request:
                return event.fact.request
        raise DamagedError(f"{self.task_id}@{version}: needed a recorded request, found none")


def assembled(request: ForeignRequest, base: Sequence[RequestPart]) -> tuple[RequestPart, ...]:
    """Return all parts of a request, in order. `DamagedError` where the base has too few."""
    parts: list[RequestPart] = []
    own = iter(request.parts)
    for place, first, count in request.copied:
        parts += islice(own, max(0, place - len(parts)))
        run = base[first : first + count]
        if len(parts) != place or len(run) != count:
            raise DamagedError(f"needed {count} parts to copy from {first} on, found {len(run)}")
        parts += run
    return (*parts, *own)


def shortened(
    parts: Sequence[RequestPart], base: Sequence[RequestPart]
) -> tuple[tuple[RequestPart, ...], tuple[tuple[int, int, int], ...]]:
    """Return the parts that a base does not have, and the runs that are copied from it."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, part in enumerate(base):
        places.setdefault(_key(part), []).append(place)
    own, runs = list[RequestPart](), list[list[int]]()
    following = -1
    for place, part in enumerate(parts):
        found = places.get(_key(part), [])
        if following in found:
            runs[-1][2] += 1
            following += 1
        elif found:
            runs.append([place, found[0], 1])
            following = found[0] + 1
        else:
            own.append(part)
            following = -1
    return tuple(own), tuple((place, first, count) for place, first, count in runs)


def _key(part: RequestPart) -> tuple[str, ...]:
    return part.text, part.before, part.kind, part.role, part.name


def body_of(found: RecordedRequest, read: Callable[[str], bytes]) -> bytes:
    """Return the body of a request, built from its parts."""
    pieces = [piece for part in found.parts for piece in (part.before.encode(), read(part.text))]
    return b"".join([*pieces, found.request.rest.encode()])


def digest_of_body(body: bytes) -> str:
    """Return the digest by which a request's body is known."""
    return hashlib.sha256(body).hexdigest()
