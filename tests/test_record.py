"""`backcast record`: what an agent asks goes through as it is, and is in the log afterwards."""

import asyncio
import json
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.servers import llama_server
from tests.upstreams import (
    KEY,
    Playing,
    backcast,
    body,
    chat,
    log,
    recorder,
    refused,
    reply,
    stream,
    until,
    upstream,
)

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"
ODD = (
    b'{ "messages" :[\t{"content":"Gr\\u00fc\\u00dfe \xc3\xa9","role":"user"}\n],\r\n'
    b' "model":"m","temperature":1.0e0 ,"seed":007 }'
).replace(b"007", b"7")
"A request as no library would write it."


def kinds(folder: Path, task: str) -> list[str]:
    return [event["type"] for event in log(folder, task)]


def test_bytes_go_through_as_they_are_and_the_log_gives_them_again(tmp_path: Path) -> None:
    chunks = stream(["Hel", "lo"])

    def play(asked: Playing) -> None:
        asked.begin()
        for chunk in chunks:
            asked.chunk(chunk)
        asked.end()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        assert proxy.said(CHAT, ODD) == b"".join(chunks)
        [(path, sent, headers)] = server.asked
        assert (path, sent) == (CHAT, ODD)
        assert headers["authorization"] == f"Bearer {KEY}"
        assert "1 call seen: recorded (1)" in proxy.ended()
    assert backcast(tmp_path, "context", "recorded") == ODD
    assert b"rebuilt: same" in backcast(tmp_path, "verify")
    backcast(tmp_path, "fsck")
    start, asked, built, replied = log(tmp_path, "recorded")
    assert start["data"]["goal"] == "Grüße é"
    assert body(tmp_path, asked["data"]["text"]) == "Grüße é".encode()
    assert replied["because"] == [built["version"]]
    assert body(tmp_path, replied["data"]["text"]) == b"Hello"
    came = replied["data"]["http_answer"]
    assert body(tmp_path, came["body"]) == b"".join(chunks)
    arrivals = json.loads(body(tmp_path, came["arrivals"]))
    assert sum(arrivals[1::2]) == len(b"".join(chunks))


