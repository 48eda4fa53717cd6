"""What a person sees while an agent is recorded: a line of how it goes, and its events."""

import json
import os
import pty
import re
import select
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.upstreams import (
    BACKCAST,
    KEY,
    Playing,
    Recorder,
    chat,
    recorder,
    reply,
    stream,
    until,
    upstream,
)

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"


class Terminal:
    """A terminal on which a command writes, and what it has shown."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.shown = ""
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self) -> None:
        while select.select([self.master], [], [], 30)[0]:
            try:
                self.shown += os.read(self.master, 4096).decode(errors="replace")
            except OSError:
                return


def reading_twice() -> bytes:
    """A request in which a file was read, and then read again as it was changed."""
    messages: list[object] = [{"role": "user", "content": "Look at till.py"}]
    for turn in range(2):
        call = {"id": f"call_{turn}", "type": "function",
                "function": {"name": "read_file", "arguments": '{"path": "till.py"}'}}  # fmt: skip
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{turn}",
             "content": f"total = {turn}\n" * 50},
        ]  # fmt: skip
    return json.dumps({"model": "m", "messages": messages}).encode()


def test_a_terminal_shows_a_line_that_is_redrawn_and_messages_above_it(tmp_path: Path) -> None:
    terminal = Terminal()

    def play(asked: Playing) -> None:
        if b"fault" in asked.body:
            asked.whole(b'{"error": {"message": "overloaded"}}', 500)
        else:
            asked.whole(reply("Yes"))

    with upstream(play) as server:
        process = subprocess.Popen(
            [*BACKCAST, "record", "--to", server.url, "--port", "0"], cwd=tmp_path,
            stderr=terminal.slave, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
        )  # fmt: skip
        try:
            until(lambda: "asked of" in terminal.shown, 30)
            [port] = re.findall(r"asked of http://127\.0\.0\.1:(\d+)", terminal.shown)
            proxy = Recorder(process, int(port), "")  # type: ignore[arg-type]
            proxy.said(CHAT, chat("Hi"))
            until(lambda: "1 call, 7 tokens of prompts, 0 % of them kept" in terminal.shown)
            proxy.said(CHAT, chat("a fault"))
            until(
                lambda: "2 calls, 7 tokens of prompts, 0 % of them kept, 1 fault" in terminal.shown
            )
            proxy.said(CHAT, reading_twice())
            until(lambda: "3 calls" in terminal.shown and "1 stale part" in terminal.shown)
            process.send_signal(2)
            process.wait(20)
        finally:
            process.kill()
            process.wait()
        until(lambda: "3 calls seen" in terminal.shown)
    lines = [line for line in terminal.shown.split("\n") if "status 500" in line]
    assert len(lines) == 1  # told once, on a line of its own
    assert "calls," not in lines[0].rpartition("\r")[2]
    assert "\x1b[2K" in terminal.shown  # the line was drawn again in its place


def test_a_command_has_its_terminal_for_itself(tmp_path: Path) -> None:
    terminal = Terminal()
    ask = (
        "import os, urllib.request as u;"
        "u.urlopen(u.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions',"
        f" {chat('Hi')!r})).read()"
    )
    with upstream(lambda asked: asked.whole(reply("Yes"))) as server:
        done = subprocess.run(
            [*BACKCAST, "record", "--to", server.url, "--", BACKCAST[0], "-c", ask],
            cwd=tmp_path, stderr=terminal.slave, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    until(lambda: "1 call seen" in terminal.shown)
    assert "\x1b[2K" not in terminal.shown


def test_events_are_followed_while_a_client_is_recorded_and_before_there_is_a_task(
    tmp_path: Path,
) -> None:
    openai = pytest.importorskip("openai")
    waiting = threading.Event()

    def play(asked: Playing) -> None:
        asked.begin()
        for chunk in stream(["Well", ", yes"]):
            asked.chunk(chunk)
        asked.end()

    with upstream(play) as server, recorder(tmp_path, server.url, "--task", "agent") as proxy:
        follow = subprocess.Popen(
            [*BACKCAST, "log", "--follow", "agent", "--json"], cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        seen: list[tuple[float, str]] = []

        def read() -> None:
            assert follow.stdout is not None
            for line in follow.stdout:
                seen.append((time.monotonic(), json.loads(line)["type"]))
            waiting.set()

        def same(wanted: list[str]) -> bool:
            return [kind for _, kind in seen] == wanted

        reading = threading.Thread(target=read)
        reading.start()
        time.sleep(2)
        assert follow.poll() is None
        assert seen == []
        client = openai.OpenAI(api_key=KEY, base_url=f"{proxy.url}/v1")
        talk = [{"role": "user", "content": "Is it so?"}]
        for turn in range(2):
            chunks = client.chat.completions.create(model="m", messages=talk, stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            answered = time.monotonic()
            wanted = ["TASK_STARTED", *(["MESSAGE_RECEIVED", "CONTEXT_BUILT", "MODEL_REPLIED"]
                                        * (turn + 1))]  # fmt: skip
            until(partial(same, wanted))
            assert seen[-1][0] - answered < 8
            talk += [{"role": "assistant", "content": said}, {"role": "user", "content": "And?"}]
        client.close()
        follow.send_signal(2)
        assert waiting.wait(20)
        follow.communicate()
        assert follow.returncode == 130
        proxy.ended()
        reading.join()


def test_events_are_followed_before_there_is_a_store(tmp_path: Path) -> None:
    with upstream(lambda asked: asked.whole(reply("Yes"))) as server:
        follow = subprocess.Popen(
            [*BACKCAST, "log", "--follow", "agent"], cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            time.sleep(2)
            assert follow.poll() is None
            with recorder(tmp_path, server.url, "--task", "agent") as proxy:
                proxy.said(CHAT, chat("Hi"))
                assert follow.stdout is not None
                assert "TASK_STARTED" in follow.stdout.readline()
                proxy.ended()
        finally:
            follow.send_signal(2)
            follow.communicate()
