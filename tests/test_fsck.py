"""What is damaged is named; the rest is read as if nothing had happened."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backcast.domain.errors import DamagedError, UnavailableError
from backcast.domain.events import SourceRead, TaskStarted, WorkflowEvent
from backcast.engine.history.snapshots import save_snapshots, state_at
from backcast.engine.interfaces.options import opened
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob, Packed, ref_of
from backcast.engine.log.fsck import check
from backcast.engine.log.rows import Damage
from backcast.projections import progress

HERE = Path(__file__).parents[1]
CLI = "from backcast.engine.interfaces.cli import main; main()"
COLUMNS = (
    "position", "task_id", "version", "topic", "timestamp_us", "recorded_us", "writer", "because",
    "checksum", "body",
)  # fmt: skip
Damager = Callable[..., None]


@pytest.fixture
def damage(shared_url: str) -> Damager:
    """Changes a store behind its back: runs SQL with the triggers off."""

    def in_sqlite(sql: str, *parameters: Any) -> None:
        with closing(sqlite3.connect(shared_url[10:], isolation_level=None)) as raw:
            triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'")
            held = triggers.fetchall()
            for name, _ in held:
                raw.execute(f"DROP TRIGGER {name}")
            assert raw.execute(sql, parameters).rowcount > 0
            for _, definition in held:
                raw.execute(definition)

    def in_postgresql(sql: str, *parameters: Any) -> None:
        with psycopg.connect(shared_url) as raw:
            raw.execute("ALTER TABLE events DISABLE TRIGGER ALL")
            assert raw.execute(sql.replace("?", "%s").encode(), parameters).rowcount > 0
            raw.execute("ALTER TABLE events ENABLE TRIGGER ALL")

    return in_sqlite if shared_url.startswith("sqlite") else in_postgresql


@pytest.fixture
def store(shared_url: str) -> Iterator[EventStore]:
    """Nine events of a task and one of another, each with its body upon the one before."""
    with EventStore.open(shared_url) as store:
        base = None
        for version in range(9):
            blob = Blob(source(version), base)
            fact = SourceRead(path=f"{version + 1}.py", source=blob.ref)
            because = [version] if version else []
            store.append("task", [fact], after=version, writer="ann", because=because, blobs=[blob])
            base = blob.ref
        store.append("other", [TaskStarted()], after=0)
        assert list(check(store)) == []
        yield store


def source(number: int) -> bytes:
    lines = [random.Random(n).randbytes(20).hex() for n in range(50)]
    lines[number] = "changed"
    return "\n".join(lines).encode()


def flipped(value: Any) -> Any:
    """The value with one bit changed."""
    if isinstance(value, int):
        return value ^ 64
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return value[:-1] + bytes([value[-1] ^ 1])


def seen(store: EventStore) -> tuple[list[int], list[Damage]]:
    """What a reader gets who sees the store for the first time, and what is reported to them."""
    reported: list[Damage] = []
    reader = EventStore(store.recorder, report=reported.append)
    return [event.position for event in reader.read()], reported


def found(store: EventStore) -> list[str]:
    lines = list(check(EventStore(store.recorder)))
    assert not any("\n" in line for line in lines)
    return lines


def digest(number: int) -> bytes:
    return bytes.fromhex(ref_of(source(number))[5:])


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_a_flipped_bit_in_any_column_is_named_and_costs_its_own_event_only(
    store: EventStore, damage: Damager, column: str
) -> None:
    [row] = store.recorder.rows(None, 4, 5)
    damage(f"UPDATE events SET {column}=? WHERE position=5", flipped(row[COLUMNS.index(column)]))
    positions, [reported] = seen(store)
    assert positions == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert (reported.position, reported.reason) == (5, "its bytes are not those that were written")
    task = "tasj" if column == "task_id" else "task"
    assert found(store)[0] == f"event 5 (task '{task}'): its bytes are not those that were written"


def test_an_event_at_another_position_is_named_and_not_read(
    store: EventStore, damage: Damager
) -> None:
    damage("UPDATE events SET position=69 WHERE position=5")
    positions, [reported] = seen(store)
    assert positions == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert found(store)[:2] == ["event 5: missing", "event 6 (task 'task'): has version 6 after 4"]
    assert str(reported) in found(store)


@pytest.mark.parametrize(
    ("gone", "line"),
    [
        ("=5", "event 5: missing"),
        ("=1", "event 1: missing"),
        (" BETWEEN 4 AND 7", "events 4 to 7: missing"),
    ],
)
def test_deleted_events_are_named_and_the_rest_is_read(
    store: EventStore, damage: Damager, gone: str, line: str
) -> None:
    before, _ = seen(store)
    damage(f"DELETE FROM events WHERE position{gone}")
    positions, reported = seen(store)
    assert line in found(store)
    assert set(positions) < set(before)
    assert reported == []
    store.append("task", [TaskStarted()], after=9)
    assert seen(store)[0] == [*positions, 11]


@pytest.mark.parametrize("column", ["task_id", "topic", "writer", "because"])
def test_text_that_is_no_text_any_more_costs_its_own_event_only(
    tmp_path: Path, column: str
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.append("task", [TaskStarted(), TaskStarted(), TaskStarted()], after=0)
        with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
            raw.execute("DROP TRIGGER events_are_not_rewritten")
            raw.execute(f"UPDATE events SET {column}=CAST(x'61ff62' AS TEXT) WHERE position=2")
            raw.commit()
        positions, [reported] = seen(store)
        assert (positions, reported.position) == ([1, 3], 2)
        assert found(store)[0].startswith("event 2 ")
        assert "task" in store.tasks()
        assert [event.position for event in store.read("task", types=["TASK_STARTED"])] == [1, 3]


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("MODULE_ITERATION:1", b"{}"),
        ("MODULE_ITERATION:1", b'{"module_name": "a.py", "iteration": "no number"}'),
        ("MODULE_ITERATION:1", b""),
        ("MODULE_ITERATION:1", b"\xff\xfe"),
        ("MODULE_ITERATION:1", b"[" * 100_000),
        ("MODULE_ITERATION:0", b'{"module_name": "a.py", "iteration": 1}'),
        ("MODULE_ITERATION:-1", b'{"module_name": "a.py", "iteration": 1}'),
        ("MODULE_ITERATION", b'{"module_name": "a.py", "iteration": 1}'),
        ("DREAMT:1", b"[1, 2]"),
        ("DREAMT:one", b"{}"),
        ("DREAMT:1", b"not JSON"),
    ],
)
def test_a_body_that_says_nothing_is_named_and_costs_its_own_event_only(
    store: EventStore, topic: str, body: bytes
) -> None:
    store.recorder.append([("task", 10, topic, 0, "", "", body)], lambda: 0)
    store.append("task", [TaskStarted()], after=10)
    positions, [reported] = seen(store)
    assert (positions, reported.position) == ([*range(1, 11), 12], 11)
    assert "\n" not in str(reported)
    [line] = found(store)
    assert line == str(reported)
    assert len(line) < 200


def test_a_follower_is_told_of_a_damaged_event_once(store: EventStore, damage: Damager) -> None:
    damage("UPDATE events SET writer='bob' WHERE position=10")
    reported: list[Damage] = []
    looks = iter(range(5))
    reader = EventStore(store.recorder, report=reported.append)
    followed = reader.follow(after=8, interval=0, until=lambda: next(looks) == 4)
    assert [event.position for event in followed] == [9]
    assert [damage.position for damage in reported] == [10]


NEVER_GIVEN_OUT: dict[str, Callable[[Packed], Packed]] = {
    "truncated": lambda body: body._replace(packed=body.packed[:-5]),
    "emptied": lambda body: body._replace(packed=b""),
    "of other content": lambda body: body._replace(packed=b"other", depth=-1, base=None),
    "said to be much shorter": lambda body: body._replace(size=10),
    "said to be whole": lambda body: body._replace(depth=-1),
    "without its base": lambda body: body._replace(base=None),
    "upon itself": lambda body: body._replace(base=body.digest),
    "upon one that is not there": lambda body: body._replace(base=bytes(32)),
    "under another name": lambda body: body._replace(digest=bytes(32)),
}
STILL_WHOLE: dict[str, Callable[[Packed], Packed]] = {
    "said to be longer": lambda body: body._replace(size=body.size + 64),
    "said to be a byte shorter": lambda body: body._replace(size=body.size - 1),
}


def damage_body(
    store: EventStore, damage: Damager, number: int, how: Callable[[Packed], Packed]
) -> None:
    body = store.recorder.chain(digest(number))[-1]
    damage(
        "UPDATE blobs SET hash=?, base=?, depth=?, size=?, packed=? WHERE hash=?",
        *how(body),
        digest(number),
    )


@pytest.mark.parametrize("kind", NEVER_GIVEN_OUT)
def test_a_damaged_body_is_named_and_never_given_out(
    store: EventStore, damage: Damager, kind: str
) -> None:
    damage_body(store, damage, 5, NEVER_GIVEN_OUT[kind])
    reader = EventStore(store.recorder)
    with pytest.raises(DamagedError) as caught:
        reader.get(ref_of(source(5)))
    assert "\n" not in str(caught.value)
    assert any(digest(5).hex()[:12] in line for line in found(store))
    assert reader.get(ref_of(source(4))) == source(4)
    assert seen(store) == (list(range(1, 11)), [])


@pytest.mark.parametrize("kind", STILL_WHOLE)
def test_a_body_that_is_whole_is_given_out_and_what_is_wrong_about_it_named(
    store: EventStore, damage: Damager, kind: str
) -> None:
    damage_body(store, damage, 5, STILL_WHOLE[kind])
    assert EventStore(store.recorder).get(ref_of(source(5))) == source(5)
    assert any(digest(5).hex()[:12] in line for line in found(store))


def test_a_body_whose_bytes_changed_is_named_wherever_the_change_is(
    store: EventStore, damage: Damager
) -> None:
    for number in (0, 5):
        packed = store.recorder.chain(digest(number))[-1].packed
        for place in random.Random(number).sample(range(len(packed)), 8):
            changed = packed[:place] + bytes([packed[place] ^ 4]) + packed[place + 1 :]
            damage("UPDATE blobs SET packed=? WHERE hash=?", changed, digest(number))
            with pytest.raises(DamagedError):
                EventStore(store.recorder).get(ref_of(source(number)))
            assert any(digest(number).hex()[:12] in line for line in found(store))
        damage("UPDATE blobs SET packed=? WHERE hash=?", packed, digest(number))
    assert found(store) == []


def test_a_body_that_lost_what_it_is_the_difference_to_is_named(
    store: EventStore, damage: Damager
) -> None:
    damage("DELETE FROM blobs WHERE hash=?", digest(3))
    reader = EventStore(store.recorder)
    with pytest.raises(DamagedError, match="the body that it is the difference to is missing"):
        reader.get(ref_of(source(7)))
    assert reader.get(ref_of(source(2))) == source(2)
    lines = found(store)
    assert lines[0].startswith("event 4 (task 'task'): points at blob:")
    for number in range(4, 9):
        assert any(digest(number).hex()[:12] in line for line in lines)


def test_a_body_can_be_put_upon_a_damaged_one(store: EventStore, damage: Damager) -> None:
    damage("UPDATE blobs SET size=1 WHERE hash=?", digest(8))
    reader = EventStore(store.recorder)
    ref = reader.put(source(9), base=ref_of(source(8)))
    assert EventStore(store.recorder).get(ref) == source(9)


@pytest.mark.parametrize("column", ["state", "version", "from_us", "until_us"])
def test_a_damaged_kept_state_is_not_believed(
    store: EventStore, damage: Damager, column: str
) -> None:
    store.clock = lambda: datetime(2026, 11, 20, tzinfo=UTC)
    store.append("task", [TaskStarted(goal=str(n)) for n in range(25)], after=9)
    expected = state_at(store, progress, "task")
    save_snapshots(store, [progress], "task", spacing=10)
    if column == "state":
        last = store.recorder.one("SELECT state FROM snapshots ORDER BY version DESC LIMIT 1")[0]
        for place in range(0, len(last), 7):
            changed = last[:place] + bytes([last[place] ^ 1]) + last[place + 1 :]
            damage("UPDATE snapshots SET state=? WHERE version=30", changed)
            assert state_at(store, progress, "task") == expected
    else:
        damage(f"UPDATE snapshots SET {column}={column} - 1")
        assert state_at(store, progress, "task") == expected


def test_wherever_the_file_is_damaged_nothing_wrong_is_given_out(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with EventStore.open(f"sqlite:///{path}") as store:
        base = None
        for version in range(50):
            blob = Blob(source(version % 50), base)
            fact = SourceRead(path=f"{version}.py", source=blob.ref)
            store.append(f"task{version % 3}", [fact], after=version // 3, blobs=[blob])
            base = blob.ref
        written = list(store.read())
    whole = path.read_bytes()
    randomly, opened = random.Random(2026), 0
    for _ in range(60):
        place, bit = randomly.randrange(len(whole)), 1 << randomly.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with (
            suppress(UnavailableError, DamagedError),
            EventStore.open(f"sqlite:///{path}") as store,
        ):
            opened += 1
            lines = found(store)
            read: list[WorkflowEvent] = []
            with suppress(DamagedError):
                read.extend(store.read())
            # Without a word from fsck the damage lies where nothing is kept.
            assert lines or read == written
            for event in read:
                assert event in written
                with suppress(DamagedError):
                    body = store.get(event.fact.data["source"])
                    assert ref_of(body) == event.fact.data["source"]
    assert opened > 40


def test_the_command_names_the_damage_and_the_log_goes_on(tmp_path: Path) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.append("task", [TaskStarted(), TaskStarted(), TaskStarted()], after=0)
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
        raw.execute("DROP TRIGGER events_are_not_rewritten")
        raw.execute("UPDATE events SET writer='eve' WHERE position=2")
        raw.commit()

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        url = f"sqlite:///{tmp_path}/store.db"
        return subprocess.run(
            [sys.executable, "-c", CLI, *arguments, "--store", url],
            cwd=HERE, capture_output=True, text=True, check=False,
        )  # fmt: skip

    checked, logged = command("fsck"), command("log", "--json")
    named = "event 2 (task 'task'): its bytes are not those that were written"
    assert (checked.returncode, checked.stdout, checked.stderr) == (1, f"{named}\n", "1 damaged\n")
    assert logged.stdout.count("TASK_STARTED") == 2
    assert logged.stderr == f"backcast: skipped {named}\n"
    written = command("export", "task", str(tmp_path / "log.jsonl"))
    assert (written.returncode, written.stderr) == (1, f"backcast: skipped {named}\n")
    assert (tmp_path / "log.jsonl").read_text().count("TASK_STARTED") == 2


def test_a_reader_who_comes_by_a_damaged_event_again_is_told_of_it_once(
    store: EventStore, shared_url: str, damage: Damager, capsys: pytest.CaptureFixture[str]
) -> None:
    damage("UPDATE events SET writer='eve' WHERE position IN (2, 5)")
    with opened(shared_url) as other:
        for _ in range(2):
            assert [event.version for event in other.read("task")] == [1, 3, 4, 6, 7, 8, 9]
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in told] == [
        "backcast: skipped event 2", "backcast: skipped event 5",
    ]  # fmt: skip
