"""The table of large bodies, each under its hash, some as the difference to another."""

from collections.abc import Iterator, Sequence

from backcast.engine.log.blobs import Packed
from backcast.engine.log.bundles import NewBundle, StoredBundle, key_of
from backcast.engine.log.recorder.database import Cursor, Database


class Bodies(Database):
    """The bodies of one store. It gets the tables of bundles with its first bundle: an older one
    opens as it is.
    """

    find_bundles: str
    "The query that gives a row if these tables exist."
    make_bundles: Sequence[str]
    "The statements that make them if they are missing."
    _bundles = False

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

    def _put_bundles(self, cursor: Cursor, bundles: Sequence[NewBundle]) -> None:
        """Store bundles; where another process has just stored one of their members, the database
        refuses the second."""
        if bundles and not self._bundles:
            for statement in self.make_bundles:
                cursor.execute(statement)
        for bundle in bundles:
            cursor.execute(
                "INSERT INTO bundles (base, size, packed) VALUES (?,?,?) RETURNING id",
                (bundle.before and bundle.before.id, bundle.size, bundle.packed),
            )
            [bundle.id] = cursor.fetchone()
            keys = [(key_of(digest), bundle.id) for digest in bundle.digests]
            cursor.executemany("INSERT INTO bundled (key, bundle) VALUES (?,?)", keys)

    def has_bundles(self) -> bool:
        """Return whether any body stands in a bundle."""
        if not self._bundles:
            self._bundles = self.one(self.find_bundles) is not None
        return self._bundles

    def bundles_of(self, digests: Sequence[bytes]) -> dict[int, list[bytes]]:
        """Return the bundles in which some bodies may stand, and which; a body of the same key may
        stand there instead."""
        found: dict[int, list[bytes]] = {}
        for start in range(0, len(digests) if self.has_bundles() else 0, 500):
            keys = {key_of(digest): digest for digest in digests[start : start + 500]}
            marks = ",".join("?" * len(keys))
            rows = self.all(f"SELECT key, bundle FROM bundled WHERE key IN ({marks})", *keys)
            for key, bundle in rows:
                found.setdefault(bundle, []).append(keys[key])
        return found

    def bundle_after(self, before: int | None, id: int) -> StoredBundle | None:
        """Return a bundle as stored if it is the next in its stream after another one."""
        row = self.one(
            "SELECT id, base, size, packed FROM bundles WHERE id=? AND base=?", id, before
        )
        return StoredBundle(*row) if row else None

    def bundles_up_to(self, id: int) -> list[StoredBundle]:
        """Return a bundle as stored, after those before it in its stream; empty if not held."""
        rows = self.all(
            "WITH RECURSIVE chain(id, base, size, packed, level) AS ("
            " SELECT id, base, size, packed, 0 FROM bundles WHERE id=?"
            " UNION ALL SELECT b.id, b.base, b.size, b.packed, level+1"
            " FROM bundles b, chain c WHERE b.id=c.base AND level<1000)"
            " SELECT id, base, size, packed FROM chain ORDER BY level DESC",
            id,
        )
        return [StoredBundle(*row) for row in rows]

    def drop_bundles(self) -> None:
        """Throw away all bundles; their bodies have to stand elsewhere."""
        if self.has_bundles():
            with self.transact(write=True) as cursor:
                cursor.execute("DELETE FROM bundled")
                cursor.execute("DELETE FROM bundles")

    def bundled(self) -> list[tuple[int, int]]:
        """Return the key of each body in a bundle, and the bundle."""
        return self.all("SELECT key, bundle FROM bundled")

    def bundles_between(self, first: int, last: int) -> list[int]:
        """Return the bundles of the bodies from one key to another."""
        if not self.has_bundles():
            return []
        rows = self.all(
            "SELECT DISTINCT bundle FROM bundled WHERE key BETWEEN ? AND ? ORDER BY bundle",
            first, last,
        )  # fmt: skip
        return [bundle for (bundle,) in rows]

    def bundles(self) -> Iterator[StoredBundle]:
        """Yield every bundle as stored, in the order in which they came."""
        last = 0
        while self.has_bundles() and (
            rows := self.all(
                "SELECT id, base, size, packed FROM bundles WHERE id>? ORDER BY id LIMIT 64", last
            )
        ):
            yield from (StoredBundle(*row) for row in rows)
            last = rows[-1][0]

    def held(self, digests: Sequence[bytes]) -> set[bytes]:
        """Return which of the digests have a body in the store."""
        found: set[bytes] = set()
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            marks = ",".join("?" * len(some))
            rows = self.all(f"SELECT hash FROM blobs WHERE hash IN ({marks})", *some)
            found.update(bytes(row[0]) for row in rows)
        return found

    def chain(self, digest: bytes, most: int = 999) -> list[Packed]:
        """Return a body as stored, after the bodies that it builds on, `most` of them at the most;
        empty if not held."""
        # By level, not by depth: two writers that stored the same body at once may each believe
        # another depth of it. The limit ends a circle, which only damage can make.
        rows = self.all(
            "WITH RECURSIVE chain(hash, base, depth, size, packed, level) AS ("
            " SELECT hash, base, depth, size, packed, 0 FROM blobs WHERE hash=?"
            " UNION ALL SELECT b.hash, b.base, b.depth, b.size, b.packed, level+1"
            " FROM blobs b, chain c WHERE b.hash=c.base AND level<?)"
            " SELECT hash, base, depth, size, packed FROM chain ORDER BY level DESC",
            digest,
            most,
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
