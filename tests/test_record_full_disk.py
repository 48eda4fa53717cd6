"""A disk that fills: the client's stream goes on, the loss is told once, what is stored stays."""

import os
import threading
from pathlib import Path

import pytest

from tests.upstreams import (
    Playing,
    backcast,
    body,
    chat,
    log,
    recorder,
    reply,
    stream,
    upstream,
)

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"


def test_a_stream_goes_on_where_it_cannot_be_kept_and_the_loss_is_told_once(
    tmp_path: Path,
) -> None:
    most = 2**21
    whole = stream([f"{number} of the words of a long answer " * 20 for number in range(4000)])
    assert sum(map(len, whole)) > most

    def play(asked: Playing) -> None:
        if b"long" not in asked.body:
            asked.whole(reply("Yes"))
            return
        asked.begin()
        for chunk in whole:
            asked.chunk(chunk)
        asked.end()

    with upstream(play) as server, recorder(tmp_path, server.url, largest=most) as proxy:
        proxy.said(CHAT, chat("Before"))
        asking = [
            threading.Thread(target=lambda: got.append(proxy.said(CHAT, chat("long", stream=True))))
            for _ in range(2)
        ]
        got: list[bytes] = []
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert got == [b"".join(whole)] * 2
        assert proxy.said(CHAT, chat("After")) == reply("Yes")
        said = proxy.ended()
    assert said.count("an exchange is not recorded whole: ") == 1
    assert "Traceback" not in said
    ends = [event for event in log(tmp_path) if event["type"] in ("MODEL_REPLIED", "MODEL_FAILED")]
    assert sorted(event["data"].get("kind", "") for event in ends) == ["", "", "lost", "lost"]
    failed = next(event["data"] for event in ends if "kind" in event["data"])
    assert "the rest could not be kept" in failed["reason"]
    came = body(tmp_path, failed["http_answer"]["body"])
    assert most * 0.9 < len(came) < most
    assert b"".join(whole).startswith(came)
    backcast(tmp_path, "fsck")


def test_what_a_full_store_refuses_is_kept_and_written_when_there_is_room(tmp_path: Path) -> None:
    questions = [os.urandom(15_000).hex() for _ in range(40)]
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url, largest=600_000) as proxy,
    ):
        for question in questions:
            assert proxy.said(CHAT, chat(question)) == reply("Yes")
        said = proxy.ended()
        assert proxy.process.returncode == 1
    assert said.count("the store cannot be written") == 1
    assert "is written when 'backcast record' runs again" in said
    backcast(tmp_path, "fsck")
    before = [event["data"]["goal"] for event in log(tmp_path) if "goal" in event["data"]]
    assert 0 < len(before) < len(questions)
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        proxy.said(CHAT, chat("There is room"))
        assert f"left {len(questions) - len(before)} exchanges" in proxy.ended()
    goals = [event["data"]["goal"] for event in log(tmp_path) if "goal" in event["data"]]
    assert goals == [*questions, "There is room"]
    backcast(tmp_path, "fsck")
    assert [path.name for path in tmp_path.iterdir()] == ["backcast.db"]
