"""Named strategies can be run, listed and compared: every command takes every name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.engine.context import recorded
from backcast.engine.context.message_policies import NAMES as MESSAGE_NAMES
from backcast.engine.context.strategies import ABOUT, STRATEGIES
from backcast.engine.log import EventStore
from backcast.engine.replay.tradeoffs import MATRIX, TradeOff, verdicts
from tests.extras import needs_semantic
from tests.test_search import Drawn

Backcast = Callable[..., tuple[str, str, int]]
FIXTURES = Path(__file__).parents[1] / "fixtures"
VALIDATORS = FIXTURES / "logs/validators.jsonl"
NAMES = [name for name in STRATEGIES if name != "default"]
RUN = (FIXTURES / "specs/validators.toml", "--model", f"answers:{VALIDATORS}")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """An embedder in place of the model."""
    embedder = Drawn()
    monkeypatch.setattr(recorded, "embedder_of", lambda store, name: embedder)
    return embedder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra 'semantic'."""

    def needs(*modules: str) -> None:
        raise InputError(f"search needs {modules[0]}, of the extra 'semantic'")

    monkeypatch.setattr(recorded, "needs_extra", needs)
    monkeypatch.setattr(recorded, "embedder_of", lambda store, name: needs("a model"))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_takes_a_policy_takes_every_name(
    backcast: Backcast, drawn: Drawn, name: str
) -> None:
    for command in (
        ("policy",),
        ("context", VALIDATORS, "--for", "module:validators.py"),
        ("diff", f"{VALIDATORS}@33"),
        ("regress", VALIDATORS, "--processes", 1, "--limit", "recall=100", "--limit", "unfit=9",
         "--limit", "critical=99"),
    ):  # fmt: skip
        out, err, code = backcast(*command, "--policy", name)
        assert (bool(out), code) == (True, 0), f"{command[0]} --policy {name}: {err}"
    assert bool(drawn.seen) == (name == "graph-semantic"), "only one of them weighs meaning"


def test_a_run_by_meaning_is_verified_and_goes_on(backcast: Backcast, drawn: Drawn) -> None:
    store = ("--store", "sqlite:///run.db")
    _, err, code = backcast("run", *RUN, "--policy", "graph-semantic", *store)
    assert code == 0, err
    out, _, code = backcast("verify", *store)
    assert (out.count("rebuilt: same; derived: same"), code) == (5, 0)
    assert backcast("resume", "validators", "--policy", "hierarchical", *store)[2] == 0


def test_where_no_embedder_is_a_run_is_refused_before_it_begins(
    backcast: Backcast, bare: None
) -> None:
    store = ("--store", "sqlite:///run.db")
    _, err, code = backcast("run", *RUN, "--policy", "graph-semantic", *store)
    assert code == 2
    assert "policy 'graph-semantic' weighs nearness in meaning: search needs" in err
    with EventStore.open("sqlite:///run.db") as opened:
        assert opened.tasks() == [], "nothing was recorded that a resume could not go on with"
    # Where there is nothing to compare, nothing has to be installed.
    out, _, code = backcast("context", f"{VALIDATORS}@8", "--policy", "graph-semantic",
                            "--query", "an address")  # fmt: skip
    assert ("an address" in out, code) == (True, 0)


def test_the_names_are_listed_with_a_line_each(backcast: Backcast) -> None:
    out, _, code = backcast("policy", "--list")
    *names, families = (line.split()[0] for line in out.splitlines())
    assert (names, families, code) == ([*NAMES, *MESSAGE_NAMES], "mask-N,", 0)
    assert list(ABOUT) == NAMES
    assert backcast("policy", "--list", "--policy", "reader")[2] == 2


@needs_semantic
def test_one_command_tables_what_each_strategy_costs_and_keeps(
    backcast: Backcast, drawn: Drawn
) -> None:
    command = ("regress", VALIDATORS, "--strategies", "--processes", 1)
    out, _, code = backcast(*command, "--report", "one.md", "--report", "one.json", "--explain")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split()[:3] == ["compression", "information", "kept"]
    assert [row.split()[0] for row in rows[: len(NAMES)]] == NAMES
    assert "(75 %)" in rows[NAMES.index("graph-semantic")]
    backcast(*command, "--report", "two.md", "--report", "two.json")
    for suffix in ("md", "json"):
        assert Path(f"one.{suffix}").read_bytes() == Path(f"two.{suffix}").read_bytes()
    costs = json.loads(Path("one.json").read_text())["trade_offs"]
    assert list(costs) == NAMES
    assert all(row["shown"] > 0 and row["whole"] > 0 for row in costs.values())
    assert len({row["whole"] for row in costs.values()}) == 1, "all there is, is one thing"


def test_without_the_extra_the_table_leaves_out_what_needs_it(
    backcast: Backcast, bare: None
) -> None:
    out, err, code = backcast("regress", VALIDATORS, "--strategies", "--processes", 1)
    assert ("\nhierarchical" in out, "\ngraph-semantic" in out, code) == (True, False, 0)
    assert "compression: of the project's code, in tokens, the share that " in out
    assert "expected" not in out
    assert "(" not in out.splitlines()[1]
    explained, _, _ = backcast("regress", VALIDATORS, "--strategies", "--processes", 1, "--explain")
    assert "pairs of which one was expected to have more, " in explained
    assert "note: graph-semantic is left out: search needs sentence_transformers" in err
    assert backcast("regress", VALIDATORS, "--strategies", "--policy", "reader")[2] == 2


def test_a_claim_of_the_matrix_is_borne_out_or_not_by_the_order_of_two() -> None:
    as_claimed = [
        TradeOff(name, round(100 - claim.compression), 100, claim.kept, float(rank), float(rank))
        for rank, (name, claim) in enumerate(MATRIX.items())
    ]
    compression, kept, *_ = verdicts(as_claimed)
    assert (compression.held, compression.pairs, compression.against) == (9, 9, ())
    assert (kept.held, kept.pairs) == (9, 9)
    same = [row._replace(shown=30, kept=90.0) for row in as_claimed]
    compression, kept, *_ = verdicts(same)
    assert (compression.held, kept.held) == (0, 0), "what is equal bears no order out"
    assert "hierarchical over online-only" in compression.against
