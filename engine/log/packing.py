"""How are large facts stored? As JSON, compressed where that pays.

JSON never begins like a zstd frame, so a stored body itself shows which of the two it is.
"""

import zstandard

PACKED_FROM = 8 * 2**10
"Bytes of JSON from which on it is compressed; smaller facts stay readable in the file."
LARGEST = 64 * 2**20
"The most bytes that a compressed body may claim to have."
_FRAME = b"\x28\xb5\x2f\xfd"


def packed(body: bytes) -> bytes:
    """Return a body as it is stored.

    >>> packed(b"{}"), len(packed(b'{"a": "' + b"x" * 9000 + b'"}')) < 100
    (b'{}', True)
    """
    return body if len(body) < PACKED_FROM else zstandard.compress(body)


def plain(body: bytes) -> bytes:
    """Return a stored body as JSON; `ValueError` if it is damaged."""
    if body[:4] != _FRAME:
        return body
    try:
        if zstandard.frame_content_size(body) > LARGEST:
            raise ValueError(f"needed a body of at most {LARGEST:,} bytes")
        return zstandard.decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError(f"needed a zstd frame: {error}") from None
