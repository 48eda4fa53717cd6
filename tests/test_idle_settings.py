"""A setting that cannot change a prompt is told of; one that is not named so can."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context import recorded
from backcast.engine.context.idle_settings import idle_settings
from backcast.engine.context.policies import laid_over
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import measured
from backcast.engine.replay.steps import steps
from backcast.engine.workflow import prompts
from tests.test_search import Drawn

Backcast = Callable[..., tuple[str, str, int]]
VALIDATORS = str(Path(__file__).parents[1] / "fixtures/logs/validators.jsonl")
TILL = VALIDATORS.replace("validators", "till")
TUNED: dict[str, object] = {
    "longer": 1.0, "fading": 1.0, "likeness": {"near": 9.0, "text words": 9.0},
    "news": 9, "values": True, "recall": {"text words": 9.0}, "tests_beside": 40,
    "library_tokens": 200, "used_imports": True, "embedder": "of another name",
}  # fmt: skip
"A value for each setting, by which it would be seen where it counts."


def digests(policy: Policy) -> list[str]:
    with opened(VALIDATORS) as log:
        line = PolicyReplay(BuilderPool(log.store), None, policy)
        return [one.figures[0].digest for one in measured(steps(log.store, "validators"), [line])]


@pytest.mark.parametrize("name", ["coverage", "no-cache"])
def test_what_is_called_idle_changes_no_byte(name: str) -> None:
    policy = STRATEGIES[name].model_copy(update={"name": "mine"})
    idle = {setting for setting, _ in idle_settings(policy)}
    assert set(TUNED) <= idle
    assert digests(laid_over(policy, TUNED)) == digests(policy)


def test_the_default_idles_in_nothing_but_an_embedder_and_what_recall_never_weighs() -> None:
    idle = {setting for setting, _ in idle_settings(DEFAULT)}
    assert "recall.meaning" in idle
    assert {setting for setting in idle if not setting.startswith("recall.")} == {"embedder"}
    assert not DEFAULT.by_meaning


def test_a_file_with_idle_settings_is_told_of_once(backcast: Backcast) -> None:
    Path("mine.toml").write_text(
        'base = "coverage"\nlonger = 1.0\nfading = 1.0\n[likeness]\nnear = 9\n"text words" = 9\n'
    )
    noted = "note: mine.toml: likeness, longer, fading: no effect, as pattern is 0\n"
    out, err, code = backcast("policy", "--policy", "mine.toml")
    assert (err.endswith(noted), err.count("\n"), code) == (True, 1, 0)
    assert "no effect" not in out
    for command in (
        ("regress", VALIDATORS, "--processes", 1),
        ("diff", f"{VALIDATORS}@33"),
        ("context", f"{VALIDATORS}@33"),
    ):
        _, err, code = backcast(*command, "--policy", "mine.toml")
        assert (err.count(noted), code) == (1, 0), command
    # What a base leaves idle is none of the file's.
    Path("flat.toml").write_text("pattern = 0\n")
    assert backcast("policy", "--policy", "flat.toml")[1] == ""


def test_settings_that_changed_no_byte_of_any_prompt_are_told_of(backcast: Backcast) -> None:
    Path("mine.toml").write_text('base = "coverage"\nlonger = 1.0\n')
    command = ("regress", VALIDATORS, "--processes", 1, "--policy")
    _, err, _ = backcast(*command, "mine.toml", "--baseline", "coverage")
    same = "mine: all 5 prompts are the same to the byte as under coverage: longer changed nothing"
    assert same in err
    _, err, _ = backcast(*command, "mine.toml")
    assert "under recorded: what it sets otherwise, if anything, changed nothing here" in err
    _, err, _ = backcast(*command, "coverage", "--baseline", "default")
    assert "the same to the byte" not in err


def test_likeness_by_meaning_asks_an_embedder_and_moves_a_prompt(
    backcast: Backcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Drawn()
    monkeypatch.setattr(recorded, "embedder_of", lambda store, name: embedder)
    Path("meant.toml").write_text("around = 0\nwhole = 0\n[likeness]\nmeaning = 9.0\n")
    Path("plain.toml").write_text("around = 0\nwhole = 0\n")
    Path("flat.toml").write_text('base = "coverage"\n[likeness]\nmeaning = 9.0\n')
    command = ("context", f"{TILL}@164", "--policy")
    _, err, code = backcast(*command, "flat.toml")
    assert ("likeness: no effect, as pattern is 0" in err, code) == (True, 0)
    assert not embedder.seen
    plain, _, _ = backcast(*command, "plain.toml", "--json")
    meant, _, code = backcast(*command, "meant.toml", "--json")
    assert (meant != plain, bool(embedder.seen), code) == (True, True, 0)


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_by_such_likeness_is_verified_also_one_from_before_it_asked_an_embedder(
    backcast: Backcast, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    embedder = Drawn()
    monkeypatch.setattr(recorded, "embedder_of", lambda store, name: embedder)
    if not asked:
        monkeypatch.setattr(prompts, "nearness_of", lambda store, policy: None)
    Path("meant.toml").write_text("[likeness]\nmeaning = 9.0\n")
    spec = Path(VALIDATORS).parents[1] / "specs/validators.toml"
    store = ("--store", "sqlite:///run.db")
    model = ("--model", f"answers:{VALIDATORS}")
    _, err, code = backcast("run", spec, *model, "--policy", "meant.toml", *store)
    assert code == 0, err
    embedder.seen.clear()
    out, _, code = backcast("verify", *store)
    assert (out.count("rebuilt: same; derived: same"), code) == (5, 0)
    assert not embedder.seen, "what was recorded asks nobody again"
