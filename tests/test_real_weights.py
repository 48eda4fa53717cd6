"""A model with real weights: what it is asked for, it writes, and its tests pass.

SmolLM2 has 135 million parameters. It solves few tasks, and these; what it says is taken greedily
on one thread, so that it says it again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import ModelReplied
from backcast.engine.context.recorded import messages
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.open_logs import opened
from backcast.engine.models import Limits, Message
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.places import model_file
from backcast.engine.replay.verify import verified
from tests.models import smollm2

FIXTURES = Path(__file__).parents[1] / "fixtures"
SPECS = FIXTURES / "specs/small"
SOLVED = {"palindrome": "same.py", "mirror": "mirror.py", "words": "words.py"}
"The module of each task; they ask for the same by other names."

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKCAST_THREADS", "1")

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--store", "sqlite:///runs.db"])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


@pytest.mark.parametrize("task", SOLVED)
def test_a_model_solves_a_task_from_its_prompt_to_passing_tests(
    task: str, backcast: Command
) -> None:
    policy = ("--policy", str(SPECS / "policy.toml"))
    code, out, err = backcast(
        "run", str(SPECS / f"{task}.toml"), "--model", f"llama:{smollm2()}", *policy
    )
    assert code == 0, err
    assert out.splitlines()[-1].startswith("complete after 1 answer;")
    with EventStore.open("sqlite:///runs.db") as store:
        facts: list[Any] = [event.fact for event in store.read(task)]
        [built] = [fact for fact in facts if isinstance(fact, ContextBuilt)]
        [reply] = [fact for fact in facts if isinstance(fact, ModelReplied)]
        shown = "\n".join(text for _, text in messages(built, store.get))
        assert all(one.holds for one in verified(store, task))
    assert reply.finish == "stop"
    assert reply.prompt_tokens == built.tokens == reply.predicted_tokens
    written = Path(f"out/{task}/{SOLVED[task]}").read_text(encoding="utf-8")
    body = written.partition(":\n")[2].strip()
    assert body
    assert body not in shown, "the answer stands nowhere in the prompt"
    assert "::-1" not in shown
    assert "reversed" not in shown


def test_the_log_of_a_real_run_is_rebuilt_derived_and_run_again(backcast: Command) -> None:
    log = FIXTURES / "logs/palindrome.jsonl"
    smollm2()
    with opened(str(log)) as known:
        [verdict] = verified(known.store, "palindrome")
    assert verdict.holds, verdict
    spec, policy = str(SPECS / "palindrome.toml"), str(SPECS / "policy.toml")
    code, out, err = backcast(
        "run", spec, "--model", f"answers:{log}", "--strict", "--policy", policy
    )
    assert code == 0, err
    assert out.splitlines()[-1].startswith("complete after 1 answer;")


def test_what_is_taken_greedily_on_one_thread_is_said_again() -> None:
    path = model_file(smollm2())
    asked = [Message("user", "Name a colour.")]
    first, second = (
        LlamaModel(path, 512, threads=1).complete(asked, Limits(12)).text for _ in range(2)
    )
    assert first == second
    assert first.strip().isprintable()