def test_no_web_page_asks_through_the_proxy_unless_it_is_allowed(tmp_path: Path) -> None:
    page = "http://localhost:3000"
    with (
        upstream(lambda asked: asked.whole(reply("Yes."))) as server,
        recorder(tmp_path, server.url, "--allow", "box", "--allow", page) as proxy,
    ):
        port = proxy.port

        def status(**headers: str) -> int:
            connection, answer = proxy.ask(CHAT, chat("Now?"), **headers)
            connection.close()
            return answer.status

        assert [status(**headers) for headers in (
            {"Origin": "http://localhost:8980"}, {"Origin": "null"},
            {"Host": f"evil.example:{port}"}, {"Host": f"127.0.0.1.evil.example:{port}"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        )] == [403] * 5  # fmt: skip
        assert not server.asked
        said = proxy.said(CHAT, chat("Now?"), Origin="http://evil.example")
        assert b"another Origin: --allow lets it ask" in said
        assert [status(**headers) for headers in (
            {"Host": "box:8099"}, {"Origin": page}, {"Origin": f"http://127.0.0.1:{port}"},
            {"Host": f"localhost:{port}", "Sec_Fetch_Mode": "cors"},
        )] == [200] * 4  # fmt: skip


def test_a_request_that_is_too_large_is_refused_and_not_passed_on(tmp_path: Path) -> None:
    with (
        upstream(lambda asked: asked.whole(reply("Yes."))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        said = proxy.said(CHAT, b"", Content_Length=str(2**26 + 1))
        assert b"at most 64 MiB" in said
        assert not server.asked
        assert b"Yes." in proxy.said(CHAT, chat("Now?"))


def test_no_key_is_kept(tmp_path: Path) -> None:
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        proxy.said(f"{CHAT}?api_key={KEY}", chat("Hi"), x_api_key=KEY, Cookie=KEY)
        proxy.said(f"/v1/models?key={KEY}", b"", "GET")
        proxy.ended()
    assert [headers["authorization"] for _, _, headers in server.asked] == [f"Bearer {KEY}"] * 2
    assert any(f"key={KEY}" in path for path, _, _ in server.asked)
    assert "HTTP_EXCHANGE" in kinds(tmp_path, "recorded-other")
    for file in tmp_path.rglob("*"):
        assert KEY.encode() not in (file.read_bytes() if file.is_file() else b"")
    lines = backcast(tmp_path, "log", "recorded", "--json")
    assert KEY.encode() not in lines
    assert b"api_key=" in lines


def test_conversations_are_tasks_in_whatever_order_they_come(tmp_path: Path) -> None:
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url, "--task", "work") as proxy,
    ):
        proxy.said(CHAT, chat("Sort a list"))
        proxy.said(CHAT, chat("Write a parser"))
        proxy.said(CHAT, chat("Sort a list", "Yes", "In place"))
        proxy.said(CHAT, chat("Write a parser", "Yes", "Shorter"))
        proxy.said(CHAT, chat("Sort a list"))  # the command was run again
        proxy.said(CHAT, chat("Sort a list", "Yes", "In place", "Yes", "Now test"))
        proxy.said(CHAT, chat("Give this conversation a title: sort"))
        proxy.said(CHAT, chat("Hello"), x_backcast_task="mine")
        proxy.said(f"/backcast/ours{CHAT}", chat("Hello"))
        proxy.ended()
    assert all("x-backcast-task" not in headers for _, _, headers in server.asked)
    assert [path for path, _, _ in server.asked] == [CHAT] * 9
    # As in an agent's log: what a person says, the prompt, the reply.
    turn = ["MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED"]
    assert kinds(tmp_path, "work") == ["TASK_STARTED", *turn * 3]
    assert kinds(tmp_path, "work-2") == ["TASK_STARTED", *turn * 2]
    assert kinds(tmp_path, "work-3") == ["TASK_STARTED", *turn]
    assert kinds(tmp_path, "work-other") == ["TASK_STARTED", "CONTEXT_BUILT", "MODEL_REPLIED"]
    assert kinds(tmp_path, "mine") == kinds(tmp_path, "ours") == ["TASK_STARTED", *turn]
    contexts = [event for event in log(tmp_path, "work") if event["type"] == "CONTEXT_BUILT"]
    assert [len(event["data"]["request"]["parts"]) for event in contexts] == [1, 2, 1]
    assert b"rebuilt: different" not in backcast(tmp_path, "verify")


def test_when_the_client_leaves_the_server_is_left_at_once(tmp_path: Path) -> None:
    begun = threading.Event()

    def play(asked: Playing) -> None:
        if b"think" not in asked.body:
            asked.begin()
            asked.chunk(stream(["Once upon"])[0])
        begun.set()
        asked.wait_until_gone()

    for words, came in (("a story", True), ("think first", False)):
        begun.clear()
        with (
            upstream(play) as server,
            recorder(tmp_path, server.url, "--task", words[2:7].strip()) as proxy,
        ):
            if came:
                connection, answer = proxy.ask(CHAT, chat(words, stream=True))
                assert answer.read(10)
                answer.close()
            else:
                asking = threading.Thread(target=_leave, args=(proxy.port, chat(words), begun))
                asking.start()
                asking.join()
                connection = None
            if connection:
                connection.close()
            until(server.gone.is_set)
            proxy.ended()
        *_, failed = log(tmp_path, words[2:7].strip())
        assert (failed["type"], failed["data"]["kind"]) == ("MODEL_FAILED", "left")
        assert ("text" in failed["data"]) == came


def _leave(port: int, body: bytes, begun: threading.Event) -> None:
    """Ask, and leave before anything came."""
    import socket

    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert begun.wait(10)


def test_a_fault_in_mid_stream_is_a_fault_to_the_client_too(tmp_path: Path) -> None:
    from http.client import IncompleteRead

    def play(asked: Playing) -> None:
        asked.begin()
        asked.chunk(stream(["Half an"])[0])
        asked.cut()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        with pytest.raises(IncompleteRead):
            proxy.said(CHAT, chat("Answer", stream=True))
        assert "the server broke off" in proxy.ended()
    *_, failed = log(tmp_path, "recorded")
    assert (failed["type"], failed["data"]["kind"]) == ("MODEL_FAILED", "cut")
    assert body(tmp_path, failed["data"]["text"]) == b"Half an"


def test_a_killed_proxy_loses_no_finished_call_and_says_what_was_under_way(tmp_path: Path) -> None:
    begun = threading.Event()

    def play(asked: Playing) -> None:
        if b"slow" not in asked.body:
            asked.whole(reply("Quick"))
            return
        asked.begin()
        asked.chunk(stream(["Slow"])[0])
        begun.set()
        asked.wait_until_gone()

    with upstream(play) as server:
        for turn in range(3):
            begun.clear()
            with recorder(tmp_path, server.url) as proxy:
                connection, answer = proxy.ask(CHAT, chat(f"slow {turn}", stream=True))
                assert answer.read(5)
                for number in range(10):
                    assert proxy.said(CHAT, chat(f"quick {turn}.{number}")) == reply("Quick")
                proxy.process.send_signal(signal.SIGKILL)
                proxy.process.wait()
                answer.close()
                connection.close()
        with recorder(tmp_path, server.url) as proxy:
            proxy.said(CHAT, chat("the last"))
            said = proxy.ended()
    assert "a killed proxy left" in said
    events = log(tmp_path)
    goals = [event["data"].get("goal") for event in events if event["type"] == "TASK_STARTED"]
    quick = [f"quick {turn}.{number}" for turn in range(3) for number in range(10)]
    assert sorted(goals) == sorted([*quick, "slow 0", "slow 1", "slow 2", "the last"])
    failed = [event["data"] for event in events if event["type"] == "MODEL_FAILED"]
    assert [fault["kind"] for fault in failed] == ["cut"] * 3
    assert all(body(tmp_path, fault["text"]) == b"Slow" for fault in failed)
    backcast(tmp_path, "fsck")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith("-recording")]


