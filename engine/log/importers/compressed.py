"""Files that may be compressed by zstd, read as they come: bounded, whatever a frame claims."""

from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
STEP = 512
"""Compressed bytes that are taken at once. A block of zstd takes 4 bytes at least and gives 128 KiB
at most, so that 16 MiB is the most that a hostile step can become."""
READ = 256 * 2**10
"Bytes that are read on at once, of what has been unpacked."


class CutError(ValueError):
    """A compressed file that ends in the middle, or goes on as none; it says which."""


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; what is compressed is read as what it holds.

    Reading raises `CutError` where that cannot go on. What came before it has been given by then.
    """
    file = path.open("rb")
    # Peeked at, since a pipe cannot go back.
    if path.suffix == ".zst" or file.peek(len(MAGIC)).startswith(MAGIC):
        return cast(BinaryIO, BufferedReader(_Plain(file), READ))
    return file


class _Plain(RawIOBase):
    """The bytes that a compressed file holds, as a raw file of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.pieces, self.rest = file, _pieces(file), memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
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
    """What frame after frame holds."""
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
