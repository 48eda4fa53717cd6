"""The table of large bodies, each under its hash, some as the difference to another."""

from collections.abc import Iterator, Sequence

from backcast.engine.log.blobs import Packed
from backcast.engine.log.recorder.database import Cursor, Database


class Bodies(Database):
    """The bodies of one store."""

    def put(self, blobs: Sequence[Packed]) -> None:
        """Store bodies that are not in the table yet."""
        with self.transact(write=True) as cursor:
            self._put(cursor, blobs)

    def _put(self, cursor: Cursor, blobs: Sequence[Packed]) -> None:
        if blobs:
            cursor.executemany(
                "INSERT INTO blobs (hash, base, depth, size, packed) VALUES (?,?,?,?,?)"
                " ON CONFLICT (hash) DO NOTHING",
                blobs,
            )

    def held(self, digests: Sequence[bytes]) -> set[bytes]:
        """Return which of the digests have a body in the store."""
        found: set[bytes] = set()
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            marks = ",".join("?" * len(some))
            rows = self.all(f"SELECT hash FROM blobs WHERE hash IN ({marks})", *some)
            found.update(bytes(row[0]) for row in rows)
        return found

    def chain(self, digest: bytes) -> list[Packed]:
        """Return a body as stored, after the bodies that it builds on; empty if not held."""
        # By level, not by depth: two writers that stored the same body at once may each believe
        # another depth of it. The limit ends a circle, which only damage can make.
        rows = self.all(
            "WITH RECURSIVE chain(hash, base, depth, size, packed, level) AS ("
            " SELECT hash, base, depth, size, packed, 0 FROM blobs WHERE hash=?"
            " UNION ALL SELECT b.hash, b.base, b.depth, b.size, b.packed, level+1"
            " FROM blobs b, chain c WHERE b.hash=c.base AND level<1000)"
            " SELECT hash, base, depth, size, packed FROM chain ORDER BY level DESC",
            digest,
        )
        return [Packed(*row) for row in rows]

    def blobs(self) -> Iterator[Packed]:
        """Yield every body as stored, each after the one that it is the difference to."""
        last = 0
        while rows := self.all(
            "SELECT hash, base, depth, size, packed, id FROM blobs WHERE id>? ORDER BY id LIMIT 64",
            last,
        ):
            yield from (Packed(*row[:5]) for row in rows)
            last = rows[-1][5]
