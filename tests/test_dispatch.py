"""Agents are dispatched: their work is checked, nothing of it is believed, nothing is left."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backcast.domain.dispatch_results import read_result
from backcast.domain.errors import InputError, UnavailableError
from backcast.domain.events import WorkflowEvent, line_of
from backcast.domain.spending import Allowance
from backcast.engine.interfaces.tool_shares import tool_share
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.dispatch.agents import agent_of
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
from backcast.engine.workflow.dispatch.folders import PREFIX, new_folder
from backcast.engine.workflow.dispatch.leftovers import MARK, running
from backcast.engine.workflow.dispatch.loop import begin, work
from backcast.engine.workflow.dispatch.source import source_at
from backcast.engine.workflow.dispatch.work_tree import leads_out
from tests.upstreams import BACKCAST, backcast, refused

AGENT = Path(__file__).with_name("dispatched_agent.py")
CART = """class Cart:
    def __init__(self):
        self.items = []

    def add(self, name, count, price):
        self.items.append((name, count, price))

    def total(self):
        return sum(price for name, count, price in self.items)
"""
TEST = """from cart import Cart


def test_total():
    cart = Cart()
    cart.add("pear", 3, 0.5)
    cart.add("bread", 1, 2.0)
    assert cart.total() == 3.5


def test_empty():
    assert Cart().total() == 0
"""
TASKS = """# Tasks

- [ ] 1. Mend the cart
  - [ ] 1.1 total() must count each thing
    - See cart.py.
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the folders of agents apart from those of other tests, and see that none is left."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def git(folder: Path, *arguments: str) -> str:
    named = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    command = ["git", *named, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def repository(folder: Path, tasks: str = TASKS) -> Path:
    folder.mkdir()
    for name, text in (("cart.py", CART), ("test_cart.py", TEST), ("tasks.md", tasks)):
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "a cart")
    return folder


def agent(*words: str) -> str:
    return f"cmd: {shlex.join([sys.executable, str(AGENT), *words])}"


class Dispatched(NamedTuple):
    """What came of a run."""

    stopped: str
    events: list[WorkflowEvent]
    lines: list[str]

    def facts(self, kind: str) -> list[dict[str, Any]]:
        return [line_of(event)["data"] for event in self.events if event.type == kind]


def dispatched(
    folder: Path, *words: str, reviewer: str = "", limits: dict[str, float] | None = None,
    **settings: Any,
) -> Dispatched:  # fmt: skip
    """Let agents work through the list of a repository, made if there is none."""
    place = folder / "cart"
    if not place.exists():
        repository(place)
    tasks = place / "tasks.md"
    limited = limits or {}
    asked = {
        "implementer": agent_of(agent(*words)).model_copy(update=limited),
        "reviewer": agent_of(agent(reviewer)).model_copy(update=limited) if reviewer else None,
    }
    named = DispatchSettings(**{**asked, "attempts": 1, **settings})
    lines: list[str] = []
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=True) as store:
        run = DispatchRun(store, "cart", source_at(place, [tasks]), tasks, named, lines.append)
        begin(run)
        stopped = work(run)
        events = list(store.read("cart"))
    assert not list((folder / "tmp").iterdir())
    for event in events:
        if event.type == "DISPATCH_STARTED":
            assert running(line_of(event)["data"]["mark"]) == []
    return Dispatched(stopped, events, lines)


def test_work_that_holds_is_committed_on_a_branch_of_its_own(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "good")
    assert done.stopped == ""
    [checked], [ended] = done.facts("CLAIM_CHECKED"), done.facts("DISPATCH_ENDED")
    assert (checked["passed"], checked["failed"], checked["accepted"]) == (2, 0, True)
    assert checked["differences"] == []
    assert ended["files"] == [{"path": "cart.py", "change": "changed"}]
    place = tmp_path / "cart"
    assert git(place, "branch", "--show-current") == "main\n"
    assert git(place, "log", "--format=%s", "backcast/cart").splitlines() == [
        "1.1 total() must count each thing", "a cart",
    ]  # fmt: skip
    assert "count * price" in git(place, "show", "backcast/cart:cart.py")
    assert (place / "cart.py").read_text() == CART
    assert "- [x] 1. Mend" in (place / "tasks.md").read_text()
    assert "- [x] 1.1 total" in (place / "tasks.md").read_text()
    assert git(place, "status", "--porcelain") == " M tasks.md\n"
    assert dispatched(tmp_path, "good").facts("DISPATCH_STARTED") == done.facts("DISPATCH_STARTED")


