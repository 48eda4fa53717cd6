"""Files that may be compressed by zstd, read in bounded steps, whatever a frame claims."""

from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
STEP = 512
"""Compressed bytes that are taken at once. A block of zstd takes at least 4 bytes and gives at most
128 KiB, so 16 MiB is the most that a hostile step can become."""
READ = 256 * 2**10
"Unpacked bytes that are read at once."


class CutError(ValueError):
    """A compressed file that ends in the middle or continues otherwise, as the message says."""


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; a compressed file is read as its content.

    Reading raises `CutError` where it cannot continue, after all that came before.
    """
    file = path.open("rb")
    # Peeked at, since a pipe cannot go back.
    if path.suffix == ".zst" or file.peek(len(MAGIC)).startswith(MAGIC):
        return cast(BinaryIO, BufferedReader(_Plain(file), READ))
    return file


class _Plain(RawIOBase):
    """The content of a compressed file, as a raw file of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.pieces, self.rest = file, _pieces(file), memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]  # as io calls it
        """Read on, and return how many bytes came."""
        while not self.rest:
            piece = next(self.pieces, None)
            if piece is None:
                return 0
            self.rest = memoryview(piece)
        size = min(len(into), len(self.rest))
        into[:size], self.rest = self.rest[:size], self.rest[size:]
        return size

    def close(self) -> None:
        """Close the compressed file too."""
        self.file.close()
        super().close()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content, frame after frame."""
    frame = None
    while packed := file.read(STEP):
        while packed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise CutError(f"needed a whole zstd file, found: {error}") from None
            packed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise CutError("needed a whole zstd file, found one that is cut off")
