"""How near in meaning are texts to a request? By vectors that the log keeps.

Embedding is no pure function of a text: its last bits depend on the batch. So the vectors that
stand in the store are what counts, and the request's own is recorded with the context that it
helped to choose. What is derived again takes that one, and needs no model.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.engine.context.search.embedders import Embedder, needs_extra
from backcast.engine.context.symbols import Floats
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore

DECIMALS = 4


class Recorded:
    """The embedder of a recorded context: all that it made is kept, and it makes nothing more."""

    def __init__(self, id: str, dimensions: int) -> None:
        self.id, self.dimensions = id, dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raise `InputError`: what was not kept cannot be made again."""
        raise InputError(f"{len(texts)} vectors by {self.id} are not kept in this store")


class Nearness:
    """Compares texts with a request."""

    def __init__(self, store: EventStore, embedder: Embedder, asked: bytes | None = None) -> None:
        """`asked` is the request's vector, as `asked_body` gave it, where it is known."""
        self.store, self.embedder = store, embedder
        self.asked_body, self._known = asked, asked is not None
        self._request = ""

    @classmethod
    def recorded(cls, store: EventStore, embedder: str, asked: bytes) -> "Nearness":
        """That of a recorded context."""
        return cls(store, Recorded(embedder, len(asked) // 4), asked)

    @property
    def blob(self) -> Blob | None:
        """The request's vector, once it was compared."""
        return None if self.asked_body is None else Blob(self.asked_body)

    def of(self, texts: Sequence[str], request: str) -> Floats:
        """How near each text is, from 0 to 1, rounded; 1 for equal texts."""
        needs_extra("numpy")
        from backcast.engine.context.search.vectors import vectors

        if self.asked_body is None or not (self._known or request == self._request):
            # On its own: in a batch with others it would embed to other bits.
            self.asked_body = vectors(self.store, self.embedder, [request])[0].tobytes()
            self._request = request
        asked = np.frombuffer(self.asked_body, "<f4")
        rows = vectors(self.store, self.embedder, texts)
        near: Floats = np.round(np.clip(rows @ asked, 0, 1).astype(float), DECIMALS)
        return near
