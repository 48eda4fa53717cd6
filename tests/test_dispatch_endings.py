"""A run of agents says who asks what, what is left, what came of it, and how a person goes on."""

import subprocess
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.engine.workflow.dispatch.agents import agent_of
from backcast.engine.workflow.dispatch.budget import parsed
from backcast.engine.workflow.dispatch.pulse import Pulse
from tests.test_dispatch import agent, git, own_folder, repository
from tests.upstreams import BACKCAST, backcast, refused

__all__ = ["own_folder"]


def dispatch(folder: Path, *words: str, code: int = 0) -> list[str]:
    """Dispatch by the command, and return what it says to a person."""
    place = folder / "cart"
    if not place.exists():
        repository(place)
    done = subprocess.run(
        [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), *words],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return [line.removeprefix("backcast: ") for line in done.stderr.splitlines()]


def test_a_run_that_the_budget_ends_says_how_it_goes_on_and_a_done_one_what_is_next(
    tmp_path: Path,
) -> None:
    words = ("--implementer", agent("good"), "--reviewer", agent("approve"))
    first = dispatch(tmp_path, *words, "--budget", "1calls", code=1)
    assert "budget: 1 of 1 calls left" in first
    assert first[-1] == (
        "to go on with 1.1 at its review: the same command with more, such as --budget 2calls"
    )
    done = dispatch(tmp_path, *words, "--budget", "2calls")
    assert done[-2].startswith("the one task is done; 2 calls, 0 tokens")
    assert "0 of 2 calls left" in done[-2]
    assert done[-1] == "finished work, 1 commit: git merge backcast/tasks"
    git(tmp_path / "cart", "checkout", "-q", "tasks.md")
    git(tmp_path / "cart", "merge", "-q", "backcast/tasks")
    again = dispatch(tmp_path, *words)
    assert any("of 2 calls left, as this run was given before" in line for line in again)
    assert again[-1].startswith("the one task is done")
    tree = backcast(tmp_path, "log", "tasks", "--tree").decode()
    assert tree.startswith("tasks  2 calls, 0 tokens")
    assert "1.1 reviewer python" in tree
    spending = backcast(tmp_path, "show", "spending", "tasks").decode()
    assert "left" in spending.splitlines()[0]
    assert "dispatches: 2 answered" in spending
    granted = backcast(tmp_path, "log", "tasks", "--type", "BUDGET_GRANTED").decode()
    assert "1 calls" in granted


def test_what_is_false_is_told_once_and_counted_at_the_end(tmp_path: Path) -> None:
    said = dispatch(tmp_path, "--implementer", agent("notes"), "--attempts", "1", code=1)
    told = [line for line in said if "claims to have changed cart.py" in line]
    assert len(told) == 1
    assert any(line.startswith("claims: 1 of 1 say what is not so") for line in said)
    assert said[-1].startswith("1.1 waits for a person: ")
    code, lines = refused(tmp_path, "audit", "tasks", "cart.py")
    assert (code, len(lines)) == (2, 1)
    assert "'backcast show facts tasks --about cart.py'" in lines[0]
    assert "show spending tasks" in refused(tmp_path, "stats", "tasks")[1][0]


@pytest.mark.parametrize(
    ("budget", "words"),
    [("0calls", "lets nothing begin"), ("10", "lacks a unit: 10calls"), ("9foo", "unit is none")],
)
def test_a_budget_that_is_none_says_what_is_wrong_with_it(budget: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parsed(budget)


@pytest.mark.parametrize(
    ("name", "words"), [("codx", "did you mean 'codex'"), ("codex:", "needed a model after")]
)
def test_an_agent_that_is_none_says_what_may_be_meant(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        agent_of(name)


def test_a_silent_agent_has_a_pulse() -> None:
    said: list[str] = []
    pulse = Pulse(said.append, "1.1: codex", lambda: "3 calls so far", every=0)
    pulse.beat()
    assert said == ["1.1: codex has been at work for 0 s, 3 calls so far"]
    Pulse(said.append, "1.1: codex", None).beat()
    assert len(said) == 1
