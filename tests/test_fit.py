"""A policy fitted to a reader: planted weights are found, and what was not learned is refused."""

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.errors import InputError
from backcast.domain.policy import DEFAULT, LIKENESS, LIKENESS_NAMES, WEIGHTS, Policy
from backcast.engine.context.policies import base_of, policy_at
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.commands.policy import toml_lines
from backcast.engine.log.importers.events import export_lines
from backcast.engine.log.open_logs import opened
from backcast.engine.models.likelihood import LikelihoodReader, ReadText, RenderedPrompt
from backcast.engine.replay.fit import HIGHEST, LOWEST, ItemWorth, fitted_likeness, share_saved
from backcast.engine.replay.fit_file import completed, own_settings
from backcast.engine.replay.fit_items import DRAWN, MOST, NAMES, planned_items
from backcast.engine.replay.fit_run import PolicyFit
from backcast.engine.replay.fit_search import LEAST, PolicyMove, moves, searched
from backcast.engine.replay.fit_steps import StepList, held_of
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.score import ScorePlan, reading_profile
from backcast.engine.replay.score_run import Scoring
from tests.models import smollm2_file, tiny
from tests.sources import Task
from tests.test_score import fact

Run = Callable[..., tuple[str, str, int]]
SMALL = 300
"Tokens of the context part."
BODIES = {
    "price": (
        "total = amount * RATE", "if total < LOWEST:", "    raise ValueError('too cheap')",
        "return round(total, 2)",
    ),
    "label": (
        "words = text.strip().split()", "first, *others = words or ['nothing']",
        "joined = ' '.join([first.title(), *others])", "return joined[:WIDTH]",
    ),
    "stock": (
        "found = shelves.get(code, 0)", "missing = max(0, wanted - found)",
        "shelves[code] = found - wanted + missing", "return missing",
    ),
    "delay": (
        "hours = (end - start) / 3600", "if hours > LONGEST:", "    hours = LONGEST",
        "return int(hours + 0.5)",
    ),
}  # fmt: skip
"Four families of functions: those whose names share a word have the same body."


