"""The bundles of one store: which bodies go into the next, and where a body is found again.

The bundles under one name are pieces of a stream, which a stream of its own follows after `LONGEST`
of them, or when a store was opened again: that bounds the cost of reading the last.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import zstandard

from backcast.domain.errors import DamagedError
from backcast.engine.log.blobs import MAX_DEPTH, Blob, Packed, pack
from backcast.engine.log.bundles import FULL, NewBundle, StoredBundle, bundled, key_of, members
from backcast.engine.log.recorder import Recorder

LONGEST = 100
"Bundles of one stream."
NAMES = 16
"Names whose streams go on; the next bundle under another begins a new one."
HELD = 8 * 2**20
"Bytes of bundles that are at hand."
STEP = 1024
"Bytes that are unpacked at once, so that no damaged bundle can fill the memory."
_PACKING = zstandard.ZstdCompressionParameters.from_level(
    12, window_log=18, source_size=2**17, write_content_size=False, write_checksum=False
)  # two megabytes for each stream


class BundleStream(NamedTuple):
    """A stream of bundles while it goes on."""

    packer: "zstandard.ZstdCompressionObj"
    last: NewBundle | None
    bundles: int


class Bundler:
    """The bundler of one store."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._streams: OrderedDict[str, BundleStream] = OrderedDict()
        self._read: OrderedDict[int, bytes] = OrderedDict()
        self._read_bytes = 0
        self._reader = BundleReader()

    def bundles(self, name: str, blobs: Iterable[Blob]) -> tuple[list[NewBundle], BundleStream]:
        """Return bodies that the store does not hold yet as bundles, ready to be stored, and the
        stream that goes on as soon as they are."""
        # It is gone if they cannot be stored: what follows could not be read without them.
        stream, made = self._streams.pop(name, None), list[NewBundle]()
        for bodies in _portions(blobs):
            if stream is None or stream.bundles >= LONGEST:
                packer = zstandard.ZstdCompressor(compression_params=_PACKING).compressobj()
                stream = BundleStream(packer, None, 0)
            body = bundled(bodies)
            packed = stream.packer.compress(body)
            packed += stream.packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            digests = tuple(sha256(body).digest() for body in bodies)
            made.append(NewBundle(stream.last, len(body), packed, digests))
            stream = BundleStream(stream.packer, made[-1], stream.bundles + 1)
        assert stream is not None
        return made, stream

    def stored(self, name: str, stream: BundleStream) -> None:
        """Let a stream go on: its bundles are stored."""
        if stream.last is not None:
            stream.last.before = None  # else none would ever be forgotten
        self._streams[name] = stream
        if len(self._streams) > NAMES:
            self._streams.popitem(last=False)

    def found(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the bodies of the bundles in which some bodies may stand, by their hashes."""
        return {sha256(body).digest(): body
                for id in self.recorder.bundles_of(digests) for body in members(self.body(id))
                }  # fmt: skip

    def between(self, first: bytes, last: bytes) -> list[bytes]:
        """Return the hashes of some bodies of bundles from one hash to another: two, or all."""
        found = list[bytes]()
        for id in self.recorder.bundles_between(key_of(first), key_of(last)):
            digests = (sha256(body).digest() for body in members(self.body(id)))
            found += [digest for digest in digests if first <= digest <= last]
            if len(found) > 1:
                break
        return found

    def body(self, id: int) -> bytes:
        """Return the bytes of a bundle. `DamagedError` where it cannot be read."""
        if id not in self._read:
            next_ = self.recorder.bundle_after(self._reader.last, id)
            for bundle in [next_] if next_ else self.recorder.bundles_up_to(id):
                body = self._reader.read(bundle)
                self._read_bytes += len(body) - len(self._read.get(bundle.id, b""))
                self._read[bundle.id] = body
        if id not in self._read:
            raise DamagedError(f"bundle {id} of blobs is not in this store")
        self._read.move_to_end(id)
        body = self._read[id]
        while self._read_bytes > HELD and len(self._read) > 1:
            self._read_bytes -= len(self._read.popitem(last=False)[1])
        return body


class BundleReader:
    """A reader of bundles, each after the one before it in its stream."""

    def __init__(self) -> None:
        self.last: int | None = None
        "The bundle that it read last; it can go on with the next of the same stream."
        self._unpacker: zstandard.ZstdDecompressionObj | None = None

    def read(self, bundle: StoredBundle) -> bytes:
        """Return the bytes of a bundle. `DamagedError` where it is damaged, or not the next."""
        name = f"bundle {bundle.id} of blobs"
        if bundle.base is None:
            self._unpacker = zstandard.ZstdDecompressor(max_window_size=2**20).decompressobj()
        elif self._unpacker is None or bundle.base != self.last:
            raise DamagedError(f"{name}: the one before it is missing or damaged")
        self.last = None
        body = bytearray()
        try:
            for at in range(0, len(bundle.packed), STEP):
                body += self._unpacker.decompress(bundle.packed[at : at + STEP])
                if len(body) > bundle.size:
                    break
        except (zstandard.ZstdError, TypeError, ValueError) as error:
            raise DamagedError(f"{name} cannot be read: {error}") from None
        if len(body) != bundle.size:
            raise DamagedError(f"{name} has other bytes than the {bundle.size} that were written")
        self.last = bundle.id
        return bytes(body)


def unbundle(recorder: Recorder) -> None:
    """Give each body that stands in a bundle a row of its own, as if it had come alone.

    For whoever rewrites bodies: none of them is then a part of what others are read from.
    """
    bundler = Bundler(recorder)
    for bundle in list(recorder.bundles()):
        found = {sha256(body).digest(): body for body in members(bundler.body(bundle.id))}
        recorder.put([pack(body, digest) for digest, body in found.items()])
    recorder.drop_bundles()


def as_member(body: bytes) -> tuple[Packed, bytes]:
    """Return a body that stands in a bundle as if it had a row of its own: one that no other can be
    the difference to."""
    return Packed(sha256(body).digest(), None, MAX_DEPTH, len(body), b""), body


def _portions(blobs: Iterable[Blob]) -> Iterator[list[bytes]]:
    """Yield bodies by what goes into one bundle; two of the same key never do."""
    some, size, keys = list[bytes](), 0, set[int]()
    for blob in blobs:
        key = key_of(bytes.fromhex(blob.ref[-64:]))
        if some and (size + len(blob.body) > FULL or key in keys):
            yield some
            some, size, keys = [], 0, set()
        some.append(blob.body)
        size += len(blob.body)
        keys.add(key)
    if some:
        yield some
