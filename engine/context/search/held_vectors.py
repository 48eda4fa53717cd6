"""The vectors of texts in memory: one place from a text to its vector, and to those nearest to it.

The search and the prompts ask here, so that both see the same vectors and the same cosines. What is
nearest is exact: a quick product in float32 only says who may be among the best, and those are
scored in float64, the same on every machine and in whatever order the vectors came.

Few texts are multiplied by numpy as they stand, which is done before faiss is imported; beyond
`PRODUCT` of them faiss compares, exactly too. Its indexes that only come near the truth (HNSW, IVF)
are not used: see `backcast help search` for what they cost.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.engine.context.search.word_counts import Floats, Numbers

Vectors = NDArray[np.float32]
"One a row."

PRODUCT = 50_000
"The most texts that are compared without faiss."
GATHERED = 8
"Where fewer than one in so many held texts are asked about, only those are multiplied."
UNITS = 100_000
"Scores are whole numbers of these before they are compared."
SPARE = 28
"Texts asked for beyond those needed, so that one look mostly tells who ties with the last."
BLOCK = 4096
TOLERANCE = 1e-3
"By how much the length of a vector may differ from 1."


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


class HeldVectors:
    """The vectors of one embedder, each text's once; a row is never moved or changed."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._rows: dict[bytes, int] = {}
        self._matrix: Vectors = np.empty((0, dimensions), np.float32)
        "With room at its end."
        self._flat: Any = None
        "The index of faiss, once so many texts are compared; of the first rows."

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, digests: Sequence[bytes], vectors: NDArray[np.generic]) -> None:
        """Take vectors, a row for each text's digest; one that is held already stays as it is."""
        rows = checked(np.asarray(vectors), len(digests), self.dimensions)
        new, first = list[int](), len(self._rows)
        for place, digest in enumerate(digests):
            if digest not in self._rows:
                self._rows[digest] = len(self._rows)
                new.append(place)
        if len(self._rows) > len(self._matrix):
            room = max(len(self._rows), 2 * len(self._matrix)) - first
            more = np.empty((room, self.dimensions), np.float32)
            self._matrix = np.concatenate([self._matrix[:first], more])
        self._matrix[first : len(self._rows)] = rows[new]

    def row(self, digest: bytes) -> int | None:
        """Return the row of a text; None where it is not held."""
        return self._rows.get(digest)

    def cosines(self, asked: Vectors, rows: Numbers) -> Floats:
        """Return the cosines of rows with a vector, the same on every machine.

        Those of a product in float32 are not: its sums run in an order that depends on the
        processor.
        """
        exact, found = asked.astype(np.float64), np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            block = self._matrix[rows[start : start + BLOCK]]
            found[start : start + BLOCK] = (block * exact).sum(axis=1)
        return found

    def nearest(self, asked: Vectors, rows: Numbers, count: int) -> tuple[Numbers, Numbers]:
        """Rows with their scores, among them the `count` best and all that tie with the last."""
        # No sum of this many float32 products of two vectors of length 1 is further off.
        slip = self.dimensions * 2.0**-23
        asking = count + SPARE
        while True:
            nearest, least = self.roughly(asked, rows, min(asking, len(rows)))
            scores = units(self.cosines(asked, nearest))
            if asking >= len(rows):
                return nearest, scores
            if units(np.float64(least + slip)) < np.partition(scores, -count)[-count]:
                return nearest, scores
            asking *= 8

    def roughly(self, asked: Vectors, rows: Numbers, count: int) -> tuple[Numbers, float]:
        """Return the rows that are nearest in float32, and the score of the last of them."""
        return (self.by_product if len(rows) <= PRODUCT else self.by_faiss)(asked, rows, count)

    def by_product(self, asked: Vectors, rows: Numbers, count: int) -> tuple[Numbers, float]:
        """Return what `roughly` does, by a product of all."""
        if GATHERED * len(rows) < len(self._rows):
            scores = _product(self._matrix[rows], asked)
        else:
            scores = _product(self._matrix[: len(self._rows)], asked)[rows]
        places = np.argpartition(scores, -count)[-count:]
        return rows[places], float(scores[places].min())

    def by_faiss(self, asked: Vectors, rows: Numbers, count: int) -> tuple[Numbers, float]:
        """Return what `roughly` does, by an index of faiss."""
        import faiss

        if self._flat is None:
            self._flat = faiss.IndexFlatIP(self.dimensions)
        if self._flat.ntotal < len(self._rows):
            self._flat.add(self._matrix[self._flat.ntotal : len(self._rows)])
        # By their numbers, and not by a bit a row, so that all the others cost nothing.
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorArray(rows))  # type: ignore[call-arg]
        scores, found = self._flat.search(asked[None], count, params=chosen)
        return found[0], float(scores[0, -1])


def _product(matrix: Vectors, asked: Vectors) -> Vectors:
    """Multiply in one thread: those of a BLAS wait for each other where a machine is busy."""
    found: Vectors = np.einsum("ij,j->i", matrix, asked)
    return found


def units(scores: Floats | np.float64) -> Numbers:
    """Return scores as whole numbers."""
    whole: Numbers = np.rint(scores * UNITS).astype(np.int64)
    return whole
