"""A run that is killed at any instant goes on from its log, and ends as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ConflictError
from backcast.domain.events import ModelReplied, StepStarted, WorkflowEvent
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.decide import AskModel, decide
from backcast.engine.workflow.loop import spec_in, start, work
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.engine.workflow.spec import spec_at
from backcast.projections import dependency_graph, progress, summaries

HERE = Path(__file__).parents[1]
SPEC, LOG = HERE / "fixtures/specs/validators.toml", HERE / "fixtures/logs/validators.jsonl"
TASK = "validators"
# One process that has imported everything forks the runs, so that each takes little time.
NURSERY = """
import os, sys
from tests.test_killed_runs import go_on

print("ready", flush=True)
for line in sys.stdin:
    url, appends = line.split()
    child = os.fork()
    if not child:
        os._exit(go_on(url, int(appends)))
    print("born", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def recorded() -> Runtime:
    return open_runtime(f"answers:{LOG}", TASK)


def go_on(url: str, appends: int) -> int:
    """Go on with the run, and die after so many appends, if that is not 0."""
    left = [appends]

    def watch(events: Sequence[WorkflowEvent]) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with EventStore.open(url) as store:
            work(store, TASK, recorded(), watch)
    except ConflictError:
        return 3
    return 0


@contextmanager
def nursery(temporary: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process whose children run; what they leave in the temporary directory is gone at last."""
    temporary.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:  # fmt: skip
        assert hear(process) == "ready"
        yield process
        assert leg(process, begun(f"sqlite:///{temporary}-last.db"))  # which removes what is left
    assert [*temporary.iterdir()] == []


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leg(
    process: "subprocess.Popen[str]", url: str, *, appends: int = 0, seconds: float = 0
) -> bool:
    """One process that goes on with the run until it is killed; whether it got to the end."""
    assert process.stdin is not None
    process.stdin.write(f"{url} {appends}\n")
    process.stdin.flush()
    child = int(hear(process).removeprefix("born "))
    if seconds:
        time.sleep(seconds)
        with suppress(ProcessLookupError):  # it was quicker
            os.kill(child, signal.SIGKILL)
    ended = hear(process)
    assert ended in ("ended 0", f"ended {-signal.SIGKILL}")
    return ended == "ended 0"


def begun(url: str) -> str:
    with EventStore.open(url) as store:
        start(store, spec_at(SPEC))
    return url


def pending(url: str) -> str:
    """What the run has to do next, as its log says."""
    with EventStore.open(url) as store:
        action = decide(state_at(store, progress, TASK), spec_in(store, TASK))
    return f"ask {action.kind}" if isinstance(action, AskModel) else type(action).__name__


def outcome(store: EventStore) -> dict[str, Any]:
    """How a run ended: all that does not tell when it was, nor how often it was gone on with."""
    stands = state_at(store, progress, TASK)._replace(
        events=0, started_at=None, last_at=None, asked=0
    )
    modules = state_at(store, dependency_graph, TASK).modules
    built = [e.fact for e in store.read(TASK) if isinstance(e.fact, ContextBuilt)]
    written = state_at(store, summaries, TASK).nodes
    return {
        "progress": stands,
        "code": {path: (modules[path].source, modules[path].iteration) for path in modules},
        "prompts": [one.digest for one in built],
        "answers": [e.fact.text for e in store.read(TASK) if isinstance(e.fact, ModelReplied)],
        "summaries": {node: written[node][-1].text for node in written},
    }


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    with EventStore.open("sqlite://") as store:
        start(store, spec_at(SPEC))
        assert work(store, TASK, recorded()).status == "complete"
        return outcome(store)


def assert_as_unbroken(url: str, unbroken: dict[str, Any]) -> None:
    with EventStore.open(url) as store:
        assert outcome(store) == unbroken
        assert all(verdict.holds for verdict in verified(store, TASK))
        assert list(check(store)) == []
        answered: set[tuple[object, ...]] = set()
        call: tuple[object, ...] = ()
        for event in store.read(TASK):
            if isinstance(event.fact, StepStarted):
                told = event.fact
                call = told.kind, told.module_name, told.iteration, told.attempt
                assert call not in answered, "what was answered was asked again"
            elif isinstance(event.fact, ModelReplied):
                answered.add(call)


def test_a_run_that_is_killed_after_any_append_ends_as_an_unbroken_one(
    tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    after_appends = list[str]()
    with nursery(tmp_path / "temporary") as process:
        for number in (0, 2):  # where the first kill stands
            url, legs = begun(f"sqlite:///{tmp_path}/{number}.db"), count(number)
            # At each append in turn, and not only the first: a run that always dies as soon as it
            # has said what it will ask gets nowhere.
            while not leg(process, url, appends=1 + next(legs) % 4):
                after_appends.append(pending(url))
            assert_as_unbroken(url, unbroken)
    assert len(after_appends) >= 15
    kinds = {"ask plan", "ask code", "TakeAnswer", "CheckAll", "Complete", "AppendFacts"}
    assert kinds <= set(after_appends), "what was to be done next when it was killed"


@pytest.mark.parametrize("seed", [3, 5])
def test_a_run_that_is_killed_at_any_time_ends_as_an_unbroken_one(
    tmp_path: Path, unbroken: dict[str, Any], seed: int
) -> None:
    url, kills = begun(f"sqlite:///{tmp_path}/killed.db"), 0
    randomly, legs = random.Random(seed), count(seed)
    with nursery(tmp_path / "temporary") as process:
        # Later each time: on a slow machine a step takes longer than any bound.
        while not leg(process, url, seconds=randomly.uniform(0.01, 0.4 + next(legs) / 10)):
            kills += 1
    assert_as_unbroken(url, unbroken)
    assert kills >= 2


def test_of_two_processes_that_go_on_with_a_task_one_ends_it_and_the_other_stops(
    tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    url = begun(f"sqlite:///{tmp_path}/two.db")
    command = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()",
               "resume", TASK, "--model", f"answers:{LOG}", "--store", url,
               "--out", str(tmp_path / "out")]  # fmt: skip
    both = [
        subprocess.Popen(
            command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    [lost] = [text for process, text in zip(both, told, strict=True) if process.returncode]
    assert "another process wrote to it at the same time, so this command stopped" in lost
    assert_as_unbroken(url, unbroken)
