"""Is everything in the store as it was written? Each damaged row and blob is named."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256

from backcast.domain.errors import DamagedError, InputError
from backcast.engine.log.blobs import Packed, unpack
from backcast.engine.log.bundles import key_of, members
from backcast.engine.log.bundling import BundleReader
from backcast.engine.log.packing import plain
from backcast.engine.log.recorder import Row, checksum_of
from backcast.engine.log.store import EventStore, refs_in

STREAMS = 1000
"Streams of bundles that are read at once; more at once than any store writes."


def size(store: EventStore) -> int:
    """Return how many rows and blobs there are to check."""
    events = store.recorder.one("SELECT count(*) FROM events")[0]
    blobs = store.recorder.one("SELECT count(*) FROM blobs")[0]
    has_bundles = store.recorder.has_bundles()
    bundles = store.recorder.one("SELECT count(*) FROM bundles")[0] if has_bundles else 0
    return int(events + blobs + bundles)


def check(store: EventStore, progress: Callable[[int], None] = lambda done: None) -> Iterator[str]:
    """Yield a line for each damaged row or blob."""
    held: set[bytes] = set()
    "The hashes of all bodies that stand in bundles."
    for lines in (
        store.recorder.problems(),
        _check_bundles(store, held, progress),
        _check_events(store, held, progress),
        _check_blobs(store, progress),
    ):
        try:
            yield from lines
        except DamagedError as error:  # the file itself is broken here
            yield str(error)


def _check_bundles(
    store: EventStore, held: set[bytes], progress: Callable[[int], None]
) -> Iterator[str]:
    """Yield a line for each damaged bundle; the hashes of the bodies in all others go to `held`."""
    keys: dict[int, set[int]] = {}
    for key, id in store.recorder.bundled() if store.recorder.has_bundles() else ():
        keys.setdefault(id, set()).add(key)
    readers: dict[int | None, BundleReader] = {}
    "The reader of each stream, by the bundle that it has read last."
    for bundle in store.recorder.bundles():
        reader = readers.pop(bundle.base, None) or BundleReader()
        try:
            digests = {sha256(body).digest() for body in members(reader.read(bundle))}
            if not keys.pop(bundle.id, set()) <= {key_of(digest) for digest in digests}:
                raise DamagedError(f"bundle {bundle.id} of blobs holds other bodies than it should")
        except DamagedError as error:
            yield str(error)
        else:
            held |= digests
        readers[bundle.id] = reader
        if len(readers) > STREAMS:
            del readers[next(iter(readers))]
        progress(1)
    yield from (f"bundle {id} of blobs: missing" for id in sorted(keys))


def _check_events(
    store: EventStore, held: set[bytes], progress: Callable[[int], None]
) -> Iterator[str]:
    held.update(row[0] for row in store.recorder.all("SELECT hash FROM blobs"))
    versions: dict[str, int] = {}
    after = recorded = 0
    while rows := store.recorder.rows(None, after):
        for row in rows:
            position, task_id, version = row[:3]
            name = f"event {position} (task {task_id!r})"
            for reason in _problems(store, row, held):
                yield f"{name}: {reason}"
            if position != after + 1:
                last = position - 1
                which = f"event {last}" if last == after + 1 else f"events {after + 1} to {last}"
                yield f"{which}: missing"
            after = position
            if not isinstance(version, int) or not isinstance(row[5], int):
                continue  # a broken file can give anything
            if version != versions.get(task_id, 0) + 1:
                yield f"{name}: has version {version} after {versions.get(task_id, 0)}"
            if row[5] < recorded:
                yield f"{name}: was recorded before the one in front of it"
            versions[task_id], recorded = version, row[5]
        progress(len(rows))


def _problems(store: EventStore, row: Row, held: set[bytes]) -> Iterator[str]:
    topic, checksum, body = row[3], row[8], row[9]
    if checksum != checksum_of(row):
        yield "its bytes are not those that were written"
        return
    try:
        store.codec.decode(topic, body)
    except (ValueError, InputError) as error:
        yield str(error).splitlines()[0]
    with suppress(ValueError):
        body = plain(body)
    for ref in refs_in(body):
        if bytes.fromhex(ref[5:]) not in held:
            yield f"points at {ref[:17]}…, which is missing"


def _check_blobs(store: EventStore, progress: Callable[[int], None]) -> Iterator[str]:
    bodies: dict[bytes, bytes] = {}
    "The last good bodies, since the next one is often the difference to one of them."
    for packed in store.recorder.blobs():
        if not isinstance(packed.digest, bytes):  # a broken file can give anything
            yield "a blob has no name"
            continue
        try:
            bodies[packed.digest] = _body(store, packed, bodies)
        except DamagedError as error:
            yield str(error)
        if len(bodies) > 1000:
            del bodies[next(iter(bodies))]
        progress(1)


def _body(store: EventStore, packed: Packed, bodies: dict[bytes, bytes]) -> bytes:
    name = f"blob {packed.digest.hex()[:12]}…"
    if packed.base is None:
        body = unpack([packed])
    elif packed.base in bodies:
        body = unpack([Packed(packed.base, None, -1, 0, bodies[packed.base]), packed])
    else:
        body = store.get(f"blob:{packed.digest.hex()}")
    if len(body) != packed.size:
        raise DamagedError(f"{name} has {len(body)} bytes, {packed.size} were written")
    return body
