"""A real agent of the command line asks a tool: where BACKCAST_AGENTS names a folder with codex."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.log.store import EventStore
from tests import scripted_model
from tests.hostile_log import TASK, write
from tests.upstreams import BACKCAST, Playing, upstream

pytest.importorskip("mcp", reason="needs the extra 'mcp'")

PROGRAM = Path(os.environ.get("BACKCAST_AGENTS", "none")) / "codex"
ROOM = "mcp__backcast"


def results(asked: Playing) -> list[dict[str, Any]]:
    """Return what the tools answered by now."""
    given = json.loads(asked.body)["input"]
    return [part for part in given if part.get("type") == "function_call_output"]


def play(asked: Playing) -> None:
    """Call the tool once, then end."""
    if asked.command != "POST":
        asked.whole(b'{"object": "list", "data": []}')
        return
    call = None if results(asked) else ("explain", {"task": TASK, "max_tokens": 400})
    asked.begin()
    for event in scripted_model.events("/v1/responses", "Let me ask.", call, "call_0"):
        for item in (event.get("item", {}), *event.get("response", {}).get("output", ())):
            if item.get("type") == "function_call":
                item["namespace"] = ROOM
        asked.chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    asked.end()


@pytest.mark.skipif(not PROGRAM.exists(), reason="needs codex: BACKCAST_AGENTS names its folder")
def test_an_agent_asks_why_a_step_failed(tmp_path: Path) -> None:
    write(tmp_path / "runs.db")
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    words = [*BACKCAST[1:], "mcp", "--store", url]
    tools = f"{{command={json.dumps(BACKCAST[0])},args={json.dumps(words)},required=true}}"
    with upstream(play) as server:
        provider = f'{{name="x",base_url="{server.url}/v1",env_key="K",wire_api="responses"}}'
        done = subprocess.run(
            [
                str(PROGRAM), "exec", "--skip-git-repo-check", "--ephemeral",
                "--ignore-user-config", "--dangerously-bypass-approvals-and-sandbox",
                "--disable", "plugins", "-m", "local", "-c", "model_provider=x",
                "-c", f"model_providers.x={provider}", "-c", f"mcp_servers.backcast={tools}",
                "Why did it fail?",
            ],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=240,
            env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "K": "k",
                 "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        bodies = [json.loads(body) for path, body, _ in server.asked if b"input" in body]
    [room] = [tool for tool in bodies[0]["tools"] if tool.get("name") == ROOM]
    assert {tool["name"] for tool in room["tools"]} == {
        "find", "brief", "stale", "explain", "compare",
    }  # fmt: skip
    said = json.dumps(bodies[-1]["input"])
    assert f"{TASK} step " in said.replace('\\"', '"')
    assert "stale: " in said
    with EventStore.open(url) as store:
        assert store.tasks() == [TASK]
