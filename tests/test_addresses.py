"""An address names a task and a moment of it, with one meaning in every command."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import InputError, MomentError, UnknownTaskError
from backcast.domain.events import TaskStarted
from backcast.domain.moment import Moment
from backcast.engine.history.address import Address, parse
from backcast.engine.history.moments import moment_at
from backcast.engine.history.task import TaskHandle
from backcast.engine.interfaces.addresses import require
from backcast.engine.interfaces.cli import cli
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.find import prompt_at
from backcast.projections import progress

TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"


@pytest.fixture(scope="module")
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as store:
        run(store, "events", TILL)
        store.append("other", [TaskStarted(goal="x")], after=0)
        yield store


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("till", Address("", "till", "")),
        ("till@79", Address("", "till", "79")),
        ("till@first", Address("", "till", "first")),
        ("a@b@2026-01-01", Address("", "a@b", "2026-01-01")),
        ("me@2026@", Address("", "me@2026", "")),
        ("ann@example.org", Address("", "ann@example.org", "")),
        ("a task: with blanks@last", Address("", "a task: with blanks", "last")),
        ("org/repo@commit:v1.0", Address("", "org/repo", "commit:v1.0")),
        ("@2026-03-01,recorded:2026-03-05", Address("", None, "2026-03-01,recorded:2026-03-05")),
        ("runs/a.jsonl", Address("runs/a.jsonl", None, "")),
        ("a.jsonl.zst#till@79", Address("a.jsonl.zst", "till", "79")),
        ("sqlite:///runs.db#till", Address("sqlite:///runs.db", "till", "")),
        ("postgresql://me@host/runs#t@2026-01-01",
         Address("postgresql://me@host/runs", "t", "2026-01-01")),
    ],
)  # fmt: skip
def test_the_last_at_with_a_moment_on_its_right_divides(text: str, address: Address) -> None:
    assert parse(text) == address


@given(st.text(min_size=1), st.sampled_from(["", "79", "last", "2026-01-01", "commit:HEAD"]))
def test_every_task_can_be_named_at_every_moment(task: str, when: str) -> None:
    address = Address("", task, when)
    if "#" in task or "://" in task or ".jsonl" in task:
        return  # such a name is that of a log: it is named behind the log and #
    assert parse(str(address)) == address


@pytest.mark.parametrize("text", ["till@", "a.jsonl#", "a.jsonl#@79"])
def test_a_sign_with_nothing_behind_it_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="found nothing"):
        parse(text)


def test_a_moment_holds_the_event_or_time_that_names_it(store: EventStore) -> None:
    till = TaskHandle(store, "till")
    [event] = store.read("till", after=78, last=79)
    assert till.moment(79) == till.moment("79") == Moment(position=event.position)
    assert list(till.events(79))[-1].version == 79
    assert till.event(79) == event
    assert till.moment("first") == Moment(position=1)
    assert list(till.events("last"))[-1].version == till.version == 185
    assert list(till.events(event.timestamp.isoformat()))[-1].version >= 79
    assert till.state(progress, 40).events == 40
    assert till.lineage.root == "till"
    assert till.moment("2026-11-20T13+01:00") == till.moment("2026-11-20T12:00:00Z")
    assert len(list(till.events("2026-11-20"))) == 185  # a date alone is the whole day
    assert list(till.events("2026-11-19")) == []
    both = till.moment("2026-11-20,recorded:2000-01-01")
    assert (both.position, both.at is None) == (0, False)
    assert moment_at(store, None, "last") == Moment(position=186)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("186", "task 'till': needed an event from 1 to 185, found 186"),
        ("0", "task 'till': needed an event from 1 to 185, found 0"),
        ("2026-02-30", "found '2026-02-30': day"),
        ("2026-11-20T10:31 Mars/Olympus", "needed a zone such as Z or +01:00 behind"),
        ("79,80", "needed at most one time, and one event, commit or recorded:TIME"),
        ("2026-01-01,2026-01-02", "needed at most one time"),
        ("commit:4fd36e1", "found no '4fd36e1'; names such as HEAD are not recorded in this log"),
        ("commit:4f", "needed a commit (at least 4 characters of a SHA), found no '4f'"),
        ("before:79", "needed TASK@commit:SHA of a git history, found '79'"),
        ("soon", "needed an event number, first, last, a time such as"),
    ],
)
def test_a_moment_that_is_none_is_refused_in_a_line(
    store: EventStore, when: str, message: str
) -> None:
    with pytest.raises(MomentError) as refused:
        moment_at(store, "till", when)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_task_that_is_not_there_names_those_near_it(store: EventStore) -> None:
    with pytest.raises(UnknownTaskError, match="no task 'tell' in this store; near it: till"):
        TaskHandle(store, "tell")


def test_a_moment_that_does_not_parse_is_no_part_of_a_name(store: EventStore) -> None:
    with pytest.raises(MomentError, match="behind till@, found 'yesterday'"):
        require(store, parse("till@yesterday"))
    with pytest.raises(UnknownTaskError, match="no task 'till@79' in this store"):
        require(store, parse("till@79@"))


def test_a_prompt_is_the_event_or_the_last_one_by_a_time(store: EventStore) -> None:
    assert prompt_at(store, "till", "79").version == 79
    assert prompt_at(store, "till", "first").version == 16
    assert prompt_at(store, "till").version == prompt_at(store, "till", "2026-11-21").version == 178
    time = store.read("till", after=78, last=79)
    assert prompt_at(store, "till", next(time).timestamp.isoformat()).version == 79
    with pytest.raises(MomentError, match="found CHECKS_RAN: the nearest prompts are till@25 and"):
        prompt_at(store, "till", "28")
    with pytest.raises(MomentError, match="the first is till@16"):
        prompt_at(store, "till", "2026-11-19")


def test_a_shell_completes_tasks_and_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("BACKCAST_STORE", url)
    with EventStore.open(url) as store:
        run(store, "events", TILL)
        store.append("other@2026", [TaskStarted(goal="x")], after=0)

    def offered(incomplete: str) -> list[str]:
        shell = ShellComplete(cli, {}, "backcast", "_BACKCAST_COMPLETE")
        return [item.value for item in shell.get_completions(["log"], incomplete)]

    assert offered("ti") == ["till"]
    assert offered("o") == ["other@2026@"]
    assert offered("till@la") == ["till@last"]
    assert offered("till@16")[-1] == "till@16"
    assert offered("nobody@") == []
