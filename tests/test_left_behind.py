"""Workers, their servers and their files do not outlive the process that started them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backcast.domain.errors import WorkerError
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.log.workers import pool_of
from backcast.engine.memory.import_log import run

HERE = Path(__file__).parents[1]
KINDS = ("import", "regress")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
TOGETHER, MOMENTS, SEED = 8, 20, 19
"Processes killed at a time; moments of each kind of work."
NURSERY = """
import os, sys
from itertools import count
from pathlib import Path
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.corpus import Setting, runs_in
from backcast.engine.replay.try_runs import tried

def work(kind, history, folder, mark):
    os.environ["BACKCAST_MARK"], os.environ["TMPDIR"] = mark, folder
    if kind == "import":
        with EventStore.open(f"sqlite:///{folder}/store.db") as store:
            for number in count():
                run(store, "git", Path(history), f"t{number}", processes=2)
    with opened(f"sqlite:///{history}.db") as log:
        runs = list(runs_in(log, 5))
    while True:
        list(tried(runs, [Setting("recorded", None)], None, 2))

if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            work(*line.rstrip().split("|"))
        print(child, flush=True)
"""
PARENT = """
import os, re, sys
from backcast.engine.log.workers import pool_of

def hang(number):
    os.write(1, b"at work\\n")  # at once: two processes write here
    return re.match("(a+)+$", "a" * 64 + "b")  # one call, in which the interpreter is not left

if __name__ == "__main__":
    how = sys.argv[1]
    with pool_of(2) as pool:
        done = pool.map(hang, [1, 2, 3])
        sys.stdin.readline()
        if how == "exception":
            raise ValueError("no more")
        if how == "exit":
            os._exit(3)
"""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with more texts than one process is quicker with, and beside it its store."""
    path = tmp_path_factory.mktemp("left") / "history"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", path], check=True)
    stream = []
    for number in range(90):
        text = f"def f{number}(x):\n    return x + {number}\n" * (1 + number % 3)
        stream.append(
            f"commit refs/heads/main\ncommitter A <a@b.c> {1_600_000_000 + number} +0000\n"
            f"data 2\nc\n\nM 100644 inline m{number % 7}.py\ndata {len(text)}\n{text}\n"
        )
    subprocess.run(
        ["git", "-C", path, "fast-import", "--quiet"], input="".join(stream).encode(), check=True
    )
    with EventStore.open(f"sqlite:///{path}.db") as store:
        run(store, "git", path, "t")
    return path


def marked(mark: str) -> list[int]:
    """The living processes that were started with a mark in their environment."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"BACKCAST_MARK={mark}\0".encode() in environment and state != "Z":
            found.append(int(name))
    return found


def begun(mark: str, count: int) -> int:
    """How many marked processes there are, once they are so many, or ten seconds have gone by."""
    deadline = time.monotonic() + 10
    while len(marked(mark)) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(marked(mark))


def left_after(mark: str) -> list[int]:
    """The marked processes that are still there after a second, more where processes want a core:
    others are at work beside, and the load of a minute tells of them too late."""
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    busy = max(os.getloadavg()[0], running) / (os.cpu_count() or 1)
    deadline = time.monotonic() + max(1.0, busy)
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def nursery() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def born(nursery: "subprocess.Popen[str]", *words: object) -> int:
    """The process that does some work until it is killed."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("|".join(map(str, words)) + "\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def said(store: EventStore, task: str) -> list[object]:
    return [(e.version, e.fact, e.timestamp, e.writer, e.because) for e in store.read(task)]


