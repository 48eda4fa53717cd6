"""Agents as data: how each is called and read; and, where they are here, real ones are dispatched.

BACKCAST_AGENTS names a folder in which the programs codex, pi and mini lie or are linked.
"""

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.dispatch_results import read_result
from backcast.domain.errors import InputError
from backcast.engine.workflow.dispatch.agents import FOLDER, AgentForm, agent_of, forms_in, prepared
from backcast.engine.workflow.dispatch.output import AgentOutput, read_output
from tests import scripted_model
from tests.test_dispatch import TASKS, TEST, git
from tests.upstreams import BACKCAST, Playing, backcast, log, upstream

INSTALLED = Path(os.environ.get("BACKCAST_AGENTS", "none"))
CLAIM = {
    "task_id": "1.1",
    "status": "completed",
    "summary": "each thing counts",
    "files_changed": ["cart.py"],
    "tests": [{"command": "pytest", "passed": True}],
}
REVIEW = {"task_id": "1.1", "assessment": "approved"}


def block(value: dict[str, Any]) -> str:
    return f"Done.\nBEGIN_DISPATCH_RESULT\n```json\n{json.dumps(value)}\n```\nEND_DISPATCH_RESULT"


def lines(*records: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


PRINTED = {
    "codex": (
        "a line that is none\n" + lines(
            {"type": "thread.started", "thread_id": "t1"},
            {"type": "item.completed", "item": {"type": "agent_message", "text": "first"}},
            {"type": "error", "message": "reconnecting"},
            {"type": "item.completed", "item": {"type": "agent_message", "text": "last"}},
            {"type": "turn.completed", "usage": {"input_tokens": 7, "output_tokens": 2}},
        ),
        AgentOutput("last", None, "t1", 7, 2),
    ),
    "pi": (
        lines(
            {"type": "session", "id": "s1"},
            {"type": "message_end", "message": {"content": [{"type": "text", "text": "no"}]}},
            {"type": "agent_end", "messages": [
                {"role": "assistant", "stopReason": "stop",
                 "content": [{"type": "text", "text": "la"}, {"type": "text", "text": "st"}]}]},
        ),
        AgentOutput("last", None, "s1"),
    ),
    "opencode": (
        lines(
            {"type": "text", "sessionID": "o1", "part": {"text": "last"}},
            {"type": "step_finish", "sessionID": "o1",
             "part": {"tokens": {"input": 5, "output": 2, "cache": {"read": 3}}}},
        ),
        AgentOutput("last", None, "o1", 8, 2),
    ),
    "qwen": (
        json.dumps([
            {"type": "system"},
            {"type": "result", "is_error": False, "result": "last", "session_id": "q1",
             "usage": {"input_tokens": 9, "output_tokens": 1}},
        ]),
        AgentOutput("last", None, "q1", 9, 1),
    ),
    "gemini": (
        "Loaded.\n" + json.dumps({"response": "last", "session_id": "g1", "stats": {}}),
        AgentOutput("last", None, "g1"),
    ),
    "mini": (
        json.dumps({"info": {"submission": "last", "exit_status": "Submitted"}}),
        AgentOutput("last"),
    ),
    "claude": (
        lines(
            {"type": "system", "session_id": "c1"},
            {"type": "result", "subtype": "success", "is_error": False, "result": "last",
             "session_id": "c1", "total_cost_usd": 0.5,
             "usage": {"input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 2}},
        ),
        AgentOutput("last", None, "c1", 5, 2, 0.5),
    ),
    "aider": ("banner\nlast\n", AgentOutput("banner\nlast\n")),
}  # fmt: skip
FAILED = {
    "codex": (lines({"type": "turn.failed", "error": {"message": "no key"}}), "no key"),
    "pi": (
        lines({"type": "agent_end", "messages": [
            {"stopReason": "error", "errorMessage": "401", "content": []}]}), "401",
    ),
    "opencode": (lines({"type": "error", "error": "401"}), "401"),
    "qwen": (json.dumps([{"type": "result", "is_error": True, "error": {"message": "no"}}]), "no"),
    "gemini": (json.dumps({"error": {"type": "E", "message": "empty"}}), "empty"),
    "mini": (json.dumps({"info": {"exit_status": "LimitsExceeded"}}), "LimitsExceeded"),
    "claude": (
        lines({"type": "result", "is_error": True, "subtype": "error_max_turns"}),
        "error_max_turns",
    ),
}  # fmt: skip


def test_each_agent_of_the_package_is_read() -> None:
    names = {form.name for file in FOLDER.glob("*.toml") for form in forms_in(file)}
    assert names == set(PRINTED)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_the_final_answer_is_found_in_what_an_agent_prints(name: str) -> None:
    printed, expected = PRINTED[name]
    form = agent_of(name).output
    assert read_output(form, printed) == expected


@pytest.mark.parametrize("name", sorted(FAILED))
def test_an_agent_that_says_that_it_failed_is_heard_whatever_its_exit_code(name: str) -> None:
    printed, reason = FAILED[name]
    assert read_output(agent_of(name).output, printed).failed == reason


@pytest.mark.parametrize("printed", ["", "no JSON", "{", "[1, 2]", '{"a": ' * 3000, "null\n[]"])
@pytest.mark.parametrize("name", sorted(PRINTED))
def test_whatever_is_printed_is_read(name: str, printed: str) -> None:
    answer = read_output(agent_of(name).output, printed)
    assert answer.answer == (printed if name == "aider" else "")


def started(tmp_path: Path, form: AgentForm, role: str, server: str) -> Any:
    (tmp_path / "home").mkdir()
    return prepared(form, role, "do it", f"/bin/{form.program}", home=tmp_path / "home",
                    work=tmp_path / "work", server=server, mark={"MARK": "m"})  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_nothing_of_the_user_reaches_an_agent_but_what_it_needs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s3")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    form = agent_of(f"{name}:small")
    found = started(tmp_path, form, "implementer", "http://127.0.0.1:9")
    assert "SECRET" not in found.environment
    assert "key" not in found.environment.values()
    assert found.environment["HOME"] == str(tmp_path / "home")
    assert found.environment["MARK"] == "m"
    files = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    every = [*found.command, *found.environment.values(), *(file.read_text() for file in files)]
    assert any("http://127.0.0.1:9" in text for text in every)
    assert any("small" in text for text in found.command) or name in ("qwen", "gemini")
    assert not any("{server}" in text or "{home}" in text for text in every)
    assert form.prompt != "stdin" or found.prompt.read_text() == "do it"
    assert form.prompt != "argument" or "do it" not in found.shown


def test_a_login_and_a_key_are_at_hand_where_no_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user/.codex").mkdir(parents=True)
    (tmp_path / "user/.codex/auth.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    found = started(tmp_path, agent_of("codex"), "reviewer", "")
    assert found.environment["OPENAI_API_KEY"] == "key"
    assert (tmp_path / "home/.codex/auth.json").read_text() == "{}"
    assert "-m" not in found.command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "needed a table for each agent, found x = 1"),
        ("[x]\n", "agent 'x': program: field required"),
        ("[x]\nprogram = 'x'\nodd = 1", "agent 'x': odd: extra inputs are not permitted"),
        ("[x", "needed TOML, found none"),
    ],
)
def test_a_file_of_agents_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "agents.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        agent_of("x", file)
    assert words in str(error.value)


def test_ones_own_agents_go_before_those_of_the_package(tmp_path: Path) -> None:
    file = tmp_path / "agents.toml"
    file.write_text("[codex]\nprogram = 'my-codex'\nprompt_price = 0.5\n")
    assert agent_of("codex", file).program == "my-codex"
    assert agent_of("pi", file).program == "pi"


def test_a_prompt_that_is_too_long_for_an_argument_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(InputError, match="takes its prompt as an argument of up to 131,071 bytes"):
        prepared(agent_of("mini"), "implementer", "x" * 131_072, "/bin/mini", server="", mark={},
                 home=tmp_path / "home", work=tmp_path)  # fmt: skip


HELD = {
    **CLAIM,
    "follow_up_actions": [],
    "tests": [{"command": "pytest", "passed": True, "failures": []}],
}


def test_an_agent_that_can_be_held_to_a_schema_is_and_says_its_result_without_markers(
    tmp_path: Path,
) -> None:
    (tmp_path / "home").mkdir()
    for name, flag in (("codex", "--output-schema"), ("claude", "--json-schema")):
        started = prepared(agent_of(name), "reviewer", "x", f"/bin/{name}", server="", mark={},
                           home=tmp_path / "home", work=tmp_path)  # fmt: skip
        at = started.command.index(flag)
        given = started.command[at + 1]
        schema = json.loads(Path(given).read_text() if given.startswith("/") else given)
        assert schema["required"] == list(schema["properties"])
        assert schema["properties"]["assessment"]["enum"] == REVIEWED
    said = json.dumps(HELD)
    printed = {
        "codex": ({"type": "item.completed", "item": {"type": "agent_message", "text": said}},),
        "claude": ({"type": "result", "result": "Done.", "structured_output": HELD},),
    }
    for name, records in printed.items():
        answer = read_output(agent_of(name).output, lines(*records)).answer
        assert read_result(answer, "implementer", "1.1", held=True).result == HELD
        assert read_result(answer, "implementer", "1.1").error == "marker_missing"


REVIEWED = ["approved", "needs_changes", "blocked"]

# Real agents


def play(asked: Playing, mend: str = scripted_model.MEND) -> None:
    """Answer an implementer or a reviewer."""
    if b"You are the reviewer" in getattr(asked, "body", b""):
        scripted_model.play(asked, block(REVIEW), "git diff HEAD")
    else:
        scripted_model.play(asked, block(CLAIM), mend)


def real(tmp_path: Path, name: str) -> tuple[Path, dict[str, str]]:
    """Return a repository, and an environment in which a real agent is found."""
    if not (INSTALLED / name).exists():
        pytest.skip(f"needs {name}: BACKCAST_AGENTS names the folder that it lies in")
    place = scripted_model.repository(tmp_path / "cart")
    (place / "test_cart.py").write_text(TEST)
    (place / "tasks.md").write_text(TASKS)
    git(place, "init", "-q", "-b", "main")
    git(place, "add", "--all")
    git(place, "commit", "-qm", "a cart")
    (tmp_path / "tmp").mkdir()
    path = f"{INSTALLED}{os.pathsep}{os.environ['PATH']}"
    return place, {**os.environ, "PATH": path, "TMPDIR": str(tmp_path / "tmp")}


def run_real(tmp_path: Path, name: str, url: str, *more: str) -> "subprocess.CompletedProcess[str]":
    place, environment = real(tmp_path, name)
    command = [*BACKCAST, "dispatch", str(place / "tasks.md"), "--repo", str(place), "--to", url,
               "--implementer", f"{name}:local", *more]  # fmt: skip
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize("name", ["codex", "mini", "pi"])
def test_a_real_agent_is_dispatched_reviewed_and_recorded(tmp_path: Path, name: str) -> None:
    with upstream(play) as server:
        reviewer = () if name == "mini" else ("--reviewer", f"{name}:local")
        done = run_real(tmp_path, name, server.url, *reviewer)
    assert done.returncode == 0, done.stderr
    events = log(tmp_path, "tasks")
    kinds = [event["type"] for event in events]
    [ended, *_] = [event["data"] for event in events if event["type"] == "DISPATCH_ENDED"]
    calls, tokens = ended["calls"], sum(scripted_model.USAGE[:1]) + 5
    assert (ended["outcome"], ended["cost"]["tokens"]) == ("answered", calls * tokens)
    assert ("reported" in ended) == (name == "codex")
    assert ended["notes"] == [], "what it reports is what was counted"
    assert kinds.count("CLAIM_CHECKED") == 1
    for number in range(1, 2 + bool(reviewer)):
        own = [event["type"] for event in log(tmp_path, f"tasks.{number}")]
        assert own.count("MODEL_REPLIED") >= 4
        assert b"rebuilt: different" not in backcast(tmp_path, "verify", f"tasks.{number}")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["codex", "mini", "pi"])
