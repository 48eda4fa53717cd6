"""The tables of a store, on SQLite or PostgreSQL: all contact with the `eventsourcing` library.

The recorders are subclasses of the library's application recorders: they use its connection pools,
transactions, errors and contract, with a table definition of our own. Rows come and go as tuples;
`backcast.engine.log.store` knows what they mean.
"""

from backcast.domain.errors import InputError, MissingExtraError
from backcast.engine.log.recorder.addresses import (
    IN_MEMORY,
    SCHEMES,
    check_kept,
    scheme_of,
    sqlite_file,
)
from backcast.engine.log.recorder.database import like
from backcast.engine.log.recorder.snapshots import LAST_US, Snapshot
from backcast.engine.log.recorder.tables import (
    PAGE,
    NewRow,
    NewSource,
    Recorder,
    Row,
    SourceRow,
    checksum_of,
)

__all__ = [
    "LAST_US",
    "PAGE",
    "SCHEMES",
    "NewRow",
    "NewSource",
    "Recorder",
    "Row",
    "Snapshot",
    "SourceRow",
    "check_kept",
    "checksum_of",
    "like",
    "open_recorder",
]


def open_recorder(url: str, *, fsync: str = "full", create: bool = True) -> Recorder:
    """Connect to a store, making its tables if there are none and `create` allows it.

    `sqlite://` is in memory, `sqlite:///name.db` a file here, `sqlite:////path/name.db` one
    anywhere, `postgresql://user@host/name` a database. The path of a file stands as it is, without
    escapes. `fsync` is `full` (an event that was forced survives a loss of power) or `normal` (it
    survives a killed process). `InputError` for a URL that would keep nothing, or lead elsewhere.
    """
    if fsync not in ("full", "normal"):
        raise InputError(f"fsync: needed 'full' or 'normal', found {fsync!r}")
    scheme = scheme_of(url)
    if scheme == "sqlite":
        from backcast.engine.log.recorder.sqlite import SQLiteRecorder

        path = "" if url == IN_MEMORY else sqlite_file(url)
        return SQLiteRecorder.open(path, fsync=fsync, create=create)
    try:
        from backcast.engine.log.recorder.postgres import PostgresRecorder
    except ImportError:
        raise MissingExtraError(f"{scheme}://", "postgres") from None
    return PostgresRecorder.open(url, fsync=fsync, create=create)
