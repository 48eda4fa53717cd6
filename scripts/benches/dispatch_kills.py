"""What is left when we, keepers or agents are killed at random moments, 50 times.

Two tasks are worked on at once. every second kill comes at a random moment from the start of our
process on, the others some time after an agent has begun. An agent starts programs in sessions of
their own, one of which ignores TERM and one of which has no variables by which it could be known.
"""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from backcast.domain.dispatch_events import DispatchEnded, DispatchStarted, ItemDecided
from backcast.engine.log.store import EventStore
from scripts.benches.dispatch_claims import CART, TEST
from scripts.benches.dispatched import AGENT, committed, fresh, git, own_temporary
from scripts.benches.figures import ROOT, Bench, Bound, Figure

GROUP = "kill -9 at random moments"
KILLS, FULL = 50, 200
PATIENCE = 20.0
COMMAND = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()"]
VICTIMS = ("us", "us", "agent", "keeper", "us and keeper")
TASKS = "- [ ] 1. total() must count each thing\n- [ ] 2. total() must be tested\n"


def measure(bench: Bench) -> list[Figure]:
    """Return processes, folders and repeated dispatches after kills."""
    folder = fresh(bench, "kills")
    place = folder / "cart"
    place.mkdir()
    (place / "cart.py").write_text(CART)
    (place / "test_cart.py").write_text(TEST)
    (place / "tasks.md").write_text(TASKS)
    git(place, "init", "-q")
    committed(place, "a task")
    draw, kills = random.Random(26), FULL if bench.full else KILLS
    processes = folders = 0
    with own_temporary() as temporary:
        for number in range(kills):
            victim = VICTIMS[number % len(VICTIMS)]
            bench.say(f"kill {number + 1} of {kills}: {victim}")
            early = number // len(VICTIMS) % 2 == 1
            _killed(folder, place, temporary, victim, draw.uniform(0, 4.0), early=early)
            if "keeper" in victim:  # nobody watched: the next run clears it away
                _run(folder, place, "nothing").wait()
            processes += len(_working_in(temporary))
            names = sorted(path.name for path in temporary.iterdir())
            folders += len(names)
            if names:
                bench.say(f"left after kill {number + 1} of {victim}: {', '.join(names)}")
            (place / "tasks.md").write_text(TASKS)
        ended = _run(folder, place, "marks").wait()
    repeated, unsettled, done, cut = _counted(folder)
    return [
        Figure(GROUP, "dispatches that were cut off", [cut], "", f"{cut} in {kills} kills"),
        Figure(GROUP, "processes left", [processes], "", f"{processes} after {kills} kills",
               must=Bound("<=", 0)),
        Figure(GROUP, "folders left", [folders], "", f"{folders}", must=Bound("<=", 0)),
        Figure(GROUP, "dispatches made again after they had answered", [repeated], "",
               f"{repeated}", must=Bound("<=", 0)),
        Figure(GROUP, "dispatches that the log never settles", [unsettled], "", f"{unsettled}",
               must=Bound("<=", 0)),
        Figure(GROUP, "the run goes on to its end", [float(done and ended == 0)], "",
               "yes" if done else "no", must=Bound(">=", 1)),
    ]  # fmt: skip


def _run(folder: Path, place: Path, *words: str) -> "subprocess.Popen[bytes]":
    agent = f"cmd: {shlex.join([sys.executable, str(AGENT), *words])}"
    return subprocess.Popen(
        [*COMMAND, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--implementer",
         agent, "--attempts", "1", "--concurrency", "2", "--task", "killed", "--store",
         f"sqlite:///{folder}/killed.db"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _killed(
    folder: Path, place: Path, temporary: Path, victim: str, after: float, *, early: bool
) -> None:
    """Start a run, and kill a part of it some time after it, or its first agent, has begun."""
    process = _run(folder, place, "daemon", "2")
    while not early and process.poll() is None and not _working_in(temporary):
        time.sleep(0.02)
    time.sleep(after)
    keepers = _keepers(temporary)
    with suppress(ProcessLookupError):
        for pid in _working_in(temporary) if victim == "agent" else ():
            os.kill(pid, signal.SIGKILL)
        for pid in keepers if "keeper" in victim else ():
            os.kill(pid, signal.SIGKILL)
        if "us" in victim:
            process.kill()
    process.wait()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and "keeper" not in victim and (
        _working_in(temporary) or any(temporary.iterdir())
    ):  # fmt: skip
        time.sleep(0.05)


def _keepers(folder: Path) -> list[int]:
    """Return the keepers of agents in a folder, and of no others."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            if b"dispatch import keeper" in words and str(folder).encode() in words:
                found.append(int(name))
    return found


def _working_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder, or in one that was there."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd").startswith(str(folder)):
                found.append(int(name))
    return found


def _counted(folder: Path) -> tuple[int, int, bool, int]:
    """Return repeated, unsettled and cut dispatches, and whether the task is done at the end."""
    with EventStore.open(f"sqlite:///{folder}/killed.db") as store:
        facts = [(event.version, event.fact) for event in store.read("killed")]
    started = {version for version, fact in facts if isinstance(fact, DispatchStarted)}
    ended = {fact.dispatch for _, fact in facts if isinstance(fact, DispatchEnded)}
    repeated = 0
    answered, decided, items = set[str | None](), dict[str | None, str | None](), {}
    for version, fact in facts:
        match fact:
            case DispatchStarted(item=item):
                repeated += item in answered  # nothing was decided of the answer before
                items[version] = item
            case DispatchEnded(outcome="answered", dispatch=dispatch):
                answered.add(items[dispatch])
            case ItemDecided(item=item, action=action):
                answered.discard(item)
                decided[item] = action
    done = decided == {"1": "done", "2": "done"}
    ways = [fact.outcome for _, fact in facts if isinstance(fact, DispatchEnded)]
    return repeated, len(started - ended), done, len(ways) - ways.count("answered")
