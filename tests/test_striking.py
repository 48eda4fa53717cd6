"""A secret that was recorded all the same is struck out of the store itself, without a trace."""

import gzip
import json
import re
import signal
import subprocess
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest

from backcast.domain.errors import UnavailableError
from backcast.domain.events import MessageReceived, TaskStarted
from backcast.engine.log.blobs import Blob
from backcast.engine.log.recorder import Snapshot
from backcast.engine.log.recorder.rewriting import rewriting
from backcast.engine.log.redaction.words import SecretWords
from backcast.engine.log.store import EventStore
from tests.upstreams import (
    BACKCAST,
    Playing,
    backcast,
    body,
    chat,
    log,
    recorder,
    refused,
    reply,
    stream,
    upstream,
)

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")

CHAT = "/v1/chat/completions"
SECRET = "ACME-471122-zz"
OWN = ("--pattern", "ACME-[0-9]{6}-zz")
HALF = SECRET[:7].encode()


def files_with(folder: Path, word: bytes) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.name for file in files if word in file.read_bytes())


def held(folder: Path) -> bytes:
    """All that a store holds, unpacked."""
    with EventStore.open(f"sqlite:///{folder}/backcast.db", create=False) as store:
        refs = [f"blob:{row.digest.hex()}" for row in store.recorder.blobs()]
        events = [repr(event).encode() for event in store.read()]
        return b"\n".join([*map(store.get, refs), *events])


def recorded(folder: Path) -> None:
    """Record two conversations that share a text with a secret, and one answer that streams it."""

    def play(asked: Playing) -> None:
        if b"stream" not in asked.body:
            asked.whole(reply("Yes"))
            return
        asked.begin()
        for chunk in stream(["The key is ", SECRET[:7], SECRET[7:], ", so ", "use it"]):
            asked.chunk(chunk)
        asked.end()

    with upstream(play) as server, recorder(folder, server.url) as proxy:
        proxy.said(CHAT, chat(f"Use {SECRET}"))
        proxy.said(CHAT, chat(f"Use {SECRET}", "Yes", "Go on"))
        proxy.said(CHAT, chat("Which key?", stream=True))
        proxy.said(CHAT, chat("Nothing secret"))
        proxy.said("/v1/embeddings", json.dumps({"input": f"Use {SECRET}"}).encode())
        proxy.ended()


def test_what_was_struck_stands_in_no_file_and_the_log_says_where_it_stood(tmp_path: Path) -> None:
    recorded(tmp_path)
    store_file = tmp_path / "backcast.db"
    with EventStore.open(f"sqlite:///{store_file}") as store:
        state = f'{{"goal": "Use {SECRET}"}}'.encode()
        store.recorder.save_snapshots("p", 1, "recorded", [Snapshot(1, 0, 9, 0, state)])
        store.recorder.save_vectors("e", {b"1" * 32: b"vector"}, 6)
    assert files_with(tmp_path, SECRET.encode()) == ["backcast.db"]
    assert HALF in held(tmp_path)
    before = [event["type"] for event in log(tmp_path)]

    told = backcast(tmp_path, "redact", "recorded", *OWN).decode()
    assert "MASKED_pattern_1: would be struck out" in told
    assert SECRET not in told
    assert log(tmp_path)[-1]["type"] != "REDACTED"

    assert b"MASKED_pattern_1: struck out" in backcast(
        tmp_path, "redact", "recorded", *OWN, "--in-place"
    )
    assert files_with(tmp_path, SECRET.encode()) == files_with(tmp_path, HALF) == []
    assert SECRET.encode() not in held(tmp_path)
    assert HALF not in held(tmp_path)  # nor in the pieces of the stream
    with EventStore.open(f"sqlite:///{store_file}") as store:
        assert store.recorder.one("SELECT count(*) FROM snapshots") == (0,)
        assert store.recorder.one("SELECT count(*) FROM vectors") == (0,)

    events = log(tmp_path)
    assert [event["type"] for event in events[: len(before)]] == before
    facts = {event["task_id"]: event["data"] for event in events[len(before) :]}
    # The streamed answer is of the second conversation; the third has nothing of it.
    assert sorted(facts) == ["recorded", "recorded-2", "recorded-other"]
    changed = {name: fact["events"] for name, fact in facts.items()}
    assert changed == {"recorded": [1, 2, 3], "recorded-2": [4], "recorded-other": [2]}
    assert all(fact["masks"].keys() == {"MASKED_pattern_1"} for fact in facts.values())
    shown = backcast(tmp_path, "verify", code=1).decode().splitlines()
    verdicts = {line.split()[0]: "rebuilt: same" in line for line in shown if "rebuilt" in line}
    assert verdicts == {
        "recorded@3": False, "recorded@6": False, "recorded-2@3": True, "recorded-3@3": True
    }  # fmt: skip
    assert sum("masked texts in it" in line for line in shown) == 2
    backcast(tmp_path, "fsck")
    assert json.loads(backcast(tmp_path, "context", "recorded@6"))["messages"][0]["content"] == (
        "Use MASKED_pattern_1"
    )
    assert (
        backcast(tmp_path, "redact", "recorded", *OWN, "--in-place") == b"nothing to strike out\n"
    )


