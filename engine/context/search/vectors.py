"""The vectors of texts, each made once and kept in the store.

The same text embeds to slightly other numbers in another batch. So what stands in the store is
what counts; where it cannot be written, vectors are made anew for each search.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.context.search.embedders import Embedder
from backcast.engine.context.search.held_vectors import HeldVectors, Vectors, checked
from backcast.engine.context.search.word_counts import Floats, Numbers
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore

BLOCK = 256
"Texts embedded before they are kept: what a stopped run has made is not lost."
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


def held_by(store: EventStore, embedder: Embedder) -> HeldVectors:
    """Return the vectors of a store by an embedder that are in memory: one place for all who ask.

    What another embedder has made, be it of the same name with other weights, stands apart.
    """
    held = _HELD.setdefault(store, {})
    key = embedder.id, embedder.dimensions
    if key not in held:
        held[key] = HeldVectors(embedder.dimensions)
    return held[key]


_HELD: WeakKeyDictionary[EventStore, dict[tuple[str, int], HeldVectors]] = WeakKeyDictionary()
"As long as the store is open; of each embedder by its name, which tells its weights."


def rows_of(
    store: EventStore,
    embedder: Embedder,
    texts: Sequence[str],
    progress: Callable[[int], None] = lambda step: None,
) -> Numbers:
    """Return the row of each text among the held vectors: those that lack are read, or made."""
    held = held_by(store, embedder)
    digests = [hash_of(text) for text in texts]
    by_digest = dict(zip(digests, texts, strict=True))
    lacking = [digest for digest in by_digest if held.row(digest) is None]
    if lacking:
        made = vectors(store, embedder, [by_digest[digest] for digest in lacking], progress)
        held.add(lacking, made)
    progress(len(texts) - len(lacking))
    return np.array([held.row(digest) for digest in digests], np.int64)


def others_by(store: EventStore, embedder: Embedder) -> Sequence[str]:
    """Return the names of the embedders that made all vectors of a store; none where the given one
    made some of them."""
    known = store.recorder.embedders()
    return () if embedder.id in known else known


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
    """A comparison of texts with a request, by meaning.

    Its embedder is made when texts are compared, and not before: where nothing is there to be
    compared, none is needed.
    """

    def __init__(
        self, store: EventStore, make: Callable[[], Embedder], asked: bytes | None = None
    ) -> None:
        """`asked` is the request's vector, as `asked_body` gave it, where it is known."""
        self.store, self._make = store, make
        self.asked_body, self._known = asked, asked is not None
        self._request = ""
        self._compared: tuple[Sequence[str], Numbers] | None = None
        "The texts that were compared last, which are those of a moment, and their rows."

    @cached_property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self._make()

    @classmethod
    def recorded(cls, store: EventStore, embedder: str, asked: bytes) -> "Nearness":
        """Return the comparison of a recorded context, whose vectors are all in the store."""
        return cls(store, lambda: RecordedEmbedder(embedder, len(asked) // 4), asked)

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
        if self._compared is None or self._compared[0] != texts:
            self._compared = texts, rows_of(self.store, self.embedder, texts)
        asked = np.frombuffer(self.asked_body, "<f4")
        cosines = held_by(self.store, self.embedder).cosines(asked, self._compared[1])
        near: Floats = np.clip(cosines, 0.0, 1.0).round(DECIMALS)
        return near
