"""The tools that agents ask: over real stdio and real HTTP, by the official client, and fuzzed."""

import asyncio
import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from backcast.domain.errors import InputError
from backcast.engine.interfaces.mcp.answers import ToolAnswer, fitted
from backcast.engine.interfaces.mcp.arguments import FORMS, LEAST, MOST
from backcast.engine.interfaces.mcp.asking import AnsweredCall, AskedStore
from backcast.engine.interfaces.mcp.serving import server_of
from backcast.engine.log.importers import Report, events, import_batches
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import counted_by, tokenizer_of
from tests.extras import needs_semantic
from tests.hostile_log import write

LOGS = ("logs/till.jsonl", "recorded/mender.jsonl", "recorded/agent.jsonl", "logs/shop.jsonl")
BACKCAST = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()"]
COUNTER = tokenizer_of(counted_by("mistral-v3"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with runs of several kinds."""
    url = f"sqlite:///{tmp_path_factory.mktemp('mcp') / 'runs.db'}"
    with EventStore.open(url, create=True) as store:
        for name in LOGS:
            report = Report()
            read = events.read(Path("fixtures") / name, None, report)
            import_batches(store, events.FORMAT, read, report)
    return url


@pytest.fixture(scope="module")
def asked(url: str) -> Iterator[AskedStore]:
    with closing(AskedStore(url)) as store:
        yield store


def told(asked: AskedStore, name: str, **given: Any) -> tuple[str, str]:
    """Return the two blocks of an answer that came."""
    answer = asked.call(name, given)
    assert not answer.failed, answer
    text, stale = answer.texts
    return text, stale


def refused(asked: AskedStore, name: str, **given: Any) -> str:
    answer = asked.call(name, given)
    assert answer.failed
    [text] = answer.texts
    return text


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


# What the tools say


def test_the_list_of_tools_is_small(asked: AskedStore) -> None:
    async def listed() -> None:
        async with Client(server_of(asked)) as client:
            found = await client.list_tools()
        assert [tool.name for tool in found.tools] == [
            "find", "brief", "stale", "explain", "compare",
        ]  # fmt: skip
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in found.tools)
        tokens = COUNTER.count(found.model_dump_json(by_alias=True, exclude_none=True))
        assert tokens < (1_000 if COUNTER.exact else 4_000)

    run(listed())


def test_runs_are_listed_with_what_they_are(asked: AskedStore) -> None:
    text, stale = told(asked, "find")
    assert text.startswith("4 runs\n")
    assert "\ntill (36 steps, 6 with trouble," in text
    assert "\nmender (another program's prompts, 12 steps," in text
    assert stale.startswith("stale: ")
    assert "task-def456 stale: 3" in stale


def test_a_step_that_failed_is_explained(asked: AskedStore) -> None:
    text, stale = told(asked, "explain", task="till", event="step 13")
    assert "'code orders.py #1': checks failed" in text
    assert "why: 1 of 6 checks failed" in text
    assert 'line 20: raise ValueError(f"needed a line such as' in text
    assert "next: step 14 (event 83), 'code orders.py #2': checks passed" in text
    assert "of 2 known things that the accepted code used it showed 2" in text
    assert stale == "stale: 0"


def test_a_step_that_did_not_fail_says_so_and_names_those_that_did(asked: AskedStore) -> None:
    text, _ = told(asked, "explain", task="till", event="step 12")
    assert "it did not fail; steps of this run with trouble: 1 (refused, event 18)" in text


def test_without_an_event_the_last_trouble_is_explained(asked: AskedStore) -> None:
    text, _ = told(asked, "explain", task="till")
    assert text.startswith("till step 31 of 36, ")


def test_a_part_of_a_prompt_is_explained(asked: AskedStore) -> None:
    text, _ = told(asked, "explain", task="till", event="164", node="money.py::share")
    assert "function:money.py::share is in" in text
    text, _ = told(asked, "explain", task="mender", event="step 12", node="split_cents")
    assert "in the prompts since mender@12, where it came from" in text


def test_what_broke_the_prefix_is_told(asked: AskedStore) -> None:
    text, _ = told(asked, "compare", task="mender")
    assert text.startswith("nothing broke the prefix: each of 12 prompts goes on from the last\n")
    text, _ = told(asked, "compare", task="till-agent")
    assert text.startswith("1 of 4 prompts break the prefix: events 12\n")
    text, _ = told(asked, "compare", task="till-agent", event=12)
    assert "the reminder in message 2 changed, from its character 27 on: 216 tokens must" in text


@needs_semantic
def test_a_prompt_is_compared_under_another_policy(asked: AskedStore) -> None:
    text, _ = told(asked, "compare", task="till", event="164", policy="graph-semantic")
    assert text.startswith("till@164 code money.py #2\n")
    text, _ = told(asked, "compare", task="mender", event="step 12", policy="mask-3")
    assert re.search(r"in all      \d,\d{3} -> \d,\d{3} tokens", text)
    wrong = refused(asked, "compare", task="till", event="164", policy="/etc/passwd")
    assert wrong.startswith("policy: needed one of reader, coverage,")


def test_words_are_found_in_one_run_and_in_all(asked: AskedStore) -> None:
    text, stale = told(asked, "find", query="discount", task="till", limit=2)
    assert "function:discounts.py::discount" in text
    assert "function:cart.py::total: What is to be paid" in text
    assert "these very words stand in 60 texts:" in text
    assert "more: cursor=2" in text
    assert stale.startswith("stale: 4\n")
    text, _ = told(asked, "find", query="discount", task="till", limit=2, cursor=2)
    assert "these very words" not in text
    assert "function:cart.py::total" not in text
    assert "module:discounts.py" in text
    text, _ = told(asked, "find", query="share money")
    assert "function:money.py::share" in text


def test_a_brief_puts_the_focus_first(asked: AskedStore) -> None:
    text, _ = told(asked, "brief", task="till", focus="share", max_tokens=3_000)
    first = re.search(r"\n\n(\S+)  \(by ", text)
    assert first
    assert "share" in first[1]
    then, _ = told(asked, "brief", task="till", at="79")
    assert then.startswith("till@79: generating")


def test_what_is_stale_is_asked_of_a_moment_and_a_node(asked: AskedStore) -> None:
    text, _ = told(asked, "stale", task="task-def456")
    assert "function:utils.py::normalise summary" in text
    text, stale = told(asked, "stale", task="till", node="module:")
    assert text.startswith("till@")
    assert ": 2 stale of module:" in text
    assert stale == "stale: 4"
    text, _ = told(asked, "stale", task="till", at="79")
    assert text == "till@79: 0 stale"


def test_a_model_can_act_on_each_error(asked: AskedStore) -> None:
    assert "such as till" in refused(asked, "explain", task="til")
    assert refused(asked, "explain", task="till", event="step 99").endswith("1 to 36, found 99")
    assert "did you mean event?" in refused(asked, "explain", task="till", evnt="3")
    said = refused(asked, "stale", run="till")
    assert "needed arguments of task (required), " in said
    assert said.endswith("found 'run'; did you mean task?")
    assert "task: needed a text, found none" in refused(asked, "brief")
    assert "of 150 to 25,000, found 3" in refused(asked, "find", max_tokens=3)
    assert "needed one of mistral-7b-8k" in refused(asked, "find", profile="server:http://x")
    assert "needed a tool of find, brief" in refused(asked, "run")
    assert "needed with_event or policy" in refused(
        asked, "compare", task="till", event="79", with_event="164", policy="default"
    )


def test_a_store_that_comes_later_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'later.db'}"
    with closing(AskedStore(url)) as store:
        assert "later.db" in refused(store, "find")
        with EventStore.open(url, create=True):
            pass
        assert "the store holds no run yet" in refused(store, "find")
        assert "the store holds no run: 'backcast import'" in refused(store, "brief", task="x")


def test_controls_of_a_hostile_log_are_escaped(tmp_path: Path) -> None:
    task = write(tmp_path / "hostile.db")
    url = f"sqlite:///{tmp_path / 'hostile.db'}"
    with closing(AskedStore(url)) as store_asked:
        for name in ("find", "brief", "explain", "stale"):
            text, stale = told(store_asked, name, task=task, max_tokens=MOST)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]",
                                 text + stale)  # fmt: skip
            assert COUNTER.count(text) <= MOST


# Within the tokens that were asked for


@given(
    st.lists(st.text(max_size=900), max_size=30), st.lists(st.text(max_size=300), max_size=9),
    st.lists(st.text(max_size=400), max_size=6), st.integers(LEAST, 2_000),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_answer_fits(
    lines: list[str], stale: list[str], chunks: list[str], tokens: int
) -> None:
    answer = ToolAnswer(lines, [f"stale: {len(stale)}", *stale], "raise max_tokens", chunks)
    found = fitted(answer, tokens, COUNTER)
    assert COUNTER.count(found.text) + COUNTER.count(found.stale) <= tokens
    assert found.stale.startswith(f"stale: {len(stale)}")


WORDS = st.one_of(
    st.sampled_from(["till", "mender", "till-agent", "task-def456", "79", "164", "12", "step 12",
                     "last", "first", "commit:abc", "2026-11-20T12:01", "mask-3", "reader",
                     "money.py::share", "qwen3-8b-32k", "discount", "0", "-1", "step 0", "till@79",
                     "9" * 400, "before:commit:1"]),
    st.text(max_size=40), st.integers(), st.none(), st.booleans(), st.floats(),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
NAMES = sorted({name for form in FORMS.values() for name in form.arguments} - {"profile"})


@given(st.sampled_from([*FORMS, "run"]), st.dictionaries(st.sampled_from([*NAMES, "x"]), WORDS))
@settings(max_examples=250, deadline=None)
def test_any_arguments_get_an_answer_that_fits(
    asked: AskedStore, name: str, given: dict[str, Any]
) -> None:
    """A fault of ours would be raised; an error of the caller's is one line."""
    given.pop("max_tokens", None)
    answer = asked.call(name, given | {"max_tokens": 300})
    if answer.failed:
        assert re.search("needed|found|not", answer.texts[0])
        assert "\n" not in answer.texts[0]
    else:
        assert sum(COUNTER.count(text) for text in answer.texts) <= 300
        assert answer.texts[1].startswith("stale: ")


# Over the wire


def test_over_stdio(url: str) -> None:
    async def ask() -> None:
        command = StdioServerParameters(command=BACKCAST[0], args=[*BACKCAST[1:], "mcp",
                                                                   "--store", url])  # fmt: skip
        async with Client(stdio_client(command)) as client:
            assert len((await client.list_tools()).tools) == 5
            answer = await client.call_tool("explain", {"task": "till", "event": "step 13"})
            assert not answer.is_error
            assert [block.type for block in answer.content] == ["text", "text"]
            wrong = await client.call_tool("explain", {"task": "nobody"})
            assert wrong.is_error
            listed = await client.list_resources()
            assert "backcast://till/prompt/178" in {str(one.uri) for one in listed.resources}
            await resources(client)

    run(ask())


async def resources(client: Client) -> None:
    """Read prompts as texts: to the byte as the commands print them."""
    shown = subprocess.run(
        [*BACKCAST, "context", "fixtures/logs/till.jsonl@79"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    [content] = (await client.read_resource("backcast://till/prompt/79")).contents
    assert getattr(content, "text", "").rstrip() == shown.rstrip()
    [content] = (await client.read_resource("backcast://mender/prompt/47")).contents
    assert json.loads(getattr(content, "text", ""))["messages"]
    with pytest.raises(MCPError, match="needed backcast://TASK/prompt/EVENT or"):
        await client.read_resource("backcast://till/nothing")
    with pytest.raises(MCPError, match="there are maps of none"):
        await client.read_resource("backcast://till/map@last")


@contextmanager
def serving(url: str) -> Iterator[int]:
    """Serve over HTTP in a process, and give the port."""
    server = subprocess.Popen(
        [*BACKCAST, "mcp", "--http", "--port", "0", "--store", url],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stderr
        found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", server.stderr.readline())
        assert found
        yield int(found[1])
    finally:
        server.terminate()
        server.wait(20)
        if server.stderr:
            server.stderr.close()


def test_over_http(url: str) -> None:
    async def ask(port: int) -> None:
        async with Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp")) as client:
            assert len((await client.list_tools()).tools) == 5
            answer = await client.call_tool("compare", {"task": "mender"})
            assert "nothing broke the prefix" in getattr(answer.content[0], "text", "")

    with serving(url) as port:
        run(ask(port))
        assert [status(port, **one) for one in (
            {"Host": "evil.example"},
            {"Host": f"127.0.0.1.evil.example:{port}"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
        )] == [403, 403, 403, 403]  # fmt: skip
        assert status(port, Origin=f"http://127.0.0.1:{port}") == 200


def status(port: int, **headers: str) -> int:
    """Return the status of a request that lists the tools."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/mcp", json.dumps(asked), kinds | headers)
        return connection.getresponse().status


def test_a_port_in_use_and_options_that_do_not_go_together(url: str) -> None:
    with serving(url) as port:
        again = subprocess.run(
            [*BACKCAST, "mcp", "--http", "--port", str(port), "--store", url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert again.returncode == 2
    assert f"--port: needed a free port, found {port}" in again.stderr
    alone = subprocess.run([*BACKCAST, "mcp", "--port", "1"], capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert alone.returncode == 2
    assert "--port goes with --http" in alone.stderr


def test_nothing_but_the_protocol_is_written_to_stdout(url: str) -> None:
    """A line that is no message gets no answer that is none, and the end of stdin ends it."""
    lines = "nonsense\n\n{}\n" + json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}) + "\n"
    found = subprocess.run(
        [*BACKCAST, "mcp", "--store", url], input=lines, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 0
    for line in found.stdout.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


def test_an_answer_is_a_value(asked: AskedStore) -> None:
    first, again = (asked.call("brief", {"task": "till"}) for _ in range(2))
    assert isinstance(first, AnsweredCall)
    assert first == again
    with pytest.raises(InputError, match="needed backcast://TASK"):
        asked.read("file:///etc/passwd")


def test_a_client_that_leaves_is_not_outlived_by_what_it_asked() -> None:
    """The store is a server that accepts and never answers, which is waited for for 5 seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://someone@127.0.0.1:{silent.getsockname()[1]}/runs"
        server = subprocess.Popen(
            [*BACKCAST, "mcp", "--store", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdin is not None
        assert server.stdout is not None
        about = {"name": "test", "version": "1"}
        start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        for message in (
            {"id": 1, "method": "initialize", "params": start},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "find", "arguments": {}}},
        ):
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            server.stdin.flush()
        with silent.accept()[0]:  # now it is under way
            server.stdin.close()
            assert server.wait(4) == 0
        server.stdout.close()
