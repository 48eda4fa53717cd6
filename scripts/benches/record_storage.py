"""What a growing conversation costs on the disk, beside what is new in it and a log of bodies."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import zstandard

from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.spool import Spool
from backcast.engine.log.exchanges.writer import ExchangeWriter
from scripts.benches.figures import ROOT, Bench, Bound, Figure
from scripts.benches.workload import checkpoint, open_store

GROUP = "a recorded conversation"
TURNS, LONGER = 200, (800,)
LINES = 40
"Lines of real code in a tool's result."


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    kept = {turns: _kept(bench, turns) for turns in (TURNS // 4, TURNS, *LONGER * bench.full)}
    rows = []
    for turns, (stored, new, whole, _) in kept.items():
        rows += [
            Figure(
                GROUP, f"all that the store holds, beside what is new, {turns} turns",
                [stored / new], ours=f"{stored / turns:,.0f} B a call",
                control=f"new text and answer, compressed by themselves: {new / turns:,.0f} B",
                must=Bound("<=", 1.5) if turns == TURNS else None,
            ),
            Figure(
                GROUP, f"the same, beside a log of whole bodies, {turns} turns", [stored / whole],
                ours=f"{stored / turns:,.0f} B a call",
                control=f"each body and answer, compressed by itself: {whole / turns:,.0f} B",
            ),
        ]  # fmt: skip
    for (few, before), (many, after) in pairwise(kept.items()):
        late = median(after.seconds[-20:])
        early = median(after.seconds[few - 20 : few])
        share = (after.stored - before.stored) / (after.new - before.new)
        rows += [
            Figure(
                GROUP, f"what the calls from {few} to {many} add, beside what is new in them",
                [share], ours=f"{(after.stored - before.stored) / (many - few):,.0f} B a call",
                control=f"the first {few}: {before.stored / few:,.0f} B, tables and all",
            ),
            Figure(
                GROUP, f"processor time to write call {many}, beside call {few}", [late / early],
                ours=f"{1000 * late:.1f} ms",
                control=f"{1000 * early:.1f} ms; the body is {many / few:g} times as long",
            ),
        ]  # fmt: skip
    return rows


class Kept(NamedTuple):
    """What a conversation costs."""

    stored: int
    new: int
    whole: int
    seconds: list[float]
    "Processor time of each exchange."


def _kept(bench: Bench, turns: int) -> Kept:
    bench.say(f"storage of a conversation of {turns} turns")
    path = bench.folder / f"talk-{turns}.db"
    packer = zstandard.ZstdCompressor(level=6)
    new = whole = 0
    seconds = list[float]()
    with open_store(path) as store:
        writer, folder = ExchangeWriter(store, "talk"), Spool(bench.folder / "spool")
        for body, fresh, answer in conversation(turns):
            exchange = folder.begin("POST", "/v1/chat/completions", {"user-agent": "bench"})
            exchange.add(spool.ASKED, body)
            headers = {"content-type": "text/event-stream"}
            exchange.note(spool.ANSWERED, {"status": 200, "headers": headers})
            for event in answer:
                exchange.add(spool.ANSWER, event)
            exchange.end(spool.FINISHED)
            begin = time.process_time()
            found = spool.read(exchange.path)
            assert found is not None
            writer.write(found)
            seconds.append(time.process_time() - begin)
            exchange.path.unlink()
            new += len(packer.compress(fresh)) + len(packer.compress(b"".join(answer)))
            whole += len(packer.compress(body)) + len(packer.compress(b"".join(answer)))
        folder.close()
    return Kept(checkpoint(path), new, whole, seconds)


def conversation(turns: int = TURNS) -> Iterator[tuple[bytes, bytes, list[bytes]]]:
    """Yield the body of each call, what is new in it, and the events of its answer."""
    draw = Random(1)
    lines = [
        line for file in sorted((ROOT / "engine").rglob("*.py"))
        for line in Path(file).read_text(encoding="utf-8").splitlines(keepends=True)
    ]  # fmt: skip
    system: dict[str, object] = {"role": "system", "content": "".join(lines[:60])}
    messages: list[dict[str, object]] = [system, {"role": "user", "content": "Fix the test."}]
    before = 0
    for turn in range(turns):
        body = json.dumps({"model": "m", "stream": True, "messages": messages}).encode()
        fresh = json.dumps(messages[before:]).encode()
        before = len(messages)
        start = draw.randrange(len(lines) - LINES)
        words = "".join(lines[start : start + 12]).split()
        answer = [_event({"choices": [{"index": 0, "delta": {"content": f"{word} "}}]})
                  for word in words]  # fmt: skip
        usage = {"prompt_tokens": turn * 700, "completion_tokens": len(words)}
        answer += [_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
                   _event({"choices": [], "usage": usage}), b"data: [DONE]\n\n"]  # fmt: skip
        yield body, fresh, answer
        start = draw.randrange(len(lines) - LINES)
        call = {"id": f"call_{draw.getrandbits(64):x}", "type": "function",
                "function": {"name": "read", "arguments": json.dumps({"line": start})}}  # fmt: skip
        messages += [
            {"role": "assistant", "content": " ".join(words), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"],
             "content": "".join(lines[start : start + LINES])},
        ]  # fmt: skip


def _event(value: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(head | value).encode() + b"\n\n"
