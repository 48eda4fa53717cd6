"""An event that is no prompt, where one is needed: the prompt of its step is taken, and noted."""

import json
import re
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main
from tests.test_git import Repository

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOGS = {
    "till": str(FIXTURES / "logs/till.jsonl"),
    "mender": str(FIXTURES / "recorded/mender.jsonl"),
    "shop": str(FIXTURES / "recorded/dispatch.jsonl"),
}


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """A store with an imported agent's run, which holds no prompts."""
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    ran(capsys, "import", "swe-agent", str(FIXTURES / "foreign/swe-agent.traj"))
    return "swe-agent"


@pytest.mark.parametrize(
    ("task", "event", "kind", "prompt"),
    [
        ("till", 78, "STEP_STARTED", 79),
        ("till", 80, "MODEL_REPLIED", 79),
        ("till", 81, "MODULE_ITERATION", 79),
        ("till", 82, "CHECKS_RAN", 79),
        ("till", 83, "MODULE_OUTLINED", 79),
        ("till", 122, "TOOL_RETURNED", 119),
        ("till", 87, "SUMMARY_WRITTEN", 85),
        ("mender", 8, "MODEL_REPLIED", 7),
        ("mender", 11, "SOURCE_READ", 7),
        ("mender", 34, "MODULE_ITERATION", 30),
        ("shop", 9, "CLAIM_CHECKED", 5),
    ],
)
def test_an_event_of_a_step_is_taken_for_the_prompt_of_the_step(
    capsys: pytest.CaptureFixture[str], task: str, event: int, kind: str, prompt: int
) -> None:
    code, out, err = ran(capsys, "context", f"{LOGS[task]}@{event}")
    as_asked = ran(capsys, "context", f"{LOGS[task]}@{prompt}")
    assert (code, out) == as_asked[:2]
    noted = f"note: event {event} is {kind}: taken for the prompt of its step, {task}@{prompt}\n"
    assert noted in err
    assert "taken for" not in as_asked[2]


def test_every_command_about_one_prompt_takes_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    till, mender = LOGS["till"], LOGS["mender"]
    for words in (
        ("blame", f"{till}@EVENT", "money.py::share"),
        ("diff", f"{till}@EVENT", "--policy", "no-cache"),
        ("diff", f"{till}@49", f"{till}@EVENT"),
        ("context", f"{till}@EVENT", "--policy", "no-cache"),
        ("context", f"{till}@EVENT", "--explain"),
    ):
        [of_answer, of_prompt] = [
            ran(capsys, *(word.replace("EVENT", event) for word in words)) for event in ("80", "79")
        ]
        assert of_answer[:2] == of_prompt[:2] == (0, of_prompt[1])
        assert "taken for the prompt of its step, till@79" in of_answer[2]
    for asked in (["context", f"{mender}@33", "--anatomy"], ["stale", f"{mender}@33"]):
        _, out, err = ran(capsys, *asked)
        assert out == ran(capsys, *(word.replace("@33", "@30") for word in asked))[1]
        assert "taken for the prompt of its step, mender@30" in err


@pytest.mark.parametrize("event", [47, 162])
def test_of_an_event_of_no_step_the_nearest_prompts_are_named(
    capsys: pytest.CaptureFixture[str], event: int
) -> None:
    code, out, err = ran(capsys, "context", f"{LOGS['till']}@{event}")
    assert (code, out) == (2, "")
    assert re.search(rf"till@{event}: needed the event of a prompt, .* nearest prompts are ", err)


def test_what_a_tool_returned_belongs_to_the_answer_that_called_it(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = {event: 8 if event > 7 else 5 for event in range(5, 11)}
    for event, prompt in prompts.items():
        code, out, err = ran(capsys, "context", f"{agent}@{event}")
        assert (code, out) == ran(capsys, "context", f"{agent}@{prompt}")[:2]
        assert ("taken for the prompt" in err) is (event != prompt)
    assert ran(capsys, "context", f"{agent}@3")[0] == 2  # the first message is of no step


def test_a_branch_at_an_agents_answer_begins_before_it_and_says_what_can_be_asked(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, "fork", f"{agent}@8")
    assert (code, out) == (
        0,
        "forked swe-agent before the step of event 8 as swe-agent~1: 7 events\n",
    )
    [hint] = re.findall(r"'backcast (.*?)'", err)
    assert hint.split() == ["context", "swe-agent@8", "--policy", "mask-3"]
    assert ran(capsys, *hint.split())[0] == 0
    _, out, _ = ran(capsys, "fork", f"{agent}@7")
    assert out == "forked swe-agent at event 7 as swe-agent~2: 7 events\n"


def test_of_a_history_the_last_change_of_a_function_stands_for_the_last_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    repository = Repository(tmp_path / "repo")
    for name, body in (("a.py", "def f():\n    return 1\n"), ("b.py", "RELEASE = 2\n")):
        repository.write(name, body)
        repository.commit(name)
    ran(capsys, "import", "git", str(repository.path))
    for address in ("repo", "repo@last", "repo@2099-01-01"):
        code, out, err = ran(capsys, "context", address)
        assert (code, "repo@1), a request for function:a.py::f" in err) == (0, True)
        assert "a.py" in out
    code, _, err = ran(capsys, "context", "repo@commit:HEAD")
    assert (code, "changes none; the nearest that does is repo@1" in err) == (2, True)


def test_an_event_of_a_commit_means_its_change_though_questions_are_recorded_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    repository = Repository(tmp_path / "shop")
    for body in ("return 1", "return 2"):
        repository.write("till.py", f"def total():\n    {body}\n")
        repository.commit(body)
    ran(capsys, "import", "git", str(repository.path))
    _, built, _ = ran(capsys, "context", "shop@commit:HEAD")
    ran(capsys, "context", "shop", "--query", "what is the total", "--record")
    logged = map(json.loads, ran(capsys, "log", "shop", "--json")[1].splitlines())
    changes = [one["version"] for one in logged if one["type"] == "MODULE_ITERATION"]
    for when in ("commit:HEAD", changes[-1], changes[-1] - 1):
        assert ran(capsys, "context", f"shop@{when}")[:2] == (0, built)
    assert "what is the total" in ran(capsys, "context", "shop")[1]
