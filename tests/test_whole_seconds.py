"""The time that `log` prints of an event names a moment with that event in it."""

from datetime import timedelta
from pathlib import Path

import pytest

from backcast.domain.events import Claim, TaskStarted
from backcast.engine.history.moments import moment_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from tests.strategies import NOON

PLACES = (timedelta(), timedelta(seconds=7, microseconds=234_910), timedelta(seconds=8))


@pytest.fixture
def store() -> EventStore:
    """A task with an event in the midst of a second."""
    store = EventStore.open("sqlite://", clock=lambda: NOON)
    claims = [Claim(TaskStarted(goal=f"{place}"), NOON + place) for place in PLACES]
    store.append("quick", claims, after=0)
    return store


@pytest.mark.parametrize(
    ("seconds", "events"), [("00", 1), ("06", 1), ("07", 2), ("07.2", 1), ("07.3", 2), ("08", 3)]
)
def test_a_whole_second_includes_all_of_it(store: EventStore, seconds: str, events: int) -> None:
    when = f"{NOON:%Y-%m-%dT%H:%M}:{seconds}"
    assert len(list(store.read("quick", moment=moment_at(store, "quick", when)))) == events


def test_the_time_that_log_prints_finds_its_event(
    store: EventStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quick.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(store, "quick")))
    with pytest.raises(SystemExit):
        main(["log", str(path)])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[0] == "@2")
    day, second = line.split()[1:3]
    with pytest.raises(SystemExit):
        main(["show", "progress", f"{path}@{day}T{second}"])
    assert ["events", "2"] in [line.split() for line in capsys.readouterr().out.splitlines()]
