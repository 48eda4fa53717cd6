"""A writer is killed at any moment: what it was told is stored is there, whole and undamaged."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path

import pytest

from backcast.domain.errors import UnavailableError, WorkerError
from backcast.domain.events import SourceRead
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.fsck import check
from backcast.engine.memory.import_log import run

HERE = Path(__file__).parents[1]
# One process that has imported everything forks the writers, so that a round takes little time.
NURSERY = """
import os, sys
from backcast.engine.log import EventStore
from tests.test_crash import append_for_ever

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        append_for_ever(*line.split())
    os.write(1, f"born {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""
IMPORT = """
import sys
from backcast.engine.interfaces.cli import main
from backcast.engine.log import importers

importers.FLUSH_EVENTS = 10
main()
"""


def source(task: str, version: int) -> bytes:
    """A body that resembles the one before it."""
    lines = [f"{task} line {n}: {'x' * (n % 7)}" for n in range(200)]
    lines[version % 200] = f"changed at {version}"
    return "\n".join(lines).encode()


def append_for_ever(url: str, task: str) -> None:
    """Append batches of one to five facts with their bodies, and tell the version after each."""
    base = None
    with EventStore.open(url) as store:
        version = store.version(task)
        while True:
            size = version % 5 + 1
            blobs = []
            for n in range(version + 1, version + size + 1):
                blobs.append(Blob(source(task, n), base))
                base = blobs[-1].ref
            facts = [SourceRead(path=f"{size} from {version}", source=blob.ref) for blob in blobs]
            version = store.append(task, facts, after=version, blobs=blobs)[-1].version
            os.write(1, f"{version}\n".encode())


@contextmanager
def nursery() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert hear(process) == "ready"
        yield process


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill_a_writer(
    process: "subprocess.Popen[str]", url: str, task: str, delay: float, after: int = 0
) -> int:
    """The last version that a writer acknowledged before it was killed: so many seconds after it
    was born, or had acknowledged some batches."""
    assert process.stdin is not None
    process.stdin.write(f"{url} {task}\n")
    process.stdin.flush()
    heard = [hear(process)]
    while len(heard) <= after or not any(line.startswith("born") for line in heard):
        heard.append(hear(process))
    [child] = [int(line.split()[1]) for line in heard if line.startswith("born")]
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    while heard[-1] != "dead":
        heard.append(hear(process))
    return max((int(line) for line in heard if line.isdigit()), default=0)


def assert_whole(store: EventStore, task: str, acknowledged: int) -> None:
    """Every acknowledged event is there, no batch is torn, every body is what it was."""
    events = list(store.read(task))
    assert len(events) >= acknowledged
    version = 0
    while version < len(events):
        size = version % 5 + 1
        batch = events[version : version + size]
        assert [e.fact.data["path"] for e in batch] == [f"{size} from {version}"] * size
        version += size
    for event in events:
        assert store.get(event.fact.data["source"]) == source(task, event.version)
    assert list(check(store)) == []


@pytest.mark.parametrize(("kind", "rounds"), [("file", 25), ("postgresql", 4)])
def test_a_killed_writer_loses_nothing_that_it_was_told_is_stored(
    kind: str, rounds: int, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("url_of")(kind)
    randomly = random.Random(2026)
    with nursery() as process:
        for number in range(rounds):
            task = f"task{number // 3}"  # so that a writer goes on after a killed one too
            acknowledged = kill_a_writer(process, url, task, randomly.uniform(0, 0.05), after=1)
            assert acknowledged
            with EventStore.open(url) as store:
                assert_whole(store, task, acknowledged)
                started = time.monotonic()
                store.append(
                    f"after{number}",
                    [SourceRead(path="x", source=Blob(b"").ref)],
                    after=0,
                    blobs=[Blob(b"")],
                )
                assert time.monotonic() - started < 5


def test_a_store_whose_maker_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    randomly = random.Random(2026)
    with nursery() as process:
        for number in range(25):
            url = f"sqlite:///{tmp_path}/{number}.db"
            acknowledged = kill_a_writer(process, url, "task", randomly.uniform(0, 0.01))
            with EventStore.open(url) as store:
                assert_whole(store, "task", acknowledged)


def history(path: Path, commits: int) -> None:
    """A git repository with so many commits, each of which changes two files."""
    stream = []
    for n in range(1, commits + 1):
        stream.append(f"commit refs/heads/main\nmark :{n}\n")
        stream.append(f"committer Ann <ann@example.org> {1_700_000_000 + n} +0000\n")
        stream.append("data 6\nchange\n" + (f"from :{n - 1}\n" if n > 1 else ""))
        for name in ("a.py", f"dir/{n % 5}.py"):
            text = source(name, n).decode()
            stream.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", path], check=True)
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=path, input="".join(stream).encode(), check=True
    )


def told(store: EventStore) -> list[tuple[object, ...]]:
    return [(e.version, e.fact, e.timestamp, e.writer, e.because) for e in store.read("repo")]


def test_an_import_that_is_killed_and_run_again_ends_as_if_run_at_once(tmp_path: Path) -> None:
    history(tmp_path / "repo", 300)
    url = f"sqlite:///{tmp_path}/store.db"
    command = [
        sys.executable,
        "-c",
        IMPORT,
        "import",
        "git",
        str(tmp_path / "repo"),
        "--store",
        url,
    ]
    counts = [0]
    randomly = random.Random(2026)
    for _ in range(3):
        with subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and known(url) == counts[-1]:
                time.sleep(0.002)
            time.sleep(randomly.uniform(0, 0.05))
            process.kill()
        counts.append(known(url))
    assert counts == sorted(counts)
    assert 0 < counts[1] < 1500
    assert subprocess.run(command, cwd=HERE, capture_output=True, check=False).returncode == 0
    with EventStore.open(url) as store, EventStore.open("sqlite://") as at_once:
        run(at_once, "git", tmp_path / "repo")
        assert told(store) == told(at_once)
        assert (
            len(told(store)) == 1502
        )  # commits, two modules of each, what is in those, names, importer
        for event in store.read("repo", types=["MODULE_ITERATION"]):
            name = event.fact.data["source"]
            assert store.get(name) == at_once.get(name)
        assert list(check(store)) == []
        assert run(store, "git", tmp_path / "repo").added == 0


def known(url: str) -> int:
    try:
        with EventStore.open(url, create=False) as store:
            return store.version("repo")
    except UnavailableError:
        return 0


def test_an_import_goes_on_after_one_of_its_workers_was_killed_at_the_insides(
    tmp_path: Path,
) -> None:
    history(tmp_path / "repo", 400)

    @contextmanager
    def killing(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        read = 0

        def advance(step: int) -> None:
            nonlocal read
            read += step
            if read == 150:  # the first 200 commits have their outlines, the last ones none yet
                os.kill(active_children()[0].pid or 0, signal.SIGKILL)

        yield advance

    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        with pytest.raises(WorkerError, match="found one that was killed"):
            run(store, "git", tmp_path / "repo", processes=2, progress=killing)
        kinds = [event.type for event in store.read("repo")]
        assert 0 < kinds.count("MODULE_OUTLINED") == kinds.count("MODULE_ITERATION") < 800
        run(store, "git", tmp_path / "repo", processes=2)
        with EventStore.open("sqlite://") as at_once:
            run(at_once, "git", tmp_path / "repo")
            assert told(store) == told(at_once)
