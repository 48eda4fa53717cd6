"""A policy tried on recorded logs: what gets worse is found, told, and decides the exit code."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.policy import DEFAULT
from backcast.engine.context import symbol_candidates
from backcast.engine.context.evidence import weighed
from backcast.engine.context.policies import policy_named
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.regress_notes import long_trial
from backcast.engine.log.importers.events import export_lines
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.changes import requests
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, runs_in
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import Figures, Measured, measured
from backcast.engine.replay.recall_interval import recall_interval
from backcast.engine.replay.regress import Rules, compared, less_likely, likely_limit
from backcast.engine.replay.score_summary import score_summary
from backcast.engine.replay.steps import steps
from backcast.engine.replay.try_runs import tried
from backcast.engine.replay.used import Used, showing, used
from tests.sources import Task
from tests.test_score_verdict import scores

LOGS = Path(__file__).parents[1] / "fixtures/logs"
TILL, VALIDATORS = str(LOGS / "till.jsonl"), str(LOGS / "validators.jsonl")


def regressed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["regress", *arguments, "--processes", "1"])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def forgetful(tmp_path: Path) -> str:
    path = tmp_path / "forgetful.toml"
    path.write_text("errors = 0\n")
    return str(path)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A project of many small functions, some of which new ones then use."""
    task = Task("library")
    for part in range(12):
        names = "".join(
            f'\ndef part{part}_{n}(value: int) -> int:\n    """Part {part}, step {n}."""\n'
            f"    return value * {part} + {n}\n"
            for n in range(8)
        )
        task.wrote(f"lib/part{part}.py", f'"""Part {part}."""\n{names}')
    body = "".join(f"from lib.part{part} import part{part}_{part % 8}\n" for part in range(12))
    task.wrote("app.py", body)
    task.outlined()
    for part in range(12):
        body += f"\ndef use_{part}(value: int) -> int:\n    return part{part}_{part % 8}(value)\n"
        task.wrote("app.py", body)
        task.outlined()
    path = tmp_path_factory.mktemp("library") / "library.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    return str(path)


# What outcomes used


def test_what_the_accepted_code_used_was_there_before_and_is_found() -> None:
    with opened(TILL) as log:
        found = {one.version: used(one) for one in steps(log.store, "till", outcomes=True)}
    assert Used("symbol", "function:money.py::to_cents") in found[73]
    assert Used("failure", "failure:76.1") in found[79]
    assert Used("file", "module:orders.py") in found[119]
    assert found[16] == found[31] == ()


def test_what_code_uses_of_its_own_new_module_is_no_evidence() -> None:
    with opened(TILL) as log:
        for one in steps(log.store, "till", outcomes=True):
            own = one.request.target.partition(":")[2]
            symbols = [thing.node for thing in used(one) if thing.kind == "symbol"]
            assert not any(node.startswith(f"function:{own}") for node in symbols)


def test_a_change_is_a_request_as_things_stood_before_it(library: str) -> None:
    with opened(library) as log:
        found = list(requests(log.store, "library"))
        pool = BuilderPool(log.store)
        assert [one.request.target for one in found[-3:]] == [
            f"function:app.py::use_{part}" for part in (9, 10, 11)
        ]
        last = found[-1]
        assert used(last) == (Used("symbol", "function:lib/part11.py::part11_3"),)
        context = PolicyReplay(pool).context(last)
        assert showing(context)(used(last)[0])
        assert "use_11" not in context.text


def test_states_are_folded_once_whatever_the_number_of_policies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    with opened(TILL) as log:
        take = type(log.store).read

        def counted(self: Any, *told: Any, **more: Any) -> Any:
            for event in take(self, *told, **more):
                read.append(event.type)
                yield event

        monkeypatch.setattr(type(log.store), "read", counted)
        sums = []
        for many in (1, 4):
            read.clear()
            lines = [PolicyReplay(BuilderPool(log.store), None, DEFAULT) for _ in range(many)]
            list(measured(steps(log.store, "till", outcomes=True), lines))
            sums.append(len(read))
    assert sums[0] == sums[1]


# Regressions


def test_the_recorded_policy_is_no_regression_of_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = regressed(capsys, TILL, VALIDATORS, "--policy", "recorded")
    assert code == 0
    assert "no regression under recorded" in out


