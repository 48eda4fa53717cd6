"""A store that cannot be used says so in one clear line, and loses nothing that it holds."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Semaphore, Thread, Timer
from urllib.parse import urlsplit

import psycopg
import pytest

import backcast
from backcast.domain.errors import InputError, StoreError, UnavailableError
from backcast.domain.events import TaskStarted
from backcast.domain.moment import Moment
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.fsck import check
from backcast.engine.log.recorder.postgres import PostgresRecorder
from backcast.engine.log.recorder.sqlite import SQLiteRecorder

HERE = Path(__file__).parents[1]
COMMAND = "from backcast.engine.interfaces.cli import main; main()"
IMPATIENT = (
    "from backcast.engine.log.recorder.{kind} import {name} as R; R.lock_timeout = 0.2; " + COMMAND
)
AS_NOBODY = """
import os
import backcast.engine.interfaces.cli, backcast.engine.history.moments
import backcast.engine.interfaces.views, backcast.engine.memory.import_log
import backcast.engine.log.importers.events, backcast.engine.log.store, backcast.projections
import backcast.engine.log.recorder.sqlite
if os.getuid() == 0:
    os.setuid(65534)  # as root nothing is forbidden
backcast.engine.interfaces.cli.main()
"""


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A log to import."""
    path = tmp_path / "lines.jsonl"
    path.write_text(
        '{"type": "TASK_STARTED", "task_id": "imported", "timestamp": "2026-11-20T10:00:00Z",'
        ' "data": {}}\n'
    )
    return path


def run(*arguments: object, program: str = COMMAND) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip


def complaint(*arguments: object, program: str = COMMAND) -> str:
    """The one line that a command fails with."""
    done = run(*arguments, program=program)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("backcast: ")
    return line.removeprefix("backcast: ")


@pytest.mark.parametrize("stores", ["sqlite", "memory"])
def test_a_closed_store_says_that_it_was_closed(stores: str, tmp_path: Path) -> None:
    store = backcast.open(tmp_path / "a.db" if stores == "sqlite" else "sqlite://")
    shop = store.start("shop", "A till")
    store.close()
    for use in (store.tasks, shop.prompts, lambda: store.put("x"), lambda: shop.ask("a.py", "x")):
        with pytest.raises(UnavailableError, match=r"the store was closed: open it again$"):
            use()


def test_the_library_tells_of_a_store_that_cannot_be_opened_without_what_lies_beneath() -> None:
    with pytest.raises(UnavailableError, match="cannot be opened") as found:
        backcast.open("/nonexistent/a.db")
    shown = "".join(traceback.format_exception(found.value))
    assert shown.count("Traceback") == 1
    assert "OperationalError" not in shown


def fill(url: str, count: int = 3) -> None:
    with EventStore.open(url) as store:
        store.append("task", [TaskStarted(goal=str(n)) for n in range(count)], after=0)


def goals(store: EventStore) -> list[str]:
    return [event.fact.data["goal"] for event in store.read("task")]


# What is no store


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(5000))


def text(path: Path) -> None:
    path.write_text("my shopping list\n")


def folder(path: Path) -> None:
    path.mkdir()


def another_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE events (what TEXT)")
        raw.execute("INSERT INTO events VALUES ('precious')")
        raw.commit()


