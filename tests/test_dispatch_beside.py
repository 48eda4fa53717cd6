"""Dispatches side by side: who may begin, in which order work lands, what they may spend."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.dispatch_events import DispatchStarted
from backcast.domain.errors import InputError
from backcast.domain.spending import Allowance
from backcast.domain.task_list import parse_tasks
from backcast.engine.workflow.dispatch.budget import share_of
from backcast.engine.workflow.dispatch.side_by_side import ordered
from tests.test_dispatch import CART, Dispatched, agent, dispatched, git, own_folder
from tests.upstreams import BACKCAST

__all__ = ["own_folder"]
THREE = "- [ ] 1. First\n- [ ] 2. Second\n- [ ] 3. Third\n"
RIVALS = """from pathlib import Path


def test_rivals():
    assert len(list(Path(__file__).parent.glob("rival-*.txt"))) < 2
"""


def project(folder: Path, tasks: str, tests: str = "def test_a(): pass\n") -> Path:
    place = folder / "cart"
    place.mkdir()
    for name, text in (("cart.py", CART), ("test_a.py", tests), ("tasks.md", tasks),
                       ("line.txt", "begin\n")):  # fmt: skip
        (place / name).write_text(text)
    git(place, "init", "-q", "-b", "main")
    git(place, "add", "--all")
    git(place, "commit", "-qm", "a project")
    return place


def landed(place: Path) -> list[str]:
    return git(place, "log", "--format=%s", "--reverse", "main..backcast/cart").splitlines()


def most_at_once(done: Dispatched) -> int:
    running = most = 0
    for event in done.events:
        running += (event.type == "DISPATCH_STARTED") - (event.type == "DISPATCH_ENDED")
        most = max(most, running)
    return most


def test_tasks_are_worked_on_at_once_and_land_in_the_order_of_the_list(tmp_path: Path) -> None:
    place = project(tmp_path, THREE)
    done = dispatched(tmp_path, "part", concurrency=2)
    assert done.stopped == ""
    assert most_at_once(done) == 2
    items = {event.version: event.fact.item for event in done.events
             if isinstance(event.fact, DispatchStarted)}  # fmt: skip
    ended = [items[fact["dispatch"]] for fact in done.facts("DISPATCH_ENDED")]
    assert ended.index("1") > ended.index("2")  # the first one took longest
    assert landed(place) == ["1 First", "2 Second", "3 Third"]
    assert (place / "tasks.md").read_text() == THREE.replace("[ ]", "[x]")
    checked = done.facts("CLAIM_CHECKED")
    assert len(checked) > 3  # what landed later was checked again upon what was done before
    assert [fact["accepted"] for fact in checked] == [True] * len(checked)


def test_a_task_waits_for_what_it_depends_on(tmp_path: Path) -> None:
    project(tmp_path, THREE.replace("Second\n", "Second\n  - _Depends: 3_\n"))
    done = dispatched(tmp_path, "part", concurrency=3)
    begun = [fact["item"] for fact in done.facts("DISPATCH_STARTED")]
    assert sorted(begun[:2]) == ["1", "3"]
    decided = [fact["item"] for fact in done.facts("ITEM_DECIDED")]
    assert decided == ["1", "3", "2"]


def test_work_that_does_not_fit_what_was_done_meanwhile_is_tried_again_upon_it(
    tmp_path: Path,
) -> None:
    place = project(tmp_path, THREE)
    done = dispatched(tmp_path, "line", concurrency=3, attempts=3)
    assert done.stopped == ""
    assert git(place, "show", "backcast/cart:line.txt") == "begin 1 2 3\n"
    reasons = [fact["reason"] for fact in done.facts("CLAIM_CHECKED") if not fact["accepted"]]
    assert reasons
    assert all("do not fit what was done meanwhile" in reason for reason in reasons)


def test_work_that_fails_together_with_what_was_done_meanwhile_does_not_land(
    tmp_path: Path,
) -> None:
    place = project(tmp_path, THREE.replace("- [ ] 3. Third\n", ""), RIVALS)
    done = dispatched(tmp_path, "rival", concurrency=2, attempts=2)
    assert done.stopped == ""
    names = git(place, "ls-tree", "--name-only", "backcast/cart").split()
    assert [name for name in names if name.startswith("rival")] == ["rival-1.txt"]
    assert "second.txt" in names
    [refused] = [fact for fact in done.facts("CLAIM_CHECKED") if not fact["accepted"]]
    assert (refused["failed"], refused["commit"]) == (
        1, git(place, "rev-parse", "backcast/cart~1").strip())  # fmt: skip


def test_dispatches_side_by_side_cannot_overspend_a_budget_together(tmp_path: Path) -> None:
    project(tmp_path, THREE)
    done = dispatched(tmp_path, "part", concurrency=3, budget=Allowance(calls=2))
    assert "budget_calls" in done.stopped
    assert len(done.facts("DISPATCH_STARTED")) == 2


@given(st.integers(1, 100), st.integers(1, 12))
def test_shares_of_calls_are_all_calls_together_and_no_more(calls: int, slots: int) -> None:
    spent = begun = 0
    while begun < slots:  # each is set aside before the next begins
        share = share_of(Allowance(calls=calls - spent), slots - begun).calls
        if not share:
            break
        spent, begun = spent + share, begun + 1
    assert begun == min(calls, slots)
    assert spent == calls


def test_a_halted_task_lets_what_is_under_way_land_and_nothing_else_begin(tmp_path: Path) -> None:
    place = project(tmp_path, THREE, "def test_a(): pass\n")
    (place / "test_b.py").write_text(
        "import pathlib\ndef test_b(): assert not pathlib.Path('part-1.txt').exists()\n"
    )
    git(place, "add", "--all")
    git(place, "commit", "-qm", "no part 1")
    done = dispatched(tmp_path, "part", concurrency=2)
    assert done.stopped == "1: 1 of 2 tests fails; 1 attempt made"
    assert landed(place)[0] == "2 Second"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_and_repeats_nothing_that_was_done(
    tmp_path: Path, how: signal.Signals
) -> None:
    place = project(tmp_path, THREE)
    process = subprocess.Popen(
        [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--task", "cart",
         "--implementer", agent("part"), "--concurrency", "2"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ},
    )  # fmt: skip
    assert process.stderr is not None
    while b"part" not in (line := process.stderr.readline()) and b"answered" not in line:
        assert line
    process.send_signal(how)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any((tmp_path / "tmp").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((tmp_path / "tmp").iterdir()) == []
    done = dispatched(tmp_path, "part", concurrency=2)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert done.stopped == ""
    assert landed(place) == ["1 First", "2 Second", "3 Third"]
    answered = {fact["dispatch"] for fact in done.facts("DISPATCH_ENDED")
                if fact["outcome"] == "answered"}  # fmt: skip
    assert len(answered) == 3


def test_tasks_that_depend_on_each_other_in_a_circle_are_refused() -> None:
    text = "- [ ] 1. A\n  - _Depends: 2_\n- [ ] 2. B\n  - _Depends: 1_\n"
    tasks = parse_tasks(text)
    with pytest.raises(InputError, match="found 1 -> 2 -> 1"):
        ordered(tasks.tasks, tasks)
    tasks = parse_tasks("- [ ] 1. A\n  - _Depends: 7_\n")
    with pytest.raises(InputError, match="needed a task of the list"):
        ordered(tasks.tasks, tasks)