def test_a_policy_that_hides_failures_is_a_regression(
    forgetful: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, other = tmp_path / "out.md", tmp_path / "out.json"
    both = ("--report", str(report), "--report", str(other))
    code, out, _ = regressed(capsys, VALIDATORS, "--policy", forgetful, *both)
    assert code == 1
    assert json.loads(other.read_text())["policies"][1]["broken"]
    fell = "evidence recall fell by 28.6 points, from 100.0 % to 71.4 % (not certain: 1 run); 1 are"
    assert fell in out
    assert "2 CRITICAL things are not shown any more; 0 are allowed" in out
    first, second, *rest = out.splitlines()
    assert first.startswith("REGRESSION under forgetful: evidence recall fell")
    assert second.startswith("REGRESSION under forgetful: 2 CRITICAL")
    assert not any(line.startswith("REGRESSION") for line in rest)
    told = report.read_text()
    assert told.split("\n")[2].startswith("- REGRESSION under forgetful")
    assert "| evidence recall | 100.0 % (21 of 21) | 71.4 % (15 of 21) |" in told
    assert "REGRESSION under forgetful" in told
    assert "what a model would have answered" in told


@pytest.mark.parametrize("where", ["the policy", "the command"])
def test_what_counts_as_a_regression_is_declared(
    where: str, forgetful: str, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = []
    if where == "the policy":
        with Path(forgetful).open("a") as file:
            file.write("[regress]\nrecall = 30\ncritical = 2\n")
    else:
        limits = ["--limit", "recall=30", "--limit", "critical=2"]
    code, out, _ = regressed(capsys, VALIDATORS, "--policy", forgetful, *limits)
    assert (code, "no regression under forgetful" in out) == (0, True)


def test_several_policies_are_told_each_beside_the_baseline(
    forgetful: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("--policy", "recorded", "--policy", forgetful, "--json")
    code, out, _ = regressed(capsys, VALIDATORS, TILL, *told)
    baseline, same, worse = (json.loads(line) for line in out.splitlines())
    assert code == 1
    assert baseline["baseline"]
    assert (same["broken"], same["same"]) == ([], same["summary"]["prompts"])
    before, after = baseline["summary"], worse["summary"]
    lost = before["shown"] / before["used"] - after["shown"] / after["used"]
    assert worse["recall_points"] == pytest.approx(-100 * lost)
    assert (worse["interval"], worse["units"], worse["unit_kind"]) == (None, 2, "runs")
    certain = {limit["rule"]: limit["certain"] for limit in worse["limits"]}
    assert (certain["recall"], certain["critical"]) == (False, True)
    assert len(worse["broken"]) == 2


def test_a_report_is_the_baseline_of_a_later_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = str(tmp_path / "main.json")
    assert regressed(capsys, VALIDATORS, "--report", report)[0] == 0
    told = ("--policy", "recorded", "--baseline", report)
    code, out, _ = regressed(capsys, VALIDATORS, *told)
    assert code == 0
    assert "no regression under recorded" in out
    code, _, err = regressed(capsys, TILL, *told)
    assert (code, "tells none of the prompts" in err) == (2, True)


def broken_ranking(*told: Any) -> Any:
    """The chances, turned round: what is least likely comes first."""
    return np.round(1 - WEIGHED(*told), 6)


WEIGHED = weighed


def test_a_deliberate_bug_in_the_ranking_is_caught(
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report, tight = str(tmp_path / "main.json"), ("--context-tokens", "400")
    assert regressed(capsys, library, "--report", report, *tight)[0] == 0
    again = (library, "--policy", "recorded", "--baseline", report, *tight)
    assert regressed(capsys, *again)[0] == 0
    monkeypatch.setattr(symbol_candidates, "weighed", broken_ranking)
    code, out, _ = regressed(capsys, *again)
    assert code == 1
    assert "evidence recall fell by " in out


def test_two_processes_tell_the_same_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for processes in ("1", "2"):
        with pytest.raises(SystemExit):
            main(["regress", TILL, VALIDATORS, "--policy", "no-cache", "--json",
                  "--processes", processes])  # fmt: skip
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]


def test_windows_of_a_history_are_runs_of_their_own(library: str) -> None:
    with opened(library) as log:
        runs = list(runs_in(log, 5))
        whole = list(runs_in(log, 100))
    assert [run.length for run in runs[:-1]] == [5] * (len(runs) - 1)
    assert sum(run.length for run in runs) == sum(run.length for run in whole)
    setting = [Setting("default", DEFAULT)]
    apart = [step for one in tried(runs, setting) for step in one.steps]
    [together] = tried(whole, setting)
    assert [one.version for one in apart] == [one.version for one in together.steps]
    assert [one.figures[0].kinds for one in apart] == [
        one.figures[0].kinds for one in together.steps
    ]


def test_the_last_changes_of_a_history_are_those_that_all_end_with(
    library: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(library) as log:
        [whole], lasts = runs_in(log, 1000), [list(runs_in(log, 3, last)) for last in (7, 10**6)]
    assert [(run.first - whole.length, run.length) for run in lasts[0]] == [
        (-7, 3),
        (-4, 3),
        (-1, 1),
    ]
    assert sum(run.length for run in lasts[1]) == whole.length
    assert long_trial([whole], 2, reported=False) == ""
    for reported in (False, True):
        line = long_trial([whole._replace(length=4_868)], 2, reported=reported)
        assert "--last 200" in line
        assert ("--report FILE.jsonl" in line) is not reported
    with pytest.raises(SystemExit):
        main(["regress", library, "--policy", "coverage", "--last", "2", "--processes", "1"])
    assert re.search(r"^prompts +[12] ", capsys.readouterr().out, re.MULTILINE)


# Strategies


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_each_strategy_builds_prompts_that_fit(name: str) -> None:
    policy = policy_named(name)
    if policy.weights.get("meaning"):
        pytest.importorskip("sentence_transformers", reason="needs the extra 'semantic'")
    with opened(VALIDATORS) as log:
        line = PolicyReplay(BuilderPool(log.store), None, policy)
        for found in measured(steps(log.store, "validators", outcomes=True), [line]):
            [one] = found.figures
            assert one.error == ""
            assert 0 < one.tokens <= one.room


# The bootstrap


def run_of(*counts: tuple[int, int, int]) -> Tried:
    """A run of steps that used so much, of which two policies missed so much."""

    def figures(many: int, missed: int) -> Figures:
        gone = tuple(Used("symbol", f"function:a.py::f{n}") for n in range(missed))
        return Figures("d", 1, 9, 1, 9, {}, {}, gone, {"symbol": many}, (), 0, 0, 0.0)

    made = [Measured(1, "s", (figures(n, a), figures(n, b))) for n, a, b in counts]
    return Tried(ReplayRun("log", "task", len(counts)), tuple(made))


Counts = st.integers(1, 9).flatmap(
    lambda many: st.tuples(st.just(many), st.integers(0, many), st.integers(0, many))
)


@settings(max_examples=50, deadline=None)
@given(runs=st.lists(st.lists(Counts, min_size=1, max_size=3), min_size=6, max_size=9))
def test_the_interval_holds_the_difference_and_is_always_the_same(
    runs: list[list[tuple[int, int, int]]],
) -> None:
    made = [run_of(*counts) for counts in runs]
    [found] = compared(made, ("a", "b"), [Rules()])
    every = [count for counts in runs for count in counts]
    points = 100 * sum(a - b for _, a, b in every) / sum(many for many, _, _ in every)
    assert found.recall == pytest.approx(points)
    assert found.interval == recall_interval(made, 1).bounds
    assert found.interval is not None
    low, high = found.interval
    singles = [100 * sum(a - b for _, a, b in c) / sum(n for n, _, _ in c) for c in runs]
    assert min(singles) - 1e-6 <= low <= high <= max(singles) + 1e-6


def test_fewer_runs_than_six_have_no_interval_and_their_number_is_told() -> None:
    few = recall_interval([run_of((3, 1, 2))] * 5, 1)
    assert (few.bounds, few.counted) == (None, "5 runs")
    assert recall_interval([run_of((3, 1, 2)), run_of((0, 0, 0))], 1).counted == "1 run"
    assert recall_interval([run_of((3, 1, 2))] * 6, 1).bounds == pytest.approx((-100 / 3,) * 2)


def test_of_a_history_each_change_is_drawn_however_they_are_cut_into_runs() -> None:
    counts = [(3, 1, 2), (2, 0, 0), (4, 1, 3), (0, 0, 0), (1, 1, 0), (2, 0, 1), (5, 0, 1)]

    def cut(size: int) -> list[Tried]:
        runs = []
        for first in range(0, len(counts), size):
            found = run_of(*counts[first : first + size])
            run = ReplayRun("log", "task", 0, first, len(found.steps))
            runs.append(found._replace(run=run))
        return runs

    found = [recall_interval(cut(size), 1) for size in (1, 3, 25)]
    assert found[0] == found[1] == found[2]
    assert found[0].counted == "6 changes"
    assert found[0].bounds is not None
    both = recall_interval([*cut(3), run_of((3, 1, 2))], 1)
    assert both.counted == "7 runs and changes"


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ([1] * 8, "fell by 20.0 points, from 100.0 % to 80.0 % (95 % from -20.0 to -20.0, 8 runs)"),
        ([3, *[0] * 7], "(95 % from -22.5 to +0.0; not certain: 8 runs); 1 are allowed"),
        ([1] * 5, "from 100.0 % to 80.0 % (not certain: 5 runs); 1 are allowed"),
    ],
)
def test_a_regression_stays_one_and_tells_where_it_is_not_certain(
    lost: list[int], said: str
) -> None:
    [found] = compared([run_of((5, 0, gone)) for gone in lost], ("a", "b"), [Rules()])
    [line] = found.broken
    assert said in line
    [limit] = [limit for limit in found.limits if limit.rule == "recall"]
    assert not limit.holds
    assert limit.certain is ("not certain" not in line)


def test_what_one_step_makes_less_likely_is_a_regression_that_is_not_certain() -> None:
    for shifts, certain in (([0.2] * 8, True), ([9.0, *[0.2] * 8], False), ([0.2], False)):
        beside = score_summary(scores(*shifts), ["a", "b"])[1].beside
        [line] = less_likely(beside, Rules())
        assert ("not certain: " in line) is not certain, line
        limit = likely_limit(beside, Rules())
        assert (limit.holds, limit.certain) == (False, certain)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "nonsense"), "needed a TOML file or one of reader, coverage,"),
        (("--policy", "FILE"), "needed one of name, version,"),
        (("--policy", "RULE"), "needed a rule of recall, critical, stale,"),
        (
            ("--policy", "recorded", "--limit", "recall=lots"),
            "--limit: needed RULE=N, found 'recal",
        ),
        (
            ("--policy", "recorded", "--limit", "stale=1.5"),
            "stale: needed a valid integer, found 1",
        ),
        (("--policy", "TYPE"), "TYPE: regress.recall: needed a valid number, found 'none'"),
        (
            ("--policy", "TABLE"),
            "TABLE: needed a setting that there is, found 'regres'; did you me",
        ),
        (("--policy", "recorded", "--limit", "speed=2"), "needed a rule of recall, critical,"),
        (("--policy", "recorded", "--baseline", "none.json"), "found no such file"),
        (("--policy", "recorded", "--baseline", "FILE.json"), "needed a report of 'regress'"),
        (("--report", "out.pdf"), "needed a name that ends in .md, .json or .jsonl"),
        (("--report", "gone/out.md"), "needed a folder that is there, found gone/out.md"),
        (("--policy", "recorded", "--profile", "gpt"), "needed a profile of mistral-7b-8k"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").write_text("colour = 'red'\n")
    (tmp_path / "RULE").write_text("[regress]\ncolour = 'red'\n")
    (tmp_path / "TYPE").write_text("[regress]\nrecall = 'none'\n")
    (tmp_path / "TABLE").write_text("[regres]\nrecall = 1\n")
    (tmp_path / "FILE.json").write_text('{"runs": [{"run": 1}]}')
    told = [str(tmp_path / one) if (tmp_path / one).is_file() else one for one in arguments]
    code, _, err = regressed(capsys, VALIDATORS, *told)
    assert (code, message in err) == (2, True), err


def test_a_log_that_cannot_be_read_is_told_and_the_others_are_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").touch()
    code, out, err = regressed(
        capsys, str(tmp_path / "empty.jsonl"), VALIDATORS, "--policy", "recorded"
    )
    assert code == 2
    assert "empty.jsonl: needed a log" in err
    assert "no regression under recorded" in out


def test_a_policy_for_which_nothing_fits_is_told(
    library: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = regressed(capsys, VALIDATORS, "--policy", "recorded", "--context-tokens", "20")
    assert code == 0
    assert "does not fit" in out
    assert "Traceback" not in out


def test_what_a_log_calls_a_thing_cannot_speak_to_the_terminal(
    tmp_path: Path, forgetful: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in Path(VALIDATORS).read_text().splitlines()]
    for line in lines:
        if line.get("type") == "STEP_STARTED":
            line["data"]["module_name"] = "\x1b[31mred\x1b]0;title\x07"
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    log, report = str(tmp_path / "log.jsonl"), str(tmp_path / "out.md")
    code, out, err = regressed(capsys, log, "--policy", forgetful, "--report", report)
    assert code == 1
    for text in (out, err, Path(report).read_text()):
        assert "\x1b" not in text
    assert "\\x1b[31mred" in out