def newer(path: Path) -> None:
    fill(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version=2")


NO_STORES = [
    (garbage, "not a database: needed a Backcast store"),
    (text, "not a database: needed a Backcast store"),
    (folder, "a folder: needed a store, which is a file"),
    (another_database, "a SQLite file, but not a Backcast store"),
    (newer, "written by a newer version (tables 2, this one knows 1): upgrade backcast"),
]


@pytest.mark.parametrize(
    ("make", "said"), NO_STORES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(
    tmp_path: Path, lines: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "store.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    for create in (True, False):
        with pytest.raises(UnavailableError) as caught:
            EventStore.open(f"sqlite:///{path}", create=create)
        assert str(caught.value) == f"{path}: {said}"
    assert complaint("import", "events", lines, "--store", f"sqlite:///{path}") == f"{path}: {said}"
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert sorted(tmp_path.iterdir()) == [lines, path]


def test_a_store_that_does_not_exist_is_not_made_by_asking_for_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    said = f"{tmp_path}/store.db: no such store; 'backcast import' makes one"
    assert complaint("tasks", "--store", url) == said
    with pytest.raises(UnavailableError, match="no such store"):
        EventStore.open(url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, lines: Path) -> None:
    said = f"{tmp_path}/no/store.db: cannot be opened: there is no folder {tmp_path}/no"
    url = f"sqlite:///{tmp_path}/no/store.db"
    assert complaint("import", "events", lines, "--store", url) == said


def test_an_empty_file_becomes_a_store_when_something_is_imported(
    tmp_path: Path, lines: Path
) -> None:
    path = tmp_path / "store.db"
    path.touch()
    url = f"sqlite:///{path}"
    assert (
        complaint("tasks", "--store", url)
        == f"{path}: empty; 'backcast import' makes a store of it"
    )
    assert path.stat().st_size == 0
    assert run("import", "events", lines, "--store", url).returncode == 0
    with EventStore.open(url, create=False) as store:
        assert store.tasks() == ["imported"]


@pytest.mark.parametrize(
    "odd",
    ["a b.db", "50%.db", "a%20b.db", "what?.db", "#1.db", "é🦜.db", "it's.db", "a&mode=ro.db"],
)
def test_a_store_may_have_any_file_name(tmp_path: Path, odd: str) -> None:
    fill(f"sqlite:///{tmp_path}/{odd}")
    with EventStore.open(f"sqlite:///{tmp_path}/{odd}", create=False) as store:
        assert goals(store) == ["0", "1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == [odd]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "/tmp/store.db",
        "sqlite:",
        "sqlite:/store.db",
        "mysql://host/name",
        "postgresql://[::1/name",
        "postgresql://user@host/name?no=such",
    ],
)
def test_what_names_no_store_is_an_input_error(url: str) -> None:
    with pytest.raises(InputError) as caught:
        EventStore.open(url)
    assert "\n" not in str(caught.value)


def test_an_unknown_fsync_is_an_input_error() -> None:
    with pytest.raises(InputError, match="fsync: needed 'full' or 'normal', found 'never'"):
        EventStore.open("sqlite://", fsync="never")


# Read-only


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody can reach."""
    path = Path(tempfile.mkdtemp(prefix="backcast-"))
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_a_store_that_may_only_be_read_can_be_read(
    public: Path, lines: Path, folder_mode: int
) -> None:
    path = public / "store.db"
    fill(f"sqlite:///{path}")
    path.chmod(0o444)
    copy = public / "lines.jsonl"
    shutil.copy(lines, copy)
    copy.chmod(0o444)
    public.chmod(folder_mode)
    url = f"sqlite:///{path}"
    logged = run("log", "--json", "task", "--store", url, program=AS_NOBODY)
    assert (logged.returncode, logged.stderr) == (0, "")
    assert len(logged.stdout.splitlines()) == 3
    refused = complaint("import", "events", copy, "--store", url, program=AS_NOBODY)
    assert refused == f"{path}: read-only: needed a store that can be written"
    with EventStore.open(url) as store:
        assert goals(store) == ["0", "1", "2"]


def test_a_store_that_may_only_be_read_shows_what_a_writer_has_just_written(public: Path) -> None:
    path = public / "store.db"
    with EventStore.open(f"sqlite:///{path}") as store:
        store.append("task", [TaskStarted(), TaskStarted()], after=0)
        for each in public.iterdir():
            each.chmod(0o444)
        public.chmod(0o555)
        arguments = ("log", "--json", "task", "--store", f"sqlite:///{path}")
        logged = run(*arguments, program=AS_NOBODY)
        assert (logged.returncode, logged.stderr) == (0, "")
        assert len(logged.stdout.splitlines()) == 2


def test_what_a_killed_writer_left_is_never_passed_over_where_nothing_may_be_written(
    tmp_path: Path, public: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.append("task", [TaskStarted(), TaskStarted()], after=0)
        for name in ("store.db", "store.db-wal"):  # as a copy of the folder would find them
            shutil.copy(tmp_path / name, public / name)
    public.chmod(0o555)
    said = complaint("tasks", "--store", f"sqlite:///{public}/store.db", program=AS_NOBODY)
    assert said.startswith(f"{public}/store.db: cannot be opened")


def test_a_file_that_may_not_be_read_says_so(public: Path) -> None:
    path = public / "store.db"
    fill(f"sqlite:///{path}")
    path.chmod(0o000)
    public.chmod(0o555)
    said = complaint("tasks", "--store", f"sqlite:///{path}", program=AS_NOBODY)
    assert said == f"{path}: cannot be opened: it may not be read"
    path.chmod(0o644)


def test_a_folder_that_may_not_be_written_says_so_where_a_store_is_to_be_made(
    public: Path, lines: Path
) -> None:
    shutil.copy(lines, public / "till.jsonl")
    public.chmod(0o555)
    words = "import", "events", public / "till.jsonl", "--store", f"sqlite:///{public}/store.db"
    said = complaint(*words, program=AS_NOBODY)
    assert said == (
        f"{public}/store.db: cannot be made: {public} is a folder that may not be written"
    )


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of one megabyte."""
    path = Path(tempfile.mkdtemp(prefix="backcast-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        path.rmdir()
        pytest.skip("only root can mount a small disk")
    yield path
    subprocess.run(["umount", str(path)], check=True)
    path.rmdir()


def test_a_store_on_a_read_only_disk_can_be_read(small_disk: Path, lines: Path) -> None:
    url = f"sqlite:///{small_disk}/store.db"
    fill(url)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with EventStore.open(url) as store:
        assert goals(store) == ["0", "1", "2"]
        assert list(check(store)) == []
        with pytest.raises(UnavailableError, match="read-only: needed a store that can be written"):
            store.append("task", [TaskStarted()], after=3)
    assert run("tasks", "--store", url).stdout.split()[:2] == ["3", "task"]
    assert "read-only" in complaint("import", "events", lines, "--store", url)


# A full disk


def fill_up(store: EventStore) -> tuple[list[str], UnavailableError]:
    """Append until the store refuses; gives what it took."""
    written: list[str] = []
    try:
        for version in range(1000):
            goal = random.Random(version).randbytes(10_000).hex()
            store.append("task", [TaskStarted(goal=goal)], after=version)
            written.append(goal)
    except UnavailableError as error:
        return written, error
    raise AssertionError("the disk is not full")


def test_a_full_disk_costs_nothing_that_is_stored_and_room_helps(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(200_000))
    with EventStore.open(f"sqlite:///{small_disk}/store.db") as store:
        written, error = fill_up(store)
        assert str(error) == (
            f"{small_disk}/store.db: the disk is full: nothing of this was written;"
            f" make room and try again"
        )
        assert len(written) > 5
        assert goals(store) == written
        assert list(check(store)) == []
        large = random.Random(-1).randbytes(100_000).hex()  # texts that repeat take no room
        with pytest.raises(UnavailableError):
            store.append("task", [TaskStarted(goal=large)], after=len(written))
        (small_disk / "ballast").unlink()
        store.append("task", [TaskStarted(goal="room")], after=len(written))
    with EventStore.open(f"sqlite:///{small_disk}/store.db") as store:
        assert goals(store) == [*written, "room"]
        assert list(check(store)) == []


FILL_UP = """
import resource, sys
from tests.test_unavailable import EventStore, TaskStarted, check, fill_up, goals

with EventStore.open(sys.argv[1]) as store:
    sys.dont_write_bytecode = True  # half of it would stay, and spoil every later process
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
    written, error = fill_up(store)
    print(error)
    assert len(written) > 3
    assert goals(store) == written
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    store.append("task", [TaskStarted(goal="room")], after=len(written))
    assert goals(store) == [*written, "room"]
    assert list(check(store)) == []
"""


def test_a_file_that_may_not_grow_costs_nothing_that_is_stored(tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}/store.db", program=FILL_UP)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{tmp_path}/store.db: the disk cannot be written or read: nothing of this was written;"
        f" is it full, or failing?\n"
    )


# Locked

LOCKER = """
import sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that keeps others from writing to a store until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        yield locker


def test_who_waits_long_for_another_process_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    fill(url)
    monkeypatch.setattr("backcast.engine.log.recorder.sqlite.QUIET", 0.1)
    with locked(path) as locker, EventStore.open(url) as store:
        assert locker.stdin is not None
        Timer(0.4, locker.stdin.close).start()
        store.append("task", [TaskStarted(goal="3")], after=3)
        assert goals(store) == ["0", "1", "2", "3"]
    assert caplog.messages == [f"waiting for {path}, which another process is writing to"]


def test_a_file_locked_by_another_process_is_waited_for_and_then_said_to_be(
    tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    fill(url)
    monkeypatch.setattr(SQLiteRecorder, "lock_timeout", 0.2)
    said = f"{path}: locked by another process for 0.2 s: end that one, or try again"
    with locked(path) as locker, EventStore.open(url) as store:
        with pytest.raises(UnavailableError) as caught:
            store.append("task", [TaskStarted(goal="3")], after=3)
        assert str(caught.value) == said
        program = IMPATIENT.format(kind="sqlite", name="SQLiteRecorder")
        assert complaint("import", "events", lines, "--store", url, program=program) == said
        assert goals(store) == ["0", "1", "2"]  # who only reads is not held up
        locker.send_signal(signal.SIGKILL)
        locker.wait()
        store.append("task", [TaskStarted(goal="3")], after=3)
        assert goals(store) == ["0", "1", "2", "3"]


def test_a_database_locked_by_another_session_is_waited_for_and_then_said_to_be(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(postgres)
    monkeypatch.setattr(PostgresRecorder, "lock_timeout", 0.2)
    with EventStore.open(postgres) as store:
        with psycopg.connect(postgres) as other:
            other.execute("LOCK TABLE events IN EXCLUSIVE MODE")
            with pytest.raises(UnavailableError, match=r"locked by another process for 0.2 s"):
                store.append("task", [TaskStarted(goal="3")], after=3)
            assert goals(store) == ["0", "1", "2"]
        store.append("task", [TaskStarted(goal="3")], after=3)
        assert goals(store) == ["0", "1", "2", "3"]


# PostgreSQL


def test_a_server_or_database_that_is_not_there_says_so_at_once(
    postgres_server: str, tmp_path: Path, lines: Path
) -> None:
    nowhere = f"postgresql://postgres@/name?host={tmp_path}"
    said = complaint("import", "events", lines, "--store", nowhere)
    assert said.startswith(f"postgresql://postgres@/name?host={tmp_path}: connection")
    missing = urlsplit(postgres_server)._replace(path="/no_such_database").geturl()
    with pytest.raises(UnavailableError, match='database "no_such_database" does not exist'):
        EventStore.open(missing)


def test_a_database_without_a_store_is_not_made_one_by_asking(postgres: str) -> None:
    for _ in range(2):
        assert "no store in it; 'backcast import' makes one" in complaint(
            "tasks", "--store", postgres
        )
    with psycopg.connect(postgres) as raw:
        tables = raw.execute("SELECT count(*) FROM pg_tables WHERE schemaname=current_schema()")
        assert tables.fetchone() == (0,)


def test_a_database_of_a_newer_version_is_refused(postgres: str) -> None:
    fill(postgres)
    with psycopg.connect(postgres) as raw:
        raw.execute("UPDATE backcast SET schema_version=2")
    assert "written by a newer version (tables 2, this one knows 1)" in complaint(
        "tasks", "--store", postgres
    )


def test_a_lost_connection_costs_one_try_only(postgres: str) -> None:
    fill(postgres)
    with EventStore.open(postgres) as store:
        with psycopg.connect(postgres, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname=current_database() AND pid<>pg_backend_pid()"
            )
        with pytest.raises(UnavailableError) as caught:
            store.append("task", [TaskStarted(goal="3")], after=3)
        assert "\n" not in str(caught.value)
        store.append("task", [TaskStarted(goal="3")], after=3)
        assert goals(store) == ["0", "1", "2", "3"]


# Whatever is asked of it


QUESTIONS: list[Callable[[EventStore], object]] = [
    lambda store: store.append("task", [TaskStarted()], after=3),
    lambda store: store.put(b"body"),
    lambda store: store.get(ref_of(b"body")),
    lambda store: store.holds(ref_of(b"body")),
    lambda store: list(store.read()),
    lambda store: list(store.read("task", moment=Moment(position=2))),
    lambda store: list(store.follow(until=lambda: True)),
    lambda store: store.version("task"),
    lambda store: store.require("task"),
    lambda store: store.version_at("task", Moment(position=2)),
    lambda store: store.position_at(store.clock()),
    lambda store: store.tasks(),
    lambda store: store.found("git:task", "id"),
    lambda store: store.found_like("git:task", "id"),
    lambda store: store.recorder.times_after("task", 1, 0),
    lambda store: store.recorder.snapshot_before("progress", 1, "task", 3, None),
    lambda store: store.recorder.save_snapshots("progress", 1, "task", []),
    lambda store: list(check(store)),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_store_that_is_closed_raises_our_error_whatever_it_is_asked(
    store: EventStore, ask: Callable[[EventStore], object]
) -> None:
    store.close()
    with pytest.raises(StoreError) as caught:
        ask(store)
    assert "\n" not in str(caught.value)


def test_a_store_may_be_closed_while_others_use_it(shared_url: str) -> None:
    for round in range(5):
        store = EventStore.open(shared_url)
        version = store.version("task")
        working = Semaphore(0)

        def use(
            store: EventStore, working: Semaphore, ask: Callable[[EventStore, int], object]
        ) -> None:
            with suppress(StoreError):
                for n in count():
                    ask(store, n)
                    working.release()

        def append(store: EventStore, n: int, version: int = version) -> None:
            store.append("task", [TaskStarted()], after=version + n)

        questions = (append, lambda store, n: list(store.read()), lambda store, n: store.tasks())
        threads = [Thread(target=use, args=(store, working, ask)) for ask in questions]
        for thread in threads:
            thread.start()
        for _ in range(10 * (round + 1)):
            working.acquire()
        store.close()
        for thread in threads:
            thread.join(timeout=30)
        with EventStore.open(shared_url) as again:
            assert list(check(again)) == []


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_store_whose_tables_are_gone_raises_our_error_whatever_it_is_asked(
    shared_url: str, ask: Callable[[EventStore], object]
) -> None:
    fill(shared_url)
    with EventStore.open(shared_url) as store:
        with store.recorder.transact(write=True) as cursor:
            for table in ("events", "blobs", "sources", "snapshots"):
                cursor.execute(f"DROP TABLE {table}")
        with pytest.raises(StoreError) as caught:
            ask(store)
        assert "\n" not in str(caught.value)


def test_a_store_that_another_process_has_locked_is_waited_for_aloud_and_not_for_long(
    tmp_path: Path, lines: Path
) -> None:
    path = tmp_path / "store.db"
    EventStore.open(f"sqlite:///{path}").close()
    short = "from backcast.engine.log.recorder import sqlite; sqlite.QUIET, sqlite.LOCKED = .1, .3;"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for command in (("tasks",), ("import", "events", lines)):
            done = run(*command, "--store", f"sqlite:///{path}", program=short + COMMAND)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.splitlines() == [
                f"backcast: waiting for {path}, which another process has locked",
                f"backcast: {path}: locked by another process for 0.3 s: end that one, or try"
                " again",
            ]
