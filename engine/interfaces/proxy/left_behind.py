"""Where a proxy keeps exchanges until they are in the store, and what killed ones left there."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.spool import Spool
from backcast.engine.log.exchanges.writer import ExchangeWriter
from backcast.engine.log.recorder.addresses import scheme_of, sqlite_file
from backcast.engine.log.store import EventStore


def spool_folder(store: str) -> Path:
    """Return where exchanges lie until they are in the store: beside its file, if it is one."""
    if scheme_of(store) == "sqlite":
        return Path(f"{sqlite_file(store)}-recording")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (
        cache / "backcast" / "recording" / quote(urlsplit(store)._replace(query="").path, safe="")
    )


def write_left_behind(store: EventStore, url: str) -> int:
    """Write what killed proxies left beside a store into it, and return how much that was."""
    if not (folder := spool_folder(url)).is_dir():
        return 0
    ours, count = Spool(folder), 0
    try:
        writer = ExchangeWriter(store)
        for path in ours.left_behind():
            if exchange := spool.read(path):
                count += writer.write(exchange) is not None
            path.unlink()
        ours.left_behind()  # folders that are empty now go
    finally:
        ours.close()
    return count
