"""Large facts as they are stored: JSON, compressed where that is worth it.

JSON never begins as a zstd frame does, so what stands in a row says itself which it is.
"""

import zstandard

PACKED_FROM = 8 * 2**10
"Bytes of JSON from which on it is compressed; what is smaller can be read in the file."
LARGEST = 64 * 2**20
"Bytes that a compressed body may claim to be."
_FRAME = b"\x28\xb5\x2f\xfd"


def packed(body: bytes) -> bytes:
    """A body as it is stored.

    >>> packed(b"{}"), len(packed(b'{"a": "' + b"x" * 9000 + b'"}')) < 100
    (b'{}', True)
    """
    return body if len(body) < PACKED_FROM else zstandard.compress(body)


def plain(body: bytes) -> bytes:
    """A stored body as JSON. `ValueError` where it is not what was stored."""
    if body[:4] != _FRAME:
        return body
    try:
        if zstandard.frame_content_size(body) > LARGEST:
            raise ValueError(f"needed a body of at most {LARGEST:,} bytes")
        return zstandard.decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError(f"needed a zstd frame: {error}") from None
