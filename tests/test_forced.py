"""What is forced to the disk, and when: nothing that a run cannot make again waits for that."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.events import TaskStarted, WorkflowEvent
from backcast.engine.log import EventStore
from backcast.engine.log.recorder.database import Cursor
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Completion
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.engine.workflow.spec import spec_at

HERE = Path(__file__).parents[1]
SPEC, LOG = HERE / "fixtures/specs/validators.toml", HERE / "fixtures/logs/validators.jsonl"
ASKS = {"2": True, "1": False, "on": True, "off": False}
"Whether a commit is forced, by what the database answers."


@pytest.fixture
def forced(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[bool]]]:
    """A store that keeps, and for each of its writes whether the database forces it."""
    asked = "SHOW synchronous_commit" if "postgres" in shared_url else "PRAGMA synchronous"
    with EventStore.open(shared_url) as store:
        seen, transact = list[bool](), store.recorder.transact

        @contextmanager
        def watched(*, write: bool, forced: bool = True) -> Iterator[Cursor]:
            with transact(write=write, forced=forced) as cursor:
                if write:
                    cursor.execute(asked)
                    seen.append(ASKS[str(cursor.fetchone()[0])])
                yield cursor

        monkeypatch.setattr(store.recorder, "transact", watched)
        yield store, seen


def test_what_is_not_forced_is_so_with_the_next_that_is(
    forced: tuple[EventStore, list[bool]],
) -> None:
    store, seen = forced
    for version, now in enumerate((True, False, False, True, False)):
        store.append("t", [TaskStarted()], after=version, forced=now)
    assert seen == [True, False, False, True, False]
    store.force()
    assert seen[5:] == [True]
    store.force()  # there is nothing left to force
    store.append("t", [], after=5, forced=False)
    store.force()
    assert seen[6:] == [False]


def test_a_forced_retry_forces_what_stands_there(tmp_path: Path) -> None:
    log = tmp_path / "store.db-wal"
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        event = store.append("t", [TaskStarted()], after=0, forced=False)
        before = log.stat().st_size
        assert store.append("t", [TaskStarted()], after=0) == event
        # SQLite forces only a commit that wrote something.
        assert log.stat().st_size > before
        before = log.stat().st_size
        store.append("u", [TaskStarted()], after=0, forced=False)
        store.force()
        assert log.stat().st_size > before + 8192


class Asked:
    """The recorded answers; before each, all that was appended has to be on the disk."""

    def __init__(self, runtime: Runtime, seen: list[bool]) -> None:
        self.id, self._model, self._seen = runtime.model.id, runtime.model, seen
        self.asked = 0

    def complete(self, *arguments: Any, **named: Any) -> Completion:
        assert self._seen[-1]
        self.asked += 1
        return self._model.complete(*arguments, **named)


def test_only_what_can_be_made_again_waits_for_the_next_question(
    forced: tuple[EventStore, list[bool]],
) -> None:
    store, seen = forced
    start(store, spec_at(SPEC))
    used = open_runtime(f"answers:{LOG}", "validators")
    model, waiting = Asked(used, seen), set[str]()

    def watch(events: Sequence[WorkflowEvent]) -> None:
        if not seen[-1]:
            waiting.update(event.type for event in events)

    state = work(store, "validators", used._replace(model=model), watch)
    assert (state.status, model.asked) == ("complete", 5)
    assert waiting == {
        "MODULE_STARTED", "MODULE_ITERATION", "CHECKS_RAN", "MODULE_COMPLETE",
        "GENERATION_COMPLETE",
    }  # fmt: skip
    assert seen[-1]


def test_outlines_that_are_made_apart_from_a_run_are_forced_at_their_end(
    forced: tuple[EventStore, list[bool]],
) -> None:
    store, seen = forced
    start(store, spec_at(SPEC))
    assert Outlining(store, "validators").catch_up() == 1
    assert seen == [True, False, True]


def test_a_run_that_is_stopped_forces_what_it_had_appended(
    forced: tuple[EventStore, list[bool]],
) -> None:
    store, seen = forced
    start(store, spec_at(SPEC))

    def stop(events: Sequence[WorkflowEvent]) -> None:
        if any(event.type == "CHECKS_RAN" for event in events):
            assert not seen[-1]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(store, "validators", open_runtime(f"answers:{LOG}", "validators"), stop)
    assert seen[-1]
