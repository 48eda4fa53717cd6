"""Files that may be compressed, or in another encoding than UTF-8, read in bounded steps.

Their first bytes tell, whatever their names say: zstd, gzip, bzip2 and xz are unpacked, UTF-16 and
UTF-32 become UTF-8.
"""

import bz2
import lzma
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

STEP = 512
"""Compressed bytes that are taken at once. A block of zstd takes at least 4 bytes and gives at most
128 KiB, so 16 MiB is the most that a hostile step can become."""
READ = 256 * 2**10
"Unpacked bytes that are read at once."
HEAD = 64
"Bytes at the beginning of a file by which its encoding is known."


class CutError(ValueError):
    """A compressed file that ends in the middle or continues otherwise, as the message says."""


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; a compressed file is read as its content, and text as UTF-8.

    Reading raises `CutError` where it cannot continue, after all that came before.
    """
    file: BufferedReader = path.open("rb")
    try:
        # Peeked at, since a pipe cannot go back.
        head = file.peek(HEAD)
        for magic, pieces in PACKED.items():
            if head.startswith(magic) or (path.suffix == ".zst" and pieces is _zstd):
                file = BufferedReader(_Plain(file, pieces(file)), READ)
                head = file.peek(HEAD)
                break
    except CutError:  # met again, and reported, when it is read
        return cast(BinaryIO, BufferedReader(_Plain(file, _cut(path)), READ))
    except BaseException:
        file.close()
        raise
    if encoding := encoding_of(head[:HEAD]):
        return cast(BinaryIO, BufferedReader(_Plain(file, _decoded(file, encoding)), READ))
    return file


def unpacked(packed: bytes) -> BinaryIO:
    """Return the content of bytes that zstd compressed, as a file."""
    file = BytesIO(packed)
    return cast(BinaryIO, BufferedReader(_Plain(file, _zstd(file)), READ))


def encoding_of(head: bytes) -> str | None:
    """Return the encoding of a JSON text by its first bytes; None for UTF-8 and for all else.

    >>> encoding_of('{"a": 1}'.encode("utf-16-be"))
    'utf-16-be'
    """
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    for width, place, encoding in ((4, 0, "utf-32-le"), (4, 3, "utf-32-be"),
                                   (2, 0, "utf-16-le"), (2, 1, "utf-16-be")):  # fmt: skip
        # JSON begins with two characters of ASCII; as each unit they leave the other bytes zero.
        units = [head[at : at + width] for at in (0, width)]
        zeros = b"\0" * (width - 1)
        if all(
            len(unit) == width and unit[place] and unit[:place] + unit[place + 1 :] == zeros
            for unit in units
        ):
            return encoding
    return None


MARKS = {
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
"The byte order marks of the encodings; that of UTF-32 begins like that of UTF-16."


class _Plain(RawIOBase):
    """The content of a file, as a raw file of its own."""

    def __init__(self, file: BinaryIO, pieces: Iterator[bytes]) -> None:
        self.file, self.pieces, self.rest = file, pieces, memoryview(b"")
        self.cut: CutError | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into: Any) -> int:
        """Read on, and return how many bytes came."""
        while not self.rest:
            if self.cut:
                raise self.cut
            try:
                piece = next(self.pieces, None)
            except CutError as error:
                self.cut = error
                raise
            if piece is None:
                return 0
            self.rest = memoryview(piece)
        size = min(len(into), len(self.rest))
        into[:size], self.rest = self.rest[:size], self.rest[size:]
        return size

    def close(self) -> None:
        """Close the file underneath too."""
        self.file.close()
        super().close()


def _cut(path: Path) -> Iterator[bytes]:
    """Yield the content once more; nothing of it was used yet."""
    with path.open("rb") as file:
        head = file.peek(HEAD)
        pieces = next((take for magic, take in PACKED.items() if head.startswith(magic)), _zstd)
        yield from pieces(file)


def _decoded(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = getincrementaldecoder(encoding)("replace")
    while piece := file.read(READ):
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _zstd(file: BinaryIO) -> Iterator[bytes]:
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


class _Gzip:
    """A decompressor of gzip with the form of those of bz2 and lzma."""

    def __init__(self) -> None:
        self.stream = zlib.decompressobj(wbits=31)
        self.pending = b""

    @property
    def eof(self) -> bool:
        return self.stream.eof

    @property
    def unused_data(self) -> bytes:
        return self.stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not self.pending

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return the next piece of the content."""
        piece = self.stream.decompress(self.pending + data, max_length)
        self.pending = self.stream.unconsumed_tail
        return piece


def _streams(name: str, make: Callable[[], Any]) -> Callable[[BinaryIO], Iterator[bytes]]:
    """Return a function that yields a file's content, stream after stream."""

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        stream: Any = None
        data = file.read(READ)
        while data or stream:
            stream = stream or make()
            try:
                if piece := stream.decompress(data, READ):
                    yield piece
                if stream.eof:
                    # Zeros may pad what follows a stream.
                    data = stream.unused_data.lstrip(b"\0") or file.read(READ).lstrip(b"\0")
                    stream = None
                elif not stream.needs_input:
                    data = b""
                elif not (data := file.read(READ)):
                    break
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise CutError(f"needed a whole {name} file, found: {error}") from None
        if stream is not None:
            raise CutError(f"needed a whole {name} file, found one that is cut off")

    return pieces


PACKED: dict[bytes, Callable[[BinaryIO], Iterator[bytes]]] = {
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x1f\x8b": _streams("gzip", _Gzip),
    b"BZh": _streams("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": _streams("xz", lzma.LZMADecompressor),
}
"How each compression begins, and how its content is read."
