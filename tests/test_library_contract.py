"""The eventsourcing library's own contract, run by its own test cases against our tables."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

from backcast.engine.log.recorder import Recorder, open_recorder

Opened = Callable[[], Any]

# The library's test cases import its encryption, which needs a package that we do not need.
cipher: Any = ModuleType("eventsourcing.cipher")
cipher.AESCipher = None
with pytest.MonkeyPatch.context() as patched:
    patched.setitem(sys.modules, "eventsourcing.cipher", cipher)
    persistence: Any = import_module("eventsourcing.tests.persistence")


@pytest.fixture
def opened(url: str) -> Iterator[Opened]:
    """Opens an empty store's tables."""
    recorders: list[Recorder] = []

    def recorder() -> Recorder:
        recorders.append(open_recorder(url))
        return recorders[-1]

    yield recorder
    for each in recorders:
        each.close()


@pytest.mark.parametrize(
    "name",
    ["insert_select", "concurrent_no_conflicts", "concurrent_throughput", "insert_subscribe"],
)
def test_it_is_an_application_recorder_of_the_library(name: str, opened: Opened) -> None:
    class Case(persistence.ApplicationRecorderTestCase):  # type: ignore[misc]
        test_insert_subscribe = (
            persistence.ApplicationRecorderTestCase.optional_test_insert_subscribe
        )

        def create_recorder(self) -> Any:
            return opened()

        def new_originator_id(self) -> str:
            return str(uuid4())

    before = set(threading.enumerate())
    Case(f"test_{name}").debug()
    for thread in set(threading.enumerate()) - before:
        if "read_continuously" in thread.name:  # it is told to end, and not waited for
            thread.join()


class WithoutPlaces:
    """An application recorder gives the places of what it stored; an aggregate recorder none."""

    def __init__(self, recorder: Any) -> None:
        self.recorder, self.select_events = recorder, recorder.select_events

    def insert_events(self, events: Sequence[StoredEvent]) -> None:
        self.recorder.insert_events(events)


def test_it_is_an_aggregate_recorder_of_the_library(opened: Opened) -> None:
    class Case(persistence.AggregateRecorderTestCase):  # type: ignore[misc]
        def create_recorder(self) -> Any:
            return WithoutPlaces(opened())

        def new_originator_id(self) -> str:
            return str(uuid4())

    Case("test_insert_and_select").debug()


def test_batches_of_two_writers_do_not_interleave(opened: Opened) -> None:
    class Case(persistence.NonInterleavingNotificationIDsBaseCase):  # type: ignore[misc]
        def create_recorder(self) -> Any:
            return opened()

        def new_originator_id(self) -> str:
            return str(uuid4())

    Case("test").debug()


def test_a_subscription_sees_what_another_connection_appends(shared_url: str) -> None:
    ours: Any = open_recorder(shared_url)
    theirs: Any = open_recorder(shared_url)
    with ours.subscribe(gt=0) as subscription:
        theirs.insert_events([StoredEvent("task", 1, "topic", b"state")])
        assert next(subscription).originator_id == "task"
    ours.close()
    theirs.close()


def test_a_stream_may_begin_at_any_version_and_leaves_none_out(opened: Opened) -> None:
    recorder = opened()
    recorder.insert_events([StoredEvent("a", 0, "topic", b""), StoredEvent("b", 1, "topic", b"")])
    for version in (0, 2):
        with pytest.raises(IntegrityError):
            recorder.insert_events([StoredEvent("a", version, "topic", b"")])
    recorder.insert_events([StoredEvent("a", 1, "topic", b"")])
    assert [event.originator_version for event in recorder.select_events("a")] == [0, 1]
