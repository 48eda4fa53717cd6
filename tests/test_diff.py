"""What differs between two prompts, why a thing is in one, and what a model says to both."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.budget import PROFILES
from backcast.domain.moment import NOW
from backcast.domain.policy import Policy
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.interfaces.cli import main
from backcast.engine.log.importers.events import export_lines
from backcast.engine.models.templates import PromptPiece
from backcast.engine.replay.diff import ComparablePrompt, Thing, changes, diff
from tests.recordings import FIXTURES
from tests.sources import Task

TILL, VALIDATORS = (str(FIXTURES / f"logs/{name}.jsonl") for name in ("till", "validators"))


class Characters:
    """Each character is a token."""

    def encode(self, text: str) -> list[int]:
        return list(map(ord, text))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, out, err = told(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def forgetful(tmp_path: Path) -> str:
    (tmp_path / "forgetful.toml").write_text('base = "coverage"\nerrors = 0\n')
    return str(tmp_path / "forgetful.toml")


# As values

things = st.builds(
    Thing,
    node=st.sampled_from([f"function:a.py::{name}" for name in "fghij"]),
    section=st.sampled_from(["dependencies", "current module"]),
    level=st.sampled_from(["full", "signature"]),
    tokens=st.just(1),
    text=st.sampled_from(["blob:1", "blob:2"]),
).map(lambda one: one._replace(tokens=len(one.level) + int(one.text[-1])))
prompts = st.lists(things, max_size=5, unique_by=lambda one: one.node).map(
    lambda some: ComparablePrompt("p", tuple(some), {}, 9, 99, [PromptPiece("x")])
)


@given(before=prompts, after=prompts)
def test_the_changes_lead_from_one_prompt_to_the_other(
    before: ComparablePrompt, after: ComparablePrompt
) -> None:
    made = list(changes(before, after))
    old, new = ({one.node for one in prompt.things} for prompt in (before, after))
    assert {one.node for one in made if one.kind == "in"} == new - old
    assert {one.node for one in made if one.kind == "out"} == old - new
    assert len({one.node for one in made}) == len(made)
    more = sum(one.tokens for one in after.things) - sum(one.tokens for one in before.things)
    assert sum(one.tokens for one in made) == more
    if before.things == after.things:
        assert made == []


@given(prompt=prompts, text=st.text(max_size=20), other=st.text(max_size=20))
def test_prompts_are_the_same_only_to_the_byte(
    prompt: ComparablePrompt, text: str, other: str
) -> None:
    one, two = (
        prompt._replace(pieces=[PromptPiece(each)], tokens=len(each)) for each in (text, other)
    )
    assert diff(one, two, Characters()).same == (text == other)


# Of a log


def test_a_policy_that_hides_failures_takes_them_out_and_says_why(
    forgetful: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("diff", f"{TILL}@164", "--policy", "recorded", "--policy", forgetful)
    told = found(capsys, *asked)
    [gone] = told["changes"]
    assert (gone["kind"], gone["section"], gone["why"]) == ("out", "recent errors", "masked")
    [errors] = [one for one in told["sections"] if one[0] == "recent errors"]
    assert errors[1:] == [-gone["tokens"], 0]
    assert told["tokens"][1] < told["tokens"][0]
    assert told["prefix"][0]["tokens"] > 0


def test_one_policy_is_compared_with_the_prompt_as_it_was_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert found(capsys, "diff", f"{TILL}@164", "--policy", "coverage")["same"]


def test_a_change_without_a_prompt_is_compared_with_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, path = Task("changes"), tmp_path / "changes.jsonl"
    task.wrote("b.py", "def g(x):\n    return x\n")
    task.outlined()
    task.wrote("a.py", "from b import g\n\n\ndef f(x):\n    return g(x)\n")
    task.outlined()
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    one, two = (
        found(capsys, "diff", f"{path}@last", *before, "--policy", "no-cache")
        for before in ((), ("--policy", "default"))
    )
    assert (one["before"], one["after"], one["same"]) == ("default", "no-cache", False)
    assert one == two


@pytest.mark.parametrize("policy", ["no-cache", "default", "online-only"])
def test_the_rows_add_up_to_the_difference(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    difference = found(capsys, "diff", f"{TILL}@79", "--policy", policy)
    for side in (0, 1):
        rows = sum(row[1 + side] for row in difference["sections"])
        assert rows == difference["tokens"][side]
    assert "system prompt, headings, template" in told(
        capsys, "diff", f"{TILL}@79", "--policy", "default"
    )[1]  # fmt: skip


def test_two_moments_differ_by_events_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, "diff", f"{VALIDATORS}@27", f"{VALIDATORS}@33")
    kinds = [line.split()[4] for line in told["events"]]
    assert kinds == ["MODULE_ITERATION", "CHECKS_RAN"]
    came = {one["node"] for one in told["changes"] if one["kind"] == "in"}
    assert {"failure:30.1", "iteration:validators.py@2"} <= came


def test_moments_may_be_times_with_a_request_of_ones_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("diff", f"{VALIDATORS}@2026-11-20T12:00:05", f"{VALIDATORS}@2026-11-20T13:00")
    told = found(capsys, *asked, "--for", "module:validators.py")
    assert "module:validators.py" in {one["node"] for one in told["changes"]}


def test_another_window_is_another_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, "diff", f"{TILL}@164", "--profile", "qwen3-8b-32k")
    assert told["room"] == [5692, 17768]
    assert {one["kind"] for one in told["changes"]} >= {"level"}


def test_a_fork_is_compared_with_its_origin(
    tmp_path: Path, forgetful: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ("--store", f"sqlite:///{tmp_path}/runs.db")
    assert told(capsys, "import", "events", VALIDATORS, *url)[0] == 0
    assert told(capsys, "fork", "validators@27", *url)[0] == 0
    model = ("--model", f"answers:{VALIDATORS}", "--out", str(tmp_path / "out"))
    assert told(capsys, "resume", "validators~1", "--policy", forgetful, *model, *url)[0] == 0
    tasks = ("validators", "validators~1")
    code, out, _ = told(capsys, "diff", *tasks, *url)
    assert code == 0
    assert "5 pairs of prompts, 2 differ" in out
    assert "- recent errors  failure:24.1" in out
    code, out, _ = told(capsys, "diff", "validators@27", "validators~1@32", *url)
    assert (code, "- recent errors  failure:24.1" in out) == (0, True)


def test_a_log_is_the_same_as_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "diff", TILL, TILL)[1] == "34 pairs of prompts, 0 differ\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((TILL,), 2, "needed a second address, --policy once or twice, or --profile"),
        ((TILL, "--policy", "nonsense"), 2, "needed a TOML file or one of reader,"),
        ((f"{TILL}@3", "--policy", "default"), 2, "the nearest prompts are till@16 and till@20"),
        ((f"{TILL}@79", f"{TILL}@999"), 2, "needed an event from 1 to 185, found 999"),
        ((f"{TILL}@2026-11-20T11", TILL), 2, "the first is till@16"),
        ((TILL, VALIDATORS, "--for", "module:a.py"), 2, "go with two moments of one task"),
        ((TILL, VALIDATORS, "--policy", "default"), 2, "needed one address"),
        ((TILL, "--profile", "gpt"), 2, "needed a profile of"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(
    arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, _, err = told(capsys, "diff", *arguments)
    assert (ended, message in err) == (code, True), err


# Why


def test_what_is_in_names_its_level_and_its_events(capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, "blame", f"{TILL}@73", "money.py::to_cents")
    assert told["inside"]
    assert told["because"] == [27]
    assert told["prompt"] == 73


def test_what_failed_is_blamed_on_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, "blame", f"{VALIDATORS}@33", "failure:30.1")
    assert (told["because"], told["priority"]) == ([30], "CRITICAL")
    gone = found(capsys, "blame", f"{TILL}@164", "failure:76.1")
    assert (gone["inside"], gone["why"], gone["last"]) == (False, "superseded", 79)


def test_what_stands_in_a_text_that_is_shown_is_in_by_that(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = found(capsys, "blame", f"{TILL}@164", "money.py::share")
    assert (told["inside"], told["why"]) == (
        True, "it stands in the text of what holds it, which is shown",
    )  # fmt: skip


def test_what_fell_out_names_what_took_its_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task()
    task.wrote("lib.py", "".join(f"def f{n}(x):\n    return x + {n}\n\n" for n in range(9)))
    task.wrote("a.py", "from lib import f0\n\ndef g(x):\n    return x\n")
    task.outlined()
    apart = Policy(keep=False)
    profile = PROFILES["mistral-7b-8k"].with_context(180)._replace(tokenizer="upper-bound")
    record_context(task.store, task.id, NOW, Request("module:a.py"), profile, apart)
    uses = "\n".join(f"    x = f{n}(x)" for n in range(1, 9))
    names = ", ".join(f"f{n}" for n in range(1, 9))
    task.wrote("a.py", f"from lib import {names}\n\ndef g(x):\n{uses}\n    return x\n")
    task.outlined()
    record_context(task.store, task.id, NOW, Request("module:a.py"), profile, apart)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    told = found(capsys, "blame", f"{log}@last", "lib.py::f0")
    assert not told["inside"]
    assert told["last"] > 0
    assert told["rivals"]
    assert sum(one["tokens"] for one in told["rivals"]) >= told["tokens"]


def test_a_name_that_was_not_there_is_told_with_its_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = told(capsys, "blame", f"{TILL}@164", "money.py::to_cent")
    assert code == 2
    assert "near are function:money.py::to_cents" in err


def test_a_name_that_one_node_has_is_that_node(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (
        found(capsys, "blame", f"{TILL}@79", name) for name in ("share", "money.py::share")
    )
    assert short == whole
    assert short["node"] == "function:money.py::share"


def test_a_name_of_several_nodes_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, path = Task("twins"), tmp_path / "twins.jsonl"
    for name in ("a", "b"):
        task.wrote(f"{name}.py", f"def read(x):\n    return x.{name}\n")
    task.outlined()
    profile = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")
    record_context(task.store, task.id, NOW, Request("module:a.py", "read on"), profile)
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    code, _, err = told(capsys, "blame", str(path), "read")
    assert code == 2
    assert (
        "needed one node, found that 'read' is 2 of them: function:a.py::read, function:b.py::read"
    ) in err