FALSE = {
    "nothing": "claims to have changed cart.py, which is as it was",
    "notes": "claims 5 passed (pytest); 1 of 2 fails",
    "skips": "claims that 'pytest' passed; ",
    "deletes": "claims that 'pytest' passed; 1 of 2 fails",
    "weakens": "claims that 'pytest' passed; 1 of 4 fails",
    "patches": "claims that 'pytest' passed; ",
    "exits": "claims that 'pytest' passed; ",
    "shadows": "claims to have changed cart.py",
    "own-test": "claims that 'pytest' passed; 1 of 3 fails",
    "breaks": "claims that 'pytest' passed; ",
    "other-file": "claims to have changed docs.md, which is as it was",
}
"What a false claim says that is not so, by what the agent did instead."


@pytest.mark.parametrize("what", sorted(FALSE))
def test_a_false_claim_completes_nothing(tmp_path: Path, what: str) -> None:
    done = dispatched(tmp_path, what)
    [checked] = done.facts("CLAIM_CHECKED")
    assert checked["accepted"] is False, checked
    assert any(FALSE[what] in text for text in checked["differences"]), checked
    assert [fact["action"] for fact in done.facts("ITEM_DECIDED")] == ["halt"]
    assert "backcast/cart" not in git(tmp_path / "cart", "branch")
    assert "- [ ] 1.1" in (tmp_path / "cart/tasks.md").read_text()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("links", "not kept: a link out of the project, names.txt -> /etc/passwd"),
        ("nests", "not kept: a repository of its own, sub"),
    ],
)
def test_what_is_no_part_of_the_project_is_not_kept(tmp_path: Path, what: str, reason: str) -> None:
    found = dispatched(tmp_path, what)
    [checked] = found.facts("CLAIM_CHECKED")
    assert (checked["passed"], checked["accepted"], checked["reason"]) == (2, False, reason)
    assert "backcast/cart" not in git(tmp_path / "cart", "branch")


@pytest.mark.parametrize(
    ("path", "target", "leads"),
    [
        ("a", "b", False),
        ("d/a", "../b", False),
        ("d/a", "../../b", True),
        ("d/e/up", "same/../../x", True),  # `same` may be a link itself
        ("a", "/etc/passwd", True),
        ("a", "./.git/config", True),
    ],
)
def test_a_link_leads_out_by_its_own_text(path: str, target: str, leads: bool) -> None:
    assert leads_out(path, target) is leads


def test_an_approval_does_not_override_a_failed_check(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "weakens", reviewer="approve")
    assert [fact["role"] for fact in done.facts("DISPATCH_STARTED")] == ["implementer"]
    assert "1 of 4 tests fails" in done.stopped


def test_a_second_attempt_sees_what_was_found_of_the_first(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "learns", attempts=2)
    assert done.stopped == ""
    first, second = done.facts("DISPATCH_STARTED")
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        texts = [store.get(fact["prompt"]).decode() for fact in (first, second)]
    start = texts[0].index("# Task")
    assert texts[0][:start] == texts[1][:start]
    assert "Attempt" not in texts[0]
    assert "# Attempt 2 of 2" in texts[1]
    assert "claims that 'pytest' passed; 1 of 2 fails" in texts[1]
    assert "test_cart.py::test_total: " in texts[1]


