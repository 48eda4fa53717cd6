"""The table of text vectors by an embedder. They are only a cache.

A store gets the table with its first vector: an older store opens as it is, and a read-only one is
searched without vectors.
"""

from collections.abc import Mapping, Sequence

from xxhash import xxh3_64_digest

from backcast.engine.log.recorder.database import Cursor, Database


class VectorTable(Database):
    """The vectors of one store, each under its embedder and the hash of its text."""

    make_vectors: str
    "The statement that makes the table if it is missing."
    has_vectors: str
    "The query that gives a row if the table exists."

    def vectors(self, embedder: str, hashes: Sequence[bytes], size: int) -> dict[bytes, bytes]:
        """Return the stored vectors of `size` bytes, by hash; damaged ones are left out."""
        with self.transact(write=False) as cursor:
            cursor.execute(self.has_vectors)
            if cursor.fetchone() is None:
                return {}
            return _intact(cursor, embedder, hashes, size)

    def embedders(self) -> list[str]:
        """Return the names of the embedders whose vectors are stored, sorted."""
        with self.transact(write=False) as cursor:
            cursor.execute(self.has_vectors)
            if cursor.fetchone() is None:
                return []
            cursor.execute("SELECT DISTINCT embedder FROM vectors")
            return sorted(str(name) for (name,) in cursor.fetchall())

    def save_vectors(
        self, embedder: str, made: Mapping[bytes, bytes], size: int
    ) -> dict[bytes, bytes]:
        """Store vectors of `size` bytes, and return the stored ones: if another process came first,
        its own, since the same text embeds to other bits in another batch."""
        with self.transact(write=True) as cursor:
            cursor.execute(self.make_vectors)
            standing = _intact(cursor, embedder, list(made), size)
            cursor.executemany(
                "INSERT INTO vectors VALUES (?,?,?)"
                " ON CONFLICT (embedder, text_hash) DO UPDATE SET vector=excluded.vector",
                [
                    (embedder, digest, _seal(embedder, digest, vector) + vector)
                    for digest, vector in made.items()
                    if digest not in standing
                ],
            )
        return {**made, **standing}


_SEAL = 8


def _intact(
    cursor: Cursor, embedder: str, hashes: Sequence[bytes], size: int
) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for start in range(0, len(hashes), 500):
        some = hashes[start : start + 500]
        marks = ",".join("?" * len(some))
        cursor.execute(
            f"SELECT text_hash, vector FROM vectors WHERE embedder=? AND text_hash IN ({marks})",
            (embedder, *some),
        )
        for digest, stored in cursor.fetchall():
            seal, vector = stored[:_SEAL], stored[_SEAL:]
            if len(vector) == size and seal == _seal(embedder, digest, vector):
                found[digest] = vector
    return found


def _seal(embedder: str, digest: bytes, vector: bytes) -> bytes:
    """Return a checksum to put in front of a vector, since a damaged one would be believed."""
    return xxh3_64_digest(embedder.encode() + b"\0" + digest + vector)
