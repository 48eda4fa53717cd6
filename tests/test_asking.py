"""Questions that a log cannot answer, packages that are not there, and an output that is full."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import backcast as api
from backcast.domain.errors import CLONED
from backcast.engine.context.policies import policy_at
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.models import tokenizers
from tests.extras import needs_semantic
from tests.recordings import FIXTURES

TILL, AGENT = FIXTURES / "logs/till.jsonl", FIXTURES / "foreign/swe-agent.traj"
SPEC = FIXTURES / "specs/validators.toml"
Backcast = Callable[..., tuple[str, str, int]]

CLI = "from backcast.engine.interfaces.cli import main; main()"


@pytest.fixture
def backcast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Backcast:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def run(*arguments: object) -> tuple[str, str, int]:
        capsys.readouterr()
        try:
            main([str(one) for one in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return out, err, code

    return run


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the core is installed."""

    for module in ("sentencepiece", "faiss", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    kept = tokenizers.tokenizer_of, tokenizers.tell_bound
    for one in kept:
        one.cache_clear()
    yield
    for one in kept:
        one.cache_clear()


# Of logs that hold no prompts


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (("blame", "agent@2", "a.py"), 2),
        (("diff", "agent@1", "agent@2"), 2),
        (("diff", "agent", "--policy", "no-cache"), 2),
        (("regress", "agent", "--policy", "no-cache"), 2),
        (("verify", "agent"), 0),
    ],
)
def test_a_run_of_another_agent_without_prompts_or_code_is_answered_in_a_line(
    question: tuple[str, ...], code: int, backcast: Backcast
) -> None:
    backcast("import", "swe-agent", AGENT, "--as", "agent")
    out, err, exit_code = backcast(*question)
    assert (out, exit_code) == ("", code)
    expected = "needed " if code else "0 prompts, 0 failed"
    assert expected in err.splitlines()[-1]
    assert ("there is nothing to rebuild" in err) == (code == 0)