def test_required_fixes_reach_the_next_attempt(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "with-unit", reviewer="wants-once", attempts=2)
    assert done.stopped == "", done.lines
    assert [fact["role"] for fact in done.facts("DISPATCH_STARTED")] == [
        "implementer", "reviewer", "implementer", "reviewer",
    ]  # fmt: skip
    assert git(tmp_path / "cart", "show", "backcast/cart:unit.txt") == "euro\n"


def test_alike_attempts_are_planned_anew_once_and_then_halt_the_run(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "good", reviewer="wants", attempts=9)
    assert done.stopped.startswith("1.1: the same c")
    assert "a person must decide" in done.stopped
    asked = [fact for fact in done.facts("DISPATCH_STARTED") if fact["role"] == "implementer"]
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        told = ["plan it anew" in store.get(fact["prompt"]).decode() for fact in asked]
    assert told == [False, False, True]


def test_one_repair_of_the_form_is_asked_for(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "mended")
    assert done.stopped == ""
    first, second = done.facts("RESULT_CLAIMED")
    assert first["error"] == "marker_missing"
    assert second["result"]["status"] == "completed"
    assert done.facts("DISPATCH_STARTED")[1]["repairs"]
    again = tmp_path / "again"
    (again / "tmp").mkdir(parents=True)
    os.environ["TMPDIR"], tempfile.tempdir = str(again / "tmp"), None
    never = dispatched(again, "never-block")
    assert len(never.facts("DISPATCH_STARTED")) == 2
    assert "no result that can be read" in never.stopped


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("echo", "marker_missing", "only the prompt's own example is repeated"),
        ("schema", "schema_invalid", "status: input should be 'completed', 'blocked' or 'failed'"),
        ("other-task", "task_mismatch", "needed the result of task '1.1', found that of '9.9'"),
        ("cut", "marker_missing", "the block is cut"),
    ],
)
def test_a_result_that_cannot_be_read_has_a_code(
    tmp_path: Path, what: str, error: str, words: str
) -> None:
    claimed = dispatched(tmp_path, what).facts("RESULT_CLAIMED")[0]
    assert claimed["error"] == error
    assert words in claimed["message"]


@pytest.mark.parametrize("what", ["twice", "fenced", "git"])
def test_odd_ways_to_say_it_are_read(tmp_path: Path, what: str) -> None:
    done = dispatched(tmp_path, what)
    assert done.stopped == "", done.lines
    notes = done.facts("RESULT_CLAIMED")[0]["notes"]
    assert notes == (["the block stands 2 times, differently: the last one counts"]
                     if what == "twice" else [])  # fmt: skip


def test_an_agent_that_fails_after_its_claim_has_failed(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "exit")
    [ended], [checked] = done.facts("DISPATCH_ENDED"), done.facts("CLAIM_CHECKED")
    assert (ended["outcome"], ended["exit_code"]) == ("failed", 1)
    assert checked["accepted"] is False
    assert "exit code 1" in done.stopped


def test_a_blocked_agent_says_why(tmp_path: Path) -> None:
    assert "it says blocked: each thing counts" in dispatched(tmp_path, "blocked").stopped


@pytest.mark.parametrize(
    ("what", "limits", "outcome"),
    [
        ("silent", {"silence": 3.0}, "silence"),  # it has to start and to say a word before
        ("sleep", {"seconds": 1.0}, "time limit"),
        ("loop", {"seconds": 2.0, "silence": 1.0}, "time limit"),
    ],
)
def test_an_agent_is_ended_at_its_limits(
    tmp_path: Path, what: str, limits: dict[str, float], outcome: str
) -> None:
    done = dispatched(tmp_path, what, limits=limits)
    [ended] = done.facts("DISPATCH_ENDED")
    assert ended["outcome"] == outcome
    assert ended["exit_code"] == -signal.SIGTERM
    assert ended["seconds"] < 20
    printed = done.facts("AGENT_PRINTED")
    assert bool(printed) == (what != "sleep")


def test_what_an_agent_leaves_running_is_ended_and_named(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "daemon")
    [ended] = done.facts("DISPATCH_ENDED")
    assert {"sleep", "sh"} <= set(ended["killed"])
    assert done.stopped == ""
    assert _strays(tmp_path) == []