@linux
def test_nothing_is_left_a_second_after_a_kill_at_any_moment(
    nursery: "subprocess.Popen[str]", history: Path, tmp_path: Path
) -> None:
    moments = random.Random(SEED)
    parted = 0
    for first in range(0, MOMENTS, TOGETHER // len(KINDS)):
        working = {}
        for number in range(first, first + TOGETHER // len(KINDS)):
            for kind in KINDS:
                folder = tmp_path / f"{kind}-{number}"
                folder.mkdir()
                mark = f"{os.getpid()}-{kind}-{number}"
                working[mark] = born(nursery, kind, history, folder, mark)
        waits = sorted(moments.uniform(0, 1.5) for _ in working)
        start = time.monotonic()
        try:
            for wait, (mark, pid) in zip(waits, working.items(), strict=True):
                time.sleep(max(0.0, start + wait - time.monotonic()))
                parted += len(marked(mark)) > 1
                os.kill(pid, signal.SIGKILL)
        finally:
            for pid in working.values():
                os.kill(pid, signal.SIGKILL)  # a second time is no harm: nobody has waited for it
        assert {mark: left_after(mark) for mark in working} == {mark: [] for mark in working}
    assert parted > MOMENTS // 2, "needed kills while workers were at work"
    files = {path.name for kind in KINDS for path in tmp_path.glob(f"{kind}-*/*")}
    assert {name for name in files if not name.startswith("store.db")} == set()
    for number in range(MOMENTS):
        url = f"sqlite:///{tmp_path}/import-{number}/store.db"
        with EventStore.open(url) as store, EventStore.open(f"sqlite:///{history}.db") as whole:
            assert list(check(store)) == []
            if number < 5 and (tasks := store.tasks()):
                run(store, "git", history, tasks[-1])
                assert said(store, tasks[-1]) == said(whole, "t")


@linux
@pytest.mark.parametrize("how", ["exception", "exit", "SIGTERM", "SIGKILL"])
def test_workers_in_a_long_call_end_with_their_parent(how: str, tmp_path: Path) -> None:
    script, mark = tmp_path / "parent.py", f"{os.getpid()}-{how}"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "BACKCAST_MARK": mark},
    ) as parent, ExitStack() as stack:  # fmt: skip
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stderr is not None
        stack.callback(parent.kill)
        assert [parent.stdout.readline() for _ in range(2)] == ["at work\n"] * 2
        assert begun(mark, 4) == 4  # with the tracker of semaphores
        if how.startswith("SIG"):
            parent.send_signal(signal.Signals[how])
        else:
            parent.stdin.write("\n")
            parent.stdin.flush()
        assert left_after(mark) == []
        last = parent.stderr.read().splitlines()[-1:]
    codes = {"exception": 1, "exit": 3, "SIGTERM": -signal.SIGTERM, "SIGKILL": -signal.SIGKILL}
    assert parent.returncode == codes[how]
    assert last == (["ValueError: no more"] if how == "exception" else [])


@linux
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_command_that_is_asked_to_end_says_one_line_at_most(
    kind: str, name: str, history: Path, tmp_path: Path
) -> None:
    mark = f"{os.getpid()}-{kind}-{name}"
    words = ["import", "git", str(history), "--store", f"sqlite:///{tmp_path}/store.db"]
    if kind == "regress":
        words = ["regress", "t", "--window", "2", "--store", f"sqlite:///{history}.db"]
        words += ["--processes", "2", "--policy", "hierarchical", "--policy", "no-cache"]
    environment = {**os.environ, "BACKCAST_MARK": mark, "TMPDIR": str(tmp_path)}
    environment.pop("BACKCAST_STORE", None)
    with subprocess.Popen(
        [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()", *words],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    ) as command, ExitStack() as stack:  # fmt: skip
        stack.callback(command.kill)
        while command.poll() is None and len(marked(mark)) < 4:
            time.sleep(0.01)
        assert command.poll() is None, "needed workers that are at work"
        os.killpg(command.pid, signal.Signals[name])  # as a terminal does
        assert left_after(mark) == []
        out, err = command.communicate()
    assert out == ""
    if name == "SIGINT":
        assert (command.returncode, err.strip().count("\n")) == (130, 0), err
        assert "Ctrl-C" in err
    else:
        assert (command.returncode, err) == (-signal.SIGTERM, "")
    assert all(path.name.startswith("store.db") for path in tmp_path.iterdir())


def test_a_worker_that_is_killed_is_one_error_of_ours() -> None:
    with pytest.raises(WorkerError, match="found one that was killed"), pool_of(2) as pool:
        pool.submit(os._exit, 9).result()


@linux
def test_what_a_test_run_has_started_ends_with_it_too(tmp_path: Path) -> None:
    folder, mark = tmp_path / "data", f"{os.getpid()}-watched"
    folder.mkdir()
    script = f"""
import subprocess, sys, time
from pathlib import Path
from tests.servers import ended_with_us
server = subprocess.Popen(["sleep", "100"], start_new_session=True)
with ended_with_us(server.pid, Path({str(folder)!r})):
    print("ready", flush=True)
    time.sleep(100)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=HERE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "BACKCAST_MARK": mark},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert begun(mark, 3) == 3
        parent.kill()
        parent.wait()
        assert left_after(mark) == []
    assert not folder.exists()


def test_an_exception_ends_workers_in_the_midst_of_a_large_value(tmp_path: Path) -> None:
    script = tmp_path / "large.py"
    script.write_text(
        "import sys, time\n"
        "from backcast.engine.log.workers import pool_of\n"
        "if __name__ == '__main__':\n"
        "    with pool_of(1) as pool:\n"
        "        values = [pool.submit(bytes, bytearray(3_000_000)) for _ in range(30)]\n"
        "        values[0].result()\n"
        "        time.sleep(float(sys.argv[1]))\n"
        "        raise SystemExit(7)\n"
    )
    started = [
        subprocess.Popen([sys.executable, script, str(wait / 1000)]) for wait in range(3)
    ]  # fmt: skip
    try:
        assert [process.wait(30) for process in started] == [7] * 3
    finally:
        for process in started:
            process.kill()
            process.wait()