def test_the_prompt_of_a_run_without_requests_is_formed_of_its_messages(backcast: Backcast) -> None:
    backcast("import", "swe-agent", AGENT, "--as", "agent")
    out, err, code = backcast("context", "agent")
    assert code == 0
    assert out.startswith("[system, turn 0]\nYou repair small programs.")
    assert "note: no request was recorded; this is formed of the run's messages" in err


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        (("show", "versions", "agent"), "MODULE_ITERATION or MODULE_RENAMED or SOURCE_READ"),
        (("show", "changes", "agent"), "MODULE_ITERATION or MODULE_RENAMED or MODULE_DELETED"),
        (("show", "graph", "agent"), "MODULE_ITERATION or MODULE_RENAMED or SOURCE_READ"),
        (("log", "agent", "--type", "COMMITTED"), "COMMITTED"),
        (("stale", "agent"), "SUMMARY_WRITTEN"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_answer_that_is_empty_says_what_the_log_holds_instead(
    question: tuple[str, ...], missing: str, backcast: Backcast
) -> None:
    backcast("import", "swe-agent", AGENT, "--as", "agent")
    _, err, code = backcast(*question)
    note = next(line for line in err.splitlines() if line.startswith("backcast: note: no "))
    assert f"task 'agent' has no {missing} by then, but " in note
    assert " TOOL_CALLED" in note
    assert code == 0


@pytest.mark.parametrize(
    "question", [("show", "versions", "till@2000-01-01"), ("log", "till@2000-01-01"),
                 ("show", "progress", "till@2000-01-01"), ("show", "offline", "@2000-01-01")]
)  # fmt: skip
def test_a_moment_before_anything_happened_names_the_first_event(
    question: tuple[str, ...], backcast: Backcast
) -> None:
    backcast("import", "events", TILL)
    _, err, code = backcast(*question)
    assert code == 0
    assert "nothing had happened in " in err
    assert "; its first event is of 20" in err


def test_an_answer_that_is_not_empty_carries_no_note(backcast: Backcast) -> None:
    backcast("import", "events", TILL)
    for question in (("show", "versions", "till"), ("show", "progress", "till"), ("log", "till"),
                     ("show", "online", "till"), ("show", "changes", "till")):  # fmt: skip
        assert "note: no " not in backcast(*question)[1]


def test_an_empty_store_says_how_it_is_filled(backcast: Backcast, tmp_path: Path) -> None:
    EventStore.open(f"sqlite:///{tmp_path}/store.db", create=True).close()
    assert backcast("tasks")[1] == (
        "backcast: note: the store is empty: 'backcast record', 'import' or 'run' fills it\n"
    )


# Of policies and windows


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_policy_is_printed_as_a_file_that_gives_the_same_one(
    name: str, backcast: Backcast, tmp_path: Path
) -> None:
    out, _, code = backcast("policy", "--policy", name)
    (tmp_path / "printed.toml").write_text(out, encoding="utf-8")
    assert code == 0
    assert backcast("policy", "--policy", tmp_path / "printed.toml")[0] == out
    assert policy_at(tmp_path / "printed.toml") == STRATEGIES[name]


@needs_semantic
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_goes_wherever_a_policy_is_asked_for(name: str, backcast: Backcast) -> None:
    out, _, code = backcast("policy", "--policy", name, "--json")
    assert code == 0
    assert json.loads(out)["settings"]["name"] == STRATEGIES[name].name
    out, _, code = backcast("context", f"{TILL}@79", "--for", "module:orders.py", "--policy", name)
    assert code == 0
    assert "orders.py" in out
    for command in (("policy",), ("context", TILL, "--query", "x"), ("run", SPEC, "--model", "x")):
        _, err, code = backcast(*command, "--policy", "nonsense")
        assert (code, "needed a TOML file or one of reader, coverage, " in err) == (2, True)


def test_a_window_that_the_model_does_not_have_is_never_made(backcast: Backcast) -> None:
    asked = ("context", f"{TILL}@79", "--for", "module:orders.py", "--context-tokens")
    out, err, code = backcast(*asked, 20_000)
    assert (out, code, len(err.splitlines())) == ("", 2, 1)
    assert "needed a context of 4,000 tokens or fewer, found 20,000" in err
    assert "a profile with room for it is qwen3-8b-65k" in err
    assert backcast(*asked, 4_000)[2] == 0
    _, err, code = backcast("regress", TILL, "--policy", "recorded", "--context-tokens", 20_000)
    assert (code, "the window of mistral-7b-8k has 8,192" in err) == (2, True)


def test_regress_of_a_log_that_cannot_be_read_prints_no_table(backcast: Backcast) -> None:
    out, err, code = backcast("regress", "/nope.jsonl", "--policy", "no-cache", "--json")
    assert (code, len(err.splitlines())) == (2, 1)
    found = json.loads(out)
    assert (found["exit_code"], list(found["logs"]["unreadable"])) == (2, ["/nope.jsonl"])
    assert "name" not in found
    out, err, code = backcast("verify", "/nope.jsonl")
    assert (out, code, len(err.splitlines())) == ("", 2, 1)


# Of moments that are no prompts


def test_an_event_that_is_no_prompt_names_the_nearest_and_one_that_is_not_there_is_refused(
    backcast: Backcast,
) -> None:
    out, err, code = backcast("blame", f"{TILL}@47", "module:money.py")
    assert (out, code) == ("", 2)
    assert err == (
        "backcast: till@47: needed the event of a prompt, found MODULE_STARTED: the nearest prompts"
        " are till@43 and till@49\n"
    )
    out, err, code = backcast("blame", f"{TILL}@79", "module:money.py")
    assert (out.splitlines()[0], err, code) == ("till@79 code orders.py #2", "", 0)
    for gone in (0, 186):
        _, err, code = backcast("blame", f"{TILL}@{gone}", "module:money.py")
        assert (f"needed an event from 1 to 185, found {gone}" in err, code) == (True, 2)


def test_two_moments_are_compared_in_their_order_whichever_is_named_first(
    backcast: Backcast,
) -> None:
    forward = backcast("diff", f"{TILL}@79", f"{TILL}@164")
    out, err, code = backcast("diff", f"{TILL}@164", f"{TILL}@79")
    assert (out, code) == (forward[0], 0)
    assert err == "backcast: note: 164 is the later moment: compared from 79 to it\n"


def test_a_recorded_prompt_is_explained_and_takes_no_option_of_a_new_one(
    backcast: Backcast,
) -> None:
    backcast("import", "events", TILL)
    recorded = ("context", "till@79")
    out, _, code = backcast(*recorded, "--explain")
    assert code == 0
    assert "module:orders.py" in out
    assert "failure:65.1" in out
    assert "superseded" in out
    assert "1374 tokens, counted by mistral-common v3" in out
    for option, value in (("--prompt-tokens", "900"), ("--profile", "qwen3-8b-32k")):
        out, err, code = backcast(*recorded, option, value)
        assert (out, code) == ("", 2)
        assert f"{option} needs --for NODE or --query TEXT" in err


def test_a_recorded_prompt_is_built_under_another_policy_from_what_was_known_then(
    backcast: Backcast,
) -> None:
    out, err, code = backcast("context", f"{TILL}@79", "--policy", "no-cache")
    with api.open_log(TILL) as store:
        prompt = store.task("till").prompt(79)
        messages = prompt.under("no-cache").messages
    assert (out, err, code) == ("".join(f"[{role}]\n{text}\n\n" for role, text in messages), "", 0)
    assert out != backcast("context", f"{TILL}@79")[0]
    out, _, code = backcast("context", f"{TILL}@79", "--policy", "no-cache", "--explain")
    assert (code, "digest" in out, "failure:65.1" in out) == (0, True, True)
    for option in (("--record",), ("--prompt-tokens", "900")):
        _, err, code = backcast("context", f"{TILL}@79", "--policy", "no-cache", *option)
        assert (code, f"{option[0]} needs --for NODE or --query TEXT" in err) == (2, True)


def test_a_type_of_which_there_is_no_event_is_told(backcast: Backcast) -> None:
    backcast("import", "events", TILL)
    out, err, code = backcast("log", "till", "--type", "NOPE")
    assert (out, code) == ("", 0)
    assert "note: no event: task 'till' has no NOPE by then, but 34 CONTEXT_BUILT, " in err
    assert backcast("log", "till@-1")[2] == 2
    assert backcast("log", "till@186")[2] == 2


# With the core alone


def test_without_extras_a_bound_counts_and_words_are_searched(
    core: None, backcast: Backcast, caplog: pytest.LogCaptureFixture
) -> None:
    backcast("import", "events", TILL)
    out, _, code = backcast("context", "till", "--for", "module:money.py")
    assert (code, "[user]" in out) == (0, True)
    assert "upper bound, since what counts as mistral-v3 does is not installed" in caplog.text
    assert backcast("map", "update", "till")[2] == 0
    out, err, code = backcast("map", "show", "till", "--explain")
    assert (code, "of 3,072 tokens" in out + err) == (0, True)
    out, err, code = backcast("search", "till", "a share is rounded", "-k", 1)
    assert (code, len(out.splitlines())) == (0, 1)
    assert err.count("found by words alone") == 1
    assert backcast("search", "till", "a share is rounded", "-k", 1, "--words")[0] == out


def test_that_an_extra_is_missing_is_noted_once_for_a_store_and_where_nothing_is_found(
    core: None, backcast: Backcast
) -> None:
    backcast("import", "events", TILL)
    errs = [backcast("search", *asked)[1] for asked in (
        ("till", "a share"), ("till", "a share"), ("a share", "--all"), (TILL, "a share"),
        ("till", "zygote"), ("zygote", "--all"), (TILL, "zygote", "--words"),
    )]  # fmt: skip
    assert ["by words alone; by meaning too after pip install" in err for err in errs] == [
        True, False, False, False, True, True, True,
    ]  # fmt: skip
    assert max(err.count("words alone") for err in errs) == 1


def test_a_derivation_that_cannot_be_told_here_is_counted_apart(
    core: None, backcast: Backcast
) -> None:
    out, err, code = backcast("verify", FIXTURES / "logs/validators.jsonl")
    assert out.count("cannot be told") == 5
    assert (err.splitlines()[-1], code) == (
        "5 prompts, 0 failed, 5 not told, which needs the extra 'mistral'", 2,
    )  # fmt: skip
    assert out.count("pip install 'backcast[mistral]', or in a clone scripts/install core") == 1
    out, _, code = backcast("verify", FIXTURES / "logs/validators.jsonl", "--json")
    sums = json.loads(out.splitlines()[-1])
    assert (sums["failed"], sums["lacking"], sums["exit_code"], code) == (0, {"mistral": 5}, 2, 2)
    assert backcast("verify", FIXTURES / "logs/validators.jsonl", "--only", "rebuilt")[2] == 0
    # A difference beside it is a difference all the same.
    out, err, code = backcast("verify", *sorted((FIXTURES / "logs").glob("*.jsonl")))
    assert ("not told, which needs the extra 'mistral'" in err, code) == (True, 1)


def test_a_run_that_needs_an_extra_is_told_apart_from_a_regression(
    core: None, backcast: Backcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # other processes would have it
    logs = TILL, FIXTURES / "logs/validators.jsonl"
    _, err, code = backcast("regress", *logs, "--policy", "no-cache")
    assert (err.count("pip install 'backcast[mistral]'"), code) == (1, 2)
    assert "needs the extra 'mistral', too" in err


def test_advice_on_extras_is_the_same_everywhere() -> None:
    extras = tomllib.loads((FIXTURES.parent / "pyproject.toml").read_text())
    known = extras["project"]["optional-dependencies"]
    light, script = known["light"][0], (FIXTURES.parent / "scripts/install").read_text()
    [core_extras] = re.findall(r'core\) extras="\[(.*)\]"', script)
    assert {name for name, least in CLONED.items() if least == "core"} == set(
        core_extras.split(",")
    )
    assert set(CLONED) == set(light.partition("[")[2].rstrip("]").split(","))
    assert f"pip install '.[{core_extras}]'" in (FIXTURES.parent / "README.md").read_text()
    for file in (FIXTURES.parent / "engine").rglob("*.py"):
        assert "pip install backcast[" not in file.read_text(), file


# An output that cannot be written


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "command", [("policy",), ("tasks",), ("log", "--json"), ("export", "till", "-")]
)
def test_an_output_that_cannot_be_written_is_told_in_a_line(
    command: tuple[str, ...], backcast: Backcast
) -> None:
    backcast("import", "events", TILL)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CLI, *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "the output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("command", [("tasks",), ("log", "--json"), ("policy",)])
def test_an_output_that_was_closed_is_written_to_nobody(
    command: tuple[str, ...], backcast: Backcast
) -> None:
    backcast("import", "events", TILL)
    line = f"{sys.executable} -c '{CLI}' {' '.join(command)}"
    done = subprocess.run(
        ["sh", "-c", f"{line} >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("rules", ["[regress]\nrecall = nan", "[regress]\nnope = 1", "regress = 1"])
def test_rules_that_are_none_are_refused_by_whoever_reads_the_policy(
    rules: str, backcast: Backcast, tmp_path: Path
) -> None:
    policy = tmp_path / "mine.toml"
    policy.write_text(rules)
    backcast("import", "events", TILL)
    prompt = ("context", "till", "--for", "module:money.py")
    for command in (("policy",), prompt):
        out, err, code = backcast(*command, "--policy", policy)
        assert (out, code, err.startswith(f"backcast: {policy}: ")) == ("", 2, True)


def test_the_text_of_an_event_is_printed_and_where_it_has_none_what_prints_it(
    backcast: Backcast,
) -> None:
    out, err, code = backcast("cat", f"{TILL}@80")
    assert (out.splitlines()[1:3], err, code) == (["", "```python orders.py"], "", 0)
    assert backcast("cat", f"{TILL}#till@80")[0] == out
    _, err, code = backcast("cat", f"{TILL}@79")
    assert (
        f"{TILL}#till@79 is a prompt: 'backcast context {TILL}#till@79' prints it" in err,
        code,
    ) == (
        True,
        2,
    )
    _, err, code = backcast("cat", f"{TILL}@78")
    assert ("brought no text: answers, results, checks and modules do" in err, code) == (True, 2)
    found, err, code = backcast("cat", f"{TILL}@80", "--json")
    said = json.loads(found)
    assert (said["text"], said["task"], said["event"], err, code) == (out, "till", 80, "", 0)
