"""Prompts of the library tell what they hold, and errors say what a program can type."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import backcast
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models import Message
from tests.sources import Task

TILL = "fixtures/logs/till.jsonl"


@pytest.fixture
def prompt() -> Iterator[backcast.Prompt]:
    with backcast.open_log(TILL) as store:
        yield store.task("till").prompt(79)


def test_a_prompt_under_its_own_policy_is_the_recorded_one(prompt: backcast.Prompt) -> None:
    own = prompt.under("recorded")
    assert own.digest == prompt.digest == prompt.under(prompt.policy).digest
    assert list(own.messages) == prompt.messages
    with pytest.raises(backcast.BackcastError, match="needed a TOML file or one of"):
        prompt.under("recorderd")


def test_messages_are_of_one_type(prompt: backcast.Prompt) -> None:
    for messages in (
        prompt.messages,
        prompt.under("no-cache").messages,
        prompt.task.at(40).build("module:money.py").messages,
    ):
        assert {type(message) for message in messages} == {Message}
        assert messages[0].role == "system"
        role, text = messages[-1]  # as the pairs that they were
        assert (role, text) == messages[-1]


def test_help_names_the_fields_with_their_units_and_the_errors() -> None:
    items = backcast.Prompt.items.__doc__ or ""
    for field in ("node", "section", "level", "tokens", "found", "task", "text"):
        assert f"`{field}`" in items
    under = backcast.Prompt.under.__doc__ or ""
    assert "`InputError`" in under
    assert "`BudgetExceededError`" in under
    returned = backcast.Prompt.under.__annotations__["return"]
    told = returned.__doc__
    for unit in ("`score` is the chance", "from 0 to 1", "per token", "numbers of the events"):
        assert unit in told


def test_where_a_history_has_no_prompt_the_error_tells_how_one_is_built(tmp_path: Path) -> None:
    task = Task("shop")
    for last in range(1, 4):
        functions = (f"def sell_{n}(coin: int) -> int:\n    return coin\n" for n in range(last))
        task.wrote("shop.py", "\n\n".join(functions))
        task.outlined()
    path = tmp_path / "shop.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    with backcast.open_log(path) as store:
        [shop] = store.tasks()
        with pytest.raises(backcast.BackcastError, match="found a change") as raised:
            shop.prompt("last")
        found = re.search(r"task\.at\((\d+)\)\.build\('(.*?)', ", str(raised.value))
        assert found
        assert shop.at(int(found[1])).build(found[2]).tokens > 0


def test_where_nothing_was_asked_the_error_tells_how_to_build() -> None:
    with backcast.open("sqlite://") as store:
        store.start("shop", "sell things")
        with pytest.raises(backcast.BackcastError, match=r"task\.at\(WHEN\)\.build\(NODE\)"):
            store.task("shop").prompt()
