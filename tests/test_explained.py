"""What `context --explain` says of a built prompt: whole names, and what it was chosen by."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from tests.sources import Task

LONG = "reckon_up_what_all_of_the_customers_of_the_shop_still_owe_to_it_in_whole_cents"
WORDS = "reckon up what customers owe"
NEW = "function:owing.py::reckon_up"
Ran = Callable[..., str]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of a module with many functions, one of which has a long name."""
    task = Task("shop")
    names = [LONG, *(f"count_items_of_shelf_{number}" for number in range(60))]
    bodies = [
        f"def {name}(items: list[int]) -> int:\n    total = sum(items)\n    return total * 2\n"
        for name in names
    ]
    task.wrote("shop.py", "\n\n".join(bodies))
    task.outlined()
    path = tmp_path / "shop.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    return path


@pytest.fixture
def ran(log: Path, capsys: pytest.CaptureFixture[str]) -> Ran:
    """What a question about the log prints, in a small window."""

    def run(*options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["context", str(log), "--for", NEW, "--query", WORDS,
                  "--context-tokens", "600", *options])  # fmt: skip
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_names_are_whole_where_no_terminal_shows_them(ran: Ran) -> None:
    node = f"function:shop.py::{LONG}"
    assert len(node) > 60
    [row] = [line for line in ran("--explain").splitlines() if node in line]
    assert "related" in row
    assert "\u2026" not in ran("--explain")


def test_the_sections_add_up_and_what_is_beyond_a_budget_is_drawn(ran: Ran) -> None:
    sections = json.loads(ran("--json"))["sections"]
    lines = ran("--explain").splitlines()
    table = lines[1 : lines.index("")]
    budgets, tokens = (sum(section[key] for section in sections) for key in ("budget", "tokens"))
    assert table[-1].split() == ["all", str(budgets), str(tokens)]
    beyond = {one["section"] for one in sections if one["tokens"] > one["budget"] + budgets / 40}
    assert beyond == {line[:19].strip() for line in table if "+" in line}
    assert beyond


def test_what_is_out_for_its_worth_is_worth_less_than_all_that_is_in(ran: Ran) -> None:
    found = json.loads(ran("--json"))
    worths = [item["worth"] for item in found["items"] if item["worth"] is not None]
    lower = [one for one in found["omissions"] if one["reason"].startswith("worth less")]
    assert worths
    assert lower
    named = [one for one in lower if one["worth"] is not None]
    assert named
    assert all(one["score"] is not None for one in named)
    assert max(one["worth"] for one in named) <= min(worths)
    text = ran("--explain")
    head = next(line for line in text.splitlines() if line.startswith("out "))
    assert head.split() == ["out", "section", "score", "worth", "reason"]
    first = next(line for line in text.splitlines() if line.startswith(named[0]["node"]))
    assert f"{named[0]['worth']:.4g}" in first


def test_a_recorded_prompt_names_its_items_whole_too(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    for words in (
        ["import", "events", str(log), "--store", url],
        ["context", "shop", "--store", url, "--query", "reckon up what customers owe", "--record"],
        ["context", "shop@last", "--store", url, "--explain"],
    ):
        with pytest.raises(SystemExit):
            main(words)
    assert f"function:shop.py::{LONG}" in capsys.readouterr().out
    with EventStore.open(url) as store:
        [event] = store.read("shop", types=["CONTEXT_BUILT"])
    assert all(set(one) <= {"node", "section", "reason"} for one in event.fact.data["omissions"])


def test_blame_tells_the_evidence_and_a_setting_that_shows_what_is_out(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"

    def printed(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", url])
        assert not ended.value.code
        return capsys.readouterr().out

    printed("import", "events", str(log))
    asked = ("--for", NEW, "--query", WORDS, "--context-tokens", "600")
    printed("context", "shop", *asked, "--record")
    out = json.loads(printed("context", "shop", *asked, "--json"))["omissions"]
    node = next(one["node"] for one in out if one["worth"])
    found = json.loads(printed("blame", "shop@last", node, "--json"))["behind"]
    assert found["worth"] < found["least"]
    assert {"weights", "likeness"} == {one["table"] for one in found["evidence"]}
    text = printed("blame", "shop@last", node)
    assert "evidence, [weights]: " in text
    assert found["shown_by"]
    setting = found["shown_by"][-1]
    assert f"  {setting['setting']}: {setting['level']}, {setting['tokens']} tokens" in text
    policy = tmp_path / "shown.toml"
    table, _, line = setting["setting"].rpartition("] ")
    policy.write_text(f"{table}]\n{line}\n" if table else f"{line}\n")
    under = json.loads(printed("context", str(log), *asked, "--policy", str(policy), "--json"))
    assert node in [item["node"] for item in under["items"]]
