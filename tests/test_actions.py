"""What an imported agent sent next: known from its log, read under its own prompt and others."""

import json
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from backcast.domain.events import ToolCalled
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.actions import AgentReply, action_text, actions, joined, replies
from backcast.engine.replay.outcomes import ACTION, outcome_of
from tests.models import tiny

FOREIGN = Path(__file__).parents[1] / "fixtures/foreign"
REAL = Path(os.environ.get("BACKCAST_AGENT_LOGS", "none"))
"A folder of recorded runs as other projects have published them."


def replies_of(kind: str, path: Path) -> list[AgentReply]:
    with EventStore.open("sqlite://") as store:
        run(store, kind, path)
        return [reply for task in store.tasks() for reply in replies(store, task)]


@pytest.mark.parametrize(
    ("kind", "name", "texts"),
    [
        ("swe-agent", "swe-agent.traj", ["ls", "submit"]),
        ("swe-agent", "mini-swe-agent.traj.json", ["bash\nls | wc -l"]),
        ("claude-code", "claude-code.jsonl",
         ["Write\nfile_path: /shapes/one.py\ncontent:\none = 1"]),
        ("openhands", "openhands.jsonl", ["terminal\ncat hello"]),
        ("openhands", "openhands-request.json", ["terminal\ncat hello"]),
        ("cline", "cline.json", ['read_files\nfiles: ["one.py"]']),
        ("inspect", "inspect.json", ["echo\ntext: hello"]),
    ],
)  # fmt: skip
def test_each_format_gives_the_actions_that_the_agent_sent(
    kind: str, name: str, texts: list[str]
) -> None:
    assert [reply.action.text for reply in replies_of(kind, FOREIGN / name)] == texts


def test_an_action_knows_all_that_was_said_before_it_and_nothing_of_itself() -> None:
    first, second = replies_of("swe-agent", FOREIGN / "swe-agent.traj")
    assert first.action.messages == (
        ("system", "You repair small programs."),
        ("user", "Make circles round."),
    )
    assert second.action.messages[:2] == first.action.messages
    assert [role for role, _ in second.action.messages] == ["system", "user", "assistant", "user"]
    assert second.action.messages[2][1] == "See what is there.\n```\nls\n```"
    assert not any("submit" in text for _, text in second.action.messages)
    assert [first.words, second.words] == ["Make circles round."] * 2
    [chat] = replies_of("swe-agent", FOREIGN / "mini-swe-agent.traj.json")
    assert chat.words == "", "the goal is said already"


def test_a_line_that_the_agent_had_seen_is_not_new(tmp_path: Path) -> None:
    path = tmp_path / "chat.traj.json"
    calls = [
        {"role": "user", "content": "Mend one.py.\none = 1"},
        {"role": "assistant", "content": "```bash\nsed s/1/2/ <<E\none = 1\none = 2\nE\n```"},
    ]
    path.write_text(json.dumps({"messages": calls}))
    [reply] = replies_of("swe-agent", path)
    assert reply.action.text == "bash\nsed s/1/2/ <<E\none = 1\none = 2\nE"
    assert reply.action.new == (True, True, False, True, True)


def test_the_outcome_is_the_action_and_only_the_form_stands_before_it() -> None:
    with EventStore.open("sqlite://") as store:
        run(store, "swe-agent", FOREIGN / "swe-agent.traj")
        [task] = store.tasks()
        first, _ = actions(store, task)
        outcome = outcome_of(first, store.get)
    assert outcome is not None
    assert (outcome.header, outcome.text, outcome.new) == (ACTION, "ls", (True,))
    assert first.known is first.after
    assert first.known.states.progress.goal == "Circles are square."


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("finish", None, "finish"),
        ("finish", {}, "finish"),
        ("shell", {"command": ["ls", "-l"]}, 'shell\ncommand: ["ls", "-l"]'),
        ("shell", "é", "shell\né"),
        ("bash", {"command": "ls", "seconds": 3}, "bash\ncommand: ls\nseconds: 3"),
    ],
)
def test_a_call_is_a_text(tool: str, arguments: object, text: str) -> None:
    assert action_text(ToolCalled(tool=tool, arguments=arguments)) == text


