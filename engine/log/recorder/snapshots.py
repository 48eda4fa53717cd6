"""The table of snapshots. They are only a cache: any of them may be missing."""

from collections.abc import Sequence
from typing import NamedTuple

from xxhash import xxh3_64_digest

from backcast.engine.log.recorder.database import Database

LAST_US = 2**63 - 1
"Later than any timestamp: the `until_us` of a snapshot that leaves no event out."


class Snapshot(NamedTuple):
    """A stored state: the fold of the events up to `version` that happened before `until_us`."""

    version: int
    from_us: int
    "The latest timestamp among the events in the state."
    until_us: int
    "The earliest timestamp among the events up to `version` that are not in it."
    least_us: int
    "The earliest timestamp among the events since the previous snapshot."
    state: bytes


class Snapshots(Database):
    """The snapshots of one store."""

    def save_snapshots(
        self, projection: str, version: int, task_id: str, snapshots: Sequence[Snapshot]
    ) -> None:
        """Store snapshots of a projection, and drop the task's by older code: nobody reads those
        any more, and they are as large."""
        with self.transact(write=True) as cursor:
            cursor.execute(
                "DELETE FROM snapshots WHERE projection=? AND projection_version<? AND task_id=?",
                (projection, version, task_id),
            )
            cursor.executemany(
                "INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                [
                    (projection, version, task_id, *snapshot[:4], _seal(snapshot) + snapshot.state)
                    for snapshot in snapshots
                ],
            )

    def replace_snapshot(
        self, projection: str, version: int, task_id: str, snapshot: Snapshot
    ) -> None:
        """Store a snapshot in place of all of its name, by whatever version of the code; one that
        is of as late an event stays, if the same code made it."""
        with self.transact(write=True) as cursor:
            own = (projection, task_id)
            cursor.execute(
                "DELETE FROM snapshots WHERE projection=? AND task_id=?"
                " AND (projection_version<>? OR version<?)",
                (*own, version, snapshot.version),
            )
            cursor.execute(
                "INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?) ON CONFLICT"
                " (projection, projection_version, task_id, version, until_us)"
                " DO UPDATE SET state=excluded.state",
                (projection, version, task_id, *snapshot[:4], _seal(snapshot) + snapshot.state),
            )

    def snapshot_before(
        self, projection: str, version: int, task_id: str, last: int, at_us: int | None
    ) -> Snapshot | None:
        """Return the latest snapshot that a moment can begin from."""
        while True:
            row = self.one(
                "SELECT version, from_us, until_us, least_us, state FROM snapshots"
                " WHERE projection=? AND projection_version=? AND task_id=? AND version<=?"
                " AND from_us<=? AND until_us>? ORDER BY version DESC LIMIT 1",
                projection,
                version,
                task_id,
                last,
                LAST_US if at_us is None else at_us,
                LAST_US - 1 if at_us is None else at_us,
            )
            if row is None:
                return None
            stored = Snapshot(*row)
            snapshot = stored._replace(state=stored.state[_SEAL:])
            if stored.state[:_SEAL] == _seal(snapshot):
                return snapshot
            last = snapshot.version - 1  # damaged: an earlier one serves as well

    def stretches(
        self, projection: str, version: int, task_id: str, after: int, last: int, at_us: int
    ) -> list[tuple[int, int]]:
        """Return where events that happened by a time can stand: (after, last) pairs of versions.

        The snapshots tell this; any events after the last snapshot may be among them.
        """
        rows = self.all(
            "SELECT version, least_us FROM snapshots WHERE projection=? AND projection_version=?"
            " AND task_id=? AND version>? AND version<? AND until_us=? ORDER BY version",
            projection,
            version,
            task_id,
            after,
            last,
            LAST_US,
        )
        found: list[tuple[int, int]] = []
        for end, least_us in [*rows, (last, -LAST_US)]:
            if least_us <= at_us:
                joined = bool(found) and found[-1][1] == after
                found[-1:] = [(found[-1][0], end)] if joined else [*found[-1:], (after, end)]
            after = end
        return found

    def from_us_before(self, projection: str, version: int, task_id: str, before: int) -> int:
        """Return the least `from_us` of the last snapshots before a version of a task."""
        row = self.one(
            "SELECT from_us FROM snapshots WHERE projection=? AND projection_version=?"
            " AND task_id=? AND version<? ORDER BY version DESC, from_us LIMIT 1",
            projection,
            version,
            task_id,
            before,
        )
        return row[0] if row else -LAST_US


_SEAL = 8


def _seal(snapshot: Snapshot) -> bytes:
    """Return a checksum to put in front of a snapshot, since a damaged one would be believed."""
    return xxh3_64_digest(b"%d,%d,%d,%d," % snapshot[:4] + snapshot.state)