def test_what_shows_to_be_a_secret_is_struck_and_another_gets_another_mask(tmp_path: Path) -> None:
    key = "AKIAIOSFODNN7EXAMPL2"
    url = f"sqlite:///{tmp_path}/backcast.db"
    with EventStore.open(url) as store:
        for task, text in (("a", f"key = {key}"), ("b", f"again {key} {SECRET}"), ("c", "plain")):
            blob = Blob(text.encode())
            store.append(
                task, [TaskStarted(goal=text), MessageReceived(role="user", text=blob.ref)],
                after=0, blobs=[blob],
            )  # fmt: skip
    backcast(tmp_path, "redact", "a", "--in-place")
    backcast(tmp_path, "redact", "b", *OWN, "--in-place")
    goals = [event["data"].get("goal") for event in log(tmp_path) if "goal" in event["data"]]
    assert goals == ["key = MASKED_aws_key_1", "again MASKED_aws_key_1 MASKED_pattern_1", "plain"]
    tasks = [event["task_id"] for event in log(tmp_path) if event["type"] == "REDACTED"]
    assert tasks == ["a", "b", "b"]
    assert files_with(tmp_path, key.encode()) == []
    backcast(tmp_path, "fsck")


def test_bodies_that_are_differences_are_read_afterwards_though_two_become_one(
    tmp_path: Path,
) -> None:
    lines = "".join(f"line {number} of the module\n" for number in range(200))
    texts = [
        lines,
        f"{lines}key {SECRET}\n",
        f"{lines}key {SECRET}\nmore\n",
        f"{lines}key MASKED_pattern_1\n",  # what the second becomes
        f"{lines}key MASKED_pattern_1\nmore\n",
        f"{lines}the end\n",
    ]
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        base = None
        for version, text in enumerate(texts):
            blob = Blob(text.encode(), base)
            base = blob.ref
            fact = MessageReceived(role="user", text=blob.ref)
            store.append("t", [fact], after=version, blobs=[blob])
    backcast(tmp_path, "redact", "t", *OWN, "--in-place")
    backcast(tmp_path, "fsck")
    said = [event["data"]["text"] for event in log(tmp_path, "t") if "text" in event["data"]]
    # The mask stood already, so the secret got another.
    assert [body(tmp_path, ref).decode() for ref in said] == [
        text.replace(SECRET, "MASKED_pattern_2") for text in texts
    ]


@pytest.mark.parametrize("number", range(4))
def test_two_bodies_that_become_one_end_no_chain_in_itself(tmp_path: Path, number: int) -> None:
    plain = "".join(f"line {number} of the module\n" for number in range(100))
    secret, other = f"{plain}ACME-000001-zz\n", f"{plain}ACME-000001-zz\nACME-000001-zz"
    orders = ([secret, plain, other], [plain, secret, other], [other, secret, plain],
              [other, plain, secret, f"{secret}x"])  # fmt: skip
    url = f"sqlite:///{tmp_path}/backcast.db"
    with EventStore.open(url) as store:
        base = None
        for version, text in enumerate(orders[number]):
            blob = Blob(text.encode(), base)
            base = blob.ref
            fact = MessageReceived(role="user", text=blob.ref)
            store.append("t", [fact], after=version, blobs=[blob])
    # As if one text had been masked before, by hand, in the way in which the other will be.
    words = SecretWords([("ACME-000001-zz", "pattern")], Counter())
    with EventStore.open(url) as store:
        masked = Blob(words.struck(secret.encode()), base)
        store.put(masked.body, base)
        assert store.holds(masked.ref)
    backcast(tmp_path, "redact", "t", *OWN, "--in-place")
    backcast(tmp_path, "fsck")
    assert b"ACME" not in held(tmp_path)


def test_a_store_that_is_in_use_is_not_touched(tmp_path: Path) -> None:
    recorded(tmp_path)
    with (
        upstream(lambda asked: asked.whole(reply("Yes"))) as server,
        recorder(tmp_path, server.url) as proxy,
    ):
        proxy.said(CHAT, chat("Hi"))
        code, [line] = refused(tmp_path, "redact", "recorded", *OWN, "--in-place")
        assert code == 2
        assert "needed a store that no other process has open" in line
        proxy.said(CHAT, chat("Hi", "Yes", "Still there?"))
        proxy.ended()
    assert SECRET.encode() in held(tmp_path)
    backcast(tmp_path, "fsck")
    with pytest.raises(UnavailableError, match="no such store"), rewriting(f"{tmp_path}/no.db"):
        pass


