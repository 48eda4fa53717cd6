"""Agents of the command line are recorded: as they were once, and, where they are here, again.

The exchanges in fixtures/recorded are those of real agents, with their instructions and what they
say of their tools cut to a few words. BACKCAST_AGENTS names a folder in which the programs codex,
pi and mini lie or are linked; each then mends a cart through the proxy.
"""

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.interfaces.proxy.recording import ServerCounter
from backcast.engine.log.exchanges.bodies import DIALECTS
from backcast.engine.models.http_client import ask
from tests import scripted_model
from tests.servers import llama_server
from tests.upstreams import Playing, backcast, body, log, recorder, refused, upstream

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

RECORDED = Path(__file__).parents[1] / "fixtures/recorded"
INSTALLED = Path(os.environ.get("BACKCAST_AGENTS", "none"))
AGENTS = ("codex", "mini", "pi")


def exchanges(name: str) -> list[dict[str, str]]:
    """What an agent asked, and was answered."""
    _, *lines = (RECORDED / f"{name}.exchanges.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def record(folder: Path, name: str) -> list[dict[str, Any]]:
    """Let an agent's exchanges go through the proxy again, and return the log."""
    known = exchanges(name)
    answers = {one["request"].encode(): one for one in known}

    def play(asked: Playing) -> None:
        found = answers[asked.body]
        asked.whole(found["answer"].encode(), kind=found["kind"])

    with upstream(play) as server, recorder(folder, server.url, "--task", name) as proxy:
        for one in known:
            assert proxy.said(one["path"], one["request"].encode()) == one["answer"].encode()
        assert f"{len(known)} calls seen: {name} ({len(known)})" in proxy.ended()
    return log(folder)


TITLES = {
    "codex": ["system", "system", "system", "reminder", "reminder", "user message",
              "assistant message", "call exec_command", "result exec_command"],
    "mini": ["system", "user message", "assistant message", "call bash", "result bash"],
    "pi": ["user message", "assistant message", "call read", "result read"],
}  # fmt: skip
"The parts that an agent's prompt begins with, in the order of its body."
CALLED = {
    "codex": ["exec_command"] * 4, "mini": ["bash"] * 5, "pi": ["read", "bash", "edit", "bash"],
}  # fmt: skip


@pytest.mark.parametrize("name", AGENTS)
def test_the_prompts_of_an_agent_are_taken_apart(tmp_path: Path, name: str) -> None:
    events = record(tmp_path, name)
    assert {event["task_id"] for event in events} == {name}
    built = [event for event in events if event["type"] == "CONTEXT_BUILT"]
    assert len(built) == 5
    shown = json.loads(backcast(tmp_path, "context", name, "--anatomy", "--json"))
    parts = shown["parts"]
    begun = [_title(part) for part in parts if part["kind"] not in ("setting", "tool")]
    assert begun[: len(TITLES[name])] == TITLES[name]
    tools = [part["name"] for part in parts if part["kind"] == "tool"]
    assert set(CALLED[name]) <= set(tools)
    assert "" not in tools
    assert not [part for part in parts if part["kind"] == "rest"]
    assert sum(part["bytes"] for part in parts) + shown["between"] == shown["size"]
    assert shown["between"] < shown["size"] / 4
    text = backcast(tmp_path, "context", name, "--anatomy").decode()
    assert "note: the server did not count the parts: these are counted here" in text
    shares = [float(line.split()[1]) for line in text.splitlines() if " %  " in line]
    assert min(shares) >= 0
    assert abs(sum(shares) - 100) < 1
    assert (
        "tokens; what it would keep was not foretold" in backcast(tmp_path, "diff", name).decode()
    )
    verified = backcast(tmp_path, "verify").splitlines()
    assert [b"rebuilt: same" in line for line in verified] == [True] * 5


def _title(part: dict[str, Any]) -> str:
    role = f"{part['role']} " if part["kind"] == "message" else ""
    return f"{role}{part['kind']} {part['name']}".strip()


@pytest.mark.parametrize("name", AGENTS)
def test_calls_and_what_the_server_kept_are_read_in_each_dialect(tmp_path: Path, name: str) -> None:
    events = record(tmp_path, name)
    by_version = {event["version"]: event for event in events}
    called = [event for event in events if event["type"] == "TOOL_CALLED"]
    assert [event["data"]["tool"] for event in called] == CALLED[name]
    returned = [event for event in events if event["type"] == "TOOL_RETURNED"]
    assert len(returned) == 4
    for event in returned:
        [cause] = event["because"]
        assert by_version[cause]["data"]["call_id"] == event["data"]["call_id"]
        assert by_version[cause]["data"]["tool"] == event["data"]["tool"]
    replies = [event["data"] for event in events if event["type"] == "MODEL_REPLIED"]
    counts = [(reply["prompt_tokens"], reply["cached_tokens"]) for reply in replies]
    assert len(counts) == 5
    for (before, _), (tokens, cached) in pairwise(counts):
        assert cached == before < tokens
    [message] = [event for event in events if event["type"] == "MESSAGE_RECEIVED"]
    assert "test_cart.py" in body(tmp_path, message["data"]["text"]).decode()
    assert "test_cart.py" in events[0]["data"]["goal"]  # and not what a reminder says


@pytest.mark.parametrize("name", AGENTS)
def test_questions_about_an_agents_prompts_are_answered(tmp_path: Path, name: str) -> None:
    events = record(tmp_path, name)
    [failed] = [event["version"] for event in events
                if event["type"] == "TOOL_RETURNED" and "test_cart.py" in _output(tmp_path, event)
                and "AssertionError" in _output(tmp_path, event)][:1]  # fmt: skip
    blamed = backcast(tmp_path, "blame", name, "AssertionError").decode()
    cause = next(line for line in blamed.splitlines() if line.startswith(f"  {name}@{failed} "))
    assert "  TOOL_RETURNED " in cause
    assert "the program put it" in backcast(tmp_path, "blame", name, "You mend programs").decode()
    code, [line] = refused(tmp_path, "blame", name, "said nowhere")
    assert code == 2
    assert "--anatomy' lists the parts" in line
    found = backcast(tmp_path, "search", name, "price of all of it", "--words").decode()
    assert any(line.split()[1:2] == ["result"] for line in found.splitlines()[:3])
    rows = backcast(tmp_path, "diff", name).decode().splitlines()
    assert [row.split()[-1] for row in rows[2:6]] == ["on"] * 4  # each goes on


def _output(folder: Path, event: dict[str, Any]) -> str:
    return body(folder, event["data"]["output"]).decode()


def test_a_file_that_was_read_and_then_changed_is_stale(tmp_path: Path) -> None:
    events = record(tmp_path, "pi")
    read, changed = [
        event for event in events if event["type"] in ("SOURCE_READ", "MODULE_ITERATION")
    ]
    text = body(tmp_path, changed["data"]["source"]).decode()
    assert scripted_model.RIGHT in text
    assert (
        text.replace(scripted_model.RIGHT, scripted_model.WRONG)
        == body(tmp_path, read["data"]["source"]).decode()
    )
    [line] = backcast(tmp_path, "stale", "pi").decode().splitlines()
    assert line == (
        f"the result read in message 3 shows cart.py as it was at pi@{read['because'][0]};"
        f" pi@{changed['version']}: changed"
    )
    before = [event["version"] for event in events if event["type"] == "CONTEXT_BUILT"][1]
    assert backcast(tmp_path, "stale", f"pi@{before}") == b""


@pytest.mark.parametrize("name", AGENTS)
def test_a_prompt_is_counted_as_the_server_counts_it(tmp_path: Path, name: str) -> None:
    with llama_server("qwen3", tmp_path, "--jinja") as url:
        counter, before = ServerCounter(url), 0
        for one in exchanges(name):
            path, sent = one["path"].partition("?")[0], json.loads(one["request"])
            counted = counter.prompt(name, one["request"].encode(), DIALECTS[path])
            assert counted is not None
            count = "count_tokens" if path == "/v1/messages" else "input_tokens"
            answer = ask(f"{url}{path}/{count}", sent, "", 20)
            assert counted.tokens == json.loads(answer.body)["input_tokens"] > before
            assert before == 0 or counted.shared is not None
            before = counted.tokens


COMMANDS = {
    "codex": ("exec", "--skip-git-repo-check", "--ephemeral", "--ignore-user-config",
              "--dangerously-bypass-approvals-and-sandbox", "--disable", "plugins", "-m", "local",
              "-c", "model_provider=x", "-c", 'model_providers.x={{name="x",base_url="{url}/v1",'
              'env_key="OPENAI_API_KEY",wire_api="responses"}}'),
    "mini": ("-y", "--exit-immediately", "-m", "openai/local", "-c", "mini.yaml", "-c",
             "agent.step_limit=8", "-t"),
    "pi": ("-p", "--no-session", "--provider", "x", "--model", "local"),
}  # fmt: skip


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_mends_a_cart_through_the_proxy(tmp_path: Path, name: str) -> None:
    program = INSTALLED / name
    if not program.exists():
        pytest.skip(f"needs {name}: BACKCAST_AGENTS names the folder that it lies in")
    work = scripted_model.repository(tmp_path / "cart")
    with (
        upstream(scripted_model.play) as server,
        recorder(tmp_path, server.url, "--task", name) as proxy,
    ):
        models = {"providers": {"x": {"baseUrl": proxy.url, "apiKey": "k", "models": [
            {"id": "local"}], "api": "anthropic-messages"}}}  # fmt: skip
        (tmp_path / "pi").mkdir()
        (tmp_path / "pi/models.json").write_text(json.dumps(models))
        path = f"{INSTALLED}{os.pathsep}{os.environ['PATH']}"
        environment = {
            "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": path, "OPENAI_API_KEY": "k",
            "OPENAI_API_BASE": f"{proxy.url}/v1", "PI_CODING_AGENT_DIR": str(tmp_path / "pi"),
            "PI_OFFLINE": "1", "MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path), "MSWEA_CONFIGURED": "true",
            "MSWEA_COST_TRACKING": "ignore_errors", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip
        command = [str(program), *(word.format(url=proxy.url) for word in COMMANDS[name])]
        done = subprocess.run(
            [*command, "Mend cart.py until test_cart.py passes."], cwd=work, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        proxy.ended()
    assert scripted_model.RIGHT in (work / "cart.py").read_text()
    events = log(tmp_path)
    assert {event["task_id"] for event in events} <= {name, f"{name}-other"}
    kinds = [event["type"] for event in events]
    assert kinds.count("CONTEXT_BUILT") == kinds.count("MODEL_REPLIED") >= 4
    replies = [event["data"] for event in events if event["type"] == "MODEL_REPLIED"]
    assert {(reply["prompt_tokens"], reply["cached_tokens"]) for reply in replies} == {
        scripted_model.USAGE
    }
    assert b"rebuilt: different" not in backcast(tmp_path, "verify", name)
