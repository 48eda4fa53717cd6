"""How are large bodies stored? Whole, compressed, or as the difference to an earlier one.

The versions of a module resemble each other, so each is compressed with the one before it as zstd's
dictionary. A chain of differences is cut after `MAX_DEPTH`, which bounds the cost of reading its
last body. See `man zstd`, --patch-from.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import zstandard

from backcast.domain.errors import DamagedError
from backcast.domain.events import BLOB_PREFIX

MAX_DEPTH = 50
LEVEL = 6
CHUNK = 32 * 2**20
"Bytes that are read at once, whatever size a damaged row claims."
_WHOLE = -1
"The depth of a body that is stored uncompressed."


@dataclass(frozen=True)
class Blob:
    """A body to be stored, and the name of a body that it resembles."""

    body: bytes
    base: str | None = None

    @cached_property
    def ref(self) -> str:
        """The name that facts use."""
        return ref_of(self.body)


class Packed(NamedTuple):
    """A body as it is stored."""

    digest: bytes
    base: bytes | None
    depth: int
    "How many other bodies must be read first; -1 for an uncompressed body."
    size: int
    "Bytes of the body itself."
    packed: bytes


def ref_of(body: bytes) -> str:
    """Return the name of a body: its content hash."""
    return BLOB_PREFIX + hashlib.sha256(body).hexdigest()


def digest_of(ref: str) -> bytes:
    """Return the hash in a blob's name; `ValueError` for any other text."""
    if not ref.startswith(BLOB_PREFIX) or len(ref) != len(BLOB_PREFIX) + 64:
        raise ValueError(f"needed {BLOB_PREFIX}<64 hexadecimal digits>, found {ref[:80]!r}")
    return bytes.fromhex(ref[len(BLOB_PREFIX) :])


def pack(body: bytes, digest: bytes, base: tuple[Packed, bytes] | None = None) -> Packed:
    """Return a body in its smallest form: as the difference to a given base if that pays."""
    if base is not None and base[0].depth < MAX_DEPTH and base[1]:
        packed = _compressor(body, base[1]).compress(body)
        if len(packed) * 4 < len(body):
            depth = max(base[0].depth, 0) + 1
            return Packed(digest, base[0].digest, depth, len(body), packed)
    packed = _compressor(body).compress(body)
    if len(packed) < len(body):
        return Packed(digest, None, 0, len(body), packed)
    return Packed(digest, None, _WHOLE, len(body), body)


def unpack(chain: list[Packed], body: bytes = b"") -> bytes:
    """Return the last body of a chain, each of which needs the one before it, the first `body`.

    Raises `DamagedError` if the bytes do not give the body that the hash names.
    """
    for packed in chain:
        try:
            body = _unpacked(packed, body)
        except (zstandard.ZstdError, TypeError, ValueError) as error:
            raise DamagedError(
                f"blob {packed.digest.hex()[:12]}… cannot be read: {error}"
            ) from None
    last = chain[-1]
    if hashlib.sha256(body).digest() != last.digest:
        raise DamagedError(f"blob {last.digest.hex()[:12]}… holds other bytes than its hash names")
    return body


def _unpacked(packed: Packed, base: bytes) -> bytes:
    if packed.depth == _WHOLE:
        return packed.packed
    return decompressed(packed.packed, packed.size, base if packed.base is not None else None)


def compressed(body: bytes, base: bytes | None = None) -> bytes:
    """Return a body compressed, as the difference to another one if that is given."""
    return _compressor(body, base).compress(body)


def decompressed(packed: bytes, size: int, base: bytes | None = None) -> bytes:
    """Return a body of a size; `ZstdError` where that is none. One of another size may return."""
    against = _dictionary(base) if base is not None else None
    decompressor = zstandard.ZstdDecompressor(dict_data=against, max_window_size=2**31)
    # The size is from the row, never from the frame: a hostile frame could claim any.
    reader = decompressor.stream_reader(packed)
    parts, remaining = [], size + 1
    while remaining > 0:
        wanted = min(remaining, CHUNK)
        parts.append(reader.read(wanted))
        remaining = remaining - wanted if len(parts[-1]) == wanted else 0
    return b"".join(parts)


def _compressor(body: bytes, base: bytes | None = None) -> zstandard.ZstdCompressor:
    size = len(body) + len(base or b"")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        source_size=size,
        window_log=max(10, min(27, size.bit_length())),  # all of the base stays in reach
        write_checksum=False,  # the hash is the check
        write_dict_id=False,
    )
    against = _dictionary(base) if base is not None else None
    return zstandard.ZstdCompressor(dict_data=against, compression_params=parameters)


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
