"""What a process keeps of the log that it works on, from one piece of work to the next."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BackcastError
from backcast.engine.history.commits import CodeChange, changed
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.open_logs import opened
from backcast.engine.log.remote import shown
from backcast.engine.log.stamps import shown_stamp, stamps_of
from backcast.engine.log.store import EventStore
from backcast.engine.replay.changes import begun, requests
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import measured
from backcast.engine.replay.steps import ReplayStep


class OtherLogError(Exception):
    """A log that cannot be read here, or is not the one that was meant."""


class LogWorker:
    """The log that is open, and what is kept of it for the next run."""

    def __init__(self, stack: ExitStack, stores: Mapping[str, EventStore] = {}) -> None:
        self._stack, self._stores = stack, stores
        self._open: tuple[str, str, BuilderPool] | None = None
        "Its name, its place, and what builds its prompts."
        self._stamps: dict[str, str] = {}
        self._running: TaskFollower | None = None
        "The task that was read last: the next run mostly begins where it stopped."
        self._changed: tuple[str, list[CodeChange]] | None = None
        "A task and its changes."

    def take(self, name: str, place: str, stamps: Mapping[str, str]) -> EventStore:
        """Return the store of a log that lies at a place; `OtherLogError` where it is another one.

        What is kept of the log serves as long as the stamps of the tasks are what is needed.
        """
        if self._open is None or self._open[:2] != (name, place) or self._odd(stamps):
            try:
                store = self._opened(name, place).store
                self._stamps = stamps_of(store)
            except (BackcastError, OSError) as error:
                raise OtherLogError(f"needed the log {shown(name)}, found none: {error}") from None
            for task in self._odd(stamps):
                found = self._stamps.get(task)
                raise OtherLogError(
                    f"needed task {task!r} with {shown_stamp(stamps[task])}, found"
                    f" {shown_stamp(found) if found else 'none'}: it was changed, or is another"
                )
        assert self._open
        return self._open[2].store

    def _odd(self, stamps: Mapping[str, str]) -> list[str]:
        return [task for task, stamp in stamps.items() if self._stamps.get(task) != stamp]

    def _opened(self, name: str, place: str) -> BuilderPool:
        """Open a log, and close the log before it."""
        self._stack.close()
        self._open = self._running = self._changed = None
        self._stamps = {}
        store = self._stores.get(name)
        pool = BuilderPool(store or self._stack.enter_context(opened(place)).store)
        self._open = name, place, pool
        return pool

    def tried(
        self, run: ReplayRun, settings: Sequence[Setting], profile: ModelProfile | None
    ) -> Tried:
        """Measure a run under every setting."""
        pool = self._pool(run)
        replays = [PolicyReplay(pool, profile, setting.policy) for setting in settings]
        return Tried(run, tuple(measured(self._steps(pool.store, run), replays)))

    def _pool(self, run: ReplayRun) -> BuilderPool:
        """Return the builders for a run's log."""
        if self._open is not None and self._open[0] == run.log:
            return self._open[2]
        return self._opened(run.log, run.log)

    def _steps(self, store: EventStore, run: ReplayRun) -> Iterator[ReplayStep]:
        """Return the steps of a run with their outcomes."""
        if run.prompts:
            return steps_of(store, run)
        if self._changed is None or self._changed[0] != run.task:
            self._changed = run.task, changed(store, run.task)
        own = run.of(self._changed[1])
        self._running = begun(store, run.task, own, self._running)
        return requests(store, run.task, own, self._running)