def test_a_real_agents_false_claim_completes_nothing(tmp_path: Path, name: str) -> None:
    with upstream(partial(play, mend="true")) as server:
        done = run_real(tmp_path, name, server.url, "--attempts", "1")
    assert done.returncode == 1
    assert "claims that 'pytest' passed; 1 of 2 fails" in done.stderr


def test_a_real_agent_that_never_ends_is_ended_by_the_budget(tmp_path: Path) -> None:
    def loop(asked: Playing) -> None:
        scripted_model.play(asked, mend="true") if asked.command != "POST" else (
            _again(asked))  # fmt: skip

    with upstream(loop) as server:
        done = run_real(tmp_path, "codex", server.url, "--budget", "6calls")
        asked = sum(path.startswith("/v1/responses") for path, _, _ in server.asked)
    assert done.returncode == 1, done.stderr
    assert "budget_calls: the 6 calls that were left are used" in done.stderr
    shown = json.loads(backcast(tmp_path, "show", "spending", "tasks", "--json"))
    assert shown["spent"]["calls"] == asked == 6
    assert list((tmp_path / "tmp").iterdir()) == []


def _again(asked: Playing) -> None:
    """Answer with the same call each time, after a second."""
    import time

    time.sleep(1)
    number = asked.body.count(b"function_call_output")
    call = ("exec_command", {"cmd": "true"})
    asked.begin()
    for event in scripted_model.events("/v1/responses", "Again.", call, f"call_{number}"):
        asked.chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    asked.end()
