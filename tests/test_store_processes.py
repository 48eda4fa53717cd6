"""Many writers and readers at once: nothing is lost, and no reader misses or overtakes anything."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from backcast.domain.errors import ConflictError
from backcast.domain.events import TaskStarted
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.log.recorder.database import Cursor

HERE = Path(__file__).parents[1]
WRITER = """
import sys
from backcast.domain.errors import ConflictError
from backcast.domain.events import TaskStarted
from backcast.engine.log import EventStore

name = sys.argv[1]
print("ready", flush=True)
for line in sys.stdin:
    url, task, batches = line.split()
    try:
        with EventStore.open(url) as store:
            for n in range(int(batches)):
                store.append(task, [TaskStarted(goal=name)] * 3, after=3 * n)
        print("done", flush=True)
    except ConflictError as error:
        print(f"lost to version {error.found}", flush=True)
"""
FOLLOWER = """
import sys
from backcast.engine.log import EventStore

seen = []
print("ready", flush=True)
url, count = sys.stdin.readline().split()
with EventStore.open(url) as store:
    for event in store.follow(interval=0.002, until=lambda: len(seen) >= int(count)):
        seen.append(event.position)
        print(event.position, flush=True)
"""


class Process:
    """Another Python, which is told lines and answers lines."""

    def __init__(self, program: str, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, name],
            cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def processes(program: str, count: int) -> Iterator[list[Process]]:
    """So many processes, which wait to be told the same thing at the same time."""
    with ExitStack() as stack:
        running = [Process(program, f"writer{n}") for n in range(count)]
        for each in running:
            stack.enter_context(each.process)
        assert [each.hear() for each in running] == ["ready"] * count
        yield running


def test_processes_that_make_a_store_at_the_same_moment_all_succeed(shared_url: str) -> None:
    urls = [f"{shared_url}{n}" for n in range(15)]
    with processes(WRITER, 4) as running:
        for url in urls if shared_url.startswith("sqlite") else [shared_url]:
            for n, each in enumerate(running):
                each.tell(f"{url} task{n} 4")
            assert [each.hear() for each in running] == ["done"] * 4
            with EventStore.open(url) as store:
                assert [event.position for event in store.read()] == list(range(1, 49))
                assert [store.version(f"task{n}") for n in range(4)] == [12] * 4
                assert list(check(store)) == []


def test_of_processes_that_append_at_the_same_version_exactly_one_wins(shared_url: str) -> None:
    with processes(WRITER, 3) as running, EventStore.open(shared_url) as store:
        for n in range(15):
            for each in running:
                each.tell(f"{shared_url} task{n} 1")
            answers = [each.hear() for each in running]
            assert sorted(answers) == ["done", "lost to version 3", "lost to version 3"]
            winner = f"writer{answers.index('done')}"
            assert [e.fact.data["goal"] for e in store.read(f"task{n}")] == [winner] * 3


def test_of_threads_that_append_at_the_same_version_exactly_one_wins(store: EventStore) -> None:
    outcomes: list[str] = []

    def append(name: str) -> None:
        try:
            store.append("task", [TaskStarted(goal=name)], after=0)
            outcomes.append("won")
        except ConflictError:
            outcomes.append("lost")

    threads = [Thread(target=append, args=(f"thread{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 5 + ["won"]
    assert store.version("task") == 1


def test_a_follower_in_another_process_sees_everything_in_order(shared_url: str) -> None:
    with EventStore.open(shared_url) as store, processes(FOLLOWER, 1) as [follower]:
        follower.tell(f"{shared_url} 60")
        for version in range(0, 60, 2):
            store.append("task", [TaskStarted()] * 2, after=version)
        assert [int(follower.hear()) for _ in range(60)] == list(range(1, 61))


@contextmanager
def slow(store: EventStore, inserted: Event, go: Event) -> Iterator[None]:
    """A store whose next transaction stays open between its last insert and its commit."""
    transact = store.recorder.transact

    @contextmanager
    def slowly(*, write: bool, forced: bool = True) -> Iterator[Cursor]:
        with transact(write=write, forced=forced) as cursor:
            yield cursor
            if write:
                inserted.set()
                go.wait(30)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.recorder, "transact", slowly)
        yield


def test_a_slow_transaction_among_fast_ones_makes_no_reader_miss_an_event(
    shared_url: str,
) -> None:
    seen: list[tuple[int, str]] = []
    inserted, go = Event(), Event()

    def append_slowly() -> None:
        with EventStore.open(shared_url) as store, slow(store, inserted, go):
            store.append("slow", [TaskStarted()] * 3, after=0)

    def append_fast(task: str) -> None:
        with EventStore.open(shared_url) as store:
            for version in range(10):
                store.append(task, [TaskStarted()], after=version)

    def follow() -> None:
        with EventStore.open(shared_url) as store:
            for event in store.follow(interval=0.001, until=lambda: len(seen) == 44):
                seen.append((event.position, event.task_id))

    with EventStore.open(shared_url) as store:
        store.append("first", [TaskStarted()], after=0)
    threads = [Thread(target=follow), Thread(target=append_slowly)]
    threads[0].start()
    threads[1].start()
    assert inserted.wait(30)
    threads += [Thread(target=append_fast, args=(f"fast{n}",)) for n in range(4)]
    for thread in threads[2:]:
        thread.start()
    time.sleep(0.3)  # what could overtake the slow one does so now
    waiting = list(seen)
    go.set()
    for thread in threads:
        thread.join(timeout=60)
    assert waiting == [(1, "first")]
    assert [position for position, _ in seen] == list(range(1, 45))
    assert [task for _, task in seen[1:4]] == ["slow"] * 3


def test_a_reader_is_not_held_up_by_a_writer(shared_url: str) -> None:
    inserted, go = Event(), Event()
    with EventStore.open(shared_url) as writer, EventStore.open(shared_url) as reader:
        writer.append("task", [TaskStarted()], after=0)
        with slow(writer, inserted, go):
            thread = Thread(
                target=writer.append, args=("task", [TaskStarted()]), kwargs={"after": 1}
            )
            thread.start()
            assert inserted.wait(30)
            assert len(list(reader.read("task"))) == 1
            go.set()
            thread.join()
        assert len(list(reader.read("task"))) == 2
