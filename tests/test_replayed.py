"""Prompts that are built again: once for all who ask, and again after an error."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.engine.interfaces.testing.open_logs import OpenLogs, size
from backcast.engine.interfaces.testing.replayed import KeptIterator

LOGS = Path(__file__).parents[1] / "fixtures/logs"


@given(st.lists(st.integers()), st.lists(st.integers(0, 3), max_size=40))
def test_whoever_asks_in_whatever_order_gets_all_of_it_and_it_is_taken_once(
    given: list[int], turns: list[int]
) -> None:
    taken: list[int] = []

    def begin() -> Iterator[int]:
        for one in given:
            taken.append(one)
            yield one

    once = KeptIterator(begin)
    readers = [iter(once) for _ in range(4)]
    read: list[list[int]] = [[] for _ in readers]
    for turn in turns:
        read[turn] += [one for one in [next(readers[turn], None)] if one is not None]
    assert taken == max(read, key=len)
    assert all([*some, *rest] == given for some, rest in zip(read, readers, strict=True))
    assert taken == list(once) == given


def test_after_an_error_it_goes_on_where_it_was() -> None:
    begun: list[str] = []

    def begin() -> Iterator[int]:
        begun.append("again")
        yield 1
        yield 2
        if len(begun) == 1:
            raise OSError("gone")
        yield 3

    once = KeptIterator(begin)
    with pytest.raises(OSError, match="gone"):
        list(once)
    assert list(once) == list(once) == [1, 2, 3]
    assert len(begun) == 2


def test_so_many_logs_stay_open_those_that_were_asked_for_last(tmp_path: Path) -> None:
    paths = [Path(copy(LOGS / "addresses.jsonl", tmp_path / f"{name}.jsonl")) for name in "abc"]
    logs = OpenLogs(kept=2)
    first = [logs.log(path).store for path in paths]
    assert logs.log(paths[0]).store is first[0]
    logs.trim()
    again = [logs.log(path).store for path in (paths[0], paths[2], paths[1])]
    assert [one in first for one in again] == [True, True, False]
    logs.close()


def test_a_log_that_was_added_to_is_replayed_as_it_is_now_and_then_let_go(tmp_path: Path) -> None:
    logs, path = OpenLogs(), LOGS / "validators.jsonl"
    log = logs.log(path)
    built = list(logs.replays(log))
    assert next(logs.replays(log)) is built[0]
    events = list(log.store.read("validators"))
    log.store.append("validators", [events[-1].fact], after=size(log.store))
    assert next(logs.replays(log)) is not built[0]
    logs.trim()
    assert logs.log(path).store is not log.store
    logs.close()
