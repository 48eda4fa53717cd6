"""Cache of open logs for tests: each file is read once, and its prompts are built once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from backcast.domain.budget import ModelProfile
from backcast.domain.policy import Policy
from backcast.engine.interfaces.testing.replayed import KeptIterator, Replayed, replayed
from backcast.engine.log.open_logs import Log, opened
from backcast.engine.log.remote import shown
from backcast.engine.log.store import EventStore
from backcast.engine.log.unknown_types import counted_types, unknown_types

KEPT = 100
"Files that stay open; a log of 34 prompts takes 3 MB with its built prompts."


class OpenLog:
    """One open log and its built prompts."""

    def __init__(self, name: str) -> None:
        self._open = ExitStack()
        self.log = self._open.enter_context(opened(name))
        self.size = size(self.log.store)
        self._replays: dict[tuple[str, str | None, str], KeptIterator[Replayed]] = {}

    def replays(
        self, task: str, policy: Policy | None, profile: ModelProfile | None
    ) -> KeptIterator[Replayed]:
        """Return the prompts of a task under a policy and profile."""
        key = task, policy.digest if policy else None, repr(profile)
        if key not in self._replays:
            store = self.log.store
            self._replays[key] = KeptIterator(lambda: replayed(store, task, policy, profile))
        return self._replays[key]

    def close(self) -> None:
        """Close the log."""
        self._open.close()


class OpenLogs:
    """The open logs of a test run, by file and its state when read."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._open = kept, dict[tuple[str, int, int], OpenLog]()
        self._noted = set[str]()
        "Logs whose unknown types were told."

    def log(self, path: Path, task: str | None = None) -> Log:
        """Return the log in a file, or one task of it; raises what `opened` raises."""
        log = self._opened(path).log
        if task is None:
            return log
        log.store.require(task)
        return log._replace(tasks=(task,))

    def replays(
        self, log: Log, policy: Policy | None = None, profile: ModelProfile | None = None
    ) -> Iterator[Replayed]:
        """Yield the prompts of a log, task by task, from the cache unless events were added."""
        known = next((one for one in self._open.values() if one.log.store is log.store), None)
        for task in log.tasks:
            if known and known.size == size(log.store):
                yield from known.replays(task, policy, profile)
            else:
                yield from replayed(log.store, task, policy, profile)

    def unknown(self, log: Log) -> str:
        """Return a line on the events of unknown types in a log; empty from the second time on."""
        if log.name in self._noted:
            return ""
        self._noted.add(log.name)
        odd = unknown_types(log.store, log.tasks)
        return f"{shown(log.name)}: {counted_types(odd)}" if odd else ""

    def trim(self) -> None:
        """Close the logs that grew, and the least recently used ones; no test may be running."""
        touched = [key for key, one in self._open.items() if one.size != size(one.log.store)]
        oldest = list(self._open)[: max(0, len(self._open) - self._kept)]
        for key in dict.fromkeys((*touched, *oldest)):
            self._open.pop(key).close()

    def close(self) -> None:
        """Close all logs."""
        while self._open:
            self._open.popitem()[1].close()

    def _opened(self, path: Path) -> OpenLog:
        key = _key(path)
        log = self._open.pop(key, None) or OpenLog(str(path))
        self._open[key] = log  # the last used log stands last
        return log


def _key(path: Path) -> tuple[str, int, int]:
    """Return a file's path and state now; a missing file has size -1."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, -1
    return str(path.resolve()), stat.st_mtime_ns, stat.st_size


def not_whole(problems: Sequence[str]) -> str:
    """Return the line that fails a test whose log has some problems."""
    more = f", and {len(problems) - 1} more" if problems[1:] else ""
    return f"needed a whole log, found {problems[0]}{more}; --backcast-damaged passes over it"


def size(store: EventStore) -> int:
    """Return the number of events in a store."""
    return sum(map(store.version, store.tasks()))