def test_bad_beginnings_are_one_line(tmp_path: Path) -> None:
    page = b"<html><body>It works!</body></html>"
    with (
        upstream(lambda asked: asked.whole(page, kind="text/html")) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        assert proxy.said(CHAT, chat("Hi")) == page
        port = str(proxy.port)
        code, lines = refused(tmp_path, "record", "--to", server.url, "--port", port)
        assert code == 2
        [line] = lines
        assert "needed a free port" in line
        said = proxy.ended()
    assert "needed JSON, found text/html" in said
    *_, failed = log(tmp_path, "recorded")
    assert failed["data"]["kind"] == "garbled"
    for arguments in (
        ("--to", "http://", "--port", "0"),
        ("--to", "ftp://x"),
        ("--to", "nonsense"),
        ("--to", "nonsense/v1"),
        ("--to", "http://127.0.0.1:9", "--", "no-such-command-here"),
    ):
        code, lines = refused(tmp_path, "record", *arguments)
        assert code == 2
        assert len([line for line in lines if not line.startswith("backcast: note")]) == 1


def test_a_server_that_is_not_there_is_a_line_to_the_client_and_to_the_user(tmp_path: Path) -> None:
    with recorder(tmp_path, "http://127.0.0.1:9") as proxy:
        connection, answer = proxy.ask(CHAT, chat("Hi"))
        assert answer.status == 502
        assert "cannot be reached" in json.loads(answer.read())["error"]["message"]
        connection.close()
        assert "cannot be reached" in proxy.ended()
    *_, failed = log(tmp_path, "recorded")
    assert failed["data"]["kind"] == "unavailable"


def test_a_command_finds_the_proxy_by_its_variables(tmp_path: Path) -> None:
    client = (
        "import os, urllib.request as u;"
        "print(u.urlopen(u.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions',"
        f" {chat('Hi')!r})).read().decode()); raise SystemExit(%d)"
    )
    record = ("record", "--to")
    with upstream(lambda asked: asked.whole(reply("Yes"))) as server:
        for code in (0, 3):
            run = (*record, server.url, "--", sys.executable, "-c", client % code)
            assert json.loads(backcast(tmp_path, *run, code=code)) == json.loads(reply("Yes"))
        code, lines = refused(tmp_path, *record, server.url, "--", "true")
        assert code == 1
        assert "0 calls seen" in lines[0]
        assert "OPENAI_BASE_URL" in lines[1]
    assert kinds(tmp_path, "recorded").count("MODEL_REPLIED") == 1
    assert kinds(tmp_path, "recorded-2").count("MODEL_REPLIED") == 1


def test_streams_are_not_held_back(tmp_path: Path) -> None:
    ready = threading.Event()

    def play(asked: Playing) -> None:
        asked.begin()
        asked.chunk(b"data: 1\n\n")
        ready.wait(10)
        asked.chunk(b"data: 2\n\n")
        asked.end()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        connection, answer = proxy.ask(CHAT, chat("Hi", stream=True))
        assert answer.read(9) == b"data: 1\n\n"  # the second waits for us
        ready.set()
        assert answer.read() == b"data: 2\n\n"
        connection.close()
        proxy.ended()


def test_a_real_server_keeps_what_was_predicted_and_a_moved_reminder_is_named(
    tmp_path: Path,
) -> None:
    openai = pytest.importorskip("openai")

    with (
        llama_server("qwen3", tmp_path, "--jinja") as to,
        recorder(tmp_path, to, "--task", "agent") as proxy,
    ):
        client = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1")
        remind = [{"type": "text", "text": f"<system-reminder>{day}</system-reminder>"}
                  for day in ("Monday", "Tuesday")]  # fmt: skip
        asked = {"type": "text", "text": "Fix the failing test. " * 20}
        talk: list[dict[str, object]] = [{"role": "system", "content": "You are terse. " * 15},
                {"role": "user", "content": [remind[0], asked]}]  # fmt: skip
        for turn in range(3):
            if turn == 2:
                talk[1]["content"] = [remind[1], asked]
            chunks = client.chat.completions.create(
                model="x", messages=talk, max_tokens=6, temperature=0, stream=True,
                stream_options={"include_usage": True},
            )  # fmt: skip
            said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            talk += [{"role": "assistant", "content": said or "-"},
                     {"role": "user", "content": f"Go on with step {turn}. " * 10}]  # fmt: skip
        proxy.ended()
    replies = [event["data"] for event in log(tmp_path, "agent") if "MODEL_REP" in event["type"]]
    built = [event for event in log(tmp_path, "agent") if event["type"] == "CONTEXT_BUILT"]
    counts = [(event["data"]["tokens"], event["data"].get("shared_prefix")) for event in built]
    assert [tokens for tokens, _ in counts] == [reply["prompt_tokens"] for reply in replies]
    _, kept, kept_less = (shared or 0 for _, shared in counts)
    assert kept > 150 > kept_less > 60
    assert [replies[1]["cached_tokens"], replies[2]["cached_tokens"]] == [kept, kept_less]
    first, second, third = (f"agent@{event['version']}" for event in built)
    holds = backcast(tmp_path, "diff", first, second).decode()
    assert "the prefix holds" in holds
    broke = backcast(tmp_path, "diff", second, third).decode()
    again = counts[2][0] - kept_less
    assert f"the reminder in message 2 changed, from its character 18 on: {again:,} tokens" in broke
    shown = json.loads(backcast(tmp_path, "context", third, "--anatomy", "--json"))
    assert shown["tokens"] == shown["server"] == counts[2][0]
    parts = sum(part["tokens"] for part in shown["parts"])
    assert 0 < shown["tokens"] - parts < 80  # the template's own
    assert b"reminders, 1 part" in backcast(tmp_path, "context", third, "--anatomy")


def test_a_masked_log_does_not_pretend_to_hold_what_was_asked(tmp_path: Path) -> None:
    secret = "password=hunter2hunter2"
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        proxy.said(CHAT, chat(f"Use {secret}"))
        proxy.said(CHAT, chat(f"Use {secret}", "Yes", "Go on"))
        proxy.ended()
    backcast(tmp_path, "export", "recorded", "--redact", "given.jsonl")
    assert b"hunter2" not in (tmp_path / "given.jsonl").read_bytes()
    shown = backcast(tmp_path, "verify", "given.jsonl", code=1).decode()
    assert shown.count("rebuilt: cannot be told: ") == 2
    backcast(tmp_path, "export", "recorded", "whole.jsonl")
    assert backcast(tmp_path, "verify", "whole.jsonl").count(b"rebuilt: same") == 2


def test_clients_of_all_interfaces_are_served_and_recorded(tmp_path: Path) -> None:
    anthropic, openai = (pytest.importorskip(name) for name in ("anthropic", "openai"))

    async def at_once(url: str) -> None:
        client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        asking = [
            client.chat.completions.create(
                model="x", max_tokens=3, messages=[{"role": "user", "content": f"Count to {n}"}]
            )
            for n in range(4)
        ]
        assert len(await asyncio.gather(*asking)) == 4
        begun = await client.chat.completions.create(
            model="x", stream=True, messages=[{"role": "user", "content": "Leave me"}]
        )
        async for _ in begun:
            break
        await begun.close()
        await client.close()

    with (
        llama_server("qwen3", tmp_path, "--jinja") as to,
        recorder(tmp_path, to, "--task", "sdk") as proxy,
    ):
        client = anthropic.Anthropic(api_key=KEY, base_url=proxy.url)
        asked = {"model": "x", "system": "Be terse", "messages": [
            {"role": "user", "content": "Say hi"}]}  # fmt: skip
        counted = client.messages.count_tokens(**asked).input_tokens
        with client.messages.stream(max_tokens=4, **asked) as answer:
            streamed = answer.get_final_message()
        assert streamed.usage.input_tokens + (streamed.usage.cache_read_input_tokens or 0) > 0
        other = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1")
        responded = other.responses.create(model="x", input="Say yo", max_output_tokens=4)
        asyncio.run(at_once(proxy.url))
        proxy.ended()
    events = log(tmp_path)
    built = [event["data"]["request"] for event in events if event["type"] == "CONTEXT_BUILT"]
    paths = sorted({request["path"] for request in built})
    assert paths == [CHAT, "/v1/messages", "/v1/messages/count_tokens", "/v1/responses"]
    assert [request["purpose"] for request in built if "purpose" in request] == ["token count"]
    replies = [event["data"] for event in events if event["type"] == "MODEL_REPLIED"]
    assert counted in [reply["prompt_tokens"] for reply in replies if "text" not in reply]
    texts = [body(tmp_path, reply["text"]).decode() for reply in replies if "text" in reply]
    assert responded.output_text in texts
    assert "".join(block.text for block in streamed.content if block.type == "text") in texts
    [cut] = [event["data"] for event in events if event["type"] == "MODEL_FAILED"]
    assert cut["kind"] == "left"
    assert len(built) == 8
    shown = backcast(tmp_path, "verify").splitlines()
    assert [b"rebuilt: same" in line for line in shown] == [True] * 8
