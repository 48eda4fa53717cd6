"""What is shown follows the settings, from Python and on the command line."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.errors import InputError
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT, WEIGHTS, Policy
from backcast.engine.context.policies import policy_at
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.interfaces.cli import main
from backcast.engine.replay.find import step_at
from tests.candidates import shown
from tests.sources import SHOP, Task

LOG = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"
BOUND = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")


# Obeyed


def built(task: Task, policy: Policy, request: Request, tokens: int = 4000) -> Context:
    return context_at(task.store, task.id, NOW, request, BOUND.with_context(tokens), policy)


def test_a_weight_changes_what_is_chosen() -> None:
    task = Task()
    task.wrote("a.py", "def pack_boxes(boxes):\n    return sorted(boxes)\n")
    task.wrote("b.py", "def ship_orders(orders):\n    return list(orders)\n")
    task.outlined()
    blind = Policy(weights={**WEIGHTS, "body words": -9.0, "signature words": -9.0, "named": -9.0})
    request = Request(query="how are the boxes packed by pack_boxes")
    chosen = [built(task, policy, request, 120).items for policy in (DEFAULT, blind)]
    assert [shown(items)["function:a.py::pack_boxes"] for items in chosen] == ["full", "signature"]
    assert [shown(items)["function:b.py::ship_orders"] for items in chosen] == ["signature", "full"]


def test_without_keep_a_prompt_owes_nothing_to_the_one_before() -> None:
    task, request = Task(), Request("module:a.py")
    task.wrote("a.py", "from b import f\ndef g(): return f()\n")
    task.wrote("b.py", "def f(): pass\n")
    task.outlined()
    free = DEFAULT.model_copy(update={"keep": False})
    record_context(task.store, task.id, NOW, request, BOUND)
    task.wrote("b.py", "def f(): pass\ndef h(): pass\n")
    task.outlined()
    kept, anew = (built(task, policy, request) for policy in (DEFAULT, free))
    assert "# Added" in kept.text
    assert "# Added" not in anew.text
    assert shown(kept.items) == shown(anew.items)


def test_shares_of_a_policy_are_the_budgets_of_its_sections() -> None:
    task = Task()
    task.wrote("a.py", SHOP["utils.py"])
    task.outlined()
    found = built(task, Policy(shares={"dependencies": 1}), Request("module:a.py"), 900)
    assert {section: budget for section, budget, _ in found.sections if budget} == {
        "context map": 512, "dependencies": 900, "task description": 300,
    }  # fmt: skip
    assert "function:a.py::normalise" in shown(found.items)


# On the command line


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str]]:
    """What a command prints, in a store that holds the shop."""
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    (tmp_path / "mine.toml").write_text('base = "coverage"\n[small]\nmodule_tokens = 0\n')
    (tmp_path / "bad.toml").write_text("lunch = 1")

    def run(*arguments: str) -> tuple[str, str]:
        with suppress(SystemExit):
            main([one.replace("DIR", str(tmp_path)) for one in arguments])
        out, err = capsys.readouterr()
        return out, err

    run("import", "events", str(LOG))
    return run


def test_policy_prints_toml_and_its_digest(
    backcast: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    out, _ = backcast("policy", "--policy", "DIR/mine.toml")
    mine = policy_at(tmp_path / "mine.toml")
    assert out.startswith(f"# digest {mine.digest}\n")
    (tmp_path / "printed.toml").write_text(out)
    assert policy_at(tmp_path / "printed.toml") == mine
    found = json.loads(backcast("policy", "--json")[0])
    assert (found["digest"], found["settings"]["errors"]) == (DEFAULT.digest, 5)


def test_a_context_is_built_by_the_policy_of_a_file(
    backcast: Callable[..., tuple[str, str]],
) -> None:
    asked = ("context", "task-def456", "--for", "module:validators.py")
    default, _ = backcast(*asked, "--policy", "coverage")
    mine, _ = backcast(*asked, "--policy", "DIR/mine.toml")
    assert "Validation of what people type" in default
    assert "Validation of what people type" not in mine


def test_a_query_alone_is_a_request(backcast: Callable[..., tuple[str, str]]) -> None:
    out, err = backcast("context", "task-def456", "--query", "lower  normalise\n")
    assert "def normalise(" in out
    assert "lower  normalise" in out.split("# Task\n")[1]
    assert "# Module\n" not in out
    assert err == ""


def test_a_change_without_a_prompt_is_a_request_as_for_other_commands(
    backcast: Callable[..., tuple[str, str]],
) -> None:
    out, err = backcast("context", "task-def456", "--policy", "coverage")
    assert err == (
        "backcast: note: no prompt is recorded there: built for utils.py #9"
        " (task-def456@36), a request for function:utils.py::normalise\n"
    )
    assert "def normalise(" in out
    _, err = backcast("context", "task-def456@first")
    assert "constants.py #1 changes none; the nearest that does is task-def456@5; name" in err


def test_a_change_of_no_function_names_the_nearest_that_is_one() -> None:
    task = Task("history")
    for source in ("X = 1\n", "def f(x):\n    return x\n", "X = 2\n", "X = 3\n"):
        task.wrote("a.py", source)
        task.outlined()
    with pytest.raises(InputError, match=r"changes none; the nearest that does is history@3; name"):
        step_at(task.store, task.id, "7")
    assert step_at(task.store, task.id, "last").version == 3


def test_a_function_that_is_not_there_yet_is_named_by_its_kind(
    backcast: Callable[..., tuple[str, str]],
) -> None:
    _, err = backcast("context", "task-def456", "--for", "utils.py::squeeze", "--query", "x")
    assert "for one that is not there yet, write function:utils.py::squeeze; near it: " in err
    out, _ = backcast("context", "task-def456", "--for", "function:utils.py::squeeze")
    assert "squeeze" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--query", " "), "needed --for NODE or --query TEXT, or both"),
        (("--query", "x", "--policy", "DIR/bad.toml"), "bad.toml: needed one of name, "),
        (
            ("--query", "x", "--policy", "DIR/none.toml"),
            "none.toml: needed a policy file, ",
        ),
    ],
)
def test_a_request_that_cannot_be_read_is_one_line(
    backcast: Callable[..., tuple[str, str]], options: tuple[str, ...], message: str
) -> None:
    out, err = backcast("context", "task-def456", *options)
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
