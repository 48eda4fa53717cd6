"""What `verify` and `regress` say to a program, and in their last line: all that tables tell."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.interfaces.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
VALIDATORS, TILL = FIXTURES / "logs/validators.jsonl", FIXTURES / "logs/till.jsonl"
AGENT = FIXTURES / "recorded/mender.jsonl"
Ran = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """The exit code of a command, and what it printed on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A log that was cut in the middle of a line."""
    path = tmp_path / "cut.jsonl"
    path.write_bytes(VALIDATORS.read_bytes()[:-40])
    return path


def renamed(path: Path, source: Path, **names: str) -> Path:
    """A log whose events are of other types."""
    text = source.read_text()
    for old, new in names.items():
        text = text.replace(f'"type": "{old}"', f'"type": "{new}"')
        text = text.replace(f'"type":"{old}"', f'"type":"{new}"')
    path.write_text(text)
    return path


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_the_last_line_of_verify_says_what_was_not_whole_and_what_was_only_rebuilt(
    ran: Ran, cut: Path
) -> None:
    code, _, err = ran("verify", cut, AGENT, "--only", "derived")
    assert code == 1
    assert err.splitlines()[-1] == (
        "17 prompts, 0 failed; 12 are of another program, and only rebuilt; 1 of 2 logs is not"
        " whole"
    )
    code, _, err = ran("verify", AGENT)
    assert (code, err.splitlines()[-1].split("; ")[0]) == (0, "12 prompts, 0 failed")


def test_the_last_line_of_verify_for_a_program_sums_up(ran: Ran, cut: Path) -> None:
    code, out, _ = ran("verify", cut, AGENT, "nope.jsonl", "--json")
    *verdicts, sums = objects(out)
    assert (code, sums["exit_code"]) == (2, 2)
    assert (len(verdicts), sums["prompts"], sums["failed"], sums["foreign"]) == (17, 17, 0, 12)
    assert {verdict["log"] for verdict in verdicts} == {str(cut), str(AGENT)}
    assert all(verdict["holds"] for verdict in verdicts)
    logs = sums["logs"]
    assert (logs["read"], list(logs["damage"]), list(logs["unreadable"])) == (
        2, [str(cut)], ["nope.jsonl"],
    )  # fmt: skip
    assert "not JSON" in logs["damage"][str(cut)][0]


def test_a_program_learns_from_regress_each_limit_and_the_figures_of_the_table(
    ran: Ran, cut: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "few.toml"
    policy.write_text('base = "coverage"\nerrors = 0\n[regress]\nrecall = 50\n')
    code, out, err = ran("regress", cut, "nope.jsonl", "--policy", policy, "--json")
    baseline, few = objects(out)
    assert code == baseline["exit_code"] == few["exit_code"] == 1
    assert few["recall_percent"] == pytest.approx(baseline["recall_percent"] + few["recall_points"])
    held = {limit["rule"]: limit["holds"] for limit in few["limits"]}
    assert held == {"recall": True, "critical": False, "stale": True, "unfit": True, "over": True,
                    "prefix": True, "tokens": True}  # fmt: skip
    [recall] = (limit for limit in few["limits"] if limit["rule"] == "recall")
    assert (recall["allowed"], recall["found"]) == (50, -few["recall_points"])
    assert few["regression"]
    assert (list(few["logs"]["damage"]), list(few["logs"]["unreadable"])) == (
        [str(cut)], ["nope.jsonl"],
    )  # fmt: skip
    used, shown = few["summary"]["used"], few["summary"]["shown"]
    assert sum(len(step["missed"]) for step in few["missed"]) == used - shown
    assert "1 of 1 logs is not whole: their missing events were not tried" in err


def test_an_agents_messages_are_judged_in_the_same_words(ran: Ran, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(AGENT.read_bytes()[:-40])
    code, out, _ = ran("regress", torn, "--policy", "mask-3", "--json")
    none, masked = objects(out)
    assert "regression" not in none
    assert (code, masked["regression"], bool(masked["broken"])) == (1, True, True)
    assert list(masked["logs"]["damage"]) == [str(torn)]
    assert ran("regress", torn, "--histories")[0] == 1
    assert ran("regress", AGENT, "nope.jsonl", "--histories")[0] == 2


def test_a_difference_names_the_events_that_this_program_does_not_know(
    ran: Ran, tmp_path: Path
) -> None:
    odd = renamed(tmp_path / "odd.jsonl", VALIDATORS, CHECKS_RAN="CHECKS_RUN")
    code, out, err = ran("verify", odd)
    assert code == 1
    assert err.splitlines()[0].endswith("odd.jsonl: 5 events of unknown types: CHECKS_RUN")
    assert "events of unknown types: CHECKS_RUN; or " in out
    code, out, _ = ran("regress", odd, "--policy", "no-cache", "--json")
    assert objects(out)[0]["logs"]["unknown_types"] == {str(odd): {"CHECKS_RUN": 5}}
    code, _, err = ran("import", "events", odd, "--store", f"sqlite:///{tmp_path}/kept.db")
    assert (code, "note: 5 events of unknown types: CHECKS_RUN" in err) == (0, True)


def test_records_that_an_importer_keeps_as_they_were_are_no_unknown_types(
    ran: Ran, tmp_path: Path
) -> None:
    records = tmp_path / "records.jsonl"
    texts = VALIDATORS.read_text().replace('"POLICY_USED"', '"CODEX_EVENT_MSG"')
    records.write_text(texts.replace('"TASK_COMPLETE"', '"HTTP_EXCHANGE"'))
    code, _, err = ran("verify", records)
    assert (code, "unknown" in err, err.splitlines()[-1]) == (0, False, "5 prompts, 0 failed")
