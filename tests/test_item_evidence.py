"""What is behind an item's place in a prompt can be read: chances, and what made them."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

Backcast = Callable[..., tuple[str, str, int]]
TILL = str(Path(__file__).parents[1] / "fixtures/logs/till.jsonl")


@pytest.mark.parametrize(
    "asked", [("--policy", "reader"), ("--for", "module:money.py"), ("--query", "share a sum")]
)
def test_a_chance_is_the_logistic_sum_of_its_evidence(
    backcast: Backcast, asked: tuple[str, ...]
) -> None:
    out, err, code = backcast("context", f"{TILL}@164", *asked, "--json")
    assert code == 0, err
    items = [item for item in json.loads(out)["items"] if "evidence" in item]
    assert items
    for item in items:
        for chance, table in (("needed", "weights"), ("alike", "likeness")):
            kinds = [one for one in item["evidence"] if one["table"].endswith(table)]
            total = sum(one["value"] * one["weight"] for one in kinds)
            assert item[chance] == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-3)
            assert {one["table"] for one in kinds} in ({table}, {f"lookup.{table}"})


def test_where_likeness_does_not_count_no_evidence_of_it_is_told(backcast: Backcast) -> None:
    out, _, _ = backcast("context", f"{TILL}@164", "--policy", "coverage", "--json")
    found = [item for item in json.loads(out)["items"] if "evidence" in item]
    assert {item["alike"] for item in found} == {0.0}
    assert {kind["table"] for item in found for kind in item["evidence"]} == {"weights"}


def test_explain_has_a_column_of_likeness(backcast: Backcast) -> None:
    out, _, _ = backcast("context", f"{TILL}@164", "--policy", "reader", "--explain")
    head = next(line for line in out.splitlines() if line.startswith("priority"))
    assert head.split() == [
        "priority", "section", "in", "version", "level", "tokens", "score", "alike", "worth",
        "events",
    ]  # fmt: skip


def test_blame_tells_the_evidence_on_what_is_in_also_under_another_policy(
    backcast: Backcast,
) -> None:
    out, _, code = backcast("blame", f"{TILL}@164", "money.py::share")
    assert code == 0
    assert "evidence, [weights]: " in out
    assert "[likeness]" not in out, "the log was recorded under coverage, for which it is idle"
    out, _, code = backcast("blame", f"{TILL}@164", "money.py::share", "--policy", "reader")
    assert code == 0
    assert ", under default\n" in out or ", under reader\n" in out
    assert "evidence, [likeness]: " in out
    assert "settings that were tried" not in out, "it is in already"
    out, _, _ = backcast("blame", f"{TILL}@164", "money.py::share", "--policy", "recorded")
    assert "under" not in out.splitlines()[0]


def test_blame_under_a_policy_needs_a_prompt_of_ours(backcast: Backcast) -> None:
    agent = TILL.replace("logs/till", "recorded/agent")
    _, err, code = backcast("blame", f"{agent}@12", "README", "--policy", "reader")
    assert code == 2
    assert "--policy: needed a prompt that Backcast built" in err
