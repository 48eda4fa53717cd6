"""The vectors of texts, each made once and kept in the store.

The same text embeds to slightly other numbers in another batch. So what stands in the store is
what counts; where it cannot be written, vectors are made anew for each search.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.context.search.embedders import Embedder
from backcast.engine.context.search.words import Floats
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore

Vectors = NDArray[np.float32]
"One a row."

BLOCK = 256
"Texts embedded before they are kept: what a stopped run has made is not lost."
TOLERANCE = 1e-3
"By how much the length of a vector may differ from 1."
DECIMALS = 4
"Of how near texts are."


def hash_of(text: str) -> bytes:
    """Return the hash by which the store knows a text."""
    return sha256(text.encode(errors="replace")).digest()


def vectors(
    store: EventStore,
    embedder: Embedder,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda step: None,
) -> Vectors:
    """Return a row for each text: from the store, or made and kept there.

    `progress` is told how many texts were embedded; those found in the store come first.
    """
    hashes = [hash_of(text) for text in texts]
    by_hash = dict(zip(hashes, texts, strict=True))
    known = store.recorder.vectors(embedder.id, list(by_hash), 4 * embedder.dimensions)
    missing = [digest for digest in by_hash if digest not in known]
    progress(len(texts) - len(missing))
    keeps = True
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        rows = embedded(embedder, [by_hash[digest] for digest in block]).astype("<f4")
        made = {digest: row.tobytes() for digest, row in zip(block, rows, strict=True)}
        keeps = keeps and _keep(store, embedder, made)
        known.update(made)
        progress(len(block))
    joined = b"".join(known[digest] for digest in hashes)
    return np.frombuffer(joined, "<f4").reshape(len(texts), embedder.dimensions)


def embedded(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Return what an embedder makes of texts. `InputError` where that is not what it has to be."""
    try:
        return checked(np.asarray(embedder.embed(texts)), len(texts), embedder.dimensions)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"embedder {embedder.id!r}: {error}") from None


def checked(rows: NDArray[np.generic], count: int, dimensions: int) -> Vectors:
    """Vectors that can be compared. `InputError` where they cannot."""
    if rows.shape != (count, dimensions):
        raise InputError(f"needed {count} x {dimensions} numbers, found {rows.shape}")
    numbers = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError("needed numbers, found NaN or infinity")
    lengths = np.sqrt(np.square(numbers).sum(axis=1))
    wrong = lengths[np.abs(lengths - 1) > TOLERANCE]
    if len(wrong):
        raise InputError(f"needed vectors of length 1, found one of length {wrong[0]:.4g}")
    return numbers


def _keep(store: EventStore, embedder: Embedder, made: dict[bytes, bytes]) -> bool:
    """Keep vectors and take over those that stand; gives whether the store could be written."""
    try:
        made.update(store.recorder.save_vectors(embedder.id, made, 4 * embedder.dimensions))
    except UnavailableError:
        return False
    return True


class RecordedEmbedder:
    """The embedder of a recorded context: its vectors are in the store, and it makes no more."""

    def __init__(self, id: str, dimensions: int) -> None:
        self.id, self.dimensions = id, dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raise `InputError`: what was not kept cannot be made again."""
        raise InputError(f"{len(texts)} vectors by {self.id} are not kept in this store")


class Nearness:
    """A comparison of texts with a request, by meaning."""

    def __init__(self, store: EventStore, embedder: Embedder, asked: bytes | None = None) -> None:
        """`asked` is the request's vector, as `asked_body` gave it, where it is known."""
        self.store, self.embedder = store, embedder
        self.asked_body, self._known = asked, asked is not None
        self._request = ""

    @classmethod
    def recorded(cls, store: EventStore, embedder: str, asked: bytes) -> "Nearness":
        """Return the comparison of a recorded context, whose vectors are all in the store."""
        return cls(store, RecordedEmbedder(embedder, len(asked) // 4), asked)

    @property
    def blob(self) -> Blob | None:
        """The request's vector, once it was compared."""
        return None if self.asked_body is None else Blob(self.asked_body)

    def of(self, texts: Sequence[str], request: str) -> Floats:
        """Return how near each text is, from 0 to 1, rounded; 1 for equal texts."""
        if self.asked_body is None or not (self._known or request == self._request):
            # On its own: in a batch with others it would embed to other bits.
            self.asked_body = vectors(self.store, self.embedder, [request])[0].tobytes()
            self._request = request
        asked = np.frombuffer(self.asked_body, "<f4")
        rows = vectors(self.store, self.embedder, texts)
        near: Floats = np.round(np.clip(rows @ asked, 0, 1).astype(float), DECIMALS)
        return near