def test_a_run_of_our_own_has_prompts_and_no_actions() -> None:
    path = FOREIGN.parent / "logs/validators.jsonl"
    assert replies_of("events", path) == []


Run = Callable[..., tuple[str, str, int]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return out, err, int(end.value.code or 0)

    return called


@pytest.fixture
def store(command: Run, tmp_path: Path) -> str:
    """The URL of a store with an imported run."""
    url = f"sqlite:///{tmp_path}/store.db"
    command("import", "swe-agent", FOREIGN / "swe-agent.traj", "--store", url, "--as", "circles")
    return url


def test_an_imported_run_is_scored_under_its_own_prompt_and_another(
    command: Run, store: str
) -> None:
    out, err, code = command(
        "score", "circles", "--store", store, "--model", f"llama:{tiny('mistral')}",
        "--policy", "recorded", "--policy", "default", "--json",
    )  # fmt: skip
    assert (code, "4 prompts of 2 steps" in err) == (0, True)
    steps = json.loads(out)["steps"]
    assert [step["name"] for step in steps] == ["action ls", "action submit"]
    for step in steps:
        own, other = step["policies"]
        assert own["prompt"] != other["prompt"]
        assert own["new"]["tokens"] == other["new"]["tokens"] > 0


def test_what_an_agent_was_told_has_an_influence_on_its_action(command: Run, store: str) -> None:
    model = ["--store", store, "--model", f"llama:{tiny('mistral')}"]
    command("score", "circles", *model)
    out, err, code = command("influence", "circles@8", *model)
    assert (code, err.count("1 steps:")) == (0, 1)
    assert out.startswith("circles@8 action submit: ")
    whole = re.search(r"(\d+) prompts of 1 steps: (\d+) differ and were never read", err)
    assert whole, err
    assert int(whole[2]) < int(whole[1]), "the whole prompt was read by score"
    rows = [line for line in out.splitlines() if " @" in line]
    assert [re.sub(r".*  ", "", row.rstrip()) for row in rows] != []
    assert all(re.search(r"(system|message|answer|result)s? .*@\d", row) for row in rows)
    assert f"backcast context {store}#circles@8 --anatomy" in out
    other, _, code = command("influence", "circles@8", *model, "--policy", "default")
    assert code == 0
    assert " @" not in "".join(line for line in other.splitlines() if "+" in line[:1])


def test_parts_of_a_conversation_are_joined_to_its_messages() -> None:
    for reply in replies_of("swe-agent", FOREIGN / "swe-agent.traj"):
        assert joined(reply.action.parts) == reply.action.messages
        names = [part.name for part in reply.action.parts]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("kind", "name", "least"),
    [
        ("swe-agent",
         "swe-agent/06-replay__marshmallow-code__marshmallow-1867__default.traj", 12),
        ("swe-agent", "mini-swe-agent/test_data__github_issue.traj.json", 5),
        ("claude-code", "claude-code/todowrite_examples.jsonl", 1),
        ("claude-code", "claude-code/representative_messages.jsonl", 1),
        ("openhands", "openhands/fixtures__events.jsonl", 2),
        ("cline", "cline/session__session.messages.json", 1),
    ],
)  # fmt: skip
def test_real_logs_hold_their_actions(kind: str, name: str, least: int) -> None:
    if not (REAL / name).exists():
        pytest.skip("needs recorded runs of other projects: BACKCAST_AGENT_LOGS names their folder")
    found = replies_of(kind, REAL / name)
    assert len(found) >= least
    for reply in found:
        assert reply.action.text
        assert len(reply.action.new) == reply.action.text.count("\n") + 1
        roles = [role for role, _ in reply.action.messages]
        assert all(one != other for one, other in pairwise(roles))
