"""Values that were derived from a task's events, kept beside them for the next process.

They are only a cache, in the table of the snapshots: a value that is missing, damaged, of other
code or of a later moment is derived anew, and where the store cannot be written none is kept. A
value's form is its own; what stands here is its bytes, and the version of the task up to which it
was derived. Of each kind a task has one, the latest.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import zstandard
from xxhash import xxh3_64

from backcast.domain.errors import BackcastError
from backcast.engine.log.recorder import LAST_US, Snapshot
from backcast.engine.log.store import EventStore

Value = TypeVar("Value")
SPREAD = 250
"Events after which a value is kept anew: a process that reads on from it has so many at the most."
PREFIX = "kept "
"Begins the names under which values stand among the snapshots of projections."
FAULTS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, zstandard.ZstdError)
"What reading a value raises that is not of the form that was asked for."


@cache
def code_of(*files: str) -> int:
    """Return a number for the code that derives values: other code gives another.

    All of `domain` and `projections` counts, and the files that are named, each by a path within
    the package. So nobody has to remember to count a version up.
    """
    root = Path(__file__).parents[2]
    found = [path for room in ("domain", "projections") for path in sorted(root.glob(f"{room}/*"))]
    digest = xxh3_64()
    for path in [*found, *(root / file for file in files)]:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.intdigest() >> 33  # PostgreSQL's column holds 31 bits


def kept(
    store: EventStore, name: str, code: int, task_id: str, last: int, read: Callable[[bytes], Value]
) -> tuple[int, Value] | None:
    """Return a value that was derived from events up to `last` at the latest, and its version.

    `read` makes the value of its bytes. None where there is no such value, or none that is sound.
    """
    found = store.recorder.snapshot_before(PREFIX + name, code, task_id, last, None)
    if found is not None:
        with suppress(*FAULTS):
            return found.version, read(zstandard.decompress(found.state))
    return None


def keep(store: EventStore, name: str, code: int, task_id: str, version: int, body: bytes) -> None:
    """Keep a value in place of the one before; a store that cannot be written stays as it is."""
    if not store.recorder.is_lasting:
        return
    value = Snapshot(version, -LAST_US, LAST_US, -LAST_US, zstandard.compress(body))
    with suppress(BackcastError):
        store.recorder.replace_snapshot(PREFIX + name, code, task_id, value)