def _strays(folder: Path) -> list[str]:
    """Return the processes that work in a folder, or in one that was there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if os.readlink(f"{entry}/cwd").startswith(str(folder / "tmp")):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [line for line in found if line]  # what is ending has none any more


def test_an_agent_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "cart-outside"
    done = dispatched(tmp_path, "outside", str(target))
    [ended] = done.facts("DISPATCH_ENDED")
    if ended["isolation"]["writes"] != "landlock":
        pytest.skip("this system has no Landlock")
    assert not target.exists()
    assert done.stopped == ""


def test_an_agent_whose_folder_is_in_memory_reaches_no_other_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("this system has no /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        monkeypatch.setenv("TMPDIR", memory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        target = Path(memory) / "of-another-agent"
        done = dispatched(tmp_path, "outside", str(target))
        assert done.stopped == ""
        assert list(Path(memory).iterdir()) == (
            [] if done.facts("DISPATCH_ENDED")[0]["isolation"]["writes"] == "landlock"
            else [target]
        )  # fmt: skip


def test_much_output_is_cut_in_its_midst_and_counted(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "big", "40")
    [ended] = done.facts("DISPATCH_ENDED")
    assert ended["stdout_bytes"] > 40 * 2**20
    [note] = ended["notes"]
    assert "bytes of stdout were not kept" in note
    assert done.stopped == ""  # the block stands at its end
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        kept = sum(len(store.get(fact["text"])) for fact in done.facts("AGENT_PRINTED"))
    assert kept == 5 * 2**20


def test_the_budget_denies_what_it_does_not_suffice_for(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "notes", attempts=5, budget=Allowance(calls=2))
    assert done.stopped == "1.1: budget_calls: no calls are left of the budget"
    assert len(done.facts("DISPATCH_STARTED")) == 2
    shown = json.loads(backcast(tmp_path, "show", "spending", "cart", "--json"))
    assert shown["spent"]["calls"] == 2


def test_a_killed_run_leaves_nothing_and_goes_on(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    command = [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--task",
               "cart", "--attempts", "1"]  # fmt: skip
    process = subprocess.Popen([*command, "--implementer", agent("sleep")], cwd=tmp_path,
                               stderr=subprocess.PIPE, env={**os.environ})  # fmt: skip
    assert process.stderr is not None
    assert b"attempt 1" in process.stderr.readline()
    deadline = time.monotonic() + 10
    while not _strays(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _strays(tmp_path)
    process.kill()
    process.wait()
    process.stderr.close()
    while time.monotonic() < deadline + 15 and (
        _strays(tmp_path) or any((tmp_path / "tmp").iterdir())
    ):
        time.sleep(0.05)
    assert _strays(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    done = dispatched(tmp_path, "good")
    assert [fact["outcome"] for fact in done.facts("DISPATCH_ENDED")] == ["cut", "answered"]
    assert [fact["attempt"] for fact in done.facts("DISPATCH_STARTED")] == [1, 1]
    assert done.stopped == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_the_end_of_a_service_ends_the_agent_and_is_told(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    place = repository(tmp_path / "cart")
    process = subprocess.Popen(
        [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--implementer",
         agent("sleep"), "--task", "cart"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert b"attempt 1" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"interrupted; the same command goes on from here" in said
    assert _strays(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert dispatched(tmp_path, "good").stopped == ""


def test_the_check_is_made_again_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backcast.engine.workflow.dispatch import dispatching

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dispatching, "found_by_tests", stopped)
        with pytest.raises(KeyboardInterrupt):
            dispatched(tmp_path, "good")
    done = dispatched(tmp_path, "good")
    assert done.stopped == ""
    assert len(done.facts("DISPATCH_STARTED")) == 1


def test_a_store_that_takes_no_more_ends_the_agent_and_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backcast.engine.workflow.dispatch import dispatching

    def full(*_: object) -> None:
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(dispatching, "_printed", full)
        with pytest.raises(UnavailableError):
            dispatched(tmp_path, "loop")
    assert _strays(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    done = dispatched(tmp_path, "good")
    assert [fact["outcome"] for fact in done.facts("DISPATCH_ENDED")] == ["cut", "answered"]


# What is refused


def refusal(tmp_path: Path, *more: str, place: Path | None = None) -> str:
    folder = place or repository(tmp_path / "cart")
    code, lines = refused(
        tmp_path, "dispatch", str(folder / "tasks.md"), "--repo", str(folder),
        *(more or ("--implementer", agent("good"))),
    )  # fmt: skip
    assert code == 2
    assert len(lines) == 1
    return lines[0]


def test_uncommitted_work_is_refused(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / "cart.py").write_text("")
    said = refusal(tmp_path, place=place)
    assert "found changes in cart.py: 'git commit' or 'git stash' them, and go on" in said


def test_submodules_are_refused(tmp_path: Path) -> None:
    place, other = repository(tmp_path / "cart"), repository(tmp_path / "other")
    git(place, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "inner")
    git(place, "commit", "-qm", "inner")
    assert "needed a repository without submodules, found inner" in refusal(tmp_path, place=place)


def test_an_agent_that_is_not_here_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "--implementer", "cmd: no-such-agent --fast")
    assert "no program 'no-such-agent' on PATH" in said


def test_an_unknown_agent_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "--implementer", "gpt")
    assert (
        "no agent 'gpt'; there are aider, claude, codex, gemini, mini, opencode, pi, qwen" in said
    )


@pytest.mark.parametrize("tasks", ["", "# Tasks\n", "- one\n"])
def test_a_list_without_tasks_is_refused(tmp_path: Path, tasks: str) -> None:
    place = repository(tmp_path / "cart", tasks)
    assert "tasks.md: tasks: needed a task such as" in refusal(tmp_path, place=place)


@pytest.mark.parametrize("budget", ["", "2 dogs", "0usd", "1h,5min"])
def test_a_budget_that_is_none_is_refused(tmp_path: Path, budget: str) -> None:
    more = ("--implementer", agent("good"), "--budget", budget)
    assert "--budget: needed " in refusal(tmp_path, *more)


def test_hooks_and_filters_do_not_run(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / ".gitattributes").write_text("*.py filter=odd\n")
    git(place, "add", "--all")
    git(place, "commit", "-qm", "filtered")
    ran = tmp_path / "ran"
    for name in ("clean", "smudge"):
        git(place, "config", f"filter.odd.{name}", f"touch {ran}; cat")
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        hook = place / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    os.utime(place / "cart.py", (1, 1))
    assert dispatched(tmp_path, "good").stopped == ""
    assert not ran.exists()


def test_a_list_that_somebody_else_changes_is_merged(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart", TASKS.replace("\n", "\r\n"))
    dispatched(tmp_path, "notes")
    tasks = place / "tasks.md"
    body = tasks.read_bytes()
    assert body.replace(b"\r\n", b"").count(b"\n") == 0
    tasks.write_bytes(body + b"- [ ] 2. Write it down\r\n")
    done = dispatched(tmp_path, "good", only=("1",))
    assert done.stopped == ""
    assert b"- [ ] 2. Write it down\r\n" in tasks.read_bytes()
    assert b"- [x] 1.1 total" in tasks.read_bytes()


def test_a_store_keeps_two_runs_apart(tmp_path: Path) -> None:
    dispatched(tmp_path, "good")
    other = repository(tmp_path / "other")
    code, lines = refused(tmp_path, "dispatch", str(other / "tasks.md"), "--repo", str(other),
                          "--implementer", agent("good"), "--task", "cart")  # fmt: skip
    assert code == 2
    assert "name another by --task" in lines[-1]


def test_an_empty_answer_and_half_a_block_are_told_apart() -> None:
    assert "the final answer is empty" in read_result("", "reviewer", "1").message
    glued = "BEGIN_DISPATCH_RESULT {\nBEGIN_DISPATCH_RESULT\n"
    whole = glued + '{"task_id": "1", "assessment": "approved"}\nEND_DISPATCH_RESULT'
    assert read_result(whole, "reviewer", "1").result == {"task_id": "1", "assessment": "approved"}


def test_an_unknown_task_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no task '7'; there are 1, 1\.1"):
        dispatched(tmp_path, "good", only=("7",))


def test_no_folder_is_taken_for_ours_by_its_place_in_a_log() -> None:
    from backcast.engine.workflow.dispatch.leftovers import remove_left

    with tempfile.TemporaryDirectory(prefix="not-ours-") as folder:
        assert not remove_left(folder, "none")
        assert Path(folder).is_dir()
    assert PREFIX == "backcast-dispatch-"


# More of what is bad


def test_an_agent_that_asks_on_the_terminal_finds_none(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "asks")
    assert done.stopped.startswith("1.1: it has no result that can be read")
    [ended, _] = done.facts("DISPATCH_ENDED")
    assert ended["outcome"] == "answered"
    assert ended["seconds"] < 20
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        assert b"cannot ask: No such device" in store.get(ended["answer"])


def test_an_agent_that_needs_a_login_fails_and_what_it_says_is_in_the_log(tmp_path: Path) -> None:
    done = dispatched(tmp_path, "login")
    assert "it ended with exit code 1: Please log in first: agent login" in done.stopped
    [printed] = done.facts("AGENT_PRINTED")
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        assert store.get(printed["text"]) == b"Please log in first: agent login\n"


def test_a_key_that_an_agent_prints_when_it_fails_is_in_no_reason_and_no_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CART_LOGIN", "zq7-correct-horse")
    limits: dict[str, Any] = {"keys": ("CART_LOGIN",)}
    done = dispatched(tmp_path, "refused", limits=limits, attempts=2)
    assert "exit code 3: 401 for MASKED_secret_1 no such account" in done.stopped
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        prompt = store.get(done.facts("DISPATCH_STARTED")[1]["prompt"]).decode()
    assert "401 for MASKED_secret_1" in prompt
    assert "horse" not in prompt + "".join(done.lines)


def test_a_keeper_shows_nothing_of_its_orders_and_takes_long_ones(tmp_path: Path) -> None:
    from backcast.engine.workflow.dispatch.agent_run import AgentOrders, AgentRun

    folder, lock = new_folder("orders")
    (folder / "work").mkdir()
    long = [f"{number}{'x' * 100_000}" for number in range(5)]
    run = AgentRun(AgentOrders(
        folder=folder, work=folder / "work", command=("/bin/echo", *long), prompt=None, lock=lock,
        environment={"KEY": "correct-horse", MARK: "m"}, seconds=60, silence=60,
    ))  # fmt: skip
    try:
        run.start_keeper()
        assert run._keeper is not None
        shown = Path(f"/proc/{run._keeper.pid}/cmdline").read_bytes()
        assert str(folder).encode() in shown
        assert b"horse" not in shown
        run.run(lambda stream, at, part: None)
    finally:
        os.close(lock)
        run.close()
    assert (run.outcome, run.stdout.size) == ("answered", sum(map(len, long)) + 5)
    assert not folder.exists()


def test_a_folder_that_had_no_keeper_yet_is_swept_after_a_kill(tmp_path: Path) -> None:
    script = (
        "import os\nfrom pathlib import Path\n"
        "from backcast.engine.workflow.dispatch.folders import new_folder, swept_after\n"
        "with swept_after():\n    for name in 'ab':\n        folder, _ = new_folder(name)\n"
        "        Path(folder, 'work').mkdir()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    other, lock = new_folder("of somebody who lives")
    subprocess.run([sys.executable, "-c", script], check=False)
    deadline = time.monotonic() + 20
    while len(list((tmp_path / "tmp").iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list((tmp_path / "tmp").iterdir()) == [other]
    os.close(lock)


def test_a_box_in_which_tests_run_is_swept_after_a_kill(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / "test_cart.py").write_text("import time\n\n\ndef test_it():\n    time.sleep(60)\n")
    git(place, "commit", "-qam", "slow")
    process = subprocess.Popen(
        [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--implementer",
         agent("good")], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 40
    while not list((tmp_path / "tmp").glob("backcast-box-*/files/test_cart.py")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    while (any((tmp_path / "tmp").iterdir()) or _strays(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert _strays(tmp_path) == []


def test_a_list_with_windows_line_ends_keeps_them(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / "tasks.md").write_bytes(TASKS.replace("\n", "\r\n").encode())
    git(place, "commit", "-qam", "windows")
    assert dispatched(tmp_path, "good").stopped == ""
    expected = TASKS.replace("[ ]", "[x]").replace("\n", "\r\n").encode()
    assert (place / "tasks.md").read_bytes() == expected


def test_two_tasks_of_one_number_are_refused(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart", "- [ ] 1. Mend\n- [ ] 1. Test\n")
    assert "needed each task once, found '1' in line 1 too" in refusal(tmp_path, place=place)


@pytest.mark.parametrize("stage", ["prompt_of", "WorkTree.make", "_record", "check",
                                   "commit_patch", "DispatchRun.mark"])  # fmt: skip
def test_ctrl_c_at_any_stage_leaves_nothing_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    from backcast.engine.workflow.dispatch import dispatch_run, dispatching, loop, start, work_tree

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    places: dict[str, tuple[Any, str]] = {
        "prompt_of": (start, "prompt_of"), "WorkTree.make": (work_tree.WorkTree, "make"),
        "check": (loop, "check"),
        "commit_patch": (loop, "commit_patch"),
        "DispatchRun.mark": (dispatch_run.DispatchRun, "mark"),
    }  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(*places.get(stage, (dispatching, stage)), stopped)
        with pytest.raises(KeyboardInterrupt):
            dispatched(tmp_path, "good")
    assert _strays(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    done = dispatched(tmp_path, "good")
    assert done.stopped == ""
    assert len(done.facts("DISPATCH_STARTED")) == 1 + (stage == "_record")


def test_a_disk_that_fills_while_a_folder_is_made_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backcast.engine.workflow.dispatch import start

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(start, "prepared", full)
        with pytest.raises(InputError, match=r"No space left on device: make room there"):
            dispatched(tmp_path, "good")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert dispatched(tmp_path, "good").stopped == ""


def test_a_disk_that_is_too_small_for_a_copy_is_told_in_a_line(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    (place / "large.txt").write_text("".join(map(str, range(50_000))))
    git(place, "add", "--all")
    git(place, "commit", "-qm", "large")
    command = shlex.join([
        *BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--implementer",
        agent("good"), "--store", f"sqlite:///{tmp_path}/backcast.db",
    ])  # fmt: skip
    small = f"mount -t tmpfs -o size=150k none {shlex.quote(str(tmp_path / 'tmp'))} || exit 77"
    unshare = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", f"{small}; {command}"]
    try:
        done = subprocess.run(unshare, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this system lets nobody mount a small disk")
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert re.search(r"needed room for a copy of \w{7}, found 0 bytes: make room there", line)
    assert dispatched(tmp_path, "good").stopped == ""


def test_who_is_asked_for_its_result_alone_gets_other_arguments(tmp_path: Path) -> None:
    place = repository(tmp_path / "cart")
    form = agent_of(agent("mended"))
    form = form.model_copy(update={"roles": {"mend": ("--no-tools",), "implementer": ("--tools",)}})
    tasks = place / "tasks.md"
    with EventStore.open("sqlite://") as store:
        settings = DispatchSettings(implementer=form, attempts=1)
        run = DispatchRun(store, "cart", source_at(place, [tasks]), tasks, settings)
        begin(run)
        assert work(run) == ""
        started = [line_of(event)["data"] for event in store.read("cart", types=[
            "DISPATCH_STARTED"])]  # fmt: skip
    assert [fact["command"][-1] for fact in started] == ["--tools", "--no-tools"]
    assert tool_share(store, None) == {}