def families(changes: int, *, scored: bool = False) -> Task:
    """A history in which each change adds a function to one of the families, in its own module."""
    task = Task("families")
    task.wrote("settings.py", "RATE = 1.2\nLOWEST = 3\nWIDTH = 40\nLONGEST = 9\n")
    task.outlined()
    for number in range(changes):
        family = list(BODIES)[(number * 7 + number // 4) % len(BODIES)]
        body = "".join(f"    {line}\n" for line in BODIES[family])
        head = f"def {family}_of_shop{number}(value: int) -> int:\n    number = value + {number}\n"
        task.wrote(f"part{number}.py", f"from settings import RATE\n\n\n{head}{body}")
        task.outlined()
    for number in range(changes if scored else 0):
        task.happened(fact(step=number + 1), writer="score")
    return task


def written(path: Path, task: Task) -> Path:
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    return path


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return out, err, int(end.value.code or 0)

    return command


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every reader be one that copies: a line of the prompt is likely, any other is not."""
    read = list[str]()

    def copied(
        reader: LikelihoodReader, prompt: RenderedPrompt, text: str, until: float = math.inf
    ) -> ReadText:
        read.append(prompt.digest)
        shown = {line.strip() for run in prompt.runs for line in run.text.split("\n")}
        lines = text.split("\n")
        nats = tuple(0.1 if line.strip() in shown else 2.0 for line in lines)
        pieces = [f"{line}\n".encode() for line in lines]
        return ReadText((*pieces[:-1], lines[-1].encode()), nats, 0)

    monkeypatch.setattr(LikelihoodReader, "read", copied)
    return read


def signatures(folder: Path) -> Path:
    """A policy that shows bodies last."""
    path = folder / "signatures.toml"
    path.write_text(
        'name = "signatures"\n'
        "pattern = 0.0\nlonger = 0.0\nopening = false\nbeside = 0.0\nfirst = 0.0\n"
        "[worth]\nname = 0.05\nsignature = 1.0\nfull = 0.001\nsummary = 0.001\n"
    )
    return path


def arguments(log: Path, out: Path, *more: object) -> list[object]:
    return [
        "fit", log, "--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL,
        "--out", out, *more,
    ]  # fmt: skip


# Weights


def made_up(weights: dict[str, float], steps: int, seed: int, noise: float) -> list[ItemWorth]:
    """What items would be worth if these weights were true."""
    random = np.random.default_rng(seed)
    found = []
    for step in range(steps):
        for _ in range(12):
            evidence = random.uniform(0, 1, len(weights) - 1)
            total = weights["always"] + sum(
                weight * value
                for (_, weight), value in zip(list(weights.items())[1:], evidence, strict=True)
            )
            share = 1 / (1 + math.exp(-total)) + noise * float(random.normal())
            found.append(ItemWorth(f"step {step}", tuple(map(float, evidence)), share))
    return found


WEIGHT = st.floats(-2, 2)


@settings(max_examples=15, deadline=None)
@given(st.lists(WEIGHT, min_size=4, max_size=4), st.integers(0, 99))
def test_planted_weights_are_found(planted: list[float], seed: int) -> None:
    weights = dict(zip(("always", "a", "b", "c"), (planted[0] / 2, *planted[1:]), strict=True))
    found = fitted_likeness(("a", "b", "c"), made_up(weights, 30, seed, 0.0), {})
    if max(map(abs, planted[1:])) < 0.01:
        return  # every item is worth nearly the same
    assert found is not None
    for name, weight in weights.items():
        assert found.weights[name] == pytest.approx(weight, abs=0.15)
    assert found.error <= found.before + 1e-6
    assert found.error <= found.constant + 1e-6
    assert (found.steps, found.items) == (30, 360)


def test_without_a_trace_of_them_weights_stay_near_the_base() -> None:
    base = {"always": 0.0, "a": 1.5, "b": -1.0, "c": 0.5}
    random = np.random.default_rng(5)
    noise = [
        ItemWorth(f"step {n % 12}", tuple(map(float, random.uniform(0, 1, 3))), share)
        for n, share in enumerate(random.uniform(-0.3, 1, 100).tolist())
    ]
    found = fitted_likeness(("a", "b", "c"), noise, base)
    assert found is not None
    assert found.ridge >= 0.1
    near = made_up(base, 30, 1, 0.1)
    close = fitted_likeness(("a", "b", "c"), near, base)
    assert close is not None
    assert all(abs(close.weights[name] - base[name]) < 0.3 for name in base)


def test_evidence_that_does_not_vary_keeps_its_weight_and_its_part_of_the_sum() -> None:
    planted = {"always": -1.0, "a": 2.0}
    items = [item._replace(evidence=(*item.evidence, 1.0)) for item in made_up(planted, 20, 3, 0.0)]
    base = {"always": 0.0, "still": 0.7, "unseen": 0.3}
    found = fitted_likeness(("a", "still"), items, base)
    assert found is not None
    assert (found.weights["still"], found.weights["unseen"]) == (0.7, 0.3)
    assert found.weights["always"] == pytest.approx(-1.7, abs=0.05)


def test_each_step_weighs_the_same_however_many_items_it_has() -> None:
    good = [ItemWorth("a", (1.0,), 0.9), ItemWorth("a", (0.0,), 0.1)]
    bad = [ItemWorth("b", (1.0,), 0.5), ItemWorth("b", (0.0,), 0.1)]
    once = fitted_likeness(("x",), good + bad, {})
    often = fitted_likeness(("x",), good + 50 * bad, {})
    assert once is not None
    assert often is not None
    assert once.weights == often.weights
    assert often.items == 102


def test_nothing_is_told_by_one_step_or_by_items_that_are_worth_the_same() -> None:
    assert fitted_likeness(("a",), made_up({"always": 0.0, "a": 1.0}, 1, 0, 0.0), {}) is None
    same = [ItemWorth(f"step {n}", (n / 9,), 0.25) for n in range(9)]
    assert fitted_likeness(("a",), same, {}) is None
    assert fitted_likeness(("a",), [], {}) is None


def test_a_share_is_bounded() -> None:
    assert share_saved(10.0, 7.5) == 0.25
    assert (share_saved(10.0, 40.0), share_saved(10.0, -9.0)) == (LOWEST, HIGHEST)
    assert share_saved(0.0, 1.0) == 0.0


# Settings


PLAIN = Policy(name="plain", pattern=0.0, longer=0.0, opening=False)
"It does not weigh likeness."


def far(policy: Policy) -> float:
    """A made-up mean, least at `pattern` 2.4, `longer` 0.6, and with the opening."""
    pattern = abs(math.log((policy.pattern + 0.01) / 2.41))
    return 1 + pattern / 10 + abs(policy.longer - 0.6) + (0 if policy.opening else 0.3)


def test_moves_are_kept_where_the_mean_falls_and_none_is_read_twice() -> None:
    read = list[str]()

    def mean_of(move: PolicyMove) -> float:
        read.append(move.policy.digest)
        return far(move.policy)

    likeness = dict(LIKENESS) | {"like name": 2.0}
    found = searched(PLAIN, likeness, far(PLAIN), mean_of)
    assert found.policy.opening
    assert found.policy.likeness == likeness
    assert found.policy.longer == pytest.approx(0.6)
    assert found.mean == far(found.policy) < found.begun
    assert len(read) == len(set(read)) == len(found.trials)
    kept = [trial.mean or 0.0 for trial in found.trials if trial.kept]
    assert kept == sorted(kept, reverse=True)
    assert found.untried == ()


def test_a_search_ends_when_the_time_is_up_and_says_what_it_did_not_try() -> None:
    clock = iter([True, True, False, False, False])
    found = searched(PLAIN, LIKENESS, 2.0, lambda _: None, lambda: next(clock, False))
    assert found.policy == PLAIN
    assert [trial.kept for trial in found.trials] == [False]
    names = [move.name for move in moves(PLAIN, PLAIN, LIKENESS)]
    assert found.untried == tuple(names[1:])


def test_a_gain_too_small_to_be_one_is_not_kept() -> None:
    found = searched(PLAIN, None, 2.0, lambda _: 2.0 - LEAST)
    assert found.policy == PLAIN
    assert {trial.name for trial in found.trials} == {
        "worth of a signature x 0.3", "worth of a signature x 3", "opening the other way",
        "around +0.15", "parts the other way",
    }  # fmt: skip


def test_a_policy_that_weighs_likeness_already_is_moved_from_where_it_is() -> None:
    base = PLAIN.model_copy(update={"pattern": 1.0, "longer": 0.4})
    likeness = dict(LIKENESS) | {"like name": 2.0}
    found = {move.name: move.policy for move in moves(base, base, likeness)}
    assert found["likeness fitted"].likeness == likeness
    assert [found[f"pattern x {factor}"].pattern for factor in ("0.5", "2")] == [0.5, 2.0]
    longer = found["longer +0.2"]
    assert longer.longer == 0.6
    assert longer.pattern * 100**0.6 == pytest.approx(1.0 * 100**0.4, rel=0.01)
    again = {move.name: move.policy for move in moves(found["likeness fitted"], base, likeness)}
    assert again["likeness as in the base"] == base


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_file_holds_what_the_default_has_not_and_is_read_back(name: str, tmp_path: Path) -> None:
    whole = completed(STRATEGIES[name])
    file = tmp_path / "fitted.toml"
    over = base_of(name)
    settings = {"base": over} | own_settings(whole, STRATEGIES[over])
    file.write_text("\n".join(toml_lines(settings)))
    assert policy_at(file).digest == whole.digest
    assert own_settings(completed(DEFAULT), completed(DEFAULT)) == {}


def test_a_policy_that_no_file_can_hold_is_told() -> None:
    over = PLAIN.model_copy(update={"shares": {"dependencies": 1}})
    with pytest.raises(InputError, match="shares: needed a setting for each of dependencies"):
        own_settings(completed(PLAIN), over)


# Steps


def known_steps(task: Task, log: Path, model: Path | None = None) -> Any:
    """Plans of single texts for the training steps of a task, by place."""
    path = model or tiny("mistral")
    profile = reading_profile(path, SMALL)
    reader = LikelihoodReader(path, profile.window, threads=1)
    known = StepList(ScorePlan(reader, [], profile))
    with opened(str(written(log, task))) as held:
        known.add([held])
        return known, {
            found.place: planned_items(known, found, DEFAULT) for found in known.training
        }


def test_the_parts_are_the_same_wherever_a_log_lies_and_however_it_grows(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    few, _ = known_steps(families(12), tmp_path / "few.jsonl")
    more, _ = known_steps(families(30), tmp_path / "elsewhere" / "more.jsonl")
    for part in ("training", "held_out"):
        first, later = ([found.place for found in getattr(steps, part)] for steps in (few, more))
        assert later[: len(first)] == first
    assert 5 <= len(more.held_out) <= 15
    with opened(str(tmp_path / "elsewhere" / "more.jsonl")) as held:
        sizes = dict[int, set[str]]()
        for size in (6, 12, 24):
            some = StepList(more)
            some.add([held], size)
            assert (len(some.training), len(some.held_out)) == (size * 2 // 3, size // 3)
            assert some.not_sampled == 30 - size
            sizes[size] = {found.place for found in (*some.training, *some.held_out)}
    assert sizes[6] < sizes[12] < sizes[24]
    assert len(more.held_out) + len(more.training) == 30


def test_single_texts_are_chosen_by_evidence_and_by_lot_and_no_score_changes_them(
    tmp_path: Path,
) -> None:
    _, plain = known_steps(families(20), tmp_path / "plain.jsonl")
    _, scored = known_steps(families(20, scored=True), tmp_path / "scored.jsonl")
    *_, item = plain.values()
    assert item is not None
    [job] = item.plan.jobs
    assert len(job.prompts) == MOST + 1
    assert len(set(job.prompts)) == MOST + 1
    assert all(len(evidence) == len(NAMES) for evidence in item.evidence)
    alike = [evidence[NAMES.index("like name")] for evidence in item.evidence]
    assert max(alike) > min(alike)
    assert 0 < DRAWN < MOST

    def texts(plans: Any) -> list[Any]:
        return [
            [(prompt.digest, plan.evidence) for prompt in plan.plan.jobs[0].prompts]
            for plan in plans.values() if plan
        ]  # fmt: skip

    assert texts(plain) == texts(scored)
    assert len(texts(plain)) > 5


def test_real_weights_are_helped_most_by_a_text_whose_name_is_like_the_one_asked_for(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log.jsonl"
    _, plans = known_steps(families(9), log, smollm2_file())
    item = list(plans.values())[-1]
    name = NAMES.index("like name")
    order = sorted(range(len(item.evidence)), key=lambda number: item.evidence[number][name])
    chosen = [order[0], order[-1]]
    assert item.evidence[order[-1]][name] > item.evidence[order[0]][name]
    [job] = item.plan.jobs
    few = job._replace(
        prompts=(job.prompts[0], *(job.prompts[1 + number] for number in chosen)),
        tokens=(job.tokens[0], *(job.tokens[1 + number] for number in chosen)),
    )
    item.plan.jobs[:] = [few]
    with opened(str(log)) as held:
        scoring = Scoring(item.plan, {str(log): ScoreBook(held.store, tmp_path / "scores")})
        scoring.run()
    [read] = scoring.steps
    kept = item._replace(evidence=tuple(item.evidence[number] for number in chosen))
    other, alike = (worth.share for worth in kept.worths(read))
    assert alike > 0.3
    assert alike > other + 0.2


# The command


def test_a_policy_is_learned_from_a_reader_that_copies_and_holds_where_it_was_not_fitted(
    fit: Run, copies: list[str], tmp_path: Path
) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    base = signatures(tmp_path)
    printed, err, code = fit(*arguments(log, out, "--policy", base))
    assert code == 0, err
    assert "steps to fit on and" in err
    assert "for each setting that is tried, at" in err
    assert f"{out}: on " in printed
    assert "it is not what a model would have answered" in printed
    policy = policy_at(out)
    assert policy.name == "mine"
    assert policy.pattern > 0
    assert policy.likeness["like name"] > 0.5
    text = out.read_text()
    assert f"this one has digest {policy.digest}" in text
    assert "# held out: " in text
    assert "Judge it by another log" in text
    assert "weights" not in text.split("\n\n")[1], "they are the default's"
    read = len(copies)
    assert len(set(copies)) == read, "no prompt is read twice"
    again, _, code = fit(*arguments(log, out, "--policy", base, "--force", "--json"))
    report = json.loads(again)
    assert (code, len(copies)) == (0, read)
    assert (report["written"], report["refusal"]) == (str(out), None)
    assert report["scores"][1]["beside"]["per_step"] < 0
    assert report["scores"][1]["beside"]["step_interval"][1] < 0
    assert report["settings"]["pattern"] == policy.pattern
    assert out.read_text() == text
    other = written(tmp_path / "other.jsonl", families(9))
    options = ["--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    scored, _, code = fit("score", other, *options, "--policy", base, "--policy", out, "--json")
    assert code == 0
    assert json.loads(scored)["policies"][1]["beside"]["per_step"] < 0
    _, _, code = fit(
        "regress", other, "--policy", out, "--baseline", "default", "--processes", 1,
        *(f"--limit={name}=100" for name in ("recall", "critical", "unfit")),
    )  # fmt: skip
    assert code == 0


def test_from_random_weights_a_policy_is_written_only_where_it_was_better(
    fit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backcast.engine.replay.fit_search.ROUNDS", 1)
    monkeypatch.setattr("backcast.engine.replay.fit_run.MOST", 3)
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    printed, err, code = fit(*arguments(log, out, "--json"))
    report = json.loads(printed)
    better = bool(report["scores"]) and report["scores"][1]["beside"]["per_step"] < 0
    assert (code, out.exists()) == ((0, True) if better else (1, False))
    assert (report["refusal"] is None) == better
    refused = "backcast: nothing was learned, and no policy is written: "
    assert err.splitlines()[-1].startswith(refused) == (not better)
    assert report["search"]["trials"]
    assert report["likeness"]["steps"] > 8


def test_what_is_not_likelier_where_it_was_not_fitted_is_refused(
    fit: Run, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    # What is held out is read as if nothing had been copied.
    monkeypatch.setattr("backcast.engine.replay.fit_run.PolicyFit._compared", compared_alike)
    printed, err, code = fit(*arguments(log, out, "--policy", signatures(tmp_path), "--json"))
    assert (code, out.exists()) == (1, False)
    assert "on 9 steps held out, nats per token 2.000 under signatures and 2.000 as fitted" in err
    report = json.loads(printed)
    assert report["written"] is None
    assert report["refusal"] in err


def compared_alike(fitted: Any, policy: Policy, advance: Any) -> Any:
    from backcast.engine.models.likelihood import LineNats
    from backcast.engine.replay.score_summary import score_summary
    from tests.test_score import step

    steps = [step(f"step {n}", (True,), (LineNats(1, 2.0),), (LineNats(1, 2.0),)) for n in range(9)]
    return score_summary(steps, [fitted.base.name, "fitted"]), len(steps)


def test_an_interrupt_loses_nothing_and_the_next_call_goes_on(
    fit: Run, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    read = LikelihoodReader.read

    def interrupted(*given: Any) -> ReadText:
        if len(copies) == 40:
            raise KeyboardInterrupt
        return read(*given)

    monkeypatch.setattr(LikelihoodReader, "read", interrupted)
    base = signatures(tmp_path)
    printed, err, code = fit(*arguments(log, out, "--policy", base))
    assert (printed, code, out.exists()) == ("", 130, False)
    assert "run it again to go on" in err
    assert len(log.with_name("log.jsonl.scores").read_text().splitlines()) == 40
    monkeypatch.setattr(LikelihoodReader, "read", read)
    assert fit(*arguments(log, out, "--policy", base))[2] == 0
    assert len(copies) == len(set(copies)) > 40


# Bad input


def test_a_setting_that_was_cut_by_the_time_is_named_and_the_steps_held_out_are_read(
    fit: Run, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    base = signatures(tmp_path)
    reading = PolicyFit._read
    plans = list[str]()

    def cut(fitted: PolicyFit, plan: Any, until: float, advance: Any) -> Scoring:
        """Let the time be up within the third setting that is tried."""
        name = plan.settings[0].name
        trial = name.startswith(f"{fitted.base.name}, ") and "alone" not in name
        plans.extend([name] if trial else [])
        found = reading(fitted, plan, until, advance)
        if trial and len(plans) == 3:
            found.waiting, found.steps = plan.jobs[:1], found.steps[1:]
        return found

    monkeypatch.setattr(PolicyFit, "_read", cut)
    printed, err, code = fit(*arguments(log, out, "--policy", base, "--json"))
    report = json.loads(printed)
    assert code == 0, err
    assert len(plans) == 3
    assert len(report["search"]["trials"]) == 2
    assert plans[2].removeprefix("signatures, ") == report["search"]["untried"][0]
    assert f"note: there was no time to try {report['search']['untried'][0]}" in err
    assert report["held_out"] >= 8


def test_two_steps_are_too_few(fit: Run, copies: list[str], tmp_path: Path) -> None:
    log, out = written(tmp_path / "log.jsonl", families(2)), tmp_path / "mine.toml"
    printed, err, code = fit(*arguments(log, out))
    assert (printed, code) == ("", 2)
    assert err.count("\n") == 1
    assert "needed 8 steps or more to fit on and 8 to judge by" in err
    assert copies == []


def test_a_time_that_is_too_short_is_told(fit: Run, copies: list[str], tmp_path: Path) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    printed, err, code = fit(*arguments(log, out, "--seconds", "0.000001"))
    assert (printed, code, copies) == ("", 2, [])
    assert "needed 8 training steps or more within the time, reached 0: what was read is" in err


def test_a_time_that_will_not_do_is_used_and_calls_that_go_on_from_it_come_to_an_end(
    fit: Run, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = LikelihoodReader.read

    def slow(*asked: Any) -> ReadText:
        time.sleep(0.005)
        return copied(*asked)

    monkeypatch.setattr(LikelihoodReader, "read", slow)
    monkeypatch.setattr("backcast.engine.replay.fit_run.MOST", 2)
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    asked = arguments(log, out, "--policy", signatures(tmp_path), "--seconds")
    seconds = 0.1
    _, err, code = fit(*asked, seconds)
    assert code in (1, 2), "no setting was tried, or too few steps were read"
    assert "nothing was learned" not in err
    assert "note: --seconds 0.1 may be too few to try one setting and judge it: about" in err
    assert re.search(r"goes on from there \(--seconds \d+ or so to try one setting and judge", err)
    before, calls = len(copies), 1
    assert before > 0
    while "goes on from there" in err:
        seconds *= 2
        _, err, code = fit(*asked, seconds)
        calls += 1
    assert calls > 1
    assert len(copies) == len(set(copies)) > before, "what was read is not read again"


def test_a_sample_too_small_to_judge_by_is_refused_before_anything_is_read(
    fit: Run, copies: list[str], tmp_path: Path
) -> None:
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    printed, err, code = fit(*arguments(log, out, "--sample", "12"))
    assert (printed, code, copies) == ("", 2, [])
    assert "--sample: needed 23 or more, for 8 steps to fit on and 8 of the third that is" in err
    assert min(held_of(23), 23 - held_of(23)) == 8 > held_of(22)


def test_a_log_without_outcomes_is_told(fit: Run, tmp_path: Path) -> None:
    log = tmp_path / "none.jsonl"
    log.write_text(
        '{"type": "TASK_STARTED", "task_id": "t", "data": {}, "timestamp": "2026-11-20T10:00:00Z"}'
    )
    printed, err, code = fit(*arguments(log, tmp_path / "mine.toml"))
    assert (printed, code) == ("", 2)
    assert err.count("\n") == 1
    assert "found 0 and 0" in err


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (["--out", "none/mine.toml"], "needed a folder for the policy file, found no none"),
        (["--out", "-"], "needed a policy file to write, found - (stdout)"),
        (["--out", "."], "needed a policy file to write, found a folder"),
        (["--out", "there.toml"], "there.toml: needed a file that is not there yet, found one"),
        (["--policy", "odd.toml"], "odd.toml: needed TOML"),
        (["--policy", "wrong.toml"], "pattern: needed greater than or equal to 0, found -1"),
        (["--policy", "recorded"], "needed a TOML file or one of "),
        (["--model", "http://127.0.0.1:1"], "127.0.0.1:1"),
        (["--model", "llama:none.gguf"], "none.gguf: needed a GGUF file: No such file"),
    ],
)
def test_what_cannot_be_begun_is_one_line(
    fit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], needed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("there", "errors = 2\n"), ("odd", "= 1"), ("wrong", "pattern = -1\n")):
        Path(f"{name}.toml").write_text(text)
    log = written(tmp_path / "log.jsonl", families(2))
    printed, err, code = fit(*arguments(log, Path("mine.toml")), *options)
    assert (printed, code) == ("", 2)
    assert sum(needed in line for line in err.splitlines()) == 1, err
    assert Path("there.toml").read_text() == "errors = 2\n"
    assert not Path("mine.toml").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".try")]


def test_weights_are_fitted_to_all_evidence_that_a_policy_can_weigh() -> None:
    assert {*NAMES, "always", "meaning"} == set(LIKENESS_NAMES) >= set(WEIGHTS)