def test_what_a_killed_proxy_kept_is_struck_too(tmp_path: Path) -> None:
    begun = threading.Event()

    def play(asked: Playing) -> None:
        asked.begin()
        asked.chunk(stream([f"Take {SECRET}"])[0])
        begun.set()
        asked.wait_until_gone()

    with upstream(play) as server, recorder(tmp_path, server.url) as proxy:
        connection, answer = proxy.ask(CHAT, chat("First", stream=True))
        assert answer.read(5)
        proxy.process.send_signal(signal.SIGKILL)
        proxy.process.wait()
        answer.close()
        connection.close()
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        store.append("t", [TaskStarted(goal=f"Use {SECRET}")], after=0)
    assert files_with(tmp_path, SECRET.encode()) == ["000001", "backcast.db"]
    _, lines = refused(tmp_path, "redact", "t", *OWN, "--in-place")
    assert lines == ["backcast: note: 1 exchanges that a killed proxy left are recorded now"]
    assert files_with(tmp_path, SECRET.encode()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["backcast.db"]
    assert b"Take MASKED_pattern_1" in held(tmp_path)


def test_a_kill_in_the_middle_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/backcast.db"
    count = 3000
    with EventStore.open(url) as store:
        blobs = [Blob(f"{number} {SECRET} {number * 7919}".encode() * 3) for number in range(count)]
        facts = [MessageReceived(role="user", text=blob.ref) for blob in blobs]
        store.append("t", facts, after=0, blobs=blobs)
    found = set[bool]()
    command = [*BACKCAST, "redact", "t", *OWN, "--in-place"]
    begin = time.monotonic()
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "backcast.db").write_bytes((tmp_path / "backcast.db").read_bytes())
    subprocess.run(command, cwd=whole, check=True, capture_output=True)
    takes = time.monotonic() - begin
    for step in range(1, 9):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        time.sleep(takes * (0.3 + step / 10))
        process.kill()
        process.wait()
        backcast(tmp_path, "fsck")
        texts = [body(tmp_path, event["data"]["text"]) for event in log(tmp_path, "t")[:200]]
        struck = {SECRET.encode() not in text for text in texts}
        assert len(struck) == 1
        assert struck == {log(tmp_path)[-1]["type"] == "REDACTED"}
        found |= struck
    assert False in found
    backcast(tmp_path, "redact", "t", *OWN, "--in-place")
    assert files_with(tmp_path, SECRET.encode()) == []


def test_other_stores_and_other_input_are_one_line(tmp_path: Path) -> None:
    postgres = ("--store", "postgresql://nobody@127.0.0.1:9/none")
    code, [line] = refused(tmp_path, "redact", "t", *postgres, "--in-place")
    assert code == 2
    assert "needed a store in a SQLite file, found PostgreSQL" in line
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        store.append("task", [TaskStarted(goal="plain")], after=0)
    assert refused(tmp_path, "redact", "tusk")[0] == 2
    code, lines = refused(tmp_path, "redact", "task", "--pattern", "(")
    assert code == 2
    assert "needed a regular expression" in lines[-1]
    assert backcast(tmp_path, "redact", "task", "--in-place") == b"nothing to strike out\n"


def test_each_way_of_writing_a_secret_is_struck() -> None:
    secret = 'p"w\\é-4711-/x'
    words = SecretWords([(secret, "pattern")], Counter())
    once = json.dumps(secret)
    for text in (
        secret, once, json.dumps(secret, ensure_ascii=False), json.dumps(once), quote(secret),
        quote(secret, safe=""), *(
            coded(f"{'a' * shift}{secret}{'b' * rest}".encode()).decode()
            for shift in range(4) for rest in range(3) for coded in (b64encode, urlsafe_b64encode)
        ),
    ):  # fmt: skip
        struck = words.struck(f"<{text}>".encode())
        assert b"MASKED_pattern_1" in struck, text
        assert b"4711" not in struck
    packed = words.struck(gzip.compress(f"it is {secret}".encode()))
    assert gzip.decompress(packed) == b"it is MASKED_pattern_1"
    plain = gzip.compress(b"nothing")
    assert words.struck(plain) is plain


def test_a_stream_keeps_all_but_the_secret_wherever_it_is_cut() -> None:
    words = SecretWords([(SECRET, "pattern")], Counter())
    text = f"a {SECRET} b {SECRET}{SECRET} c"
    for size in range(1, 20):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        whole = b"".join(stream(pieces))
        struck = words.struck(whole).decode()
        said = "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            for line in struck.splitlines() if line.startswith("data: {")
        )  # fmt: skip
        mask = "MASKED_pattern_1"
        assert said == f"a {mask} b {mask}{mask} c", size
        assert re.search(r"data: \[DONE\]\n\n$", struck)
